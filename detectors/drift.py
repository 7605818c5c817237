"""One series between deploys: the level it moves around, and how far it has left it at several speeds.

Cheap enough for every series at every tick: a few sums that forget, no window that is sorted or searched.
What calibrates it runs over the history tick by tick through the same `Drift.take`: no second formula.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors.baseline import least_change
from detectors.model import FloatArray, SeriesSpec
from detectors.robust import median, robust_sd
from detectors.scores import Score, choose_score, clean_pairs, root_deviance
from detectors.seasonal import Profile, fit_profile
from detectors.tails import student_quantile

SPEEDS = (5, 20, 60, 240)  # ticks; from a hard break to a leak over hours
CLIP = 3.0  # s.d.: what one tick can prove
REBASE = 60  # ticks that give the level of a series which is to start anew
_SPEED_MAX = 0.25  # of the reach: a speed near that of the level would see nothing
_PROBE_BASE = 0.01  # one lost packet in a hundred proves nothing
_RARE = 3.0  # events of one tick beyond its clip: rare ones come in ones, twos and threes
_SCALE_KEPT = 0.99  # quantile at which deviations are cut when their size is measured

Sample = tuple[float, float]
"""(value on the scale of the scores without its season, 1) or (bad events, trials); second 0 = missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftFit:
    """What of a series is learned from its history and then fixed until it is learned again.

    speeds: ticks of each sum. reach: ticks of the level. spread: s.d. of a tick around the level. least: the
    smallest change that matters, on the scale of the scores (values only). scales: usual size of the
    deviation of each speed. bounds: multiples of it that chance alone does not reach (see `bounds_of`).
    """

    spec: SeriesSpec
    score: Score
    profile: Profile | None
    speeds: tuple[int, ...]
    reach: int
    spread: float
    least: float
    scales: tuple[float, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def is_paired(self) -> bool:
        """Whether samples are (bad events, trials)."""
        return self.score.form == "deviance"

    def samples(self, raw: FloatArray, season: FloatArray) -> list[Sample]:
        """raw: shape (n, width), NaN = missing; season: shape (n,), on the scale of the scores."""
        if self.is_paired:
            k, n = clean_pairs(raw)
            bad = k if self.spec.bad == "up" else n - k
            return list(zip(bad.tolist(), n.tolist(), strict=True))
        y = self.score.of(raw[:, 0]) - season
        seen = np.isfinite(y)
        return list(zip(np.where(seen, y, 0.0).tolist(), seen.astype(float).tolist(), strict=True))

    def season(self, ends: FloatArray) -> FloatArray:
        """What the time of day explains, shape of `ends` (epoch seconds)."""
        return np.zeros(len(ends)) if self.profile is None else self.profile.at(ends)


class Drift:
    """The sums of one series, and its newest ticks to say what has become of it."""

    def __init__(self, fit: DriftFit) -> None:
        """An empty one; it says nothing before `fit.reach` ticks with data."""
        self.fit = fit
        self._ring = np.zeros((2 * fit.speeds[-1], 3))
        self._seen = 0
        self._age = 0  # ticks behind the level, which a new beginning sets back
        self._level = 0.0  # of values
        self._slow = (0.0, 0.0)  # bad events and trials behind the level of shares
        self._sums = [(0.0, 0.0)] * len(fit.speeds)

    def recent(self, most: int | None = None) -> FloatArray:
        """The newest ticks with data, at most `most`: shape (n, 3), oldest first: end of the step, sample."""
        size = len(self._ring)
        count = min(self._seen, size, size if most is None else most)
        ticks: FloatArray = self._ring[np.arange(self._seen - count, self._seen) % size]
        return ticks

    @property
    def level(self) -> float:
        """What is usual now: on the scale of the scores, or the share of bad events."""
        if not self.fit.is_paired:
            return self._level
        share = (self._slow[0] + 0.5) / (self._slow[1] + 1.0)
        return max(share, _PROBE_BASE) if self.fit.spec.kind == "probe" else share

    @property
    def is_settled(self) -> bool:
        """Whether the level rests on enough ticks to judge by."""
        return self._seen >= self.fit.reach and self._age >= min(REBASE, self.fit.reach)

    def take(self, at: float, sample: Sample) -> float | None:
        """One more tick: the deviation in multiples of what chance is allowed, 0 while it is too small to
        matter or the level is still being learned; None if the tick is missing, which changes nothing."""
        far = self.deviations(at, sample)
        if far is None:
            return None
        if not self.is_settled:
            return 0.0
        units = zip(far, self.fit.scales, self.fit.bounds, self._effects(), strict=True)
        return max((z / (scale * bound) for z, scale, bound, matters in units if matters), default=0.0)

    def deviations(self, at: float, sample: Sample) -> list[float] | None:
        """One more tick: how far each sum is off, in s.d. of a tick for values, as the root of the deviance
        of its decayed counts for shares. None if the tick is missing."""
        if sample[1] <= 0.0:
            return None
        self._ring[self._seen % len(self._ring)] = (at, *sample)
        self._seen += 1
        self._age += 1
        pull = max(1.0 / self.fit.reach, 1.0 / self._age)
        return self._count(*sample, pull) if self.fit.is_paired else self._value(sample[0], pull)

    def start_anew(self, since_at: float) -> None:
        """Take the newest ticks, those after `since_at`, for the level from now on; forget the deviation."""
        ticks = self.recent(REBASE)
        newest = ticks[ticks[:, 0] > since_at, 1:]
        if not len(newest):
            return
        self._age = len(newest)
        self._slow = (float(newest[:, 0].sum()), float(newest[:, 1].sum()))
        self._level = median(newest[:, 0])
        self._sums = [(0.0, 0.0)] * len(self.fit.speeds)

    def _value(self, y: float, pull: float) -> list[float]:
        if self._seen == 1:
            self._level = y
        r = min(max((y - self._level) / self.fit.spread, -CLIP), CLIP)
        self._level += pull * r * self.fit.spread
        self._sums = [
            (m + (r - m) / speed, 1.0) for (m, _), speed in zip(self._sums, self.fit.speeds, strict=True)
        ]
        return [m for m, _ in self._sums]

    def _count(self, k: float, n: float, pull: float) -> list[float]:
        share = self.level
        usual = n * share
        k = min(k, usual + CLIP * self.fit.spread * math.sqrt(usual) + _RARE)
        keep = 1.0 - pull
        self._slow = (self._slow[0] * keep + k, self._slow[1] * keep + n)
        self._sums = [
            (s * (1.0 - 1.0 / speed) + k, t * (1.0 - 1.0 / speed) + n)
            for (s, t), speed in zip(self._sums, self.fit.speeds, strict=True)
        ]
        return [_root(s, t, share) for s, t in self._sums]

    def _effects(self) -> list[bool]:
        """Whether the deviation of each sum would matter if it stayed."""
        if not self.fit.is_paired:
            return [m * self.fit.spread >= self.fit.least for m, _ in self._sums]
        spec, share = self.fit.spec, self.level
        least = least_change(spec, share if spec.bad == "up" else 1.0 - share)
        return [t > 0.0 and s / t - share >= least for s, t in self._sums]


def _root(k: float, n: float, p: float) -> float:
    """`scores.root_deviance` of one pair in plain floats, k half an event closer to what is usual: this runs
    for every ratio at every tick, and a handful of events is skewed."""
    mean = n * p
    if n <= 0.0 or not 0.0 < p < 1.0:
        return 0.0
    k = max(k - 0.5, mean) if k > mean else min(k + 0.5, mean)
    hit = k * math.log(k / mean) if k > 0.0 else 0.0
    miss = (n - k) * math.log((n - k) / (n - mean)) if k < n else 0.0
    return math.copysign(math.sqrt(max(2.0 * (hit + miss), 0.0)), k - mean)


def fit_drift(
    spec: SeriesSpec, raw: FloatArray, ends: FloatArray, reach: int, alpha: float
) -> tuple[DriftFit, list[Sample]]:
    """What the history teaches, and its samples, of which the season of each was learned on other days.

    raw: shape (n, width), NaN = missing; ends: shape (n,), epoch seconds. alpha: share of the ticks at which
    one speed of this series may be off by chance.
    """
    speeds = tuple(speed for speed in SPEEDS if speed <= _SPEED_MAX * reach) or SPEEDS[:1]
    score = choose_score(spec, raw[:, 0])
    fit = DriftFit(spec=spec, score=score, profile=None, speeds=speeds, reach=reach, spread=1.0, least=0.0)
    season = np.zeros(len(raw))
    if fit.is_paired:
        fit = replace(fit, spread=max(1.0, _share_spread(raw)))
    else:
        y = score.of(raw[:, 0])
        found = fit_profile(y, ends, speeds[-1])
        if found is not None:
            fit, season = replace(fit, profile=found[0]), found[1]
        least = _least(spec, score, y)
        # A series far quieter than what matters must reach what matters in spite of the clip.
        spread = max(_spread(y - season, reach), 0.5 * least, 1e-9 * max(1.0, float(np.nanmax(np.abs(y)))))
        fit = replace(fit, spread=spread, least=least)
    samples = fit.samples(raw, season)
    scales, seen = _scales(fit, samples)
    return replace(fit, scales=scales, bounds=bounds_of(speeds, seen, alpha)), samples


def bounds_of(speeds: Sequence[int], seen: int, alpha: float) -> tuple[float, ...]:
    """Multiples of its usual size that a sum exceeds with probability `alpha` at one tick, by Student's t.

    seen: ticks its usual size rests on. A sum of speed v forgets over about 2 v ticks, so that many make one
    independent look at its size; with few of them the bound is wide.
    """
    return tuple(student_quantile(alpha, max(seen / (2.0 * speed) - 1.0, 2.0)) for speed in speeds)


def _scales(fit: DriftFit, samples: Sequence[Sample]) -> tuple[tuple[float, ...], int]:
    """Usual size of each deviation over the history, no less than independent noise has; ticks behind it."""
    drift = Drift(fit)
    rows = [drift.deviations(0.0, sample) for sample in samples]
    far = np.array([row for row in rows if row is not None]).reshape(-1, len(fit.speeds))[fit.reach :]
    free = [
        math.sqrt(1.0 / (2.0 - 1.0 / v)) if fit.is_paired else math.sqrt(1.0 / (2.0 * v - 1.0))
        for v in fit.speeds
    ]
    if len(far) < 2:
        return tuple(free), len(far)
    cut = np.quantile(np.abs(far), _SCALE_KEPT, axis=0)
    size = np.sqrt(np.mean(np.minimum(np.abs(far), cut) ** 2, axis=0))
    return tuple(max(float(s), f) for s, f in zip(size, free, strict=True)), len(far)


def _least(spec: SeriesSpec, score: Score, y: FloatArray) -> float:
    seen = y[np.isfinite(y)]
    if not seen.size:
        return 0.0
    middle = median(seen)
    before = score.unit(middle)
    moved = score.of(np.array([before + score.sign * least_change(spec, before)]))[0]
    return abs(float(moved) - middle)


def _spread(y: FloatArray, reach: int) -> float:
    """s.d. of a tick around the median of its stretch of `reach` ticks."""
    seen = y[np.isfinite(y)]
    if not seen.size:
        return 0.0
    parts = np.array_split(seen, max(len(seen) // reach, 1))
    r = np.concatenate([part - median(part) for part in parts])
    mad = robust_sd(r, 0.0)
    return max(mad, 0.5 * float(np.std(np.clip(r, -5.0 * mad, 5.0 * mad) if mad > 0.0 else r)))


def _share_spread(raw: FloatArray) -> float:
    """How much wider than independent events the ticks of a share are, robustly."""
    k, n = clean_pairs(raw)
    share = (k.sum() + 0.5) / (n.sum() + 1.0)
    r = root_deviance(k, n, np.full(len(k), share))
    seen = r[np.isfinite(r)]
    return robust_sd(seen) if seen.size else 1.0
