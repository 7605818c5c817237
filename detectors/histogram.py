"""A distribution as counts on one fixed grid: where it is cut, how much lies beyond, and a quantile to show.

Bounds lie a factor sqrt(2) apart, at powers of 2^(1/2): schema 1 of Prometheus' native histograms, so that
one of any higher schema falls into the bins exactly. Why this grid: docs/decisions/0007-histograms.md.
"""

from __future__ import annotations

import numpy as np

from detectors.model import HISTOGRAM_BINS, Bad, FloatArray

CUTS_MAX = 8
# Of the requests: the middle of the distribution, then ever farther out in its tail.
_SHARES = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.004)
_NEAR = 2.0  # a cut that is off by a larger factor says something else than was meant
_EVENTS_MIN = 30.0  # beyond a cut in the history; fewer do not give its share
_BEYOND = 0.001  # what lies past the last cut is news: that bound need not have been passed before
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


def choose_cuts(counts: FloatArray, bad: Bad) -> tuple[int, ...]:
    """Places in `bounds` at which a distribution is watched, at most CUTS_MAX, the middle first.

    counts: shape (n, HISTOGRAM_BINS), NaN = missing; the history. bad: `up` when large values are worse; else
    the shares meant below are of small ones. Chosen are the bounds beyond which lie shares nearest to one
    half, a quarter, a tenth and so on, each with 30 events at least, and the nearest bound that hardly
    anything passes. Bounds that divide nothing (empty bins) are left out. () for a history without requests.

    Comparing the shares beyond every cut is comparing two distribution functions, one-sided: the sup of
    F_before(x) - F_after(x) over a few x, as in N. V. Smirnov, Annals of Mathematical Statistics 19 (1948),
    279-281, against stochastic order (E. L. Lehmann, Annals of Mathematical Statistics 26 (1955), 399-419).
    Cuts fixed before the deploy make each a binomial share; that there are several is paid for by the limit
    on the largest of all marks (`ruler.joint_limit`), whatever their dependence.
    """
    pooled = np.nansum(counts, axis=0)
    total = float(pooled.sum())
    if total <= 0.0:
        return ()
    beyond = total - np.cumsum(pooled)[:-1] if bad == "up" else np.cumsum(pooled)[:-1]
    # The bin on the near side of a bound must hold something, or the bound before it divides alike.
    is_divider = (pooled[:-1] if bad == "up" else pooled[1:]) > 0.0
    share = beyond / total
    able = np.flatnonzero(is_divider & (beyond >= _EVENTS_MIN) & (total - beyond >= _EVENTS_MIN))
    chosen: list[int] = []
    for wanted in _SHARES:
        if not len(able):
            break
        off = np.abs(np.log(share[able] / wanted))
        best = int(able[np.argmin(off)])
        if off.min() <= np.log(_NEAR) and best not in chosen:
            chosen.append(best)
    rare = np.flatnonzero(is_divider & (share <= _BEYOND))
    if len(rare):
        edge = int(rare[0] if bad == "up" else rare[-1])
        chosen += [edge] if edge not in chosen else []
    return tuple(chosen[:CUTS_MAX])


def beyond(counts: FloatArray, cut: int, bad: Bad) -> FloatArray:
    """(events on the worse side of that bound, trials) per step, shape (n, 2); NaN where a step is missing.

    counts: shape (n, HISTOGRAM_BINS). Given the cut, events are binomial among trials.
    """
    worse = counts[..., cut + 1 :] if bad == "up" else counts[..., : cut + 1]
    return np.stack([worse.sum(axis=-1), counts.sum(axis=-1)], axis=-1)


def quantile(counts: FloatArray, unit: str, q: float) -> FloatArray:
    """Quantile of each row, shape (n,), in `unit`; NaN where a row is missing or nothing was observed.

    counts: shape (n, HISTOGRAM_BINS). Within a bin values are taken as even on the scale of the logarithm, as
    Prometheus does for native histograms; in the first bin evenly from 0; in the last its lower bound is all
    that is known. Exact to the width of a bin, a factor sqrt(2).
    """
    edges = bounds(unit)
    total = counts.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        is_known = total > 0.0
    summed = np.cumsum(np.where(is_known[:, None], counts, 1.0), axis=-1)
    rank = q * summed[:, -1]
    place = (summed < rank[:, None]).sum(axis=-1)
    row = np.arange(len(counts))
    inside = np.minimum(place, len(edges) - 1)
    below = np.where(inside > 0, summed[row, np.maximum(inside - 1, 0)], 0.0)
    share = (rank - below) / np.maximum(summed[row, inside] - below, 1e-300)
    low = edges[np.maximum(inside - 1, 0)]
    value = np.where(inside > 0, low * (edges[inside] / low) ** np.clip(share, 0.0, 1.0), edges[0] * share)
    value = np.where(place > len(edges) - 1, edges[-1], value)
    return np.where(is_known, value, np.nan)
