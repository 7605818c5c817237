"""Kind `sql`: one reading query, its rows judged by one expression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from checks.blame import Problem
from checks.databases.asking import ask
from checks.databases.statement import places, refuse_unless_query
from checks.expressions.expression import Expression, compiled
from checks.expressions.values import plain, show_discreetly
from checks.model import CheckResult, Row, World
from checks.text import finish, sign

VARIABLES = {"rows": "list<dyn>", "total": "duration"}


@dataclass(slots=True, kw_only=True)
class SqlCheck:
    """Run a query in a read-only transaction and expect something of its rows.

    expect: CEL over rows (a list of maps by column name) and total (a duration). Numbers are int64 and double
    there: a numeric column with a fraction becomes the nearest double, so compare exact money in the query.
    rows_max: more rows than that are an `error`, not a partial answer.
    Readings: rows, total_s (connecting included), and for a single row col_<name> of each numeric column.
    """

    database: str
    query: str
    expect: str
    rows_max: int = 1000
    _expect: Expression = field(init=False, repr=False, compare=False)
    _has_succeeded: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._has_succeeded = False
        try:
            refuse_unless_query(self.query)
        except ValueError as error:
            raise ValueError(f"query: {error}") from None
        if unknown := places(self.query):
            raise ValueError(
                f"query: :{min(unknown)} has no value here; write it out, or use a step of kind scenario"
            )
        if not 1 <= self.rows_max <= 10_000:
            raise ValueError("rows_max: write a number from 1 to 10000")
        self._expect = compiled("expect", self.expect, VARIABLES)

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        began_s = world.mono_s()
        rows = await ask(
            world,
            self.database,
            self.query,
            {},
            timeout_s=world.timeout_s,
            rows_max=self.rows_max,
            has_succeeded=self._has_succeeded,
        )
        if isinstance(rows, Problem):
            details = (f"{sign(rows.outcome)} {rows.because}",)
            return finish(rows.outcome, rows.because, readings={}, details=details)
        self._has_succeeded = True
        total_s = world.mono_s() - began_s
        values = {"rows": plain(rows), "total": timedelta(seconds=total_s)}
        judgement = self._expect.judge(values, show_discreetly)
        told = f"{len(rows)} rows in {total_s * 1000:.0f} ms"
        return finish(
            judgement.outcome,
            judgement.because,
            readings={"rows": float(len(rows)), "total_s": total_s, **_columns(rows)},
            details=(f"{sign(judgement.outcome)} {self.database}: {told}",),
        )


def _columns(rows: Sequence[Row]) -> dict[str, float]:
    """The numbers of a single row; of several rows none, because their order and count would be a guess."""
    if len(rows) != 1:
        return {}
    numbers = {
        f"col_{name}": float(value)
        for name, value in rows[0].items()
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    }
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
