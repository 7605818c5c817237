"""A past that has been read: every series on its grid, as the book that a seat reads.

Nothing is late in a past: every step is read and frozen, and what is missing is missing for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from detectors.model import FloatArray, History, SeriesSpec
from watchdog.judging.seat import Book


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One series. values: shape (n, spec.width), oldest first, NaN = missing; row 0 ends at `first_at`."""

    spec: SeriesSpec
    first_at: float
    values: FloatArray

    @property
    def last_at(self) -> float:
        """End of the newest row, epoch seconds."""
        return self.first_at + (len(self.values) - 1) * self.spec.step_s

    @property
    def coverage(self) -> float:
        """Share of the steps that have a value; 0 for a recording without steps."""
        return float(np.isfinite(self.values).all(axis=1).mean()) if len(self.values) else 0.0

    def rows(self, first_at: float, n: int) -> FloatArray:
        """The n steps from the one that ends at `first_at` on, shape (n, width), a copy; NaN outside."""
        found = np.full((n, self.spec.width), np.nan)
        low = round((first_at - self.first_at) / self.spec.step_s)
        begin, end = max(low, 0), min(low + n, len(self.values))
        if begin < end:
            found[begin - low : end - low] = self.values[begin:end]
        return found


class PastBook(Book):
    """Recordings by series id, as a seat reads them. An unknown id raises KeyError: a bug."""

    def __init__(self, recordings: Mapping[str, Recording]) -> None:
        self._recordings = recordings

    def history(self, series_id: str, *, end_at: float, n: int, name: str | None = None) -> History:
        """See `Book.history`; what lies before the recording is missing."""
        recording = self._recordings[series_id]
        spec = recording.spec if name is None else replace(recording.spec, name=name)
        return History(spec=spec, values=recording.rows(end_at - (n - 1) * spec.step_s, n), end_at=end_at)

    def at(self, series_id: str, at: float) -> FloatArray:
        """See `Book.at`."""
        row: FloatArray = self._recordings[series_id].rows(at, 1)[0]
        return row

    def rows(self, series_id: str, first_at: float, n: int) -> FloatArray:
        """`Recording.rows` of that series."""
        return self._recordings[series_id].rows(first_at, n)

    def is_read(self, series_id: str, at: float) -> bool:
        """True: it is the past."""
        return True

    def is_frozen(self, series_id: str, at: float, grid_at: float) -> bool:
        """True: it is the past."""
        return True


class AlteredBook(PastBook):
    """The same past with other rows of some series from `first_at` on.

    altered: series id to rows, shape (n, width), on the grid of that series.
    """

    def __init__(
        self, recordings: Mapping[str, Recording], first_at: float, altered: Mapping[str, FloatArray]
    ) -> None:
        super().__init__(recordings)
        self._first_at = first_at
        self._altered = altered

    def at(self, series_id: str, at: float) -> FloatArray:
        """See `Book.at`."""
        rows = self._altered.get(series_id)
        if rows is not None:
            i = round((at - self._first_at) / self._recordings[series_id].spec.step_s)
            if 0 <= i < len(rows):
                row: FloatArray = rows[i].copy()
                return row
        return super().at(series_id, at)
