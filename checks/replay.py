"""Kind `replay`: does folding the events of recently touched aggregates give the stored projection?"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checks.blame import Problem
from checks.data.agreeing import Found, Words, by_key, same
from checks.data.reducer import Reducer, ReducerUnable
from checks.databases.asking import ask
from checks.databases.statement import bare, listed, refuse_unless_asks
from checks.model import CheckResult, Row, World
from checks.text import finish

QUERIES_MAX = 5  # of one run: the sample, then projection and events at each of two looks
SAMPLE_MAX = 300  # SQLite nests expressions to a depth of 1000; each aggregate costs up to three

_WORDS = Words(left="in the events", right="in the projection", things="aggregates", counted="replayed")


@dataclass(frozen=True, slots=True)
class _Look:
    """What the events came to, and what was stored, of the aggregates asked for."""

    states: Sequence[Row]
    stored: Sequence[Row]

    def sides(self, columns: Sequence[str]) -> tuple[Found, Found]:
        """Both by aggregate. Raises ReducerUnable for a state that lacks one of the columns."""
        for state in self.states:
            if missing := set(columns) - state.keys():
                raise ReducerUnable(
                    f"reducer: gives no {min(missing)}; it has to give each column of the projection's query"
                )
        return by_key(self.states, "aggregate", columns), by_key(self.stored, "aggregate", columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Where the result of the events is kept.

    query: gives a column `aggregate` and the columns to compare, for the aggregates in `:aggregates`, as in
    `where order_id in (:aggregates)`. With a column `version`, the `seq` of the last event that is in the
    row, only events up to it are replayed.
    """

    database: str
    query: str

    def __post_init__(self) -> None:
        try:
            refuse_unless_asks(self.query, needs="aggregates")
        except ValueError as error:
            raise ValueError(f"query: {error}") from None


