"""Questions to a named database, its trouble turned into an outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from checks.blame import Problem
from checks.model import Database, DatabaseFailed, DatabaseMismatch, DatabaseUnable, Row, World


class Unanswered(Exception):
    """There is no answer to judge, and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.because)
        self.problem = problem


async def query(
    database: Database, sql: str, params: Mapping[str, Any], *, timeout_s: float, rows_max: int
) -> Sequence[Row]:
    """The rows of one statement; see `Snapshot.rows`."""
    async with database.snapshot(timeout_s=timeout_s) as snapshot:
        return await snapshot.rows(sql, params, rows_max=rows_max)


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
    """The rows, or why there are none; has_succeeded: see `telling`."""
    try:
        with telling(database, has_succeeded=has_succeeded):
            return await query(known(world, database), sql, params, timeout_s=timeout_s, rows_max=rows_max)
    except Unanswered as error:
        return error.problem


def known(world: World, database: str) -> Database:
    """The database of that name; raises Unanswered."""
    if database not in world.databases:
        raise Unanswered(Problem("error", f"there is no database {database}; name one under databases"))
    return world.databases[database]


@contextmanager
def telling(database: str, *, has_succeeded: bool) -> Iterator[None]:
    """What a database raises inside, as Unanswered.

    has_succeeded: the same worked in an earlier run of this process; then a table or column that is missing
    now was taken away, and that is the service's doing.
    """
    try:
        yield
    except DatabaseMismatch as error:
        raise Unanswered(Problem("fail" if has_succeeded else "error", f"{database}: {error}")) from None
    except DatabaseUnable as error:
        raise Unanswered(Problem("error", f"{database}: {error}")) from None
    except DatabaseFailed as error:
        raise Unanswered(Problem("fail", f"{database}: {error}")) from None
