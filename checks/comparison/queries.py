"""Two queries, read whole and compared by key."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from checks.blame import Problem
from checks.comparison.looks import Asking, Seen, together
from checks.data.agreeing import by_key
from checks.databases.asking import Unanswered
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

    async def first(self, asking: Asking, now_s: float) -> Seen:
        """See `Comparison.first`."""
        self._began_s = now_s
        return await self._look(asking, now_s, now_s - self.window_s)

    async def second(self, asking: Asking, now_s: float, wrong: Collection[Any]) -> Seen:
        """See `Comparison.second`."""
        return await self._look(asking, now_s, self._began_s - 2 * self.window_s)

    def conclude(self, wrong: Collection[Any]) -> None:
        """Nothing is kept between runs."""

    async def _look(self, asking: Asking, now_s: float, since_s: float) -> Seen:
        """Both sides at once."""
        params = {"since": since_s, "until": now_s - self.settle_s}
        async with asking.both(self.left.database, self.right.database) as readers:
            # The second look has twice the window.
            left, right = await together(
                *(
                    reader.rows(side.sql, params, rows_max=2 * self.rows_max)
                    for reader, side in zip(readers, (self.left, self.right), strict=True)
                )
            )
        return await asyncio.to_thread(_paired, left, right)


def _paired(left: Sequence[Row], right: Sequence[Row]) -> Seen:
    """Both sides by key; raises Unanswered if they cannot be compared."""
    for name, rows in (("left", left), ("right", right)):
        if rows and "key" not in rows[0]:
            told = f"{name}: the query gives no column named key; write `... as key`"
            raise Unanswered(Problem("error", told))
    if left and right and left[0].keys() != right[0].keys():
        odd = ", ".join(sorted(left[0].keys() ^ right[0].keys()))
        told = f"the two queries do not give the same columns: {odd} is on one side only"
        raise Unanswered(Problem("error", told))
    columns = sorted(name for name in (left or right or [{}])[0] if name != "key")
    found = by_key(left, "key", columns), by_key(right, "key", columns)
    return Seen(left=found[0], right=found[1], compared=len(found[0].keys() | found[1].keys()))
