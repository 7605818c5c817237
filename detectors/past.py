"""What the past of one series says of every contrast a watch will make: the ruler it is measured with.

Made once, when a watch starts, and frozen: the marks of `ruler`, the level that each contrast starts from,
and the smallest change that matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.contrast import (
    KINDS,
    Before,
    Kind,
    Samples,
    after,
    before,
    count_contrast,
    usual_size,
    value_contrasts,
    with_longer_level,
)
from detectors.looks import Look
from detectors.model import FloatArray, IntArray
from detectors.origins import Origins
from detectors.other_days import foretold
from detectors.robust import median
from detectors.ruler import Mark, make_mark

_DAY_S = 86400.0
_HISTORY_MIN = 3  # lengths of a look, for it to be taken at all
_ORIGINS_MIN = 4
_SCALE_PART = 0.05  # of the s.d. of the last day: contrasts are not believed to be finer than that
_LEAST_PART = 0.1  # of the smallest change that matters
_GAIN_MIN = 0.03  # of the usual size that a longer stretch before must save


@dataclass(frozen=True, slots=True)
class Column:
    """One contrast of a watch: a look, at the level or at the tail."""

    look: Look
    kind: Kind

    def least_scale(self, floor: float) -> float:
        """Least scale of it. floor: that of levels and tails; a spread is compared by its logarithm."""
        return 0.5 / math.sqrt(self.look.length) if self.kind == "spread" else floor


def columns_of(looks: Sequence[Look]) -> tuple[Column, ...]:
    """Every contrast of the looks, in an order that all series of a watch share."""
    return tuple(Column(look, kind) for look in looks for kind in (KINDS if look.sees_tail else KINDS[:1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One series before the deploy, column by column (`columns_of` its looks).

    marks: None where the past is too short for that contrast. reference: what the contrast starts from, shape
    (M,): a level or tail on the scale of the scores, or a share of events. least: the smallest change that
    matters, shape (M,), in the same unit. last: the last value seen, NaN without one (of events: NaN).
    density: share of the ticks that usually hold a sample. trials: usual trials of a tick, for a series of
    events.
    """

    marks: tuple[Mark | None, ...]
    reference: FloatArray
    least: FloatArray
    last: float = math.nan
    floor: float = 0.0
    density: float = 1.0
    trials: float = 0.0

    @property
    def has_own(self) -> bool:
        """Whether some limit rests on the series' own tail."""
        return any(mark is not None and mark.has_own for mark in self.marks)

    @property
    def has_looks(self) -> bool:
        """Whether the past was enough for a look at all."""
        return any(mark is not None for mark in self.marks)


def history_min(length: int) -> int:
    """Steps of history that a look of that length takes."""
    return _HISTORY_MIN * length + _ORIGINS_MIN


def past_of_values(
    history: FloatArray,
    looks: Sequence[Look],
    step_s: float,
    origins: Origins,
    least: Callable[[float], float],
    alpha: float,
) -> Past:
    """The past of a series on the worse-is-up scale.

    history: shape (n,), NaN = missing. origins: of a history of that length (`placebo_origins`). least: the
    smallest rise that matters, from the level before. alpha: what all looks may spend.
    """
    columns, n = columns_of(looks), len(history)
    marks: list[Mark | None] = [None] * len(columns)
    reference, smallest = np.full(len(columns), np.nan), np.full(len(columns), np.nan)
    seen = np.flatnonzero(np.isfinite(history))
    if not seen.size:
        return Past(marks=tuple(marks), reference=reference, least=smallest)
    samples = Samples.of(history)
    floor = _least_scale(history, samples.filled, step_s, least)
    bases: dict[int, Before] = {}
    made: dict[Look, list[FloatArray]] = {}
    for c, column in enumerate(columns):
        look = column.look
        if n < history_min(look.length):
            continue
        if look not in made:
            found = after(samples, origins.at, look)
            if look.length not in bases:
                bases[look.length] = base_of(samples, origins.at, look.length, found[0])
            made[look] = value_contrasts(found, bases[look.length], floor)
        base, contrast = bases[look.length], made[look][KINDS.index(column.kind)]
        reference[c] = getattr(base, column.kind)[0]
        if not math.isfinite(base.level[0]):
            continue
        smallest[c] = least(float(base.level[0]))
        told = foretold(contrast, origins)
        marks[c] = make_mark(contrast, told, look, origins, column.least_scale(floor), alpha, n)
    # What a gap that begins with the deploy is filled with; not older than the longest look.
    newest = history[max(n - max(look.length for look in looks), 0) :]
    newest = newest[np.isfinite(newest)]
    last = float(newest[-1]) if newest.size else math.nan
    return Past(
        marks=tuple(marks),
        reference=reference,
        least=smallest,
        last=last,
        floor=floor,
        density=samples.density,
    )


