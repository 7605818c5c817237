"""Reads native histograms out of an answer of Prometheus, as the classic ones on our grid that they equal.

Their buckets lie a factor 2^(2^-schema) apart, so those of schema 1 and above end where bins of the grid end
and merge into them exactly, whatever the schema is and whenever it changes. Coarser buckets, those of custom
bounds and the one around zero go, whole, into the bin that holds their upper bound: as classic ones do.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from typing import Any

import numpy as np

from detectors.model import FloatArray
from watchdog.sources.answer import labelled, number, read_matrix, require_different, rows_of, time_of
from watchdog.sources.bins import places
from watchdog.sources.protocol import Grid
from watchdog.sources.streams import Stream
from watchdog.sources.unreadable import TooLarge, Unreadable

# A native histogram is kept below some 160 buckets by the libraries that make it.
_BUCKETS_MAX = 2_000
_CELLS_MAX = 2_000_000


def read_native(body: bytes, grid: Grid, edges: FloatArray) -> list[Stream]:
    """Streams of cumulative buckets over `grid`, one per label set and bound, the bound in the label `le`.

    edges: the finite bounds wanted, ascending; +Inf comes last. Raises Unreadable, also for an answer of
    samples that are no histograms, and TooLarge for so many that fewer steps must be read at once.
    """
    items = read_matrix(body)
    if grid.n * len(items) * (len(edges) + 1) > _CELLS_MAX:
        raise TooLarge(f"{len(items)} native histograms at {grid.n} steps at once")
    streams = [stream for item in items for stream in _streams(item, grid, edges)]
    require_different(streams)
    return streams


def _streams(item: Mapping[str, Any], grid: Grid, edges: FloatArray) -> list[Stream]:
    if item.get("values"):
        raise Unreadable(
            "the answer holds numbers, not native histograms: of a classic one give the `_bucket` series"
        )
    labels, points = labelled(item, item.get("histograms"))
    at: list[float] = []
    row: list[int] = []
    upper: list[float] = []
    count: list[float] = []
    try:
        for i, (time, one) in enumerate(points):
            at.append(time_of(time))
            buckets = one.get("buckets", [])
            if len(buckets) > _BUCKETS_MAX:
                raise TooLarge(f"a native histogram of {len(buckets)} buckets, {_BUCKETS_MAX} is the most")
            row.extend(repeat(i, len(buckets)))
            upper.extend(number(text) for _, _, text, _ in buckets)
            count.extend(number(text) for _, _, _, text in buckets)
    except (TypeError, ValueError, AttributeError) as error:
        raise Unreadable("the answer holds a sample that is not a time and a histogram") from error
    counts = np.array(count, dtype=np.float64)
    if np.isnan(upper).any() or not (np.isfinite(counts) & (counts >= 0.0)).all():
        raise Unreadable("the answer holds a histogram whose counts are none")
    bins = len(edges) + 1
    cell = np.array(row, dtype=np.intp) * bins + places(np.array(upper, dtype=np.float64), edges)
    filled = np.bincount(cell, weights=counts, minlength=len(points) * bins).reshape(len(points), bins)
    values = np.full((bins, grid.n), np.nan)
    values[:, rows_of(np.array(at, dtype=np.float64), grid)] = np.cumsum(filled, axis=1).T
    return [
        Stream({**labels, "le": repr(float(edge))}, column)
        for edge, column in zip([*edges, np.inf], values, strict=True)
    ]
