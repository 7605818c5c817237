"""Does the calibration of a series hold on a part of its past that it was not made from?

A limit is an extrapolation from the past to the watch. Whether the past of this series allows one is tried on
the past itself: limits from its older part, counted on its newer part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.bernoulli import wilson
from detectors.model import BoolArray
from detectors.past import Past
from detectors.ruler import most_of
from detectors.tails import tail_quantile

_NEWER = 0.4  # of the placebos, on which is counted
_Z = 2.326  # 99 %, one-sided: of a hundred series that hold, one is called unfit
_FLOOR = 0.3  # of a limit of a look: on a series without noise anything exceeds a quantile of next to nothing
_TRIED = 0.05  # the budget at which fitness is decided: rarer ones need more past than anybody has


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One budget: the share of placebo deploys `allowed` beyond their limit and `found` there, with its 98 %
    interval [low, high]; windows: how many independent ones it was counted on."""

    allowed: float
    found: float
    low: float
    high: float
    windows: float


def held_out(past: Past, budgets: Sequence[float]) -> tuple[Held, ...]:
    """How the limits of one series hold out of sample, all its looks together; () when its past is too short.

    Limits come from the older 60 % of the placebos. The interval is Wilson's on as many trials as there are
    disjoint windows in the newer 40 %, which overlapping placebos are worth; a window is a stretch before and
    one after.
    """
    marks = [mark for mark in past.marks if mark is not None]
    if not marks:
        return ()
    most = most_of(marks)
    cut = round(_NEWER * len(most))
    newer, older = most[:cut], most[cut:]  # newest first
    newer = newer[np.isfinite(newer)]
    windows = 0.5 * min(mark.windows for mark in marks)
    made = []
    for budget in budgets:
        limit = tail_quantile(older, budget, (1.0 - _NEWER) * windows)
        if limit is None or not newer.size:
            return ()
        made.append(_held(budget, newer > max(limit, _FLOOR), max(_NEWER * windows, 1.0)))
    return tuple(made)


def is_fit(past: Past) -> bool:
    """False when more placebos of the newer past lie beyond their limits than chance explains: such a series
    informs, but never acts. True when the past is too short to tell: its limits are wide then."""
    return all(held.low <= held.allowed for held in held_out(past, (_TRIED,)))


def _held(budget: float, is_over: BoolArray, windows: float) -> Held:
    found = float(np.mean(is_over))
    low, high = wilson(np.array(found * windows), np.array(windows), _Z)
    return Held(allowed=budget, found=found, low=float(low), high=float(high), windows=windows)
