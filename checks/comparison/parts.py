"""A table read part by part in one snapshot, so that no statement takes long and a busy server is spared.

Between two parts the limits of the database are looked at anew (`checks.databases.server`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from checks.comparison.looks import Reader
from checks.comparison.statements import Cut, Ranges, Statements
from checks.model import Row

# What a statement should take: pt-table-checksum's --chunk-time.
PART_S = 0.5
GROWTH_MAX = 8.0
SHRINKING_MAX = 0.25
PAGES_FIRST = 1024  # 8 MB
BUCKETS_FIRST = 1


@dataclass(slots=True)
class Pace:
    """How large the next part is, from how long the last one took. size: in pages or buckets."""

    size: int

    def took(self, seconds: float) -> None:
        """Aim at `PART_S`; the time that a busy server made us wait is in it, and makes parts smaller."""
        factor = PART_S / max(seconds, 1e-3)
        self.size = max(1, int(self.size * min(GROWTH_MAX, max(SHRINKING_MAX, factor))))


@dataclass(frozen=True, slots=True)
class Parts:
    """Where a table can be divided. condition: from one of the `count` to before another."""

    count: int
    first: int
    condition: Callable[[int, int], str]

    def each(self, pace: Pace) -> Iterator[str]:
        """The conditions that together are the whole table, each of the size that the pace has by then."""
        low = 0
        while low < self.count:
            high = min(self.count, low + pace.size)
            yield self.condition(low, high)
            low = high


def parts(side: Statements, cut: Cut) -> Parts | None:
    """How one side can be divided: by its pages, else by ranges of the key, else (None) not at all."""
    if (pages := side.pages) is not None:
        between = pages.between_sql
        return Parts(pages.count, PAGES_FIRST, lambda low, high: between.format(low=low, high=high))
    if isinstance(cut, Ranges):
        return Parts(cut.count, BUCKETS_FIRST, lambda low, high: side.among(cut, low, high - 1))
    return None


async def read(
    reader: Reader,
    divided: Parts | None,
    ask: Callable[[str | None], str],
    params: dict[str, float],
    *,
    rows_max: int,
    mono_s: Callable[[], float],
) -> list[Row]:
    """The rows of the statement over the whole table; `rows_max` of each part. Raises Unanswered."""
    if divided is None:
        return list(await reader.rows(ask(None), params, rows_max=rows_max))
    rows: list[Row] = []
    pace = Pace(divided.first)
    for part in divided.each(pace):
        began_s = mono_s()
        rows += await reader.rows(ask(part), params, rows_max=rows_max)
        pace.took(mono_s() - began_s)
    return rows
