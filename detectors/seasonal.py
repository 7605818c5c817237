"""What the time of day alone explains, used only where it is proved to help."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.model import FloatArray, IntArray

_DAY_S = 86400.0
FINE, COARSE = 288, 96  # parts of a day: of 5 minutes for a ramp of half an hour, of 15 for its usual shape
_DAYS_MIN = 3
_GAIN_MIN = 0.05  # of squared error that the profile must save on days it has not seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Deviation from the level by time of day (UTC), in the scale of the scores: shape (B,), the day in equal
    parts."""

    bins: FloatArray

    def at(self, end_at: FloatArray) -> FloatArray:
        """Expected deviation of the steps ending at `end_at` (epoch seconds), linear between bin centres."""
        return _interpolate(self.bins, *_places(end_at, len(self.bins)))


def _places(at: FloatArray, bins: int) -> tuple[IntArray, FloatArray]:
    """(bin, how far towards the next one, 0 to 1) of each time, by bin centres."""
    place = (at % _DAY_S) / _DAY_S * bins - 0.5
    low = np.floor(place).astype(np.intp)
    return low % bins, place - low


def _interpolate(bins: FloatArray, low: IntArray, part: FloatArray) -> FloatArray:
    result: FloatArray = bins[low] * (1.0 - part) + np.roll(bins, -1)[low] * part
    return result


def _smooth(bins: FloatArray) -> FloatArray:
    """Circular mean over three bins, along the last axis."""
    return (np.roll(bins, 1, axis=-1) + bins + np.roll(bins, -1, axis=-1)) / 3.0


def fit_profile(
    y: FloatArray, end_at: FloatArray, block: int, parts: int = COARSE
) -> tuple[Profile, FloatArray] | None:
    """The profile, and for each sample the one learned without its day; None if it does not pay.

    y: shape (n,), NaN = missing. block: ticks of a watch; what counts is whether the change from one block of
    this length to the next is better foretold. parts: of a day, none shorter than a step. Days left out
    because residuals of days learned from are too small, and thresholds made of them too low (reference:
    leave-one-day-out).
    """
    seen = np.isfinite(y)
    day = np.floor(end_at / _DAY_S).astype(np.intp)
    day -= day.min() if day.size else 0
    days = int(day.max()) + 1 if day.size else 0
    if days < _DAYS_MIN:
        return None
    cell = day * parts + ((end_at % _DAY_S) / _DAY_S * parts).astype(np.intp)
    count = np.bincount(cell[seen], minlength=days * parts).reshape(days, parts)
    total = np.bincount(cell[seen], weights=y[seen], minlength=days * parts).reshape(days, parts)
    whole = (count > 0).mean(axis=1) >= 0.8
    if whole.sum() < _DAYS_MIN:
        return None
    table = total / np.maximum(count, 1)
    empty = count == 0
    for i in np.flatnonzero(whole):
        table[i, empty[i]] = np.median(table[i, ~empty[i]])
    table = table[whole] - np.median(table[whole], axis=1, keepdims=True)
    # Winsorised over days, so that one incident does not become a habit.
    middle = np.median(table, axis=0)
    reach = 3.0 * 1.4826 * np.median(np.abs(table - middle), axis=0)
    table = np.clip(table, middle - reach, middle + reach)
    bins = _smooth(table.mean(axis=0))
    low, part = _places(end_at, parts)
    held_out = _interpolate(bins, low, part)
    for row, i in enumerate(np.flatnonzero(whole)):
        others = (table.sum(axis=0) - table[row]) / (len(table) - 1)
        mine = day == i
        held_out[mine] = _interpolate(_smooth(others), low[mine], part[mine])
    if _error(y - held_out, block) > (1.0 - _GAIN_MIN) * _error(y, block):
        return None
    return Profile(bins=bins), held_out


def _error(y: FloatArray, block: int) -> float:
    """Winsorised mean square of the change between neighbouring block means."""
    blocks = y[: len(y) // block * block].reshape(-1, block)
    seen = np.isfinite(blocks)
    full = seen.sum(axis=1) >= max(1, block // 2)
    mean = np.where(seen, blocks, 0.0).sum(axis=1)[full] / seen.sum(axis=1)[full]
    change = np.abs(np.diff(mean))
    if not change.size:
        return 0.0
    return float(np.mean(np.minimum(change, 4.0 * np.median(change)) ** 2))
