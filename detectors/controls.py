"""What series that were not deployed did meanwhile: taken off where it helps, and a reason not to act."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.contrast import carried, level_after, level_before
from detectors.model import FloatArray
from detectors.scores import Score

_GAIN_MIN = 0.05  # of squared error, on the half of the history not fitted
_SEEN_MIN = 60


def choose_beta(target: FloatArray, control: FloatArray) -> float:
    """How much of the control to subtract from the target, 0 to 1.5; 0 unless it foretells unseen data.

    target, control: residuals of the history, shape (n,), NaN = missing. Fitted on each half and tried on
    the other; both halves must gain 5 % of squared error. Winsorised at 4 s.d.
    """
    both = np.flatnonzero(np.isfinite(target) & np.isfinite(control))
    if len(both) < _SEEN_MIN:
        return 0.0
    y, x = np.clip(target[both], -4.0, 4.0), np.clip(control[both], -4.0, 4.0)
    half = len(both) // 2
    betas = []
    for fit, test in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
        beta = float(np.clip(x[fit] @ y[fit] / max(float(x[fit] @ x[fit]), 1e-12), 0.0, 1.5))
        left = float(np.sum((y[test] - beta * x[test]) ** 2))
        if left > (1.0 - _GAIN_MIN) * float(np.sum(y[test] ** 2)):
            return 0.0
        betas.append(beta)
    return sum(betas) / 2.0


def mean_of(residuals: list[FloatArray]) -> FloatArray:
    """Mean over the controls seen at each place, NaN where none is; all of one shape."""
    stack = np.stack(residuals)
    seen = np.isfinite(stack)
    count = seen.sum(axis=0)
    total = np.where(seen, stack, 0.0).sum(axis=0)
    result: FloatArray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return result


def take_off(target: FloatArray, control: FloatArray, beta: float) -> FloatArray:
    """target - beta control; a control not seen is taken to be at its level."""
    result: FloatArray = target - beta * np.where(np.isfinite(control), control, 0.0)
    return result


class Companions:
    """What the controls did together, on the scale of the scores of the target.

    Each control is brought to the level of the target, so that the same factor on both is the same rise;
    their median is what moved everybody. history: shape (n,), 0 where no control was seen.
    """

    def __init__(self, score: Score, target: FloatArray, controls: Sequence[FloatArray], day: int) -> None:
        """target, controls: shape (n,) in their units, NaN = missing. day: ticks that give the levels."""
        self._score = score
        usual = _level(target[-day:])
        self._zero = float(score.of(np.array([usual]))[0])
        levels = [_level(c[-day:]) for c in controls]
        self._factors = [usual / level if level * usual > 0.0 else np.nan for level in levels]
        moved = np.full((max(len(controls), 1), len(target)), np.nan)
        for i, (control, factor) in enumerate(zip(controls, self._factors, strict=True)):
            moved[i] = score.of(control * factor) - self._zero
        self.history = _median_seen(moved)
        self._y = carried(self.history)

    def take(self, values: Sequence[float]) -> float:
        """How far the controls have moved in the next tick; NaN when none was seen."""
        moved = self._score.of(np.array(values, dtype=np.float64) * np.array(self._factors)) - self._zero
        now = float(_median_seen(moved[:, None])[0])
        self._y = np.append(self._y, now if np.isfinite(now) else self._y[-1] if len(self._y) else 0.0)
        return now

    def rise(self, length: int) -> float:
        """By how much the newest `length` ticks lie above as many before the deploy."""
        n = len(self.history)
        if n < length or len(self._y) < n + length:
            return 0.0
        after, before = self._y[None, -length:], self._y[None, n - length : n]
        return float(level_after(after)[0] - level_before(before)[0])


def _level(values: FloatArray) -> float:
    seen = values[np.isfinite(values)]
    return float(np.median(seen)) if seen.size else np.nan


def _median_seen(moved: FloatArray) -> FloatArray:
    """Median over the rows of what is seen, NaN where nothing is; shape (n,) from (m, n)."""
    ranked = np.sort(moved, axis=0)  # NaN last
    seen = np.isfinite(ranked).sum(axis=0)
    last = np.maximum(seen - 1, 0)
    place = np.arange(ranked.shape[1])
    middle = 0.5 * (ranked[last // 2, place] + ranked[(last + 1) // 2, place])
    result: FloatArray = np.where(seen > 0, middle, np.nan)
    return result
