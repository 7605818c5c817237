"""What other days foretell of a contrast at the same time of the day.

Two answers, of which the higher counts. A series with a daily season is foretold by the mean of other days
all day long. What rises at one time of the day only, as at nine on workdays or while a nightly job runs,
saves next to no error over a week; there other days are believed for that time alone, if they agree.
"""

from __future__ import annotations

import numpy as np

from detectors.contrast import usual_size
from detectors.model import BoolArray, FloatArray, IntArray
from detectors.origins import Origins
from detectors.robust import medians_of_seen
from detectors.tails import quantile

_GAIN_MIN = 0.05  # of squared error that the other days must save before they are believed
_PLACEBOS_MIN = 50  # fewer do not tell whether other days foretell anything
_CUT_AT = 0.99  # quantile beyond which a placebo adds no more to the error: an incident is no noise
_DAYS_MIN = 2
_AGREED = 2.5  # times what the contrast usually is, over the root of the days


def foretold(contrast: FloatArray, origins: Origins, *, has_season: bool = True) -> FloatArray:
    """What is taken off a contrast, shape (J,) as the contrast at its origins; 0 where nothing is foretold.

    has_season: whether it may have one that lasts all day.
    """
    none = np.zeros(len(contrast))
    others = origins.on_other_days(contrast)
    if np.count_nonzero(np.isfinite(contrast) & np.isfinite(others).any(axis=0)) < _PLACEBOS_MIN:
        return none
    season = _season(contrast, others) if has_season else none
    size = usual_size((contrast - season)[origins.free])
    return np.maximum(season, _agreed(others, origins.alike, size))


def _season(contrast: FloatArray, others: FloatArray) -> FloatArray:
    """The mean of other days, or half of it, whichever saves more of the squared error over the placebos, and
    5 % of it at least; else 0. others: shape (7, J)."""
    seen = np.isfinite(others)
    mean = np.where(seen, others, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    tried = np.isfinite(contrast) & seen.any(axis=0)
    tried[0] = False
    came = contrast[tried]
    cut = quantile(np.sort(np.abs(came)), _CUT_AT)

    def error(told: FloatArray) -> float:
        left = np.minimum(np.abs(came - told[tried]), cut)
        return float(np.sum(left * left))

    best = min((mean, 0.5 * mean), key=error)
    return best if error(best) < (1.0 - _GAIN_MIN) * error(np.zeros_like(mean)) else np.zeros_like(mean)


def _agreed(others: FloatArray, alike: BoolArray, size: float) -> FloatArray:
    """What days of the same kind agree on, shape (J,) from (7, J), where it lies clearly above 0; else -inf.

    Of one such day alone, all days must say so too; without one, what they say is believed. size: what the
    contrast usually is.
    """
    agreed = np.full(others.shape[1], -np.inf)
    # Whatever is agreed on, two days exceed this; most places need no sorting.
    least = _AGREED * size / np.sqrt(len(others))
    near = np.flatnonzero((others > least).sum(axis=0) >= _DAYS_MIN)
    others, alike = others[:, near], alike[:, near]
    median, days = _middle(np.where(alike, others, np.nan))
    of_all, all_days = _middle(others)
    is_known = days >= _DAYS_MIN
    median, days = np.where(is_known, median, np.fmin(median, of_all)), np.where(is_known, days, all_days)
    is_agreed = (days >= _DAYS_MIN) & (median * np.sqrt(days) > _AGREED * size)
    agreed[near[is_agreed]] = median[is_agreed]
    return agreed


def _middle(days: FloatArray) -> tuple[FloatArray, IntArray]:
    """The median over the days, NaN without one, and how many there are, both of shape (J,) from (7, J). Of
    two days the lower: one incident is no habit."""
    median, seen = medians_of_seen(days)
    return np.where(seen == 2, np.fmin.reduce(days, axis=0), median), seen
