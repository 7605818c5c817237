"""The straight pieces a series consists of, found by looking back: for reports, never for a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from detectors.model import FloatArray, IntArray

_COST = 3.0  # of one more piece, in long-run variances times ln n
_LENGTH_MIN = 5  # samples: a line through fewer follows its own noise
_PASSES_MAX = 3
_PHI_MAX = 0.97  # as in innovations: what is left of a missed change looks like phi = 1
_VARIANCE_MIN = 1e-6  # of the series' own: a series without noise would break at its rounding errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch [start, stop) of indices on which the series is a straight line.

    level: mean of its samples, in their unit; the line passes through it at index `middle`. slope: per step.
    """

    start: int
    stop: int
    level: float
    middle: float
    slope: float


def segment(values: FloatArray) -> tuple[Segment, ...]:
    """The segments of values, shape (n,), NaN = missing: they cover [0, n) in order; none if all is missing.

    Least sum of squares about a line of its own per piece, plus, per change, the penalty

        3 V ln n,   V = s^2 (1 + phi) / (1 - phi),

    n: samples present, s^2 and phi: variance and lag-1 correlation (0 to 0.97) of what the lines leave over,
    V: their long-run variance. V is the series' variance at first and taken anew from the residuals, three
    passes at most. Pieces have at least 5 samples. Exact for its V: optimal partitioning (Jackson et al.,
    IEEE Signal Processing Letters 12, 2005) with pruning (Killick, Fearnhead, Eckley, JASA 107, 2012);
    O(n^2) without changes, towards O(n) with many: 5 s at most for 10,000 samples, so not on the loop.

    Expected false changes: under AR(1) noise with phi <= 0.8 fewer than one series of 1,000 samples in 20
    has any (3 of 500 seen); with 50 samples two in three do, and from phi = 0.9 on long ones wander and break
    too. One look only.
    Raises ValueError for infinite values.
    """
    if np.isinf(values).any():
        raise ValueError("values: an infinite value; pass NaN for a missing sample")
    index = np.flatnonzero(np.isfinite(values))
    if not index.size:
        return ()
    y = values[index].astype(np.float64)
    spread = float(y.std())
    # A constant whose mean is rounded has a spread that is not one.
    if np.ptp(y) <= 1e-12 * np.abs(y).max():
        return _lines(index, y, [0, len(y)], len(values))
    sums = _sums(index, (y - y.mean()) / spread)
    variance, edges = 1.0, [0, len(y)]
    for _ in range(_PASSES_MAX):
        found = _partition(sums, _COST * max(variance, _VARIANCE_MIN) * float(np.log(len(y))))
        if found == edges:
            break
        edges = found
        left = y - fitted(_lines(index, y, edges, len(values)))[index]
        variance = _long_run_variance(left / spread)
    return _lines(index, y, edges, len(values))


def fitted(segments: Sequence[Segment]) -> FloatArray:
    """The lines of the segments, shape (n,), also where samples are missing."""
    lines = [s.level + s.slope * (np.arange(s.start, s.stop) - s.middle) for s in segments]
    return np.concatenate(lines) if lines else np.empty(0)


def level_changes(segments: Sequence[Segment], stretch: int) -> FloatArray:
    """How much the level differs across each break, in the unit of the values, shape (len(segments) - 1,).

    The mean of the lines over the `stretch` steps from the break on, less that over as many before it: a mere
    bend counts for little, and a spike shorter than the stretch for its part of it.
    """
    lines = fitted(segments)
    breaks = [one.start for one in segments[1:]]
    return np.array([lines[b : b + stretch].mean() - lines[max(0, b - stretch) : b].mean() for b in breaks])


def _lines(index: IntArray, y: FloatArray, edges: Sequence[int], n: int) -> tuple[Segment, ...]:
    # A gap belongs to the segment before it.
    starts = [0, *(int(index[edge]) for edge in edges[1:-1]), n]
    return tuple(
        _line(index[a:b], y[a:b], start, stop)
        for (a, b), (start, stop) in zip(pairwise(edges), pairwise(starts), strict=True)
    )


def _line(x: IntArray, y: FloatArray, start: int, stop: int) -> Segment:
    middle, level = float(x.mean()), float(y.mean())
    along = float(((x - middle) ** 2).sum())
    slope = float(((x - middle) * (y - level)).sum()) / along if along else 0.0
    return Segment(start=start, stop=stop, level=level, middle=middle, slope=slope)


def _sums(index: IntArray, y: FloatArray) -> FloatArray:
    """Sums of x, xx, y, xy, yy before each sample, shape (5, n + 1)."""
    # Centred, so that sums of squares of whole numbers stay exact far beyond 10,000 samples.
    x = (index - index[len(index) // 2]).astype(np.float64)
    sums = np.zeros((5, len(y) + 1))
    np.cumsum([x, x * x, y, x * y, y * y], axis=1, out=sums[:, 1:])
    return sums


def _partition(sums: FloatArray, penalty: float) -> list[int]:
    """Edges of the cheapest pieces, 0 and n included."""
    n = sums.shape[1] - 1
    cost = np.full(n + 1, np.inf)
    cost[0] = -penalty
    last = np.zeros(n + 1, dtype=np.intp)
    # Where a piece may start, and the stop from which on it cannot win: slices of these, not new arrays.
    starts, until = np.zeros(n + 1, dtype=np.intp), np.full(n + 1, n + 1)
    held = np.zeros((6, n + 1))
    held[5, 0] = cost[0]
    open_count = 1
    for stop in range(_LENGTH_MIN, n + 1):
        total = held[5, :open_count] + _squares(
            sums[:, stop], held[:5, :open_count], stop - starts[:open_count]
        )
        best = int(np.argmin(total))
        cost[stop], last[stop] = total[best] + penalty, starts[best]
        # A start dearer than a break here never wins again, once another piece fits in from here on.
        dearer = np.flatnonzero(total > cost[stop])
        until[dearer] = np.minimum(until[dearer], stop + _LENGTH_MIN)
        kept = np.flatnonzero(until[:open_count] > stop + 1)
        if len(kept) < open_count:
            open_count = len(kept)
            starts[:open_count], until[:open_count] = starts[kept], until[kept]
            held[:, :open_count] = held[:, kept]
        opened = stop + 1 - _LENGTH_MIN
        if opened >= _LENGTH_MIN:
            starts[open_count], until[open_count] = opened, n + 1
            held[:5, open_count], held[5, open_count] = sums[:, opened], cost[opened]
            open_count += 1
    edges = [n]
    while edges[-1]:
        edges.append(int(last[edges[-1]]))
    return edges[::-1]


def _squares(here: FloatArray, there: FloatArray, length: IntArray) -> FloatArray:
    """Sums of squares about least-squares lines from `there`, shape (5, k), to `here`, shape (5,)."""
    x, xx, y, xy, yy = here[:, None] - there
    along = xx - x * x / length
    across = xy - x * y / length
    left: FloatArray = yy - y * y / length - across * across / np.maximum(along, 1.0)
    return np.maximum(left, 0.0)


def _long_run_variance(left: FloatArray) -> float:
    square = float(left @ left)
    phi = min(max(float(left[1:] @ left[:-1]) / max(square, 1e-300), 0.0), _PHI_MAX)
    return square / len(left) * (1.0 + phi) / (1.0 - phi)
