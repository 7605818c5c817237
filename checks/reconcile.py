"""Kind `reconcile`: two queries that must agree by key; a second look lets go of rows in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from checks.blame import Problem
from checks.data.agreeing import Found, Words, by_key
from checks.databases.asking import ask
from checks.databases.statement import refuse_unless_asks
from checks.model import CheckResult, Row, World
from checks.text import finish

PARAMETERS = frozenset({"since", "until"})

_WORDS = Words(left="on the left", right="on the right", things="keys", counted="compared")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side: a query that gives a column `key` and the columns to compare, named as on the other side.

    `:since` is where the window begins; `:until` (optional) is now - settle, for rows that have had time.
    """

    database: str
    query: str

    def __post_init__(self) -> None:
        try:
            refuse_unless_asks(self.query, may=PARAMETERS)
        except ValueError as error:
            raise ValueError(f"query: {error}") from None


@dataclass(slots=True, kw_only=True)
class ReconcileCheck:
    """Every key of one side is on the other side, once, with equal values.

    1 look at both sides over the last `window_s`; 2 if they differ, wait `settle_s`; 3 look again, with a
    window twice as long, so that a row whose other half lies just before the first window finds it; 4 report
    the keys that were wrong in both looks with the same values: the rest was in flight.
    Numbers are compared exactly across types (1 = 1.0 = Decimal("1.00")), times as instants.
    Readings: mismatches, compared (distinct keys), mismatches_per_million (none for nothing compared),
    total_s without the wait.
    """

    left: Side
    right: Side
    settle_s: float = 30.0
    window_s: float = 3600.0
    rows_max: int = 20_000
    _has_succeeded: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._has_succeeded = False
        if not 0 < self.settle_s <= 600:
            raise ValueError("settle: write a duration above 0 and up to 10m")
        if self.window_s <= self.settle_s:
            raise ValueError("window: must be longer than settle, else no row is ever settled")
        if not 1 <= self.rows_max <= 200_000:
            raise ValueError("rows_max: write a number from 1 to 200000")

    @property
    def beyond_s(self) -> float:
        """How much longer than its timeout a run may take; see `deadline_s`."""
        return self.settle_s

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        began_s, now_s = world.mono_s(), world.now_s()
        first = await self._look(world, now_s, now_s - self.window_s)
        if isinstance(first, Problem):
            return finish(first.outcome, first.because, readings={})
        self._has_succeeded = True
        spent_s = world.mono_s() - began_s
        wrong = await asyncio.to_thread(_WORDS.differing, *first)
        compared = len(first[0].keys() | first[1].keys())
        in_flight = 0
        if wrong:
            await world.sleep(self.settle_s)
            began_s = world.mono_s()
            second = await self._look(world, world.now_s(), now_s - 2 * self.window_s)
            if isinstance(second, Problem):
                return finish(second.outcome, second.because, readings={})
            spent_s += world.mono_s() - began_s
            still = await asyncio.to_thread(_WORDS.confirmed, wrong, first, second)
            in_flight, wrong = len(wrong) - len(still), still
        return _WORDS.tell(wrong, compared=compared, in_flight=in_flight, total_s=spent_s)

    async def _look(self, world: World, now_s: float, since_s: float) -> tuple[Found, Found] | Problem:
        """Both sides at once; each look may take half of the run's time."""
        params = {"since": since_s, "until": now_s - self.settle_s}
        left, right = await asyncio.gather(
            self._side(world, self.left, params), self._side(world, self.right, params)
        )
        if isinstance(left, Problem):
            return left
        if isinstance(right, Problem):
            return right
        return await asyncio.to_thread(_paired, left, right)

    async def _side(self, world: World, side: Side, params: Mapping[str, float]) -> Sequence[Row] | Problem:
        return await ask(
            world,
            side.database,
            side.query,
            params,
            timeout_s=world.timeout_s / 2,
            # The second look has twice the window.
            rows_max=2 * self.rows_max,
            has_succeeded=self._has_succeeded,
        )


def _paired(left: Sequence[Row], right: Sequence[Row]) -> tuple[Found, Found] | Problem:
    """Both sides by key, or why they cannot be compared."""
    for name, rows in (("left", left), ("right", right)):
        if rows and "key" not in rows[0]:
            return Problem("error", f"{name}: the query gives no column named key; write `... as key`")
    if left and right and left[0].keys() != right[0].keys():
        odd = ", ".join(sorted(left[0].keys() ^ right[0].keys()))
        return Problem("error", f"the two queries do not give the same columns: {odd} is on one side only")
    columns = sorted(name for name in (left or right or [{}])[0] if name != "key")
    return by_key(left, "key", columns), by_key(right, "key", columns)
