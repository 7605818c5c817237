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
_WORKDAYS = 5
_GAIN_MIN = 0.05  # of squared error that the other days must save before they are believed
_APART_GAIN_MIN = 0.15  # the same for workdays and weekends apart
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """When a deploy is pretended: the first is the deploy itself, the others lie before it, newest first.

    at: indices of the history, shape (J,). places: the same time of the day before lies so many further (0
    when a day is no whole number of steps, or longer than the history). free: shape (J,), which are placebos.
    is_weekend: shape (J,), which lie on a Saturday or Sunday.
    """

    at: IntArray
    places: int
    free: BoolArray
    is_weekend: BoolArray


def placebo_origins(n: int, step_s: float, local_end_at: float = 0.0) -> Origins:
    """The origins of a history of n ticks, evenly spaced; all of them but the first are placebos.

    local_end_at: where the history ends, epoch seconds by the clocks of the service.
    """
    day = round(_DAY_S / step_s)
    stride = max(1, -(-n // _ORIGINS_MAX))
    places = 0
    if abs(day * step_s - _DAY_S) <= 1e-6 and n > day:
        while day % stride:
            stride += 1
        places = day // stride
    at = np.arange(n, 0, -stride)
    days = np.floor((local_end_at - (n - at) * step_s) / _DAY_S).astype(np.intp)
    free = np.ones(len(at), dtype=np.bool_)
    free[:1] = False
    # The epoch began on a Thursday.
    return Origins(at=at, places=places, free=free, is_weekend=(days + 3) % 7 >= _WORKDAYS)


def make_mark(
    contrast: FloatArray,
    look: Look,
    origins: Origins,
    floor: float,
    alpha: float,
    ticks: int,
    *,
    has_season: bool = True,
) -> Mark | None:
    """The mark of one contrast from its values at all origins, shape (J,), the first being the deploy.

    floor: least scale. alpha: what all looks of the series may spend. ticks: history. has_season: whether
    what other days make of it is taken off. None when the contrast was hardly ever seen.
    """
    season = season_of(contrast, origins) if has_season else np.zeros(len(contrast))
    clean = contrast - season
    usable = np.isfinite(clean) & origins.free
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


def season_of(contrast: FloatArray, origins: Origins) -> FloatArray:
    """What other days make of the contrast: their mean at the same time, or half of it, shape (J,).

    A placebo sees two days on either side, the deploy (first) five days back: all of them where that saves
    5 % of the squared error over the placebos; workdays for a workday and weekends for a weekend where that
    saves 15 % more, because fewer days are known worse. Half is taken only if it saves 5 % against the whole:
    what half of a morning leaves lies at a few times of the day, where it is all that counts.
    """
    count = len(contrast)
    none = np.zeros(count)
    if not origins.places or count <= origins.places:
        return none
    every, apart = (_other_days(contrast, origins, is_apart) for is_apart in (False, True))
    tried = np.isfinite(contrast) & np.isfinite(every)
    tried[0] = False
    if tried.sum() < _SEASON_MIN:
        return none
    came = contrast[tried]
    cut = quantile(np.sort(np.abs(came)), _CUT_AT)

    def error(told: FloatArray) -> float:
        left = np.minimum(np.abs(came - told[tried]), cut)
        return float(np.sum(left * left))

    best = none
    for mean, gain in ((every, _GAIN_MIN), (np.where(np.isfinite(apart), apart, every), _APART_GAIN_MIN)):
        told = 0.5 * mean if error(0.5 * mean) < (1.0 - _GAIN_MIN) * error(mean) else mean
        if error(told) < (1.0 - gain) * error(best):
            best = told
    result: FloatArray = np.nan_to_num(best)
    return result


def _other_days(contrast: FloatArray, origins: Origins, is_apart: bool) -> FloatArray:
    """Mean of what each origin finds at its time on other days, shape (J,), NaN where none was seen.

    A placebo looks at two days on either side, the deploy (first) at the newest five. is_apart: at days of
    its own kind.
    """
    places, kind = origins.places, origins.is_weekend
    seen = np.isfinite(contrast)
    value = np.where(seen, contrast, 0.0)
    total, found = np.zeros(len(value)), np.zeros(len(value))
    for day in range(1, _DAYS_BESIDE + 1):
        far = day * places
        older, newer = np.arange(1 + far, len(value)), np.arange(1, max(len(value) - far, 1))
        told = (kind[older] == kind[newer]) if is_apart else np.ones(len(older), dtype=np.bool_)
        for here, there in ((newer, older), (older, newer)):
            total[here] += value[there] * told
            found[here] += seen[there] * told
    back = np.arange(places, len(value), places)
    if is_apart:
        back = back[kind[back] == kind[0]]
    back = back[:_DAYS_BACK]
    total[0], found[0] = value[back].sum(), seen[back].sum()
    result: FloatArray = np.where(found > 0, total / np.maximum(found, 1), np.nan)
    return result
