"""A distribution as counts on one fixed grid: where it is cut, how much lies above, and a quantile to show.

Bounds lie a factor sqrt(2) apart, at powers of 2^(1/2): schema 1 of Prometheus' native histograms, so that
one of any higher schema falls into the bins exactly. Why this grid: docs/decisions/0007-histograms.md.
"""

from __future__ import annotations

import numpy as np

from detectors.model import HISTOGRAM_BINS, FloatArray

CUTS_MAX = 8
# Of the requests: the middle of the distribution, then ever farther out in its tail.
_SHARES = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.004)
_NEAR = 2.0  # a cut that is off by a larger factor says something else than was meant
_EVENTS_MIN = 30.0  # on either side of a cut in the history; fewer do not give its share
_NEWS = 0.001  # what lies above the last cut is news: that bound need not have been passed before
# 2^(-20/2) s = 0.98 ms to 2^(12/2) s = 64 s; for any other unit 1 to 65,536 of it.
_FIRST_EXPONENT_S = -20
_FIRST_EXPONENT = 0


def bounds(unit: str) -> FloatArray:
    """Upper bounds of all bins but the last, ascending, shape (HISTOGRAM_BINS - 1,), in `unit`.

    Bin i holds (bounds[i - 1], bounds[i]], the first everything up to its bound, the last what is above all.
    """
    first = _FIRST_EXPONENT_S if unit == "s" else _FIRST_EXPONENT
    made: FloatArray = np.exp2(0.5 * np.arange(first, first + HISTOGRAM_BINS - 1, dtype=np.float64))
    return made


def choose_cuts(counts: FloatArray) -> tuple[int, ...]:
    """Places in `bounds` at which a distribution is watched, at most CUTS_MAX, ascending.

    counts: shape (n, HISTOGRAM_BINS), NaN = missing; the history. Chosen are the bounds above which lie
    shares nearest to one half, a quarter, a tenth and so on, each with 30 requests on either side at least,
    and the lowest one that hardly anything passes; where there is none of these, the highest. Bounds over an
    empty bin divide nothing that the one below does not, and are left out. () for a history without requests,
    or with all of them above the last bound.

    Comparing the shares above every cut is comparing two distribution functions, one-sided: the largest of
    F_before(x) - F_after(x) over a few x, as in N. V. Smirnov, Annals of Mathematical Statistics 19 (1948),
    279-281, against stochastic order (E. L. Lehmann, Annals of Mathematical Statistics 26 (1955), 399-419).
    Fixed before the deploy, each cut gives a binomial share; that there are several is paid for by the limit
    on the largest of all marks (`ruler.joint_limit`), whatever their dependence.
    """
    pooled = np.nansum(counts, axis=0)
    total = float(pooled.sum())
    beyond = total - np.cumsum(pooled)[:-1]
    dividers = np.flatnonzero(pooled[:-1] > 0.0)
    able = dividers[(beyond[dividers] >= _EVENTS_MIN) & (total - beyond[dividers] >= _EVENTS_MIN)]
    chosen = set()
    for share in _SHARES if len(able) else ():
        off = np.abs(np.log(beyond[able] / total / share))
        if off.min() <= np.log(_NEAR):
            chosen.add(int(able[np.argmin(off)]))
    chosen.update(dividers[beyond[dividers] <= _NEWS * total][:1].tolist())
    return tuple(sorted(chosen)) or tuple(dividers[-1:].tolist())


def above(counts: FloatArray, cut: int) -> FloatArray:
    """(requests above that bound, requests), shape (..., 2) from (..., HISTOGRAM_BINS); NaN = missing.

    Given the cut and the requests, those above are binomial.
    """
    pair: FloatArray = np.stack([counts[..., cut + 1 :].sum(axis=-1), counts.sum(axis=-1)], axis=-1)
    return pair


def quantile(counts: FloatArray, unit: str, q: float) -> FloatArray:
    """Quantile of each row, shape (n,), in `unit`; NaN where a row is missing or nothing was observed.

    counts: shape (n, HISTOGRAM_BINS). Within a bin values are taken as even on the scale of the logarithm, as
    Prometheus 3 does for native histograms; in the first bin as even from 0; of the last only the lower bound
    is known. True to the width of a bin, a factor sqrt(2).
    """
    edges = bounds(unit)
    with np.errstate(invalid="ignore"):
        is_known = counts.sum(axis=-1) > 0.0
    summed = np.cumsum(np.where(is_known[:, None], counts, 1.0), axis=-1)
    rank = q * summed[:, -1]
    place = (summed < rank[:, None]).sum(axis=-1)
    row, inside = np.arange(len(counts)), np.minimum(place, len(edges) - 1)
    lower = np.maximum(inside - 1, 0)
    below = np.where(inside > 0, summed[row, lower], 0.0)
    part = np.clip((rank - below) / np.maximum(summed[row, inside] - below, 1e-300), 0.0, 1.0)
    within = np.where(inside > 0, edges[lower] * (edges[inside] / edges[lower]) ** part, edges[0] * part)
    value = np.where(place < len(edges), within, edges[-1])
    return np.where(is_known, value, np.nan)


def usual_band(counts: FloatArray, unit: str, q: float) -> tuple[float, float] | None:
    """Where that quantile of single rows lay in 95 % of them, in `unit`; None when none held requests."""
    seen = quantile(counts, unit, q)
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        return None
    low, high = np.quantile(seen, [0.025, 0.975])
    return float(low), float(high)
