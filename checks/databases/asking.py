"""One query on a named database, its trouble turned into an outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from checks.blame import Problem
from checks.model import DatabaseFailed, DatabaseMismatch, DatabaseUnable, Row, World


async def ask(
    world: World,
    database: str,
    sql: str,
    params: Mapping[str, Any],
    *,
    timeout_s: float,
    rows_max: int,
    has_succeeded: bool,
) -> Sequence[Row] | Problem:
    """The rows, or why there are none.

    has_succeeded: this query worked in an earlier run of this process; then a table or column that is
    missing now was taken away, and that is the service's doing.
    """
    if database not in world.databases:
        return Problem("error", f"there is no database {database}; name one under databases")
    try:
        return await world.databases[database].query(sql, params, timeout_s=timeout_s, rows_max=rows_max)
    except DatabaseMismatch as error:
        return Problem("fail" if has_succeeded else "error", f"{database}: {error}")
    except DatabaseUnable as error:
        return Problem("error", f"{database}: {error}")
    except DatabaseFailed as error:
        return Problem("fail", f"{database}: {error}")
