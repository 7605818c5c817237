"""The looks of a watch: which stretches after the deploy are compared with the stretch before it.

A watch takes a fixed set of looks, so that what is done live can be done at every placebo deploy alike, and
the budget is spent over few comparisons instead of over every tick. Short looks find hard breaks early, long
ones find small changes late; all begin with the deploy, because that is when a deploy breaks things. A few
begin later, for what needs a while to show; they must be surer (a smaller share of the budget), and so must
what is seen only hours later: the budget is spent by phases, so that a watch of a day costs its first hour
next to nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_BLIP_S = 150.0  # what a restart may cost: a look must hold more good ticks than that
_GROWTH = 1.6
_LONGEST = 2.0 / 3.0  # of the judged ticks
_LATE = 0.25  # of the judged ticks: later onsets are not this deploy's without better reasons
_LATE_SHARE = 0.1  # of the budget
_LATE_MIN = 8  # ticks: of fewer, a burst of a few bad ones is most
_LATE_EVEN = 6  # late looks of one length at even distances; further ones lie ever further apart
# Share of the budget by the time at which a look ends: until then, seconds after the deploy.
_PHASES = ((3600.0, 1.0), (6 * 3600.0, 0.25), (math.inf, 0.125))
_TAIL_MIN = 10  # ticks; the upper fifth of fewer is one or two samples
_TAIL_BLIPS = 5  # a blip is no more than its upper fifth


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Ticks [first, first + length) after the deploy against the `length` ticks before it.

    is_late: does not begin with the judged ticks. sees_tail: long enough for its upper fifth to be compared.
    share: of the budget, before it is spent once for all looks together (`ruler.joint_limit`).
    """

    first: int
    length: int
    is_late: bool
    sees_tail: bool
    share: float = 1.0 - _LATE_SHARE


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
    tail = max(_TAIL_MIN, _TAIL_BLIPS * blip)
    looks = []
    for length in lengths:
        sees = length >= min(tail, max(lengths)) and length >= _TAIL_MIN
        late = _delays(max(length // 2, 1), math.floor(_LATE * judged)) if length >= _LATE_MIN else []
        for delay in [0, *(d for d in late if d + length <= judged)]:
            first, is_late = gap + delay, delay > 0
            share = _LATE_SHARE if is_late else 1.0 - _LATE_SHARE
            share *= next(part for until_s, part in _PHASES if (first + length) * step_s <= until_s)
            looks.append(
                Look(first=first, length=length, is_late=is_late, sees_tail=sees and not is_late, share=share)
            )
    return tuple(looks)


def _delays(shift: int, most: int) -> list[int]:
    """How late the late looks of one length begin: every `shift` ticks, then ever further apart."""
    delays: list[int] = []
    delay = shift
    while delay <= most:
        delays.append(delay)
        delay = delay + shift if len(delays) < _LATE_EVEN else math.floor(delay * _GROWTH)
    return delays
