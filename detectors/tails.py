"""How far out a value is: tail quantiles of what was seen, and of Student's t where little was seen."""

from __future__ import annotations

import math

import numpy as np

from detectors.model import FloatArray

_TAIL = 0.03  # the share of the largest values beyond which the tail is taken as exponential
_WINDOWS_BEYOND = 3.0  # independent windows that must lie beyond the last quantile read off
_TAIL_MAX = 0.2
_VALUES_MIN = 10


def tail_quantile(values: FloatArray, alpha: float, windows: float) -> float | None:
    """Value exceeded with probability alpha by a variable seen `values`, shape (J,); None for fewer than 10.

    windows: how many of the values are worth one each (they overlap). An order statistic where at least three
    windows lie beyond it; further out the tail is exponential with the mean excess between the median and
    that quantile, as it is for the maxima of most series. Non-finite values are left out.
    """
    seen = values[np.isfinite(values)]
    if len(seen) < _VALUES_MIN:
        return None
    share = min(max(_TAIL, _WINDOWS_BEYOND / max(windows, 1.0)), _TAIL_MAX)
    ranked = np.sort(seen)
    if alpha >= share:
        return quantile(ranked, 1.0 - alpha)
    half, high = quantile(ranked, 0.5), quantile(ranked, 1.0 - share)
    return high + (high - half) * math.log(share / alpha) / math.log(0.5 / share)


def quantile(ranked: FloatArray, q: float) -> float:
    """The q quantile of sorted values, shape (n,), n >= 1, linear between order statistics.

    Type 7 of R. J. Hyndman, Y. Fan, The American Statistician 50 (1996), 361-365, as numpy's, without its
    80 us of generality: a watch asks for it fifty times a series.
    """
    place = q * (len(ranked) - 1)
    low = int(place)
    if low + 1 == len(ranked):
        return float(ranked[low])
    return float(ranked[low] + (place - low) * (ranked[low + 1] - ranked[low]))


def student_quantile(alpha: float, freedom: float) -> float:
    """Upper alpha quantile of Student's t with `freedom` >= 2 degrees, 0 < alpha < 0.5.

    What the normal quantile has to become when the scale itself was estimated from few windows. Source:
    G. W. Hill, Algorithm 396, Communications of the ACM 13 (1970), 619-620, eqs. 1-4; error below 1 %.
    """
    if freedom <= 2.0:
        return math.sqrt(2.0 / (2.0 * alpha * (2.0 - 2.0 * alpha)) - 2.0)
    two, n = 2.0 * alpha, freedom
    a = 1.0 / (n - 0.5)
    b = (48.0 / a) / a
    c = ((20700.0 * a / b - 98.0) * a - 16.0) * a + 96.36
    d = ((94.5 / (b + c) - 3.0) / b + 1.0) * math.sqrt(a * math.pi / 2.0) * n
    y = (d * two) ** (2.0 / n)
    if y > 0.05 + a:
        x = -normal_quantile(alpha)
        y = x * x
        if n < 5.0:
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5.0) * x - 7.0) * x - 2.0) * x + b
        y = (((((0.4 * y + 6.3) * y + 36.0) * y + 94.5) / c - y - 3.0) / b + 1.0) * x
        y = math.expm1(a * y * y)
    else:
        y = (
            (1.0 / (((n + 6.0) / (n * y) - 0.089 * d - 0.822) * (n + 2.0) * 3.0) + 0.5 / (n + 4.0)) * y - 1.0
        ) * (n + 1.0) / (n + 2.0) + 1.0 / y
    return math.sqrt(n * y)


def normal_quantile(alpha: float) -> float:
    """Upper alpha quantile of a standard normal, 0 < alpha < 1.

    Source: the rational start of M. Abramowitz, I. A. Stegun, Handbook of Mathematical Functions (1964),
    26.2.23, and two steps of Newton on the complementary error function.
    """
    if alpha > 0.5:
        return -normal_quantile(1.0 - alpha)
    t = math.sqrt(-2.0 * math.log(alpha))
    x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (
        1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    )
    for _ in range(2):
        excess = 0.5 * math.erfc(x / math.sqrt(2.0)) - alpha
        x += excess * math.sqrt(2.0 * math.pi) * math.exp(0.5 * x * x)
    return x
