"""How raw samples become one number per step of which more is worse, with noise of about equal size.

Counts keep how much was seen: 3 errors in 40 requests and 300 in 4,000 are not the same evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from detectors.model import FloatArray, IntArray, SeriesSpec
from detectors.robust import median
from detectors.tails import quantile

Form = Literal["deviance", "root_count", "root", "log", "identity"]

# Below this many finite samples a shape of the distribution cannot be told.
_SHAPE_MIN = 30
_NEAR_ZERO = 0.02  # quantile that tells whether a series keeps clear of zero
_CLEAR = 0.05  # of the median
_TINY = 0.02  # of the median: smaller values are all alike, so that one zero is no infinity
_LARGE_COUNT = 25.0
_NOTHING = 1e-9  # what a transform there and back may leave of zero


def root_deviance(k: FloatArray, n: FloatArray, p: FloatArray) -> FloatArray:
    """Signed root of the binomial deviance of k events in n trials against probability p in (0, 1).

    About standard normal when p is right, also for few events where (k - np)/sd is badly skewed; its sign is
    that of k - np. Arrays broadcast; n = 0 gives NaN. Source: P. McCullagh, J. A. Nelder, Generalized Linear
    Models (1989), section 12.4.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(k > 0.0, k * np.log(k / (n * p)), 0.0)
        miss = np.where(k < n, (n - k) * np.log((n - k) / (n * (1.0 - p))), 0.0)
        root = np.sign(k - n * p) * np.sqrt(np.maximum(2.0 * (hit + miss), 0.0))
    result: FloatArray = np.where(n > 0.0, root, np.nan)
    return result


def clean_pairs(raw: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(k, n) of ratio or probe samples of shape (..., 2): NaN, negative or n = 0 becomes n = 0, k = 0.

    k is cut at n: a numerator scraped a moment later than its denominator may run ahead of it.
    """
    with np.errstate(invalid="ignore"):
        seen = (raw[..., 0] >= 0.0) & (raw[..., 1] > 0.0)
    n = np.where(seen, raw[..., 1], 0.0)
    return np.where(seen, np.minimum(raw[..., 0], n), 0.0), n


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The transform of one series. sign: +1 when up is worse. tiny: what a logarithm is cut at."""

    form: Form
    sign: float
    tiny: float = 1e-300

    def of(self, value: FloatArray) -> FloatArray:
        """Value in the unit of the series to the worse-is-up scale; NaN stays NaN."""
        return self.sign * _transformed(self.form, value, self.tiny)

    def unit(self, y: float) -> float:
        """Back from the worse-is-up scale to the unit of the series. What a logarithm was cut at, or a count
        rounded to, is 0."""
        y = self.sign * y
        match self.form:
            case "root_count":
                count = max(y, 0.0) ** 2 / 4.0 - 0.375
                return count if count > _NOTHING else 0.0
            case "root":
                return float(max(y, 0.0) ** 2)
            case "log":
                return 0.0 if y <= np.log(self.tiny) + _NOTHING else float(np.exp(min(y, 700.0)))
            case _:
                return y


def _transformed(form: Form, value: FloatArray, tiny: float | FloatArray) -> FloatArray:
    result: FloatArray
    match form:
        case "root_count":  # Anscombe: variance 1 for a Poisson count
            result = 2.0 * np.sqrt(np.maximum(value, 0.0) + 0.375)
        case "root":
            result = np.sqrt(np.maximum(value, 0.0))
        case "log":
            result = np.log(np.maximum(value, tiny))
        case _:
            result = np.asarray(value, dtype=np.float64)
    return result


class Scores:
    """The transforms of many series at once."""

    def __init__(self, scores: Sequence[Score]) -> None:
        self._sign = np.array([s.sign for s in scores])[:, None]
        self._forms: list[tuple[Form, IntArray, FloatArray]] = []
        for form in dict.fromkeys(s.form for s in scores):
            rows = np.array([i for i, s in enumerate(scores) if s.form == form])
            self._forms.append((form, rows, np.array([scores[i].tiny for i in rows])[:, None]))

    def of(self, values: FloatArray) -> FloatArray:
        """As `Score.of` for each row of values, shape (S, k)."""
        made = np.empty_like(values)
        for form, rows, tiny in self._forms:
            made[rows] = _transformed(form, values[rows], tiny)
        result: FloatArray = self._sign * made
        return result


def choose_score(spec: SeriesSpec, value: FloatArray) -> Score:
    """The transform for a series, from its kind and its history `value` (shape (n,), NaN = missing).

    Rates, latencies and large counts are logged when they keep clear of zero, because what happens to them is
    a factor; counts and rates that do not keep the root that steadies a Poisson count. A gauge is logged when
    it is positive and logging at least halves a clear skew; a rate that was ever negative stays as it is.
    """
    sign = 1.0 if spec.bad == "up" else -1.0
    seen = value[np.isfinite(value)]
    positive = bool(seen.size and seen.min() > 0.0)
    middle = median(seen) if seen.size else 0.0
    tiny = _TINY * middle if middle > 0.0 else 1e-300
    is_clear = middle > 0.0 and seen.min() >= 0.0 and quantile(np.sort(seen), _NEAR_ZERO) > _CLEAR * middle
    form: Form
    match spec.kind:
        case "ratio" | "probe":
            form = "deviance"
        case "count":
            form = "log" if is_clear and middle >= _LARGE_COUNT else "root_count"
        case "rate":
            ever_negative = bool(seen.size) and seen.min() < 0.0
            form = "log" if is_clear else "identity" if ever_negative else "root"
        case "latency":
            form = "log" if is_clear or positive else "identity"
        case "gauge":
            skewed = positive and seen.size >= _SHAPE_MIN and _skew(seen) > 1.0
            form = "log" if skewed and abs(_skew(np.log(seen))) < 0.5 * _skew(seen) else "identity"
    return Score(form=form, sign=sign, tiny=tiny)


def _skew(x: FloatArray) -> float:
    d = x - x.mean()
    spread = float(np.sqrt(np.mean(d * d)))
    return float(np.mean(d**3)) / spread**3 if spread > 0.0 else 0.0
