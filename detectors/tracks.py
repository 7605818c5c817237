"""What series have shown since the deploy, look by look: how far beyond chance, and whether they still do.

A look is taken once, at its first tick that has data enough. What it found counts for as long as the series
keeps to it: the newest ticks, as many as the look has, must still show most of it.

Everything is an array over series: one watch judges its ten series in the calls in which a fleet judges a
hundred thousand, with the same numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detectors.contrast import (
    Kind,
    condensed,
    level_after,
    log_ratio,
    root_after,
    sorted_halves,
    spread,
    upper,
    wanted_after,
)
from detectors.model import BoolArray, FloatArray, IntArray
from detectors.past import Column, Past

_KEEPS = 0.6  # of what a look found must still be there
_HALF = 0.5  # of a tail must be in both halves of the stretch: a burst is no habit
_POWER = 0.841621  # s.d.: four of five changes come out larger than that below their size
_EVENTS_MIN = 3.0
_FORETOLD = 0.5  # of what is needed


@dataclass(slots=True)
class Shown:
    """What the newest ticks of some series show, each of shape (R,).

    contrast: in the unit of the marks, NaN = cannot be told. size: in that of `Past.reference`. half: of the
    lesser half. now: what is compared with a size found earlier. is_seen: whether there was data enough.
    """

    contrast: FloatArray
    size: FloatArray
    half: FloatArray
    now: FloatArray
    is_seen: BoolArray


class Crossing(NamedTuple):
    """A contrast beyond its limit. found: level, tail or spread after the deploy, on the scale of
    `Past.reference`. least: the smallest change of it that matters."""

    column: Column
    found: float
    least: float


class Tracks(ABC):
    """The looks of S series under one plan; `take` of a subclass takes one tick of all of them.

    statistic: shape (S,), the largest contrast over its limit among those that are present and large enough
    to matter, 0 without any; more than 1 is beyond what is allowed to chance. faint: the same with what is
    too small to matter.
    """

    def __init__(self, columns: Sequence[Column], pasts: Sequence[Past], joint: FloatArray) -> None:
        """joint: shape (S,), what all limits of a series are multiplied by (`ruler.joint_limit`)."""
        shape = (len(pasts), len(columns))
        self._columns = tuple(columns)
        self._scale, self._limit, self._expected = (np.full(shape, np.nan) for _ in range(3))
        for i, past in enumerate(pasts):
            for c, mark in enumerate(past.marks):
                if mark is not None:
                    self._scale[i, c], self._limit[i, c] = mark.scale, mark.limit
                    self._expected[i, c] = mark.expected
        self._reference = np.array([p.reference for p in pasts]).reshape(shape)
        self._least = np.array([p.least for p in pasts]).reshape(shape)
        self._joint = joint
        self._is_pending = np.isfinite(self._limit)
        self._size, self._ratio = np.zeros(shape), np.zeros(shape)
        self._is_practical, self._is_present = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        self._ticks = 0
        self._most = np.zeros(shape[0])
        self._most_faint = np.zeros(shape[0])
        groups = {(c.look.length, c.kind): 0 for c in columns}
        # Contrasts of one length look at the same ticks, whenever they began.
        self._groups = [
            (length, kind, np.array([i for i, c in enumerate(columns) if _is(c, length, kind)]))
            for length, kind in groups
        ]

    @property
    def statistic(self) -> FloatArray:
        """See the class."""
        result: FloatArray = self._most / self._joint
        return result

    @property
    def faint(self) -> FloatArray:
        """See the class."""
        result: FloatArray = self._most_faint / self._joint
        return result

    def has_looked(self, i: int) -> bool:
        """Whether there was data enough for one of the looks at series i."""
        return bool((np.isfinite(self._limit[i]) & ~self._is_pending[i]).any())

    def is_foretold(self, i: int) -> bool:
        """Whether other days foretell, for one of the looks taken at series i, half of what is needed."""
        needed = _FORETOLD * self._scale[i] * self._limit[i] * self._joint[i]
        return bool((~self._is_pending[i] & (self._expected[i] > needed)).any())

    def crossings(self, i: int) -> list[Crossing]:
        """What is beyond its limit at series i now."""
        held = self._is_present[i] & self._is_practical[i]
        found, least = self._reference[i] + self._size[i], self._least[i]
        return [
            Crossing(self._columns[c], float(found[c]), float(least[c]))
            for c in np.flatnonzero(held & (self._ratio[i] > self._joint[i])).tolist()
        ]

    def smallest_visible(self, i: int) -> float | None:
        """Size that one of the looks at series i finds in 80 % of the cases; None without a look."""
        sizes = [
            self._size_of(i, c, float((self._limit[i, c] * self._joint[i] + _POWER) * self._scale[i, c]))
            for c, column in enumerate(self._columns)
            if column.kind == "level" and not column.look.is_late and np.isfinite(self._limit[i, c])
        ]
        return min(sizes, default=None)

    def _size_of(self, i: int, c: int, contrast: float) -> float:
        """The size that belongs to a contrast of that size."""
        return contrast

    @abstractmethod
    def _show(self, rows: IntArray, column: int, length: int, kind: Kind) -> Shown:
        """The newest `length` ticks of some series against the reference of that column."""

    def _advance(self, slack: FloatArray | None = None) -> None:
        """Take the looks that are due after one more tick.

        slack: shape (S, M), what a change must exceed besides the smallest that matters.
        """
        self._ticks += 1
        for length, kind, group in self._groups:
            due = np.array([c for c in group if self._is_due(c)], dtype=np.intp)
            wanted = (self._ratio[:, group] > 0.0).any(axis=1)
            if len(due):
                wanted |= self._is_pending[:, due].any(axis=1)
            rows = np.flatnonzero(wanted)
            if not len(rows):
                continue
            shown = self._show(rows, int(group[0]), length, kind)
            for c in due:
                self._take(rows, c, shown, slack)
            found = np.ix_(rows, group)
            least = np.where(self._is_practical[found], self._least[found], -np.inf)
            self._is_present[found] = (
                shown.is_seen[:, None]
                & (self._ratio[found] > 0.0)
                & (shown.now[:, None] >= np.maximum(_KEEPS * self._size[found], least))
            )
        held = np.where(self._is_present, self._ratio, 0.0)
        self._most_faint = held.max(axis=1, initial=0.0)
        self._most = np.where(self._is_practical, held, 0.0).max(axis=1, initial=0.0)

    def _is_due(self, c: int) -> bool:
        look = self._columns[c].look
        return look.first + look.length <= self._ticks <= look.first + 2 * look.length

    def _take(self, rows: IntArray, c: int, shown: Shown, slack: FloatArray | None) -> None:
        look = self._columns[c].look
        is_taken = shown.is_seen & self._is_pending[rows, c]
        self._is_pending[rows[is_taken], c] = False
        # A look that had to wait for data reaches further from the deploy than its placebos did.
        late = np.sqrt(max((self._ticks - look.first) / look.length, 1.0))
        with np.errstate(invalid="ignore"):
            ratio = (shown.contrast - self._expected[rows, c]) / self._scale[rows, c] / self._limit[rows, c]
            is_found = is_taken & (ratio > 0.0) & (shown.size > 0.0) & (shown.half >= _HALF * shown.size)
        at = rows[is_found]
        self._size[at, c] = shown.size[is_found]
        self._ratio[at, c] = ratio[is_found] / late
        least = self._least[at, c] + (slack[at, c] if slack is not None else 0.0)
        self._is_practical[at, c] = shown.size[is_found] >= least


class ValueTracks(Tracks):
    """Series of values on the worse-is-up scale."""

    def __init__(
        self, columns: Sequence[Column], pasts: Sequence[Past], room: int, joint: FloatArray
    ) -> None:
        """room: ticks to make room for; more are taken, too."""
        super().__init__(columns, pasts, joint)
        self._y = np.full((len(pasts), max(room, 1)), np.nan)
        self._seen = np.zeros((len(pasts), max(room, 1) + 1), np.int32)
        self._last = np.array([p.last for p in pasts])
        self._floor = np.array([p.floor for p in pasts])
        self._density = np.array([p.density for p in pasts])

    def take(self, values: FloatArray, slack: FloatArray | None = None) -> None:
        """The values of the next tick, shape (S,), NaN = missing."""
        t = self._ticks
        if t == self._y.shape[1]:
            self._y = np.concatenate([self._y, np.full_like(self._y, np.nan)], axis=1)
            self._seen = np.concatenate([self._seen, np.zeros_like(self._seen[:, 1:])], axis=1)
        is_seen = np.isfinite(values)
        first = is_seen & ~np.isfinite(self._last)
        # A gap is filled with what was seen last; one with nothing before it, with what came first.
        self._last = np.where(is_seen, values, self._last)
        if first.any():
            self._y[first, :t] = self._last[first, None]
        self._y[:, t] = self._last
        self._seen[:, t + 1] = self._seen[:, t] + is_seen
        self._newest_seen = is_seen
        self._advance(slack)

    def _show(self, rows: IntArray, column: int, length: int, kind: Kind) -> Shown:
        t = self._ticks
        low = max(t - length, 0)
        seen = self._seen[rows, t] - self._seen[rows, low]
        is_seen = self._newest_seen[rows] & (seen >= wanted_after(length, self._density[rows]))
        window = condensed(self._y[rows, low:t])
        reference = self._reference[rows, column]
        ranked = np.sort(window, axis=-1)
        if kind == "level":
            size = level_after(ranked) - reference
            return Shown(size, size, size, size, is_seen)
        older, newer = sorted_halves(window)
        if kind == "tail":
            size = upper(ranked) - reference
            half = np.minimum(upper(older), upper(newer)) - reference
            return Shown(size, size, half, size, is_seen)
        size = spread(ranked) - reference
        half = np.minimum(spread(older), spread(newer)) - reference
        contrast = log_ratio(spread(ranked), reference, self._floor[rows])
        return Shown(contrast, size, half, size, is_seen)


class CountTracks(Tracks):
    """Series of bad events among trials."""

    def __init__(
        self, columns: Sequence[Column], pasts: Sequence[Past], room: int, joint: FloatArray
    ) -> None:
        """room: as for `ValueTracks`."""
        super().__init__(columns, pasts, joint)
        self._k, self._n = (np.zeros((len(pasts), max(room, 1))) for _ in range(2))
        self._trials = np.array([p.trials for p in pasts])

    def take(self, events: FloatArray, trials: FloatArray) -> None:
        """The next tick, each of shape (S,); 0 of 0 = missing."""
        t = self._ticks
        if t == self._k.shape[1]:
            self._k, self._n = (np.concatenate([x, np.zeros_like(x)], axis=1) for x in (self._k, self._n))
        self._k[:, t], self._n[:, t] = events, trials
        self._advance()

    def _show(self, rows: IntArray, column: int, length: int, kind: Kind) -> Shown:
        t = self._ticks
        k, n = (x[rows, max(t - length, 0) : t] for x in (self._k, self._n))
        rate = self._reference[rows, column]
        events, trials = k.sum(axis=1), n.sum(axis=1)
        half = max(length // 2, 1)
        rise = _share(events, trials, rate)
        # What is pooled remembers a burst for as long as the look is: the newer half has to show it too.
        newer = _share(k[:, -half:].sum(axis=1), n[:, -half:].sum(axis=1), rate)
        contrast = np.where(events >= _EVENTS_MIN, root_after(k, n, rate), np.nan)
        return Shown(contrast, rise, newer, np.minimum(rise, newer / _HALF), trials > 0.0)

    def _size_of(self, i: int, c: int, contrast: float) -> float:
        """Between Poisson means, square roots lie half a root of the deviance apart."""
        rate = self._reference[i, c]
        trials = max(self._trials[i] * self._columns[c].look.length, 1e-9)
        return float((np.sqrt(rate) + 0.5 * contrast / np.sqrt(trials)) ** 2 - rate)


def _is(column: Column, length: int, kind: Kind) -> bool:
    return column.look.length == length and column.kind == kind


def _share(events: FloatArray, trials: FloatArray, rate: FloatArray) -> FloatArray:
    """Rise of the share above `rate`, 0 where nothing ran."""
    result: FloatArray = np.where(trials > 0.0, events / np.maximum(trials, 1e-300) - rate, 0.0)
    return result
