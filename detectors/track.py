"""What a series has shown since the deploy, look by look: how far beyond chance, and whether it still is.

A look is taken once, at its first tick that has data enough. What it found counts for as long as the series
keeps to it: the newest ticks, as many as the look has, must still show most of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detectors.contrast import (
    SEEN_AFTER,
    Before,
    Samples,
    before,
    carried,
    count_contrast,
    level_after,
    tail_after,
    value_contrasts,
)
from detectors.looks import Look
from detectors.model import BoolArray, FloatArray, IntArray
from detectors.ruler import Mark, make_mark, placebo_origins

_KEEPS = 0.6  # of what a look found must still be there
_HALF = 0.5  # of a tail must be in both halves of the stretch: a burst is no habit
_HISTORY_MIN = 3  # lengths of a look, for it to be taken at all
_SCALE_PART = 0.05  # of the s.d. of the last day: contrasts are not believed to be finer than that
_ROUGH = 1.2  # over the s.d. of a mean of independent samples
_LEAST_PART = 0.1  # of the smallest change that matters
_POWER = 0.841621  # s.d.: four of five changes come out larger than that below their size
_EVENTS_MIN = 3.0
_LOCAL_EVENTS = 10.0  # events at the usual rate that steady the rate of the ticks just before a deploy
_RATE_TICKS = 2  # lengths of a look before the deploy that give the local rate


@dataclass(slots=True)
class Finding:
    """What one look found. size: in the unit of the contrast's own scale of values. ratio: over its limit."""

    mark: Mark
    size: float
    ratio: float
    is_practical: bool
    is_present: bool


class Track:
    """Looks of one series: `marks` come from its past, `advance` takes one tick after the other.

    statistic: the largest ratio over its limit of the findings that are present and large enough to matter,
    0 without any; faint: of those too small to matter too. `joint` is what the ratios are divided by.
    """

    def __init__(self, marks: list[Mark]) -> None:
        self.marks = marks
        self.joint = 1.0
        self.findings: list[Finding] = []
        self._pending = sorted(marks, key=lambda m: m.look.first + m.look.length)
        self._ticks = 0

    def advance(self, slack: Callable[[Look], float]) -> None:
        """Take the looks that are due after one more tick. slack: what a look's change must exceed besides
        the smallest that matters: the part of a shock shared with the controls that they may be slow to
        show."""
        self._ticks += 1
        still = []
        for mark in self._pending:
            look = mark.look
            if self._ticks < look.first + look.length:
                still.append(mark)
            elif self._is_seen(look):
                self._take(mark, slack(look))
            elif self._ticks < look.first + 2 * look.length:
                still.append(mark)
        self._pending = still
        for finding in self.findings:
            finding.is_present = self._is_present(finding)

    def _take(self, mark: Mark, slack: float) -> None:
        look = mark.look
        found = self._contrast(mark)
        if found is None:
            return
        value, size, half = found
        # A look that had to wait for data reaches further from the deploy than its placebos did.
        late = math.sqrt(max((self._ticks - look.first) / look.length, 1.0))
        ratio = (value - mark.expected) / mark.scale / mark.limit / late
        if not ratio > 0.0 or half < _HALF * size or size <= 0.0:
            return
        self.findings.append(Finding(mark, size, ratio, size >= self.least(look) + slack, True))

    def _is_present(self, finding: Finding) -> bool:
        if not self._is_seen(finding.mark.look):
            return False
        now = self._size(finding.mark)
        return now >= _KEEPS * finding.size and (
            not finding.is_practical or now >= self.least(finding.mark.look)
        )

    @property
    def statistic(self) -> float:
        """Over `joint`; more than 1 is beyond what is allowed to chance."""
        return (
            max((f.ratio for f in self.findings if f.is_present and f.is_practical), default=0.0) / self.joint
        )

    @property
    def faint(self) -> float:
        """The same with what is too small to matter."""
        return max((f.ratio for f in self.findings if f.is_present), default=0.0) / self.joint

    def smallest_visible(self) -> float | None:
        """Size that one of the looks finds in 80 % of the cases; None without a look."""
        sizes = [
            self._size_of(m, (m.limit * self.joint + _POWER) * m.scale)
            for m in self.marks
            if not (m.is_tail or m.look.is_late)
        ]
        return min(sizes, default=None)

    def _size_of(self, mark: Mark, contrast: float) -> float:
        """The size that a contrast of that size belongs to."""
        return contrast

    def least(self, look: Look) -> float:
        """The smallest change that matters, in the unit of `Finding.size`."""
        raise NotImplementedError

    def _is_seen(self, look: Look) -> bool:
        raise NotImplementedError

    def _contrast(self, mark: Mark) -> tuple[float, float, float] | None:
        """(in the unit of the mark, size, size of its lesser half) of the newest ticks; None: cannot be
        told.
        """
        raise NotImplementedError

    def _size(self, mark: Mark) -> float:
        raise NotImplementedError


