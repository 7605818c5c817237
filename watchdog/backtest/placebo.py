"""Deploys that never happened: where in a past they are put, so that every call on one is a false alarm.

Pure. Their watches touch no watch of a real deploy and not each other, so that one incident without a deploy
is counted by one placebo, and the placebos are as independent as the past is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# Indices ordered by the fractional part of their golden multiple: every beginning of the order is spread
# evenly over all of them (three-distance theorem), so fewer placebos still see the whole past.
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def placebo_times(
    first_at: float, last_at: float, step_s: float, span_s: float, busy: Sequence[tuple[float, float]]
) -> list[float]:
    """Every time for a placebo, in the order in which they are to be used.

    first_at: earliest start, epoch seconds; it and all starts are multiples of step_s. span_s: from a start
    to the end of its watch, which is at most `last_at`. busy: [start, end] of real deploys' watches. The
    watches are packed one after the other into what is free.
    """
    stride = max(1, math.ceil(span_s / step_s - 1e-9)) * step_s
    taken = sorted(busy)
    found: list[float] = []
    at, i = math.ceil(first_at / step_s - 1e-9) * step_s, 0
    while at + span_s <= last_at + 1e-6:
        while i < len(taken) and taken[i][1] <= at:
            i += 1
        # Sorted by start only: a long watch may hide behind a short one that begins later.
        blocking = [end for start, end in taken[i:] if start < at + span_s and end > at]
        if blocking:
            at = math.ceil(max(blocking) / step_s - 1e-9) * step_s
            continue
        found.append(at)
        at += stride
    return [found[k] for k in sorted(range(len(found)), key=lambda k: (k * _GOLDEN) % 1.0)]