@dataclass(slots=True, kw_only=True)
class ReplayCheck:
    """Replay the events of some recently touched aggregates and expect what the projection has.

    1 choose aggregates that were touched in the last `window_s`; 2 read their rows of the projection, then
    their events, and fold them; 3 if they differ, wait `settle_s` and look again at those; 4 report what was
    wrong in both looks with the same values: the rest was in flight.
    Values are compared exactly, as in kind `reconcile`; every column of the projection's query has to come
    out of the reducer under the same name. Each query may take a fifth of `timeout`.
    database: where the events are.
    sample: query that gives a column `aggregate` of what was touched after `:since`.
    events: query that gives the columns `aggregate`, `seq` (their order) and whatever the reducer needs, for
    the aggregates in `:aggregates`.
    window_s: aggregates touched longer ago are not looked at.
    settle_s: how long the projection may be behind its events.
    sample_max: of more aggregates than that, other ones are chosen in each run.
    rows_max: more rows of a query than that are an `error`.
    Readings: replayed, mismatches, mismatches_per_million (none for
    nothing replayed), total_s without the wait.
    """

    database: str
    sample: str
    events: str
    reducer: Reducer
    projection: Projection
    window_s: float = 3600.0
    settle_s: float = 30.0
    sample_max: int = 100
    rows_max: int = 20_000
    _has_succeeded: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._has_succeeded = False
        for key, sql, needs in (("sample", self.sample, "since"), ("events", self.events, "aggregates")):
            try:
                refuse_unless_asks(sql, needs=needs)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
        if not 0 < self.settle_s <= 600:
            raise ValueError("settle: write a duration above 0 and up to 10m")
        if self.window_s <= 0:
            raise ValueError("window: write a duration above 0")
        if not 1 <= self.sample_max <= SAMPLE_MAX:
            raise ValueError(f"sample_max: write a number from 1 to {SAMPLE_MAX}")
        if not 1 <= self.rows_max <= 200_000:
            raise ValueError("rows_max: write a number from 1 to 200000")

    @property
    def beyond_s(self) -> float:
        """How much longer than its timeout a run may take; see `deadline_s`."""
        return self.settle_s

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        try:
            found = await self._replay(world)
        except ReducerUnable as error:
            found = Problem("error", str(error))
        return finish(found.outcome, found.because, readings={}) if isinstance(found, Problem) else found

    async def _replay(self, world: World) -> CheckResult | Problem:
        began_s = world.mono_s()
        chosen = await self._choose(world)
        if isinstance(chosen, Problem):
            return chosen
        first = await self._look(world, list(chosen.values()))
        if isinstance(first, Problem):
            return first
        self._has_succeeded = True
        spent_s = world.mono_s() - began_s
        wrong = _WORDS.differing(*first.sides(_columns(first)))
        in_flight = 0
        if wrong:
            await world.sleep(self.settle_s)
            began_s = world.mono_s()
            second = await self._look(world, [chosen[key] for key in wrong])
            if isinstance(second, Problem):
                return second
            spent_s += world.mono_s() - began_s
            columns = _columns(first, second)
            still = _WORDS.confirmed(wrong, first.sides(columns), second.sides(columns))
            in_flight, wrong = len(wrong) - len(still), still
        return _WORDS.tell(wrong, compared=len(chosen), in_flight=in_flight, total_s=spent_s)

    async def _choose(self, world: World) -> Mapping[Any, Any] | Problem:
        """The aggregates to replay: in the spelling of `same`, and as the database has them."""
        since_s = world.now_s() - self.window_s
        rows = await self._ask(world, self.database, self.sample, {"since": since_s})
        if isinstance(rows, Problem):
            return rows
        if rows and "aggregate" not in rows[0]:
            return Problem("error", "sample: the query gives no column aggregate; write `... as aggregate`")
        touched = {same(row["aggregate"]): row["aggregate"] for row in rows if row["aggregate"] is not None}
        in_turn = sorted(touched, key=lambda key: hashlib.sha256(f"{world.run_id}/{key}".encode()).digest())
        return {key: touched[key] for key in in_turn[: self.sample_max]}

    async def _look(self, world: World, aggregates: Sequence[Any]) -> _Look | Problem:
        """What the events come to and what is stored. Raises ReducerUnable.

        The projection is read first: every event in it is then there when the events are read.
        """
        if not aggregates:
            return _Look((), ())
        stored = await self._ask(
            world, self.projection.database, *listed(self.projection.query, "aggregates", aggregates)
        )
        if isinstance(stored, Problem):
            return stored
        if stored and "aggregate" not in stored[0]:
            return Problem(
                "error", "projection: the query gives no column aggregate; write `... as aggregate`"
            )
        rows = await self._ask(world, self.database, *self._replaying(aggregates, stored))
        if isinstance(rows, Problem):
            return rows
        states = await asyncio.to_thread(self.reducer.states, rows)
        asked = {same(aggregate) for aggregate in aggregates}
        return _Look(
            *([row for row in side if same(row.get("aggregate")) in asked] for side in (states, stored))
        )

    def _replaying(self, aggregates: Sequence[Any], stored: Sequence[Row]) -> tuple[str, Mapping[str, Any]]:
        """The statement for the events, up to the version of each stored row that has one."""
        events, params = listed(self.events, "aggregates", aggregates)
        versions = {
            same(row["aggregate"]): row["version"] for row in stored if row.get("version") is not None
        }
        if versions:
            limits = []
            for number, aggregate in enumerate(aggregates):
                limit = f"e.aggregate = :only_{number}"
                params[f"only_{number}"] = aggregate
                if (version := versions.get(same(aggregate))) is not None:
                    limit += f" and e.seq <= :version_{number}"
                    params[f"version_{number}"] = version
                limits.append(limit)
            # Our own text around two queries of the configuration; every value is a place.
            events = f"select * from (\n{bare(events)}\n) e where {' or '.join(limits)}"  # noqa: S608
        return self.reducer.statement(events), params

    async def _ask(
        self, world: World, database: str, sql: str, params: Mapping[str, Any]
    ) -> Sequence[Row] | Problem:
        return await ask(
            world,
            database,
            sql,
            params,
            timeout_s=world.timeout_s / QUERIES_MAX,
            rows_max=self.rows_max,
            has_succeeded=self._has_succeeded,
        )


def _columns(*looks: _Look) -> Sequence[str]:
    """What is compared: the columns of the projection, its version only where the reducer gives one.

    Told of both looks at once, because one in which nothing is stored knows no columns.
    """
    stored = next((look.stored[0] for look in looks if look.stored), {})
    has_version = all("version" in state for look in looks for state in look.states)
    return sorted(name for name in stored if name != "aggregate" and (has_version or name != "version"))
