"""What series that were not deployed did meanwhile: taken off where it helps, and a reason not to act."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.contrast import carried, condensed, level_after, level_before
from detectors.model import FloatArray
from detectors.robust import median
from detectors.scores import Score, Scores


def mean_of(residuals: list[FloatArray]) -> FloatArray:
    """Mean over the controls seen at each place, NaN where none is; all of one shape."""
    stack = np.stack(residuals)
    seen = np.isfinite(stack)
    count = seen.sum(axis=0)
    total = np.where(seen, stack, 0.0).sum(axis=0)
    result: FloatArray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """The controls of one series before the deploy, brought to its level: the same factor on both is the same
    rise.

    zero: the usual level of the series on the scale of its scores. factors: what each control is multiplied
    by, NaN for one that cannot be compared. history: how far the median control lay from its usual level, NaN
    where none was seen, shape (n,).
    """

    score: Score
    zero: float
    factors: FloatArray
    history: FloatArray


def company_of(score: Score, target: FloatArray, controls: Sequence[FloatArray], day: int) -> Company:
    """target, controls: shape (n,) in their units, NaN = missing. day: ticks that give the levels."""
    usual = _level(target[-day:])
    levels = [_level(c[-day:]) for c in controls]
    factors = np.array([usual / level if level * usual > 0.0 else np.nan for level in levels])
    zero = float(score.of(np.array([usual]))[0])
    moved = np.full((max(len(controls), 1), len(target)), np.nan)
    for i, (control, factor) in enumerate(zip(controls, factors, strict=True)):
        moved[i] = score.of(control * factor) - zero
    return Company(score=score, zero=zero, factors=factors, history=_median_seen(moved))


class Companions:
    """What the controls of S series did together since the deploy, on the scale of the scores of each."""

    def __init__(self, companies: Sequence[Company], lengths: Sequence[int], room: int) -> None:
        """lengths: of the looks. room: ticks to make room for; more are taken, too. widest: most controls."""
        self.widest = max((len(c.factors) for c in companies), default=0)
        self._scores = Scores([c.score for c in companies])
        self._zero = np.array([c.zero for c in companies])[:, None]
        self._factors = np.full((len(companies), self.widest), np.nan)
        self._lengths = tuple(lengths)
        self._before = np.full((len(companies), len(self._lengths)), np.nan)
        self._last = np.zeros(len(companies))
        for i, company in enumerate(companies):
            self._factors[i, : len(company.factors)] = company.factors
            filled = carried(company.history)
            self._last[i] = filled[-1] if len(filled) else 0.0
            for j, length in enumerate(self._lengths):
                if length <= len(filled):
                    self._before[i, j] = float(level_before(condensed(filled[None, -length:]))[0])
        self._y = np.zeros((len(companies), max(room, 1)))
        self._ticks = 0

    def take(self, values: FloatArray) -> FloatArray:
        """How far the controls have moved in the next tick, shape (S,); NaN where none was seen.

        values: shape (S, widest), NaN = missing.
        """
        moved = self._scores.of(values * self._factors) - self._zero
        now = _median_seen(moved.T)
        self._last = np.where(np.isfinite(now), now, self._last)
        if self._ticks == self._y.shape[1]:
            self._y = np.concatenate([self._y, np.zeros_like(self._y)], axis=1)
        self._y[:, self._ticks] = self._last
        self._ticks += 1
        return now

    def rise(self) -> FloatArray:
        """By how much the newest ticks lie above as many before the deploy, for each length; shape (S, l).

        0 as long as there are not so many ticks.
        """
        made = np.zeros(self._before.shape)
        for j, length in enumerate(self._lengths):
            if length <= self._ticks:
                window = condensed(self._y[:, self._ticks - length : self._ticks])
                made[:, j] = level_after(np.sort(window, axis=-1)) - self._before[:, j]
        result: FloatArray = np.where(np.isfinite(made), made, 0.0)
        return result


def _level(values: FloatArray) -> float:
    seen = values[np.isfinite(values)]
    return median(seen) if seen.size else np.nan


def _median_seen(moved: FloatArray) -> FloatArray:
    """Median over the rows of what is seen, NaN where nothing is; shape (n,) from (m, n)."""
    ranked = np.sort(moved, axis=0)  # NaN last
    seen = np.isfinite(ranked).sum(axis=0)
    last = np.maximum(seen - 1, 0)
    place = np.arange(ranked.shape[1])
    middle = 0.5 * (ranked[last // 2, place] + ranked[(last + 1) // 2, place])
    result: FloatArray = np.where(seen > 0, middle, np.nan)
    return result
