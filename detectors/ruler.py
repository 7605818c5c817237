"""What a contrast of a series is worth, measured at every time at which nothing was deployed.

The same contrast is taken at up to 1,200 placebo deploys in the history. They give its scale, what the time
of day alone makes of it, and how far out it goes by chance; nothing is assumed of the series but that its
past is like its present.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.contrast import usual_size
from detectors.looks import Look
from detectors.model import BoolArray, FloatArray, IntArray
from detectors.tails import quantile, student_quantile, tail_quantile

_DAY_S = 86400.0
_ORIGINS_MAX = 1200
_DAYS_BACK = 5
_DAYS_BESIDE = 2
_PARTS = np.array([0.0, 0.5, 1.0])  # of what other days say that may be taken off
_GAIN_MIN = 0.05  # of squared error that the other days must save before they are believed
_VALUES_MIN = 5
WINDOWS_MIN = 20.0  # independent ones; with fewer the bound is more Student's than the series' own
_SEASON_MIN = 50  # placebos; fewer do not tell whether other days foretell anything
_CUT_AT = 0.99  # quantile beyond which a placebo adds no more to the scale: an incident is no noise


@dataclass(slots=True, kw_only=True)
class Mark:
    """One contrast of one look. scale: what it usually is, in the unit of the contrast. expected: what other
    days make of it at this time of day. past: the same at each placebo in scales, shape (J,), NaN = not seen.
    windows: how many of them are independent. limit: in scales, exceeded by chance as often as is allowed.
    has_own: whether the past was enough for a tail of its own; else the bound is mostly Student's.
    """

    look: Look
    scale: float
    expected: float
    past: FloatArray
    windows: float
    limit: float
    has_own: bool


def placebo_origins(n: int, step_s: float) -> tuple[IntArray, int]:
    """(origins, places per day): indices of a history of n ticks at which a deploy is pretended, newest
    first.

    The first is the deploy itself, n; they are evenly spaced, so that the same time of the next day lies
    `places` further (0 when a day is no whole number of steps, or longer than the history).
    """
    day = round(_DAY_S / step_s)
    stride = max(1, -(-n // _ORIGINS_MAX))
    if abs(day * step_s - _DAY_S) > 1e-6 or n <= day:
        return np.arange(n, 0, -stride), 0
    while day % stride:
        stride += 1
    return np.arange(n, 0, -stride), day // stride


def make_mark(
    contrast: FloatArray,
    look: Look,
    places: int,
    free: BoolArray,
    floor: float,
    alpha: float,
    ticks: int,
) -> Mark | None:
    """The mark of one contrast from its values at all origins, shape (J,), the first being the deploy.

    free: shape (J,), bool, which origins are placebos. floor: least scale. alpha: what all looks of the
    series may spend. ticks: history. None when the contrast was hardly ever seen.
    """
    season = season_of(contrast, places)
    clean = contrast - season
    usable = np.isfinite(clean) & free
    usable[0] = False
    if usable.sum() < _VALUES_MIN:
        return None
    scale = max(usual_size(clean[usable]), floor)
    past = np.where(usable, clean / scale, np.nan)
    windows = float(usable.mean()) * ticks / look.length
    share = alpha * look.share
    own = tail_quantile(past, share, windows)
    return Mark(
        look=look,
        scale=scale,
        expected=float(season[0]),
        past=past,
        windows=windows,
        # The scale was estimated too, and from how many windows decides how far it may be off.
        limit=max(student_quantile(share, max(windows, 2.0)), own or 0.0),
        has_own=own is not None and windows >= WINDOWS_MIN,
    )


def joint_limit(marks: Sequence[Mark], alpha: float) -> float:
    """What the largest of all marks over their limits must exceed, at least 1: the budget is spent once.

    Source: P. H. Westfall, S. S. Young, Resampling-Based Multiple Testing (1993), max-T; with placebo times
    as the resampling group.
    """
    if not marks:
        return 1.0
    windows = min(mark.windows for mark in marks)
    return max(1.0, tail_quantile(most_of(marks), alpha, windows) or 1.0)


def most_of(marks: Sequence[Mark]) -> FloatArray:
    """The largest of all marks over their limits at each placebo, shape (J,); -inf where none was seen."""
    most = np.full(len(marks[0].past), -np.inf)
    for mark in marks:
        most = np.maximum(most, np.where(np.isfinite(mark.past), mark.past / mark.limit, -np.inf))
    return most


def season_of(contrast: FloatArray, places: int) -> FloatArray:
    """What other days make of the contrast: b times its mean at the same time there, shape (J,).

    b is 0, 1/2 or 1, whichever foretells the placebos best; 0 unless another saves 5 % of squared error. A
    placebo sees two days on either side, the deploy (first) five days back.
    """
    count = len(contrast)
    none = np.zeros(count)
    if not places or count <= places:
        return none
    seen = np.isfinite(contrast)
    total = _other_days(np.where(seen, contrast, 0.0), places)
    found = _other_days(seen.astype(np.float64), places)
    mean = np.where(found > 0, total / np.maximum(found, 1), 0.0)
    tried = seen & (found > 0)
    tried[0] = False
    if tried.sum() < _SEASON_MIN:
        return none
    came, told = contrast[tried], mean[tried]
    cut = quantile(np.sort(np.abs(came)), _CUT_AT)
    left = np.minimum(np.abs(came - _PARTS[:, None] * told), cut)
    error = (left * left).sum(axis=1)
    error[0] *= 1.0 - _GAIN_MIN
    result: FloatArray = _PARTS[np.argmin(error)] * mean
    return result


def _other_days(value: FloatArray, places: int) -> FloatArray:
    """Sum of what each origin finds at its time on other days, shape (count,): a placebo on two days either
    side, the deploy (first) on five days back."""
    total = np.zeros(len(value))
    for day in range(1, _DAYS_BESIDE + 1):
        far = day * places
        rest = max(len(value) - far, 1)
        total[1:rest] += value[1 + far :]
        total[1 + far :] += value[1:rest]
    total[0] = value[places : (_DAYS_BACK * places) + 1 : places].sum()
    return total
