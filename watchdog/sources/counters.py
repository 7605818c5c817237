"""From counters of many targets to increases of one service: resets, roll-outs and gaps in one place.

Both sources and both uses (history and live) go through this arithmetic, so that what a judge compares was
measured alike. A *target* is one process that is scraped; its counters start at zero when it starts.
Figures and alternatives: docs/decisions/0004-prometheus-counters.md.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from detectors.model import BoolArray, FloatArray, IntArray

# A target not seen for longer is forgotten; what comes back after that is a new one. Rows that must be read
# before the first one wanted, so that a live read decides as a long history read does.
LOOK_BACK = 6
# A step counts when more than this share of the usual targets was measured: `coverage_min` of the design.
_SHARE_MIN = 0.8
_MEMORY_S = 3600.0
_MEMORY_MAX = 240
# A counter that starts (or starts again) may hold as much as the whole service did in twice its busiest step
# of the last hour; more cannot have happened within the step and is an older count seen for the first time.
_FIRST_VALUE_FACTOR = 2.0
_FIRST_VALUE_FLOOR = 10.0


@dataclass(slots=True)
class Fleet:
    """What a series' targets did in the last hour: (step end, targets present, increase or NaN) per step."""

    _steps: deque[tuple[float, int, float]] = field(default_factory=lambda: deque(maxlen=_MEMORY_MAX))
    _had: dict[float, int] = field(default_factory=dict)

    def remembers(self, first_at: float, step_s: float) -> bool:
        """True if the hour before that step (or as much as fits) is known well enough to judge it by."""
        wanted = min(_MEMORY_MAX, _MEMORY_S / step_s)
        known = sum(1 for at, _, _ in self._steps if first_at - _MEMORY_S <= at < first_at)
        return known >= 0.5 * wanted

    def rewind(self, first_at: float) -> None:
        """Forget that step and everything after it: they are measured again.

        How many targets the older of them had is kept: a history read again, in which half of the targets are
        missing now, must not make the half that is left the usual number.
        """
        forgotten = []
        while self._steps and self._steps[-1][0] >= first_at:
            forgotten.append(self._steps.pop())
        self._had = {at: targets for at, targets, _ in forgotten[LOOK_BACK:]}

    def note(self, at: float, targets: int, total: float) -> None:
        """Remember a step, unless it or a later one is remembered already."""
        if self._steps and self._steps[-1][0] >= at:
            return
        while self._steps and self._steps[0][0] < at - _MEMORY_S:
            self._steps.popleft()
        self._steps.append((at, max(targets, self._had.pop(at, 0)), total))

    def usual_targets(self) -> float:
        """Lower median of the targets present, over steps in which anybody was; 0 if nothing is known."""
        seen = sorted(targets for _, targets, _ in self._steps if targets)
        return float(seen[(len(seen) - 1) // 2]) if seen else 0.0

    def first_value_max(self) -> float:
        """The largest first value of a counter that can have come together within one step; -1 if unknown."""
        totals = [total for _, _, total in self._steps if not math.isnan(total)]
        return _FIRST_VALUE_FACTOR * max(totals) + _FIRST_VALUE_FLOOR if totals else -1.0


def increases(counts: FloatArray, *, first_at: float, step_s: float, fleet: Fleet) -> FloatArray:
    """Increase of every column per step, summed over targets: shape (rows, columns), NaN = missing.

    counts: shape (rows, targets, columns), float64: the last value of each counter within each step, NaN
    where there was none; row i ends at first_at + i * step_s (epoch seconds). The last column is the
    reference: a target is present where it is finite, and it decides what a first value means. fleet: this
    series' last hour, brought up to the last row. The first row can only be a base and comes out missing.

    Per target: a value after a value one step earlier gives their difference. A fall of any column is a
    restart: its values count from zero. A target never seen (for LOOK_BACK steps) while others were is one
    that started: its values count from zero. Both only if plausible (`Fleet.first_value_max`). A value after
    a gap covers more than its step and is not used. A step counts if more than 80 % of the targets present,
    and of those usual in the last hour, could be used; a column that one of them lacks is missing.
    """
    rows, _, columns = counts.shape
    out = np.full((rows, columns), np.nan)
    # The rows read to look back were measured before, and better: with rows of their own to look back on.
    fleet.rewind(first_at + LOOK_BACK * step_s)
    is_present = np.isfinite(counts[:, :, -1])
    age = _rows_since_seen(is_present)
    grown = np.full_like(counts, np.nan)
    np.subtract(counts[1:], counts[:-1], out=grown[1:])
    with np.errstate(invalid="ignore"):
        is_restart = (grown < 0.0).any(axis=2) & (age == 1)
    is_start = (age > LOOK_BACK) & (age == 1).any(axis=1, keepdims=True)
    may_be_from_zero = (is_restart | is_start) & is_present
    is_usual = is_present & (age == 1) & ~is_restart
    grown[~is_usual] = 0.0
    totals, n_usual, targets_present = grown.sum(axis=1), is_usual.sum(axis=1), is_present.sum(axis=1)
    # Row by row only what rests on the hour before each: weeks of history come at once.
    for i in range(rows):
        total, n_used, n_present = totals[i], int(n_usual[i]), int(targets_present[i])
        if may_be_from_zero[i].any():
            is_plausible = counts[i, :, -1] <= fleet.first_value_max()
            is_from_zero = may_be_from_zero[i] & is_plausible
            total = total + counts[i, is_from_zero].sum(axis=0)
            n_used += int(is_from_zero.sum())
        if n_used > _SHARE_MIN * max(n_present, fleet.usual_targets()):
            out[i] = total
        fleet.note(first_at + i * step_s, n_present, float(out[i, -1]))
    return out


def _rows_since_seen(is_present: BoolArray) -> IntArray:
    """How many rows before each the target was last present, shape (rows, targets); none: over LOOK_BACK."""
    rows, targets = is_present.shape
    numbers = np.where(is_present, np.arange(rows)[:, np.newaxis], -LOOK_BACK - 1)
    newest_before = np.full((rows, targets), -LOOK_BACK - 1)
    newest_before[1:] = np.maximum.accumulate(numbers, axis=0)[:-1]
    since: IntArray = np.arange(rows)[:, np.newaxis] - newest_before
    return since


def quantile(buckets: FloatArray, upper_bounds: FloatArray, q: float) -> FloatArray:
    """Quantile per step from cumulative bucket increases, by linear interpolation within the bucket.

    buckets: shape (rows, bounds), cumulative over ascending `upper_bounds` (the last +Inf), NaN = missing.
    As in Prometheus' histogram_quantile: the lowest bucket starts at 0 (or is its own bound if that is not
    positive); a quantile in the +Inf bucket is the highest finite bound. NaN where nothing was observed or
    the +Inf bucket is missing.
    """
    out = np.full(len(buckets), np.nan)
    for i, row in enumerate(buckets):
        is_known = np.isfinite(row)
        bounds, counts = upper_bounds[is_known], np.maximum.accumulate(row[is_known])
        if not is_known[-1] or len(bounds) < 2 or counts[-1] <= 0.0:
            continue
        rank = q * counts[-1]
        k = int(np.searchsorted(counts, rank))
        if k >= len(bounds) - 1:
            out[i] = bounds[-2]
        elif k == 0 and bounds[0] <= 0.0:
            out[i] = bounds[0]
        else:
            low, below = (0.0, 0.0) if k == 0 else (float(bounds[k - 1]), float(counts[k - 1]))
            out[i] = low + (bounds[k] - low) * (rank - below) / (counts[k] - below)
    return out