def base_of(samples: Samples, origins: IntArray, length: int, found: FloatArray) -> Before:
    """What came before, its level over one length or two, whichever foretells the placebos better.

    found: the level after each origin, shape (J,), in one look of that length: one tells.
    """
    one = before(samples, origins, length)
    two = with_longer_level(one, samples, origins, 2)
    error = [usual_size((found - base.level)[1:]) for base in (one, two)]
    return two if error[1] < (1.0 - _GAIN_MIN) * error[0] else one


def _least_scale(
    history: FloatArray, filled: FloatArray, step_s: float, least: Callable[[float], float]
) -> float:
    """Least scale of any contrast of levels or tails."""
    day = max(round(_DAY_S / step_s), 1)
    wide = _SCALE_PART * float(np.nanstd(history[-day:])) if np.isfinite(history[-day:]).any() else 0.0
    return max(wide, _LEAST_PART * least(median(filled[-day:])), 1e-12)


def past_of_counts(
    events: FloatArray,
    trials: FloatArray,
    looks: Sequence[Look],
    step_s: float,
    origins: Origins,
    least: Callable[[float], float],
    alpha: float,
    *,
    has_season: bool = False,
) -> Past:
    """The past of a series of bad events among trials.

    events, trials: shape (n,), 0 of 0 = missing. origins, alpha: as for `past_of_values`. least: the smallest
    rise of the share that matters, from the share before. has_season: what other days make of the contrast
    is taken off, if that foretells it.
    """
    columns, n = columns_of(looks), len(events)
    marks: list[Mark | None] = [None] * len(columns)
    reference, smallest = np.full(len(columns), np.nan), np.full(len(columns), np.nan)
    rate = rates_before(events, trials, origins.at, max(round(_DAY_S / step_s), 1))
    for c, column in enumerate(columns):
        look = column.look
        # Of events the upper fifth of the ticks says nothing that their sum does not.
        if column.kind != "level" or n < history_min(look.length):
            continue
        contrast = count_contrast(events, trials, rate, origins.at, look)
        told = foretold(contrast, origins, has_season=has_season)
        marks[c] = make_mark(contrast, told, look, origins, 1.0, alpha, n)
        reference[c], smallest[c] = rate[0], least(float(rate[0]))
    usual = float(trials.sum()) / max(int(np.count_nonzero(trials)), 1)
    return Past(marks=tuple(marks), reference=reference, least=smallest, trials=usual)


def rates_before(events: FloatArray, trials: FloatArray, origins: IntArray, usual: int) -> FloatArray:
    """Share of events in the `usual` ticks before each origin, shape (J,).

    Not of the ticks just before: what began there is told by its onset, and a share that follows the time of
    day would be compared with its own peak.
    """
    k, n = (np.concatenate([[0.0], np.cumsum(x)]) for x in (events, trials))
    far = np.maximum(origins - usual, 0)
    result: FloatArray = (k[origins] - k[far] + 0.5) / (n[origins] - n[far] + 1.0)
    return result
