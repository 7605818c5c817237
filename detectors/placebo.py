"""What the statistic does when nothing was deployed: thresholds from placebo deploys in the own past.

The largest statistic over all ticks of a watch and all series of the service, at every placebo time alike, is
compared with the live one: looking often and at many series costs nothing more, whatever their dependence.
Source: P. H. Westfall, S. S. Young, Resampling-Based Multiple Testing (1993), max-T; with placebo times as
the resampling group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from detectors.model import Calibration, DeployInterval, FloatArray
from detectors.plan import Plan

WINDOWS_MIN = 20  # disjoint ones; with fewer the model alone is believed
_ROWS_MAX = 600
_POOL = 480.0  # how many windows the model's word is worth (reference: K of the shrunk threshold)
_TIES = 3.0  # windows expected above an own threshold; fewer make it a guess


def placebo_starts(
    plan: Plan, n: int, reach: int, deploys: Sequence[DeployInterval], watch_s: float
) -> FloatArray:
    """Indices of history at which a deploy is pretended, shape (J,), oldest first; at most 600.

    n: ticks of history. reach: ticks needed before a start. Windows that touch a real deploy or its watch
    are left out; incidents without a deploy stay in, since they can happen again.
    """
    last = n - plan.span
    if last < reach:
        return np.zeros(0)
    stride = max(1, -(-(last - reach + 1) // _ROWS_MAX))
    starts = np.arange(last, reach - 1, -stride)[::-1]
    begin = plan.end_at - (n - starts) * plan.step_s
    end = begin + plan.span * plan.step_s
    free = np.ones(len(starts), dtype=np.bool_)
    for deploy in deploys:
        free &= (end <= deploy.started_at) | (begin >= deploy.finished_at + watch_s)
    return starts[free].astype(np.float64)


def disjoint(starts: FloatArray, span: int) -> int:
    """How many of the windows of `span` ticks do not overlap: what overlapping ones are worth together."""
    count, end = 0, -math.inf
    for start in starts:
        if start >= end:
            count, end = count + 1, start + span
    return count


def threshold(maxima: FloatArray, windows: int, alpha: float, model: float) -> tuple[float, Calibration]:
    """Value that a quiet watch exceeds (strictly) with probability at most alpha.

    maxima: the largest statistic of each placebo, shape (J,). windows: how many of them are disjoint.
    model: the bound the noise model gives. With enough windows the strict order statistic, at least half
    the model's (zero-inflated series tie at nothing). With fewer, the tail beyond the 90 % quantile is taken
    as exponential, as it is for an e-process, and shrunk towards the model, but only upwards: a past that is
    noisier than the model says is believed at once. With fewer than 20, the model alone.
    """
    if windows < WINDOWS_MIN:
        return model, "model"
    ranked = np.sort(maxima)
    if alpha * (windows + 1) >= _TIES:
        place = min(math.ceil((1.0 - alpha) * (len(ranked) + 1)), len(ranked))
        return max(float(ranked[place - 1]), 0.5 * model), "own"
    # One standard error above 0.9: a tail drawn from few windows is too short half of the time (measured
    # without it: 2.4 % false alarms of 1 % allowed at 85 windows of heavy-tailed AR noise).
    upper = 0.9 + math.sqrt(0.9 * 0.1 / windows)
    half, high = float(np.quantile(ranked, 0.5)), float(np.quantile(ranked, upper))
    tail = high + (high - half) / math.log(5.0) * max(math.log(0.1 / alpha), 0.0)
    return max(tail, (windows * tail + _POOL * model) / (windows + _POOL)), "pooled"
