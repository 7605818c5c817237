"""When a deploy is pretended, and where the same time of other days lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.model import BoolArray, FloatArray, IntArray

_DAY_S = 86400.0
_ORIGINS_MAX = 1200
_DAYS_BACK = 7  # before the deploy: a week holds both kinds of day
_DAYS_BESIDE = 2  # on either side of a placebo
_WORKDAYS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """The deploy itself, first, and the placebos, newest first.

    at: indices of the history, shape (J,). free: which are placebos, shape (J,). others: places in `at` of
    the same time on other days, shape (7, J), J where there is no such day. alike: shape (7, J), which of
    those days are workdays as this one is, or weekends as this one is.
    """

    at: IntArray
    free: BoolArray
    others: IntArray
    alike: BoolArray

    def on_other_days(self, contrast: FloatArray) -> FloatArray:
        """A contrast at the same time of other days, shape (7, J) from (J,), NaN where there was none."""
        result: FloatArray = np.append(contrast, np.nan)[self.others]
        return result


def placebo_origins(n: int, step_s: float, local_end_at: float = 0.0) -> Origins:
    """The origins of a history of n ticks, evenly spaced; all of them but the first are placebos.

    local_end_at: where the history ends, epoch seconds by the clocks of the service. There are no other days
    when a day is no whole number of steps, or longer than the history.
    """
    day = round(_DAY_S / step_s)
    stride = max(1, -(-n // _ORIGINS_MAX))
    places = 0
    if abs(day * step_s - _DAY_S) <= 1e-6 and n > day:
        while day % stride:
            stride += 1
        places = day // stride
    at = np.arange(n, 0, -stride)
    free = np.ones(len(at), dtype=np.bool_)
    free[:1] = False
    others = _same_time(len(at), places)
    days = np.floor((local_end_at - (n - at) * step_s) / _DAY_S).astype(np.intp)
    is_weekend = (days + 3) % 7 >= _WORKDAYS  # the epoch began on a Thursday
    alike = (others < len(at)) & (np.append(is_weekend, False)[others] == is_weekend)
    return Origins(at=at, free=free, others=others, alike=alike)


def _same_time(count: int, places: int) -> IntArray:
    """`Origins.others`. count: origins. places: how much further the same time of the day before lies."""
    others = np.full((_DAYS_BACK, count), count)
    if not places:
        return others
    beside = [day for day in range(-_DAYS_BESIDE, _DAYS_BESIDE + 1) if day]
    there = np.arange(count) + places * np.array(beside)[:, None]
    # The deploy is nobody's other day.
    others[: len(beside)] = np.where((there > 0) & (there < count), there, count)
    back = places * np.arange(1, _DAYS_BACK + 1)
    others[:, 0] = np.where(back < count, back, count)
    return others
