"""From the buckets that a process has to the bins that are judged (`detectors.histogram`).

A bucket goes whole into the bin that holds its upper bound. Nothing is interpolated: a share of a bucket is a
guess, and one that changes with what the other buckets hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from detectors.model import BoolArray, FloatArray, IntArray
from watchdog.sources.protocol import Grid

# How long a process with other buckets than were known makes its series missing: longer than watches are.
OTHER_BUCKETS_S = 6 * 3600.0
# Bounds are written with 16 or 17 digits, and computed by others than us.
_ALIKE = 1.0 + 1e-9


def places(upper: FloatArray, edges: FloatArray) -> IntArray:
    """The bin of a bucket with that upper bound, shape (n,): 0 to len(edges)."""
    result: IntArray = np.searchsorted(edges * _ALIKE, upper, side="left")
    return result


def regrid(counts: FloatArray, upper: FloatArray, edges: FloatArray) -> FloatArray:
    """Cumulative counts at `edges` and in all, shape (rows, targets, len(edges) + 1), NaN = missing.

    counts: shape (rows, targets, bounds), cumulative over ascending `upper`, the last +Inf; NaN where a
    target has none. At an edge counts what the greatest bound up to it counts, of those that this target has:
    after a roll-out they may be others.
    """
    known = np.isfinite(counts)
    place = np.where(known, np.arange(len(upper)), -1)
    np.maximum.accumulate(place, axis=2, out=place)
    carried = np.where(place >= 0, np.take_along_axis(counts, np.maximum(place, 0), axis=2), 0.0)
    greatest = np.searchsorted(upper, edges * _ALIKE, side="right") - 1
    at_edges = np.where(greatest >= 0, carried[:, :, np.maximum(greatest, 0)], 0.0)
    total = counts[:, :, -1:]
    result: FloatArray = np.where(np.isfinite(total), np.concatenate([at_edges, total], axis=2), np.nan)
    return result


def per_bin(cumulative: FloatArray) -> FloatArray:
    """Counts of each bin, shape (rows, bins), from cumulative ones; NaN where a row is missing.

    A bucket read a moment before the one below it may count less; it then adds nothing.
    """
    risen = np.maximum.accumulate(cumulative, axis=1)
    result: FloatArray = np.diff(risen, axis=1, prepend=0.0)
    return np.where(np.isfinite(cumulative).all(axis=1, keepdims=True), result, np.nan)


@dataclass(slots=True)
class Layouts:
    """Which bins the processes of one series can fill. A deploy that changes its buckets moves requests to
    other bins without moving them in time, which would be the perfect regression."""

    _known: set[tuple[int, ...]] = field(default_factory=set)
    _changed_at: float = -np.inf

    def comparable(self, counts: FloatArray, upper: FloatArray, edges: FloatArray, grid: Grid) -> BoolArray:
        """Which rows can be compared with those before, shape (grid.n,).

        counts: as for `regrid`. Not those from the first one of a process with buckets that none had before
        until OTHER_BUCKETS_S later. A process that ends, or comes back, changes nothing.
        """
        has = np.isfinite(counts)
        # A process keeps its labels in some roll-outs, so its buckets are looked at whenever they change.
        is_news = np.ones(has.shape[:2], dtype=np.bool_)
        is_news[1:] = (has[1:] != has[:-1]).any(axis=2)
        row, target = np.nonzero(is_news & has[:, :, -1])
        seen, first = np.unique(has[row, target], axis=0, return_index=True)
        layouts = [tuple(np.unique(places(upper[own], edges)).tolist()) for own in seen]
        since = row[first].tolist()
        if not self._known:
            self._known = {layout for layout, i in zip(layouts, since, strict=True) if i == min(since)}
        for layout, i in zip(layouts, since, strict=True):
            if layout not in self._known:
                self._changed_at = max(self._changed_at, grid.first_at + i * grid.step_s)
        self._known.update(layouts)
        at = grid.first_at + np.arange(grid.n) * grid.step_s
        is_other: BoolArray = (at >= self._changed_at) & (at < self._changed_at + OTHER_BUCKETS_S)
        return ~is_other

    def remark(self, at: float) -> str | None:
        """Why a row at that time is missing, if it is for its buckets."""
        if not self._changed_at <= at < self._changed_at + OTHER_BUCKETS_S:
            return None
        return "a process has other buckets than there were before: their counts cannot be compared"
