"""Two queries, read whole and compared by key."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checks.blame import Problem
from checks.comparison.looks import Asking, Seen
from checks.data.agreeing import by_key
from checks.model import Row


@dataclass(frozen=True, slots=True)
class Query:
    """One side."""

    database: str
    sql: str


@dataclass(slots=True)
class QueryComparison:
    """Looks at the last `window_s`, the second time at twice as much.

    So a row whose other half lies just before the first window finds it.
    """

    left: Query
    right: Query
    settle_s: float
    window_s: float
    rows_max: int
    _began_s: float = 0.0

    async def first(self, asking: Asking, now_s: float) -> Seen | Problem:
        """See `Comparison.first`."""
        self._began_s = now_s
        return await self._look(asking, now_s, now_s - self.window_s)

    async def second(self, asking: Asking, now_s: float, wrong: Collection[Any]) -> Seen | Problem:
        """See `Comparison.second`."""
        return await self._look(asking, now_s, self._began_s - 2 * self.window_s)

    def conclude(self, wrong: Collection[Any]) -> None:
        """Nothing is kept between runs."""

    async def _look(self, asking: Asking, now_s: float, since_s: float) -> Seen | Problem:
        """Both sides at once; each look may take half of the run's time."""
        params = {"since": since_s, "until": now_s - self.settle_s}
        left, right = await asyncio.gather(
            self._rows(asking, self.left, params), self._rows(asking, self.right, params)
        )
        if isinstance(left, Problem):
            return left
        if isinstance(right, Problem):
            return right
        return await asyncio.to_thread(_paired, left, right)

    async def _rows(
        self, asking: Asking, side: Query, params: Mapping[str, float]
    ) -> Sequence[Row] | Problem:
        return await asking.rows(
            side.database,
            side.sql,
            params,
            timeout_s=asking.world.timeout_s / 2,
            # The second look has twice the window.
            rows_max=2 * self.rows_max,
        )


def _paired(left: Sequence[Row], right: Sequence[Row]) -> Seen | Problem:
    """Both sides by key, or why they cannot be compared."""
    for name, rows in (("left", left), ("right", right)):
        if rows and "key" not in rows[0]:
            return Problem("error", f"{name}: the query gives no column named key; write `... as key`")
    if left and right and left[0].keys() != right[0].keys():
        odd = ", ".join(sorted(left[0].keys() ^ right[0].keys()))
        return Problem("error", f"the two queries do not give the same columns: {odd} is on one side only")
    columns = sorted(name for name in (left or right or [{}])[0] if name != "key")
    found = by_key(left, "key", columns), by_key(right, "key", columns)
    return Seen(left=found[0], right=found[1], compared=len(found[0].keys() | found[1].keys()))
