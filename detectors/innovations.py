"""The noise of a series around its level: what of a step is new, once the steps before it are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.model import FloatArray
from detectors.robust import median, robust_sd

CLIP = 3.0  # innovations, in robust s.d.: bounds what one sample can prove
REACH = 8.0  # residuals, in s.d.: bounds what one sample can do to the prediction of the next
_ORDER_MAX = 3
_PHI_MAX = 0.97  # level shifts inside the history look like phi = 1 and would hide steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """AR(p) with clipped innovations, all in units of the s.d. of the residuals.

    phi: shape (p,), p >= 1. centre, width: of the raw innovations (median, robust s.d.). mean, sd: of the
    clipped ones.
    """

    phi: FloatArray
    centre: float
    width: float
    mean: float
    sd: float

    @property
    def unit(self) -> float:
        """What an innovation is divided by; a response divided by it is in the same units as `scores`."""
        return self.width * self.sd

    def scores(self, innovation: FloatArray) -> FloatArray:
        """Clipped and standardised innovations: mean 0, s.d. 1 (or less, never more) over the history."""
        clipped = np.clip((innovation - self.centre) / self.width, -CLIP, CLIP)
        result: FloatArray = (clipped - self.mean) / self.sd
        return result

    @property
    def long_run_sd(self) -> float:
        """s.d. of a mean of many samples times the root of their number, in s.d. of the residuals."""
        return float(self.unit / max(1.0 - self.phi.sum(), 1.0 - _PHI_MAX))


def _stable(phi: FloatArray) -> FloatArray:
    """phi with its roots pulled to at most 0.97, which keeps forecasts bounded."""
    radius = float(np.max(np.abs(np.roots(np.r_[1.0, -phi])), initial=0.0))
    if radius <= _PHI_MAX:
        return phi
    result: FloatArray = phi * (_PHI_MAX / radius) ** np.arange(1, len(phi) + 1)
    return result


def _choose_phi(u: FloatArray, seen: FloatArray) -> FloatArray:
    """Yule-Walker coefficients of the order 0 to 3 with the least BIC; u has zeros where not seen."""
    n = float(seen.sum())
    # Sums, not products of vectors: those are shared out to threads, which cost more than they save here, and
    # their last digits differ from one processor to the next.
    gamma = np.array(
        [
            float(np.sum(u[k:] * u[: len(u) - k])) / max(float(np.sum(seen[k:] * seen[: len(u) - k])), 1.0)
            for k in range(_ORDER_MAX + 1)
        ]
    )
    best, phi = n * np.log(max(gamma[0], 1e-300)), np.zeros(1)
    for p in range(1, _ORDER_MAX + 1):
        lags = np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
        # The ridge keeps the system solvable for a constant series.
        candidate = np.linalg.solve(gamma[lags] + 1e-9 * (gamma[0] + 1e-300) * np.eye(p), gamma[1 : p + 1])
        left = gamma[0] - float(candidate @ gamma[1 : p + 1])
        bic = n * np.log(max(left, 1e-300)) + p * np.log(max(n, 2.0))
        if bic < best:
            best, phi = bic, candidate
    return _stable(phi)


def fit_noise(r: FloatArray, floor: float) -> Noise:
    """The noise model of residuals r (shape (n,), in s.d., NaN = missing).

    floor: least s.d. of an innovation, in s.d. of r: Poisson noise for counts, a part of the smallest change
    that matters for the rest, so that a constant series has a scale.
    """
    seen = np.isfinite(r).astype(np.float64)
    # Centred: the mean of a skewed score is not 0, and a constant looks like phi = 1.
    middle = median(r[seen > 0.0]) if seen.any() else 0.0
    u = np.clip(np.where(seen > 0.0, r - middle, 0.0), -4.0, 4.0)
    u = np.where(seen > 0.0, u - u.sum() / max(seen.sum(), 1.0), 0.0)
    phi = _choose_phi(u, seen) if seen.sum() >= 30 and np.any(u) else np.zeros(1)
    p = len(phi)
    filled = np.clip(np.where(seen > 0.0, r, 0.0), -REACH, REACH)
    known = seen[p:].copy()
    innovation = filled[p:].copy()
    for k in range(1, p + 1):
        innovation -= phi[k - 1] * filled[p - k : len(r) - k]
        known *= seen[p - k : len(r) - k]
    e = innovation[known > 0.0]
    if not e.size:
        e = np.zeros(1)
    centre = median(e)
    wide = min(float(np.std(e)), float(np.sqrt(np.mean(np.clip(e - centre, -4.0, 4.0) ** 2))))
    width = max(robust_sd(e, centre), 0.5 * wide, floor, 1e-9)
    clipped = np.clip((e - centre) / width, -CLIP, CLIP)
    mean = float(clipped.mean())
    sd = max(float(clipped.std()), floor / width, 0.5)
    return Noise(phi=phi, centre=centre, width=width, mean=mean, sd=sd)
