"""What series that were not deployed did meanwhile: taken off where it helps, and a reason not to act."""

from __future__ import annotations

import numpy as np

from detectors.model import FloatArray

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
