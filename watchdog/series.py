"""The rings that hold what is judged: every series on its fixed grid, missing as NaN, old steps frozen.

Pure: no clock and no I/O. A step is named by its end and covers (end - step_s, end]; ends are multiples of
step_s. A row with any non-finite number is missing as a whole, because half a ratio is no observation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.model import FloatArray, History, SeriesSpec

# A late point may still arrive for this many steps; after that the step is what it is, for ever.
HEAL_STEPS = 3
# Check results wait here until their step is closed; a book nobody closes must not grow.
_BINS_MAX = 64


class SeriesRing:
    """The newest `capacity` steps of one series; writing and reading one step are O(1)."""

    def __init__(self, spec: SeriesSpec, capacity: int) -> None:
        """capacity: in steps; must exceed HEAL_STEPS, else ValueError."""
        if capacity <= HEAL_STEPS:
            raise ValueError(f"capacity: {capacity} steps cannot hold the {HEAL_STEPS} that still heal")
        self.spec = spec
        # Numbers of runs are small and whole, so half as many bytes hold them exactly, and with thousands of
        # checks their rings are what memory is for.
        kept_as = np.float32 if spec.kind == "probe" else np.float64
        self._rows: npt.NDArray[np.floating[Any]] = np.full((capacity, spec.width), np.nan, dtype=kept_as)
        # Step numbers (end / step_s); everything after `_newest` is not written yet.
        self._newest: int | None = None

    @property
    def newest_at(self) -> float | None:
        """End of the newest step written (missing ones too), epoch seconds; None while empty."""
        return None if self._newest is None else self._newest * self.spec.step_s

    def write(self, at: float, values: npt.ArrayLike) -> bool:
        """Keep one step's row; True if it is now held.

        values: `spec.width` numbers, NaN = missing. A step that has a value keeps it (it may have been
        judged); a missing one is healed while it is among the newest HEAL_STEPS + 1, later rows are refused.
        Raises ValueError for a time off the grid.
        """
        number = self._number(at)
        if self._newest is not None and number < self._newest - HEAL_STEPS:
            return False
        self._advance(number)
        return self._fill(number, np.asarray(values, dtype=np.float64))

    def backfill(self, first_at: float, values: FloatArray) -> int:
        """Fill steps that are still missing, however old; how many were.

        values: shape (n, width), row i ends at first_at + i * step_s. For history, before it is judged.
        """
        if len(values) == 0:
            return 0
        numbers = self._number(first_at) + np.arange(len(values))
        newest = self._advance(int(numbers[-1]))
        is_held = numbers > newest - len(self._rows)
        slots, rows = numbers[is_held] % len(self._rows), values[is_held]
        is_news = np.isfinite(rows).all(axis=1) & np.isnan(self._rows[slots]).all(axis=1)
        self._rows[slots[is_news]] = rows[is_news]
        return int(is_news.sum())

    def at(self, at: float) -> FloatArray:
        """The row of one step, shape (width,), a copy; NaN where missing or no longer (or not yet) held."""
        number = self._number(at)
        if not self._holds(number):
            return np.full(self.spec.width, np.nan)
        row: FloatArray = self._rows[number % len(self._rows)].astype(np.float64)
        return row

    def read(self, first_at: float, last_at: float) -> FloatArray:
        """Rows of the steps from first_at to last_at inclusive, shape (n, width), oldest first, a copy."""
        numbers = np.arange(self._number(first_at), self._number(last_at) + 1)
        rows = self._rows[numbers % len(self._rows)].astype(np.float64)
        newest = -1 if self._newest is None else self._newest
        rows[(numbers > newest) | (numbers <= newest - len(self._rows))] = np.nan
        return rows

    def history(self, *, end_at: float, n: int) -> History:
        """The n steps that end with `end_at`."""
        values = self.read(end_at - (n - 1) * self.spec.step_s, end_at)
        return History(spec=self.spec, values=values, end_at=end_at)

    def _number(self, at: float) -> int:
        number = round(at / self.spec.step_s)
        if abs(number * self.spec.step_s - at) > 1e-6 * self.spec.step_s + 1e-6:
            raise ValueError(
                f"{at} is not a multiple of the step of {self.spec.name}, {self.spec.step_s:g} s"
            )
        return number

    def _holds(self, number: int) -> bool:
        return self._newest is not None and self._newest - len(self._rows) < number <= self._newest

    def _advance(self, number: int) -> int:
        """Make `number` the newest step unless one is newer; the steps skipped on the way are missing."""
        if self._newest is None:
            self._newest = number
        elif number > self._newest:
            gap = np.arange(max(self._newest, number - len(self._rows)) + 1, number + 1)
            self._rows[gap % len(self._rows)] = np.nan
            self._newest = number
        return self._newest

    def _fill(self, number: int, row: FloatArray) -> bool:
        slot = number % len(self._rows)
        if not self._holds(number) or not np.isfinite(row).all() or np.isfinite(self._rows[slot]).all():
            return False
        self._rows[slot] = row
        return True


@dataclass(slots=True)
class Bins:
    """Check results that fall in steps not yet closed.

    Each bin is (sum, count): for `probe` series runs that failed and runs; else readings' sum and number.
    However often a check ran, it makes one row per step, so a burst does not count more than its step.
    """

    step_s: float
    is_mean: bool
    dropped: int = 0
    _sums: dict[int, tuple[float, int]] = field(default_factory=dict)
    _closed: int = -1

    def add(self, at: float, value: float) -> None:
        """Count one result at that time (epoch seconds): 1.0 or 0.0 for failed or not, else the reading.

        A non-finite value, or one for a step already closed, is dropped and counted in `dropped`.
        """
        number = math.ceil(at / self.step_s)
        is_full = number not in self._sums and len(self._sums) >= _BINS_MAX
        if not math.isfinite(value) or number <= self._closed or is_full:
            self.dropped += 1
            return
        total, count = self._sums.get(number, (0.0, 0))
        self._sums[number] = (total + value, count + 1)

    def close(self, last_at: float) -> Iterator[tuple[float, tuple[float, ...]]]:
        """(step end, row) of every bin up to `last_at`, oldest first; those steps take nothing more."""
        self._closed = max(self._closed, round(last_at / self.step_s))
        for number in sorted(n for n in self._sums if n <= self._closed):
            total, count = self._sums.pop(number)
            yield number * self.step_s, (total / count,) if self.is_mean else (total, float(count))


class SeriesBook:
    """Every series of the daemon by its id (`service/name`). Unknown ids raise KeyError: a bug."""

    def __init__(self) -> None:
        self._rings: dict[str, SeriesRing] = {}
        self._bins: dict[str, Bins] = {}

    def add(self, series_id: str, spec: SeriesSpec, *, capacity: int) -> None:
        """Open an empty ring of `capacity` steps. Raises ValueError if the id is taken."""
        if series_id in self._rings:
            raise ValueError(f"{series_id}: is in the book already")
        self._rings[series_id] = SeriesRing(spec, capacity)
        self._bins[series_id] = Bins(step_s=spec.step_s, is_mean=spec.kind != "probe")

    def spec(self, series_id: str) -> SeriesSpec:
        """What that series is."""
        return self._rings[series_id].spec

    def write(self, series_id: str, at: float, values: npt.ArrayLike) -> bool:
        """`SeriesRing.write` of that series."""
        return self._rings[series_id].write(at, values)

    def backfill(self, series_id: str, first_at: float, values: FloatArray) -> int:
        """`SeriesRing.backfill` of that series."""
        return self._rings[series_id].backfill(first_at, values)

    def at(self, series_id: str, at: float) -> FloatArray:
        """`SeriesRing.at` of that series."""
        return self._rings[series_id].at(at)

    def read(self, series_id: str, first_at: float, last_at: float) -> FloatArray:
        """`SeriesRing.read` of that series."""
        return self._rings[series_id].read(first_at, last_at)

    def is_read(self, series_id: str, at: float) -> bool:
        """True if that step, or a later one, was written: as a value or as missing."""
        newest_at = self._rings[series_id].newest_at
        return newest_at is not None and newest_at >= at

    def is_frozen(self, series_id: str, at: float, grid_at: float) -> bool:
        """True if that step changes no more after the tick at `grid_at`: a judge need not wait for it."""
        return at <= grid_at - (HEAL_STEPS - 1e-6) * self._rings[series_id].spec.step_s

    def history(self, series_id: str, *, end_at: float, n: int, name: str | None = None) -> History:
        """The n steps that end with `end_at`; `name` renames the spec (control series go by their id)."""
        history = self._rings[series_id].history(end_at=end_at, n=n)
        return history if name is None else replace(history, spec=replace(history.spec, name=name))

    def missing_share(self, series_id: str, first_at: float, last_at: float) -> float:
        """Share of the steps from first_at to last_at inclusive without a value, in [0, 1]."""
        rows = self._rings[series_id].read(first_at, last_at)
        return float(np.isnan(rows).any(axis=1).mean())

    def coverage_last_hour(self, series_id: str, grid_at: float) -> float:
        """Share of the steps of the hour up to `grid_at` with a value; at least one step is looked at."""
        step_s = self._rings[series_id].spec.step_s
        n = max(1, round(3600.0 / step_s))
        return 1.0 - self.missing_share(series_id, grid_at - (n - 1) * step_s, grid_at)

    def bins(self, series_id: str) -> Bins:
        """Where the results of a check are put until their step is closed.

        ValueError for kinds of which a check cannot be the source: those with two columns, except `probe`.
        """
        spec = self.spec(series_id)
        if spec.width != 1 and spec.kind != "probe":
            raise ValueError(f"{series_id}: a reading is one number, the series has two columns")
        return self._bins[series_id]

    def close_bin(self, series_id: str, grid_at: float) -> None:
        """Write every bin of steps up to `grid_at` to the ring; a step without results is missing."""
        ring = self._rings[series_id]
        for at, row in self._bins[series_id].close(grid_at):
            ring.write(at, row)
        ring.write(grid_at, np.full(ring.spec.width, np.nan))
