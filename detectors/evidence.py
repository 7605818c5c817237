"""Evidence that a series got worse at the first judged tick and stayed worse, one tick at a time.

The same scan runs over all placebo deploys (a row each) and live (one row): what calibrates is what judges.
"""

from __future__ import annotations

import math

import numpy as np

from detectors.innovations import REACH, Noise
from detectors.model import FloatArray
from detectors.normal import log_ndtr

NEVER = -math.inf


def log_mixture(s: FloatArray, v: FloatArray) -> FloatArray:
    """log E of a one-sided normal mixture with a half-normal prior of s.d. 1 on the effect.

    s: sum of response times score; v: sum of squared responses; v = 0 gives 0. With independent unit
    normal scores an e-process: P(sup E >= 1/alpha) <= alpha. Source: S. R. Howard and others, Annals of
    Statistics 49 (2021), 1055-1080 (arXiv 1810.08240), one-sided normal mixture with r = 1.
    """
    w = 1.0 + v
    result: FloatArray = (
        math.log(2.0) - 0.5 * np.log(w) + 0.5 * s * s / w + log_ndtr(np.clip(s / np.sqrt(w), -37.0, 37.0))
    )
    return result


class Scan:
    """Running evidence of `rows` deploys of one series.

    Three series pass the same AR filter: the residual r, the response `a` to a step at the deploy (zero
    before), and the response `c` to an error in the level (one before). A missing sample is replaced by its
    forecast in all three, so a gap costs exactly what it hides: the next innovation is divided by the s.d.
    of its longer forecast. The warm-up is such a gap.
    """

    def __init__(self, noise: Noise, rows: int) -> None:
        self.noise = noise
        self._lags = np.zeros((3, rows, len(noise.phi)))
        self._hidden = np.zeros(rows, dtype=np.intp)
        self._base = np.zeros(rows)
        self._s = np.zeros(rows)
        self._v = np.zeros(rows)
        self._m = np.zeros(rows)
        self._sum = np.zeros(rows)
        self._weight = np.zeros(rows)

    def prime(self, r: FloatArray, w: FloatArray, level: FloatArray) -> None:
        """Pass samples from before the deploy, shape (rows, t), oldest first; nothing is counted.

        level: shape (rows,), the number of samples behind the level.
        """
        for i in range(r.shape[1]):
            self._filter(r[:, i], w[:, i], 0.0)
        slack = (1.0 - float(self.noise.phi.sum())) / self.noise.unit
        self._base = np.maximum(level, 1.0) * max(slack, 0.0) ** 2

    def skip(self, rows: int, ticks: int) -> None:
        """Pass `ticks` ticks of the gap as missing."""
        hidden = np.full(rows, np.nan)
        for _ in range(ticks):
            self._filter(hidden, hidden, 1.0)

    def step(self, r: FloatArray, w: FloatArray) -> None:
        """Count one tick. r, w: shape (rows,), residual (NaN = missing) and its weight."""
        score, x, c, seen = self._filter(r, w, 1.0)
        x, c = np.where(seen, x, 0.0), np.where(seen, c, 0.0)
        self._s += x * np.where(seen, score, 0.0)
        self._v += x * x
        self._m += x * c
        self._sum += np.where(seen, w * np.clip(r, -4.0, 4.0), 0.0)
        self._weight += np.where(seen, w * w, 0.0)

    def _filter(
        self, r: FloatArray, w: FloatArray, after: float
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        forecast = self._lags @ self.noise.phi
        seen = np.isfinite(r)
        new = np.stack([np.clip(r, -REACH, REACH), after * w, w])
        wide = self.noise.growth[np.minimum(self._hidden, len(self.noise.growth) - 1)]
        off = (new - forecast) / wide
        self._lags[:, :, 1:] = self._lags[:, :, :-1]
        self._lags[:, :, 0] = np.where(seen, new, forecast)
        self._hidden = np.where(seen, 0, self._hidden + 1)
        return self.noise.scores(off[0]), off[1] / self.noise.unit, off[2] / self.noise.unit, seen

    def components(self) -> FloatArray:
        """Shape (2, rows): log evidence of a step at the first judged tick, and of a raised level.

        The first is an e-process under the noise model, with the cost of the estimated level in it
        (information V V / (V + m m / V_base), which is P / (P + n) without autocorrelation). The second,
        max(0, mean score)^2 n / 2, has no guarantee of its own: only a placebo threshold makes it usable.
        """
        lost = self._m * self._m / np.maximum(self._base, 1e-300)
        keep = self._v / np.maximum(self._v + lost, 1e-300)
        onset = log_mixture(self._s * keep, self._v * keep)
        level = np.maximum(self._sum, 0.0) ** 2 / (2.0 * np.maximum(self._weight, 1e-12))
        return np.stack([onset, level])

    @property
    def information(self) -> FloatArray:
        """Sum of squared responses so far, shape (rows,)."""
        return self._v
