"""From the raw series behind one query to the rows of the one series that is judged.

Shared by every source: they differ in how samples are got, not in what an increase, a ratio or a quantile is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from detectors.histogram import bounds
from detectors.model import WIDTHS, FloatArray
from watchdog.sources.bins import Layouts, per_bin, regrid
from watchdog.sources.counters import LOOK_BACK, Fleet, increases, quantile
from watchdog.sources.protocol import Grid, Query
from watchdog.sources.unreadable import TooLarge, Unreadable

# 16 MB of float64; a long grid is asked for in shorter chunks instead.
_CELLS_MAX = 2_000_000
_MEMORY_S = 3600.0
_LOOK_BACK_MAX = 240

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """One raw series on a grid. values: shape (grid.n,), NaN = no sample, or one that is not finite."""

    labels: Mapping[str, str]
    values: FloatArray


@dataclass(slots=True)
class Assembly:
    """Makes rows of streams, and remembers per series what its targets usually do.

    target_labels: those that tell scraped processes apart. They never identify a series: a roll-out replaces
    their values, so they are summed over as soon as restarts are accounted for.
    """

    target_labels: tuple[str, ...]
    _fleets: dict[tuple[str, str], Fleet] = field(default_factory=dict)
    # Ratios whose numerator was seen to come from other targets than their denominator.
    _apart: set[str] = field(default_factory=set)
    _layouts: dict[str, Layouts] = field(default_factory=dict)

    def look_back(self, query: Query, first_at: float, step_s: float) -> int:
        """Steps that must be read before the first one wanted: a base, and an hour of what is usual."""
        if query.gauge is not None or query.query is not None:
            return 0
        if self._fleet(query, "").remembers(first_at, step_s):
            return LOOK_BACK
        return max(LOOK_BACK, min(_LOOK_BACK_MAX, round(_MEMORY_S / step_s)))

    def rows(self, query: Query, parts: Sequence[Sequence[Stream]], grid: Grid) -> FloatArray:
        """Rows of the series over `grid`, shape (grid.n, width), NaN = missing.

        parts: the streams of the query's selector, or of numerator and denominator. Counters may be summed
        within a target already. Raises Unreadable where the streams are not one series, TooLarge for so many
        targets that fewer steps must be read at once.
        """
        for streams in parts:
            _require_one_series(query, streams)
        if query.kind == "ratio":
            return self._ratio(query, parts[0], parts[1], grid)
        if query.histogram is not None:
            return self._histogram(query, parts[0], grid)
        if query.counter is not None:
            counts = self._counts(parts[0], self._keys(parts[0]), grid)
            return self._increases(query, "", counts[:, :, np.newaxis], grid)
        return _only(query, parts[0], grid)[:, np.newaxis]

    def remark(self, query: Query, at: float) -> str | None:
        """Why the row at that time is missing although there were samples, as far as that is known here."""
        return self._layout(query).remark(at)

    def _ratio(
        self, query: Query, above: Sequence[Stream], below: Sequence[Stream], grid: Grid
    ) -> FloatArray:
        keys, keys_above = self._keys(below), self._keys(above)
        if keys and keys_above and not keys.keys() & keys_above.keys():
            self._apart.add(query.series_id)
        if query.series_id in self._apart:
            # Two groups of processes: an absent numerator may be an exporter that is down, so it is missing.
            numerators = self._counts(above, keys_above, grid)[:, :, np.newaxis]
            denominators = self._counts(below, keys, grid)[:, :, np.newaxis]
            return np.hstack(
                [
                    self._increases(query, "numerator", numerators, grid),
                    self._increases(query, "", denominators, grid),
                ]
            )
        counts = np.stack([self._counts(above, keys, grid), self._counts(below, keys, grid)], axis=2)
        # The process was scraped, so a counter it does not have has not counted anything yet.
        is_absent = np.isnan(counts[:, :, 0]) & np.isfinite(counts[:, :, 1])
        counts[:, :, 0][is_absent] = 0.0
        return self._increases(query, "", counts, grid)

    def _histogram(self, query: Query, streams: Sequence[Stream], grid: Grid) -> FloatArray:
        if not streams:
            return np.full((grid.n, WIDTHS[query.kind]), np.nan)
        counts, upper = self._buckets(query, streams, grid)
        if query.kind == "histogram":
            edges = bounds(query.unit)
            is_alike = self._layout(query).comparable(counts, upper, edges, grid)
            made = per_bin(self._increases(query, "", regrid(counts, upper, edges), grid))
            return np.where(is_alike[:, np.newaxis], made, np.nan)
        buckets = self._increases(query, "", counts, grid)
        return quantile(buckets, upper, query.quantile)[:, np.newaxis]

    def _buckets(self, query: Query, streams: Sequence[Stream], grid: Grid) -> tuple[FloatArray, FloatArray]:
        """(cumulative counts by target and bound, shape (grid.n, targets, bounds); the bounds, ascending)."""
        by_bound: dict[float, list[Stream]] = {}
        for stream in streams:
            by_bound.setdefault(_bound(query, stream), []).append(stream)
        if np.inf not in by_bound:
            raise Unreadable(
                f"{query.histogram} has no +Inf bucket: give the selector of a `_bucket` counter"
            )
        keys = self._keys(by_bound[np.inf])
        _require_cells(grid.n * len(keys) * len(by_bound))
        upper = sorted(by_bound)
        counts = np.stack([self._counts(by_bound[bound], keys, grid) for bound in upper], axis=2)
        return counts, np.array(upper)

    def _keys(self, streams: Sequence[Stream]) -> dict[Key, int]:
        """Each target among the streams to its column."""
        return {key: i for i, key in enumerate(dict.fromkeys(self._key(stream) for stream in streams))}

    def _key(self, stream: Stream) -> Key:
        return tuple(stream.labels.get(label, "") for label in self.target_labels)

    def _counts(self, streams: Sequence[Stream], keys: Mapping[Key, int], grid: Grid) -> FloatArray:
        """Counters by target, shape (grid.n, len(keys)); NaN where a target has none."""
        _require_cells(grid.n * len(keys))
        counts = np.full((grid.n, len(keys)), np.nan)
        for stream in streams:
            column = keys.get(self._key(stream))
            if column is not None:
                # A counter cannot be negative; what is cannot be one.
                counts[:, column] = np.where(stream.values >= 0.0, stream.values, np.nan)
        return counts

    def _increases(self, query: Query, part: str, counts: FloatArray, grid: Grid) -> FloatArray:
        fleet = self._fleet(query, part)
        return increases(counts, first_at=grid.first_at, step_s=grid.step_s, fleet=fleet)

    def _layout(self, query: Query) -> Layouts:
        return self._layouts.setdefault(query.series_id, Layouts())

    def _fleet(self, query: Query, part: str) -> Fleet:
        return self._fleets.setdefault((query.series_id, part), Fleet())


def subject(query: Query) -> str:
    """What a query asks for, to name it in a problem; at most 120 characters."""
    asked = query.denominator or query.histogram or query.counter or query.gauge or query.query or query.kind
    return asked if len(asked) <= 120 else f"{asked[:117]}..."


def _require_one_series(query: Query, streams: Sequence[Stream]) -> None:
    seen = {tuple(stream.labels.get(label, "") for label in query.by) for stream in streams}
    if len(seen) > 1:
        raise Unreadable(
            f"{subject(query)} has {len(seen)} values of ({', '.join(query.by)}): "
            "one series reads one; add a matcher to the selector"
        )


def _only(query: Query, streams: Sequence[Stream], grid: Grid) -> FloatArray:
    """The one stream there is at every step, shape (grid.n,); which one may change at a roll-out."""
    if not streams:
        return np.full(grid.n, np.nan)
    values = np.array([stream.values for stream in streams])
    n_max = int(np.isfinite(values).sum(axis=0).max())
    if n_max > 1:
        raise Unreadable(
            f"{subject(query)} returns {n_max} series: aggregate it under `query`, such as sum(...)"
        )
    return np.where(np.isfinite(values).any(axis=0), np.nansum(values, axis=0), np.nan)


def _bound(query: Query, stream: Stream) -> float:
    try:
        bound = float(stream.labels["le"])
    except (KeyError, ValueError):
        bound = np.nan
    if np.isnan(bound):
        raise Unreadable(f"{query.histogram} has no `le` label: give the selector of a `_bucket` counter")
    return bound


def _require_cells(n: int) -> None:
    if n > _CELLS_MAX:
        raise TooLarge(f"{n} counter values at once, {_CELLS_MAX} is the most")
