"""What a stretch of ticks after the deploy has that the stretch before it had not.

Both sides are robust on the side that matters: the level after is one that the series kept to for most of the
stretch, so that a spike does not pass for a level; what came before counts with its newer half where that
was worse, so that trouble that began shortly before the deploy is not blamed on it. Three things are
compared: the level, the upper fifth, and how far the upper half spreads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from detectors.looks import Look
from detectors.model import FloatArray, IntArray
from detectors.tails import quantile

Kind = Literal["level", "tail", "spread"]
KINDS: tuple[Kind, ...] = ("level", "tail", "spread")
_SEEN_AFTER = 0.6  # of the samples that a stretch of that length usually holds
_SEEN_BEFORE = 0.5
_SEEN_MIN = 5  # samples after the deploy, if there are ticks for them: of fewer a restart is most
_PIECES = 10
_ALONE = 1.2
_CUT = 5  # a fifth of the samples is cut off
_STRAYS = 1.0  # times its usual size: how far the newer half may lie above the level before it counts
_CUT_AT = 0.99  # quantile beyond which a placebo adds no more to the scale
_PARTS = 60
_PART_MIN = 3
_KEPT = 0.4  # the level must be reached by all but this share of the samples


def level_after(ranked: FloatArray) -> FloatArray:
    """Level that a stretch keeps to, shape (...,) from its sorted ticks, (..., length): its 40 % quantile."""
    length = ranked.shape[-1]
    result: FloatArray = ranked[..., 1 if length == 3 else int(_KEPT * (length - 1))]
    return result


def trimmed(ranked: FloatArray) -> FloatArray:
    """Mean of a sorted stretch without its highest and its lowest fifth, shape (...,) from (..., length)."""
    length = ranked.shape[-1]
    cut = max(1, length // _CUT) if length >= 3 else 0
    result: FloatArray = ranked[..., cut : length - cut].mean(axis=-1)
    return result


def level_before(window: FloatArray) -> FloatArray:
    """Level of a stretch, shape (...,) from (..., length): the higher of the trimmed means of the whole and
    of its newer half."""
    result: FloatArray = np.maximum(
        trimmed(np.sort(window, axis=-1)), trimmed(np.sort(_newest(window), axis=-1))
    )
    return result


def upper(ranked: FloatArray) -> FloatArray:
    """80 % quantile of a sorted stretch, shape (...,) from (..., length): finds what leaves the middle
    untouched, as a slow fifth or flapping."""
    result: FloatArray = ranked[..., round(0.8 * (ranked.shape[-1] - 1))]
    return result


def spread(ranked: FloatArray) -> FloatArray:
    """By how much the upper half of a sorted stretch exceeds its median, on average and without the largest
    tenth; shape (...,) from (..., length)."""
    length = ranked.shape[-1]
    half = length // 2
    cut = min(max(1, length // 10), length - half - 1)
    result: FloatArray = ranked[..., half : length - cut].mean(axis=-1) - ranked[..., half]
    return result


def sorted_halves(window: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The older and the newer half of a stretch, each sorted, (..., length // 2)."""
    half = max(window.shape[-1] // 2, 1)
    return np.sort(window[..., :half], axis=-1), np.sort(window[..., -half:], axis=-1)


def _newest(window: FloatArray) -> FloatArray:
    """The newer half of a stretch, three ticks at least."""
    return window[..., -max(3, window.shape[-1] // 2) :]


def condensed(window: FloatArray) -> FloatArray:
    """A stretch of two hundred ticks or more as the means of its sixtieths, so that a look over a day costs
    no more than one over an hour; the oldest ticks that fill no sixtieth are left out."""
    length = window.shape[-1]
    size = length // _PARTS
    if size < _PART_MIN:
        return window
    count = length // size
    parts = window[..., length - count * size :].reshape(*window.shape[:-1], count, size)
    result: FloatArray = parts.mean(axis=-1)
    return result


def carried(y: FloatArray) -> FloatArray:
    """y, missing samples replaced by the last one seen along the last axis, leading ones by the first."""
    seen = np.isfinite(y)
    if seen.all():
        return y
    place = np.where(seen, np.arange(y.shape[-1]), -1)
    np.maximum.accumulate(place, axis=-1, out=place)
    first = np.argmax(seen, axis=-1)
    place = np.where(place < 0, first[..., None], place)
    result: FloatArray = np.take_along_axis(y, place, axis=-1)
    return np.where(np.isfinite(result), result, 0.0)


def density_of(y: FloatArray) -> float:
    """Share of the ticks that usually hold a sample, 0 to 1: the median over the tenths of a series since its
    first sample, so that one long gap does not make a series sparse. Without a sample: 1."""
    seen = np.isfinite(y)
    if not seen.any():
        return 1.0
    pieces = np.array_split(seen[int(np.argmax(seen)) :], _PIECES)
    return float(np.median([piece.mean() for piece in pieces if piece.size]))


def wanted_after(length: int, density: FloatArray | float) -> FloatArray | float:
    """Samples that a stretch after the deploy must hold to be compared: most of what it usually holds."""
    return np.maximum(_SEEN_AFTER * density * length, min(_SEEN_AFTER * length, _SEEN_MIN))


@dataclass(frozen=True, slots=True)
class Samples:
    """One series ready to be compared. y: shape (n,), more is worse, NaN = missing; filled: without gaps;
    seen: how many of the first i samples were seen, shape (n + 1,); density: see `density_of`."""

    y: FloatArray
    filled: FloatArray
    seen: FloatArray
    density: float

    @classmethod
    def of(cls, y: FloatArray) -> Samples:
        """From the series itself."""
        return cls(y, carried(y), np.concatenate([[0.0], np.cumsum(np.isfinite(y))]), density_of(y))

    def window(self, start: IntArray, length: int) -> FloatArray:
        """The stretches that begin at `start`, shape (J,); of shape (J, length), or shorter if condensed."""
        if len(self.filled) < length:
            return np.empty((0, length))
        return condensed(sliding_window_view(self.filled, length)[start])


@dataclass(frozen=True, slots=True)
class Before:
    """What `length` ticks before each origin were like: each of shape (J,), NaN where too little was seen.
    Looks of one length share it. newest: level of the newer half alone."""

    length: int
    level: FloatArray
    tail: FloatArray
    spread: FloatArray
    newest: FloatArray


def before(samples: Samples, origins: IntArray, length: int) -> Before:
    """The stretches before `origins`, shape (J,): indices of the series.

    The newer half counts where its level lies higher than it usually strays; of tails and spreads where it is
    the larger.
    """
    start = origins - length
    at = np.flatnonzero(start >= 0)
    at = at[samples.seen[origins[at]] - samples.seen[start[at]] >= _SEEN_BEFORE * samples.density * length]
    window = samples.window(start[at], length)
    ranked, newer = np.sort(window, axis=-1), np.sort(_newest(window), axis=-1)
    whole, tail, wide, newest = (np.full(len(origins), np.nan) for _ in range(4))
    whole[at], newest[at] = trimmed(ranked), trimmed(newer)
    tail[at] = np.maximum(upper(ranked), upper(newer))
    wide[at] = np.maximum(spread(ranked), spread(newer))
    return Before(length, _at_least_newest(whole, newest), tail, wide, newest)


def with_longer_level(base: Before, samples: Samples, origins: IntArray, reach: int) -> Before:
    """The same with a level that rests on `reach` lengths: known better, unless the series wanders."""
    length = reach * base.length
    at = np.flatnonzero((origins >= length) & np.isfinite(base.level))
    whole = base.level.copy()
    whole[at] = trimmed(np.sort(samples.window(origins[at] - length, length), axis=-1))
    return replace(base, level=_at_least_newest(whole, base.newest))


def _at_least_newest(whole: FloatArray, newest: FloatArray) -> FloatArray:
    rise = newest - whole
    result: FloatArray = whole + np.maximum(rise - _STRAYS * usual_size(rise), 0.0)
    return result


def usual_size(values: FloatArray) -> float:
    """Root mean square of what is finite, cut at its 99 % quantile, as an incident is no noise; else 0."""
    size = np.abs(values[np.isfinite(values)])
    if not size.size:
        return 0.0
    return float(np.sqrt(np.mean(np.minimum(size, quantile(np.sort(size), _CUT_AT)) ** 2)))


def after(samples: Samples, origins: IntArray, look: Look) -> list[FloatArray]:
    """What the stretch of a look after each origin was like, in the order of `KINDS`, each of shape (J,): its
    level, and where the look sees the tail also its tail and its spread.

    NaN where the stretch leaves the series or too little of it was seen.
    """
    first = origins + look.first
    last = first + look.length
    at = np.flatnonzero(last <= len(samples.y))
    seen = samples.seen[last[at]] - samples.seen[first[at]]
    at = at[seen >= wanted_after(look.length, samples.density)]
    ranked = np.sort(samples.window(first[at], look.length), axis=-1)
    made = []
    for measure in (level_after, upper, spread) if look.sees_tail else (level_after,):
        values = np.full(len(origins), np.nan)
        values[at] = measure(ranked)
        made.append(values)
    return made


def value_contrasts(found: Sequence[FloatArray], base: Before, floor: float) -> list[FloatArray]:
    """What `after` found against what came before, each of shape (J,): differences of levels and of tails,
    and the logarithm of the ratio of spreads. floor: added to both spreads."""
    made = [found[0] - base.level]
    if len(found) > 1:
        made += [found[1] - base.tail, log_ratio(found[2], base.spread, floor)]
    return made


def log_ratio(after: FloatArray, base: FloatArray, floor: FloatArray | float) -> FloatArray:
    """Logarithm of one spread over another; `floor` keeps two that are next to nothing alike."""
    result: FloatArray = np.log((after + floor) / (base + floor))
    return result


def count_contrast(
    events: FloatArray, trials: FloatArray, rate: FloatArray, origins: IntArray, look: Look
) -> FloatArray:
    """`root_after` of the stretch of a look after each origin, shape (J,), NaN where it leaves the series.

    events, trials: shape (n,). rate: the share before each origin, shape (J,).
    """
    start, first = origins - look.length, origins + look.first
    at = np.flatnonzero((start >= 0) & (first + look.length <= len(events)))
    window = first[at, None] + np.arange(look.length)
    made = np.full(len(origins), np.nan)
    made[at] = root_after(events[window], trials[window], rate[at])
    return made


def root_after(events: FloatArray, trials: FloatArray, rate: FloatArray) -> FloatArray:
    """Signed root deviance of each stretch, shape (R,) from (R, length), against its `rate`, shape (R,).

    The tick with the most events may not decide alone: without it the deviance must reach five sixths. NaN
    where nothing ran.
    """
    worst = np.argmax(events, axis=1)[:, None]
    some, all_of = events.sum(axis=1), trials.sum(axis=1)
    rest_k = some - np.take_along_axis(events, worst, 1)[:, 0]
    rest_n = all_of - np.take_along_axis(trials, worst, 1)[:, 0]
    root = np.minimum(poisson_root(some, all_of * rate), _ALONE * poisson_root(rest_k, rest_n * rate))
    result: FloatArray = np.where((all_of > 0.0) & (rest_n > 0.0), root, np.nan)
    return result


def poisson_root(k: FloatArray, mean: FloatArray) -> FloatArray:
    """Signed root of the Poisson deviance of k events where `mean` were expected, k half an event closer to
    it.

    About standard normal also for a handful of events; `mean` may be 0. Source: P. McCullagh, J. A. Nelder,
    Generalized Linear Models (1989), section 6.2.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        near = np.maximum(k - 0.5 * (k > mean), 0.0)
        log = np.where(near > 0.0, near * np.log(near / np.maximum(mean, 1e-12)), 0.0)
        result: FloatArray = np.sign(near - mean) * np.sqrt(np.maximum(2.0 * (log - (near - mean)), 0.0))
    return result
