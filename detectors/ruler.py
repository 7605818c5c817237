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
from detectors.model import FloatArray
from detectors.origins import Origins
from detectors.tails import student_quantile, tail_quantile

_VALUES_MIN = 5
WINDOWS_MIN = 20.0  # independent ones; with fewer the bound is more Student's than the series' own


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


def make_mark(
    contrast: FloatArray,
    foretold: FloatArray,
    look: Look,
    origins: Origins,
    floor: float,
    alpha: float,
    ticks: int,
) -> Mark | None:
    """The mark of one contrast from its values at all origins, shape (J,), the first being the deploy.

    foretold: what is taken off it, shape (J,) (`other_days`). floor: least scale. alpha: what all looks of
    the series may spend. ticks: history. None when the contrast was hardly ever seen.
    """
    clean = contrast - foretold
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
        expected=float(foretold[0]),
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
