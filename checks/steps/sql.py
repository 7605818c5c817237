"""A step that reads a database: what a request left there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from checks.blame import Problem
from checks.databases.asking import ask
from checks.databases.statement import places, refuse_unless_query
from checks.expressions.expression import Expression, problem_of
from checks.expressions.path import NotThere
from checks.expressions.values import plain, show_discreetly
from checks.model import Row, World
from checks.steps.model import Run, Step, Values
from checks.text import is_telling

ROWS_MAX = 1000


@dataclass(slots=True, kw_only=True, repr=False)
class SqlStep(Step):
    """Run a query in a read-only transaction, as kind sql does; `:name` is a value of an earlier step, bound.

    sql: one SELECT, WITH or VALUES statement; more than 1000 rows are an `error`.
    database: its name under `databases`.
    expect: CEL over rows (a list of maps by column name), row (the one row; absent if there is none or there
    are several) and total (a duration); without it any answer is good.
    extract: name -> the column of the one row in which its value stands.
    """

    sql: str
    database: str
    expect: str | None = None
    variables: ClassVar[Mapping[str, str]] = {"rows": "list<dyn>", "row": "dyn", "total": "duration"}
    _has_succeeded: bool = field(init=False, repr=False, compare=False, default=False)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        try:
            refuse_unless_query(self.sql)
        except ValueError as error:
            raise ValueError(f"sql: {error}") from None

    @property
    def assertion(self) -> str:
        """See `Step.assertion`."""
        return "true" if self.expect is None else self.expect

    @property
    def place(self) -> str:
        """See `Step.place`."""
        return f"SQL {self.database}"

    def placeholders(self) -> set[str]:
        """See `Step.placeholders`."""
        return places(self.sql)

    def secrets(self) -> list[str]:
        """None: what a database needs to let us in is kept with the database."""
        return []

    def is_secret(self, name: str) -> bool:
        """See `Step.is_secret`."""
        return is_telling(name) or is_telling(self.extract[name])

    async def look(self, world: World, run: Run, *, timeout_s: float, place: str) -> _Seen | Problem:
        """See `Step.look`."""
        params = {name: run.values[name] for name in places(self.sql)}
        for name, value in params.items():
            if isinstance(value, (list, dict)):
                what = "list" if isinstance(value, list) else "map"
                return Problem("fail", f"{place}: :{name} is a {what}, which cannot stand in a query")
        began_s = world.mono_s()
        rows = await ask(
            world,
            self.database,
            self.sql,
            params,
            timeout_s=timeout_s,
            rows_max=ROWS_MAX,
            has_succeeded=self._has_succeeded,
        )
        if isinstance(rows, Problem):
            return Problem(rows.outcome, f"{place}: {rows.because}")
        self._has_succeeded = True
        return _Seen(self.extract, rows, world.mono_s() - began_s)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Implements `Seen`."""

    columns: Mapping[str, str]
    rows: Sequence[Row]
    total_s: float

    def line(self) -> str:
        n = len(self.rows)
        return f"{n} row{'' if n == 1 else 's'} in {self.total_s * 1000:.0f} ms"

    def judge(self, expect: Expression, values: Values, place: str) -> Problem | None:
        rows = plain(self.rows)
        own = {"rows": rows, "total": timedelta(seconds=self.total_s)}
        if len(rows) == 1:
            own["row"] = rows[0]
        return problem_of(expect, {**values, **own}, place, show_discreetly)

    def find(self, name: str) -> Any:
        if len(self.rows) != 1:
            raise NotThere(f"there are {len(self.rows)} rows, and one is wanted")
        column = self.columns[name]
        if column not in self.rows[0]:
            raise NotThere(f"there is no column {column}")
        value = plain(self.rows[0][column])
        if value is None:
            raise NotThere(f"{column} is NULL")
        if isinstance(value, (bytes, timedelta)):
            raise NotThere(f"{column} is neither a text nor a number; cast it in the query")
        return value

    def show(self, value: Any) -> str:
        return show_discreetly(value)
