"""From the buckets that a process has to the bins that are judged (`detectors.histogram`).

A bucket goes whole into the bin that holds its upper bound. Nothing is interpolated: a share of a bucket is a
guess, and one that changes with what the other buckets hold.
"""

from __future__ import annotations

import numpy as np

from detectors.model import FloatArray, IntArray

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