class ValueTrack(Track):
    """A series of values on the worse-is-up scale."""

    def __init__(
        self,
        history: FloatArray,
        looks: tuple[Look, ...],
        step_s: float,
        free: BoolArray,
        least: Callable[[float], float],
        alpha: float,
    ) -> None:
        """history: shape (n,), NaN = missing. free: origins that are placebos, as `placebo_origins` gives
        them. least: the smallest rise that matters, from the level before. alpha: what all looks may
        spend."""
        n = len(history)
        self._least = least
        reach = max(look.length for look in looks)
        tail = history[max(n - reach, 0) :]
        self._before = len(tail)
        self._y = np.concatenate(
            [tail, np.full(max(look.first + 2 * look.length for look in looks) + 64, np.nan)]
        )
        self._end = self._before
        self._refs: dict[tuple[int, bool], float] = {}
        super().__init__(self._marks(history, looks, step_s, free, alpha))

    def _marks(
        self, history: FloatArray, looks: tuple[Look, ...], step_s: float, free: BoolArray, alpha: float
    ) -> list[Mark]:
        n = len(history)
        if not np.isfinite(history).any():
            return []
        samples = Samples.of(history)
        filled = samples.filled
        origins, places = placebo_origins(n, step_s)
        steps = np.diff(filled)
        rough = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / math.sqrt(2.0) if n > 1 else 0.0
        day = max(round(86400.0 / step_s), 1)
        wide = _SCALE_PART * float(np.nanstd(history[-day:])) if np.isfinite(history[-day:]).any() else 0.0
        least = max(wide, _LEAST_PART * self._least(float(np.median(filled[-day:]))), 1e-12)
        marks: list[Mark] = []
        bases: dict[int, Before] = {}
        for look in looks:
            length = look.length
            if n < _HISTORY_MIN * length + 4:
                continue
            if length not in bases:
                bases[length] = before(samples, origins, length)
                self._refs[length, False] = float(bases[length].level[0])
                self._refs[length, True] = float(bases[length].tail[0])
            if not math.isfinite(self._refs[length, False]):
                continue
            floor = max(least, _ROUGH * rough / math.sqrt(length))
            for is_tail, contrast in enumerate(value_contrasts(samples, origins, look, bases[length])):
                mark = make_mark(contrast, look, bool(is_tail), places, free, floor, alpha, n)
                if mark is not None:
                    marks.append(mark)
        return marks

    def take(self, value: float, slack: Callable[[Look], float] = lambda look: 0.0) -> None:
        """The value of the next tick; NaN = missing."""
        if self._end == len(self._y):
            self._y = np.concatenate([self._y, np.full(len(self._y), np.nan)])
        self._y[self._end] = value
        self._end += 1
        self.advance(slack)

    def least(self, look: Look) -> float:
        """In the unit of the scores."""
        return self._least(self._refs[look.length, False])

    def _window(self, look: Look) -> FloatArray:
        return carried(self._y[: self._end])[self._end - look.length :]

    def _is_seen(self, look: Look) -> bool:
        newest = self._y[self._end - look.length : self._end]
        return bool(np.isfinite(newest[-1]) and np.isfinite(newest).mean() >= SEEN_AFTER)

    def _contrast(self, mark: Mark) -> tuple[float, float, float] | None:
        window = self._window(mark.look)[None]
        reference = self._refs[mark.look.length, mark.is_tail]
        if mark.is_tail:
            whole, half = (float(q[0]) for q in tail_after(window))
            return whole - reference, whole - reference, half - reference
        size = float(level_after(window)[0]) - reference
        return size, size, size

    def _size(self, mark: Mark) -> float:
        found = self._contrast(mark)
        return found[1] if found else 0.0


