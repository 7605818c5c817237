"""The looks of a watch: which stretches after the deploy are compared with the stretch before it.

A watch takes a fixed set of looks, so that what is done live can be done at every placebo deploy alike, and
the budget is spent over few comparisons instead of over every tick. Short looks find hard breaks early, long
ones find small changes late; all begin with the deploy, because that is when a deploy breaks things. A few
begin later, for what needs a while to show; they must be surer (a smaller share of the budget).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_BLIP_S = 150.0  # what a restart may cost: a look must hold more good ticks than that
_GROWTH = 1.6
_LONGEST = 2.0 / 3.0  # of the judged ticks
_LATE = 0.25  # of the judged ticks: later onsets are not this deploy's without better reasons
_TAIL_MIN = 10  # ticks; the upper fifth of fewer is one or two samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Ticks [first, first + length) after the deploy against the `length` ticks before it.

    is_late: does not begin with the judged ticks. sees_tail: long enough for its upper fifth to be compared.
    """

    first: int
    length: int
    is_late: bool
    sees_tail: bool


def plan_looks(gap: int, judged: int, step_s: float) -> tuple[Look, ...]:
    """The looks of a watch whose ticks `gap` to `gap + judged` are judged; shortest first.

    The shortest is twice as long as a blip, so that a restart, or a burst of the same length at any other
    time, is the smaller part of it; in a short watch it is a quarter of the watch.
    """
    blip = math.ceil(_BLIP_S / step_s)
    shortest = max(2, min(max(2 * blip - 1, 4), judged // 4))
    longest = max(math.floor(_LONGEST * judged), min(3, judged))
    lengths = [min(shortest, longest)]
    while (following := max(math.floor(lengths[-1] * _GROWTH + 0.5), lengths[-1] + 1)) <= longest:
        lengths.append(following)
    tail = max(_TAIL_MIN, 3 * blip)
    looks = []
    for length in lengths:
        sees = length >= min(tail, max(lengths)) and length >= _TAIL_MIN
        looks.append(Look(first=gap, length=length, is_late=False, sees_tail=sees))
        shift = max(length // 2, 1)
        looks += [
            Look(first=gap + delay, length=length, is_late=True, sees_tail=False)
            for delay in range(shift, math.floor(_LATE * judged) + 1, shift)
            if delay + length <= judged
        ]
    return tuple(looks)
