"""What a stretch of ticks after the deploy has that the stretch before it had not.

Both sides are robust on the side that matters: the level after is one that the series kept to for most of the
stretch, so that a spike does not pass for a level; the level before is the higher of the whole stretch and
its newer half, so that trouble that began shortly before the deploy is not blamed on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.looks import Look
from detectors.model import FloatArray, IntArray

SEEN_AFTER = 0.6  # of the ticks of a stretch after the deploy
SEEN_BEFORE = 0.5
_ALONE = 1.2
_CUT = 5  # a fifth of the samples is cut off
_KEPT = 0.4  # the level must be reached by all but this share of the samples


def level_after(window: FloatArray) -> FloatArray:
    """Level that a stretch keeps to, shape (...,) from (..., length): mean of its lower four fifths, and no
    more than its 40 % quantile."""
    length = window.shape[-1]
    ranked = np.sort(window, axis=-1)
    kept = length - (max(1, length // _CUT) if length >= 3 else 0)
    place = 1 if length == 3 else int(_KEPT * (length - 1))
    result: FloatArray = np.minimum(ranked[..., :kept].mean(axis=-1), ranked[..., place])
    return result


def level_before(window: FloatArray) -> FloatArray:
    """Level of a stretch, shape (...,) from (..., length): the higher of the trimmed means of the whole and
    of its newer half."""
    half = max(3, window.shape[-1] // 2)
    if half >= window.shape[-1]:
        return _trimmed(window)
    result: FloatArray = np.maximum(_trimmed(window), _trimmed(window[..., -half:]))
    return result


def tail_after(window: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(80 % quantile of a stretch, the lower of those of its halves), shapes (...,) from (..., length).

    The first finds what leaves the middle untouched: a slow fifth, flapping, larger variance. The second
    tells whether both halves have it.
    """
    half = window.shape[-1] // 2
    both: FloatArray = np.minimum(_upper(window[..., :half]), _upper(window[..., -half:]))
    return _upper(window), both


def tail_before(window: FloatArray) -> FloatArray:
    """80 % quantile of a stretch or of its newer half, whichever is higher; shape (...,)."""
    half = max(window.shape[-1] // 2, 1)
    result: FloatArray = np.maximum(_upper(window), _upper(window[..., -half:]))
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


def _trimmed(window: FloatArray) -> FloatArray:
    length = window.shape[-1]
    cut = max(1, length // _CUT) if length >= 3 else 0
    result: FloatArray = np.sort(window, axis=-1)[..., cut : length - cut].mean(axis=-1)
    return result


def _upper(window: FloatArray) -> FloatArray:
    place = round(0.8 * (window.shape[-1] - 1))
    result: FloatArray = np.partition(window, place, axis=-1)[..., place]
    return result


@dataclass(frozen=True, slots=True)
class Samples:
    """One series ready to be compared. y: shape (n,), more is worse, NaN = missing; filled: without gaps;
    seen: how many of the first i samples were seen, shape (n + 1,)."""

    y: FloatArray
    filled: FloatArray
    seen: FloatArray

    @classmethod
    def of(cls, y: FloatArray) -> Samples:
        """From the series itself."""
        return cls(y, carried(y), np.concatenate([[0.0], np.cumsum(np.isfinite(y))]))


@dataclass(frozen=True, slots=True)
class Before:
    """What `length` ticks before each origin were like: levels and tails, shape (J,), NaN where too little
    was seen. Looks of one length share it."""

    length: int
    level: FloatArray
    tail: FloatArray


def before(samples: Samples, origins: IntArray, length: int) -> Before:
    """The stretches before `origins`, shape (J,): indices of the series."""
    start = origins - length
    at = np.flatnonzero(start >= 0)
    at = at[samples.seen[origins[at]] - samples.seen[start[at]] >= SEEN_BEFORE * length]
    window = samples.filled[start[at, None] + np.arange(length)]
    level, tail = np.full(len(origins), np.nan), np.full(len(origins), np.nan)
    level[at], tail[at] = level_before(window), tail_before(window)
    return Before(length, level, tail)


def value_contrasts(samples: Samples, origins: IntArray, look: Look, base: Before) -> list[FloatArray]:
    """[contrast of the levels], and where the look sees the tail [contrast of the tails]; each of shape (J,).

    NaN where a stretch leaves the series or too little of it was seen.
    """
    first = origins + look.first
    last = first + look.length
    at = np.flatnonzero((last <= len(samples.y)) & np.isfinite(base.level))
    at = at[samples.seen[last[at]] - samples.seen[first[at]] >= SEEN_AFTER * look.length]
    after = samples.filled[first[at, None] + np.arange(look.length)]
    level = np.full(len(origins), np.nan)
    level[at] = level_after(after) - base.level[at]
    if not look.sees_tail:
        return [level]
    tail = np.full(len(origins), np.nan)
    tail[at] = tail_after(after)[0] - base.tail[at]
    return [level, tail]


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
