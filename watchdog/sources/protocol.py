"""What a metric source is: given queries and a grid, values on that grid, with everything missing typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from detectors.model import FloatArray, SeriesKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What one series needs from a source; `series_id` is `service/name`.

    counter: selector of a counter (kinds rate and count). numerator, denominator: counters of a ratio.
    histogram: selector of a classic histogram's `_bucket` series (kind latency, with quantile; and kind
    histogram, with the unit of its bounds) or of native ones (only kind histogram). gauge: selector of a
    gauge. query: finished PromQL, the escape. by: labels that identify the series beside the name.
    """

    series_id: str
    kind: SeriesKind
    counter: str | None = None
    numerator: str | None = None
    denominator: str | None = None
    histogram: str | None = None
    quantile: float = 0.95
    unit: str = "s"
    gauge: str | None = None
    query: str | None = None
    by: tuple[str, ...] = ()

    @property
    def is_native(self) -> bool:
        """Asks for native histograms: a whole distribution of a metric that does not name buckets."""
        return (
            self.kind == "histogram"
            and self.histogram is not None
            and not self.histogram.partition("{")[0].strip().endswith("_bucket")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Steps that end at first_at, first_at + step_s, ..., last_at (epoch seconds, multiples of step_s)."""

    first_at: float
    last_at: float
    step_s: float

    @property
    def n(self) -> int:
        """Number of steps, at least 1."""
        return round((self.last_at - self.first_at) / self.step_s) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReading:
    """Values of one query on the grid.

    values: shape (grid.n, width of the kind), float64, NaN = missing. problem: why values are missing, one
    sentence without secrets, None when nothing was wrong (a step without samples is not a problem).
    """

    series_id: str
    values: FloatArray
    problem: str | None = None


class Source(Protocol):
    """One configured source. The world's failure is a reading with a problem, never an exception."""

    async def read(
        self, queries: Sequence[Query], grid: Grid, *, now: float, timeout_s: float
    ) -> list[SourceReading]:
        """One reading per query, in order. Total deadline `timeout_s` for all of them together."""
        ...

    async def label_sets(self, selector: str, *, now: float, timeout_s: float) -> list[Mapping[str, str]]:
        """Labels of every series that `selector` matches and that has a value now; [] if it cannot be told.

        Whatever hides some of them (a page that does not answer, a partial answer) hides all of them.
        """
        ...

    async def close(self) -> None:
        """Release connections; may be called twice."""
        ...
