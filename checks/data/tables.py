"""What the checks that name a table instead of a query share: which rows, their SQL, and what times mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from checks.blame import Problem
from checks.databases.asking import ask
from checks.databases.statement import refuse_unless_condition
from checks.dialect import Dialect, Epoch, as_stored, refuse_unless_name
from checks.model import CheckResult, Outcome, Row, World
from checks.text import finish, sign

FUTURE_S = 60.0  # how far the database's clock may be ahead of ours
EPOCH_S_MAX = 1e11  # the year 5138: a larger number was not meant as seconds
SPAN_S_MAX = 366 * 86_400.0
_SPANS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


@dataclass(frozen=True, slots=True)
class Told:
    """What a look at a table came to; `total_s` is added by who measures it."""

    outcome: Outcome
    because: str = ""
    readings: Mapping[str, float] = field(default_factory=dict)
    details: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Only the rows of the last `window`.

    window_s: how long ago they may be.
    column: when a row came to be, or was changed; a time (UTC where it has no zone) or a number with `epoch`.
    epoch: the column holds numbers: seconds (s) or milliseconds (ms) since 1970.
    """

    column: str
    window_s: float
    epoch: Epoch | None = None

    def __post_init__(self) -> None:
        refuse("column", refuse_unless_name, self.column)
        refuse_unless_span("window", self.window_s)


@dataclass(frozen=True, slots=True)
class Look:
    """One run at one table: asks within the time of the run, in the spelling of the engine."""

    world: World
    check: TableCheck
    dialect: Dialect
    began_s: float
    has_succeeded: bool

    async def rows(
        self, sql: str, params: Mapping[str, Any] | None = None, *, rows_max: int = 1
    ) -> Sequence[Row] | Problem:
        """The rows of a statement of ours, in what is left of the time."""
        left_s = self.world.timeout_s - (self.world.mono_s() - self.began_s)
        if left_s <= 0:
            return Problem(
                "error", f"stopped by our own limit of {self.world.timeout_s:g} s (several queries)"
            )
        return await ask(
            self.world,
            self.check.database,
            sql,
            params or {},
            timeout_s=left_s,
            rows_max=rows_max,
            has_succeeded=self.has_succeeded,
        )

    async def row(self, sql: str, params: Mapping[str, Any] | None = None) -> Row | Problem:
        """The only row of an aggregate without groups."""
        rows = await self.rows(sql, params)
        return rows if isinstance(rows, Problem) else rows[0]

    def column(self, name: str) -> str:
        """A column of the table, quoted; the table is called `t` in every statement."""
        return f"t.{self.dialect.name(name)}"

    @property
    def table(self) -> str:
        """The table with its alias, for FROM."""
        return f"{self.dialect.name(self.check.table)} AS t"

    def conditions(self, since: Since | None = None) -> list[str]:
        """What the rows must fulfil; with `since` the statement has the place `:since`."""
        found = [] if self.check.where is None else [f"\n{self.check.where}\n"]
        if since is not None:
            column = self.column(since.column)
            found.append(self.dialect.compared(column, ">=", ":since", since.epoch))
        return found

    def since(self, since: Since | None) -> dict[str, float]:
        """The value of the place `:since`."""
        if since is None:
            return {}
        return {"since": as_stored(self.world.now_s() - since.window_s, since.epoch)}

    def related(self, columns: Sequence[str], since: Since | None) -> tuple[str, list[str]]:
        """FROM and conditions of the rows that have the same values in `columns` as a row since then has.

        A new row may belong to old ones: so the keys of the new rows, each with all its rows, reached by the
        index on the columns where there is one. Rows with NULL there are left out.
        """
        quoted = [self.column(column) for column in columns]
        present = [f"{column} IS NOT NULL" for column in quoted]
        everything = [*self.conditions(), *present]
        if since is None:
            return self.table, everything
        keys = ", ".join(f"{column} AS k{n}" for n, column in enumerate(quoted))
        recent = select(f"DISTINCT {keys}", self.table, [*self.conditions(since), *present])
        pairs = " AND ".join(f"{column} = r.k{n}" for n, column in enumerate(quoted))
        return f"({recent}) AS r JOIN {self.table} ON {pairs}", everything

    async def newest_s(self, column: str, epoch: Epoch | None) -> float | Problem | None:
        """The latest time in the column, epoch seconds, of all rows that `where` lets count."""
        sql = select(f"max({self.column(column)}) AS newest", self.table, self.conditions())
        row = await self.row(sql)
        return row if isinstance(row, Problem) else self.read_time(row["newest"], column, epoch)

    async def last_s(self, newest: Any, column: str, epoch: Epoch | None) -> float | Problem | None:
        """The latest time among rows that were found, or of all if none was, epoch seconds.

        Nothing found may mean that the column holds no times: that is then a Problem.
        """
        if newest is None:
            return await self.newest_s(column, epoch)
        return self.read_time(newest, column, epoch)

    def read_time(self, value: Any, column: str, epoch: Epoch | None) -> float | Problem | None:
        """A time of the database as epoch seconds; a column that holds something else is our mistake."""
        try:
            return None if value is None else epoch_s(value, epoch)
        except ValueError as error:
            return Problem("error", f"{self.check.table}.{column} {error}")