class CountTrack(Track):
    """A series of bad events among trials."""

    def __init__(
        self,
        events: FloatArray,
        trials: FloatArray,
        looks: tuple[Look, ...],
        step_s: float,
        free: BoolArray,
        least: Callable[[float], float],
        alpha: float,
    ) -> None:
        """events, trials: shape (n,), 0 of 0 = missing. free, alpha: as for `ValueTrack`. least: the smallest
        rise of the share that matters, from the share before."""
        self._least = least
        self._k: list[float] = []
        self._n: list[float] = []
        self._rates: dict[int, float] = {}
        n = len(events)
        self._traffic = float(trials.sum()) / max(int(np.count_nonzero(trials)), 1)
        origins, _ = placebo_origins(n, step_s)
        day = max(round(86400.0 / step_s), 1)
        marks = []
        for look in looks:
            if n < _HISTORY_MIN * look.length + 4:
                continue
            rate = rates_before(events, trials, origins, _RATE_TICKS * look.length, day)
            contrast = count_contrast(events, trials, rate, origins, look)
            # No season: the share of failures has less of it than the number of requests.
            mark = make_mark(contrast, look, False, 0, free, 1.0, alpha, n)
            if mark is not None:
                marks.append(mark)
                self._rates[look.length] = float(rate[0])
        super().__init__(marks)

    def take(self, events: float, trials: float) -> None:
        """The next tick; 0 of 0 = missing."""
        self._k.append(events)
        self._n.append(trials)
        self.advance(lambda look: 0.0)

    def least(self, look: Look) -> float:
        """As a share of the trials."""
        return self._least(self._rates[look.length])

    def _size_of(self, mark: Mark, contrast: float) -> float:
        """Between Poisson means, square roots lie half a root of the deviance apart."""
        rate = self._rates[mark.look.length]
        trials = max(self._traffic * mark.look.length, 1e-9)
        return (math.sqrt(rate) + 0.5 * contrast / math.sqrt(trials)) ** 2 - rate

    def _is_seen(self, look: Look) -> bool:
        return self._n[-1] > 0.0 or sum(self._n[-look.length :]) > 0.0

    def _share(self, look: Look) -> tuple[float, float]:
        return sum(self._k[-look.length :]), sum(self._n[-look.length :])

    def _contrast(self, mark: Mark) -> tuple[float, float, float] | None:
        look = mark.look
        some, all_of = self._share(look)
        if some < _EVENTS_MIN or all_of <= 0.0:
            return None
        newest = (np.array(x[-look.length :]) for x in (self._k, self._n))
        k, n = (np.concatenate([np.zeros(look.length), x]) for x in newest)
        alike = Look(first=0, length=look.length, is_late=look.is_late, sees_tail=False)
        rate = self._rates[look.length]
        value = float(count_contrast(k, n, np.array([rate]), np.array([look.length]), alike)[0])
        return (value, some / all_of - rate, self._newest(look)) if math.isfinite(value) else None

    def _newest(self, look: Look) -> float:
        """Rise of the newer half: what is pooled remembers a burst for as long as the look is."""
        half = max(look.length // 2, 1)
        some, all_of = sum(self._k[-half:]), sum(self._n[-half:])
        return some / all_of - self._rates[look.length] if all_of > 0.0 else 0.0

    def _size(self, mark: Mark) -> float:
        some, all_of = self._share(mark.look)
        rise = some / all_of - self._rates[mark.look.length] if all_of > 0.0 else 0.0
        return min(rise, self._newest(mark.look) / _HALF)


def rates_before(
    events: FloatArray, trials: FloatArray, origins: IntArray, local: int, usual: int
) -> FloatArray:
    """Share of events before each origin, shape (J,): that of the `usual` ticks before, or of the `local`
    ones when it is higher, steadied by ten events at the usual rate. So trouble from before is nobody's
    deploy."""
    k, n = (np.concatenate([[0.0], np.cumsum(x)]) for x in (events, trials))
    far, near = np.maximum(origins - usual, 0), np.maximum(origins - local, 0)
    rate = (k[origins] - k[far] + 0.5) / (n[origins] - n[far] + 1.0)
    steady = (k[origins] - k[near] + _LOCAL_EVENTS) / (n[origins] - n[near] + _LOCAL_EVENTS / rate)
    result: FloatArray = np.maximum(rate, steady)
    return result