@dataclass(slots=True, kw_only=True)
class TableCheck(ABC):
    """One table of a database; the base of the kinds that write the SQL themselves.

    database: its name under `databases`. table: `orders` or `shop.orders`, as the catalogue spells it.
    where: SQL condition on the rows that count, with plain column names.
    """

    database: str
    table: str
    where: str | None = None
    _has_succeeded: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._has_succeeded = False
        refuse("table", refuse_unless_name, self.table, parts_max=2)
        if self.where is not None:
            refuse("where", refuse_unless_condition, self.where)

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        if self.database not in world.databases:
            return finish(
                "error", f"there is no database {self.database}; name one under databases", readings={}
            )
        began_s, dialect = world.mono_s(), world.databases[self.database].dialect
        told = await self.observe(Look(world, self, dialect, began_s, self._has_succeeded))
        if isinstance(told, Problem):
            return finish(
                told.outcome, told.because, readings={}, details=(f"{sign(told.outcome)} {told.because}",)
            )
        self._has_succeeded = True
        return finish(
            told.outcome,
            told.because,
            readings={**told.readings, "total_s": world.mono_s() - began_s},
            details=told.details,
        )

    @abstractmethod
    async def observe(self, look: Look) -> Told | Problem:
        """What this kind looks for."""


def select(what: str, source: str, conditions: Sequence[str] = (), *, then: str = "") -> str:
    """A statement of parts that are quoted names, `:name` places and conditions of the configuration."""
    where = " WHERE " + " AND ".join(f"({condition})" for condition in conditions) if conditions else ""
    return f"SELECT {what} FROM {source}{where}{' ' if then else ''}{then}"  # noqa: S608 see above


def refuse(key: str, rule: Callable[..., None], value: str, **limits: Any) -> None:
    """ValueError that begins with the key, if the rule refuses the value."""
    try:
        rule(value, **limits)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def refuse_unless_span(key: str, seconds: float) -> None:
    """ValueError unless it is a time to look back over."""
    if not 0 < seconds <= SPAN_S_MAX:
        raise ValueError(f"{key}: write a duration above 0 and up to 366d")


def epoch_s(value: Any, epoch: Epoch | None) -> float:
    """Epoch seconds of a time as databases give it: UTC where it has no zone, midnight for a date.

    Raises ValueError, to be read after the column's name, for what is no time.
    """
    match value:
        case bool():
            raise ValueError("holds true and false, which are no times")
        case int() | float() | Decimal():
            if epoch is None:
                raise ValueError("holds numbers; write epoch: s or epoch: ms")
            seconds = float(value) / (1000.0 if epoch == "ms" else 1.0)
            if not abs(seconds) < EPOCH_S_MAX:
                raise ValueError(f"holds numbers too large for epoch: {epoch}")
            return seconds
        case _ if epoch is not None:
            raise ValueError("does not hold numbers; leave out epoch")
        case str():
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                raise ValueError("holds texts that are no times in ISO 8601") from None
        case datetime():
            moment = value
        case date():
            moment = datetime.combine(value, time())
        case _:
            raise ValueError(f"holds values of type {type(value).__name__}, which are no times")
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def span(seconds: float) -> str:
    """A length of time as people say it: `42 s`, `3.5 min`, `2 h`, `4.1 d`."""
    for unit_s, unit in _SPANS:
        if seconds >= unit_s:
            return f"{seconds / unit_s:.3g} {unit}"
    return f"{seconds:.3g} s"


def counted(n: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
