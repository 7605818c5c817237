"""What a series was like before the deploy, frozen at its start: scale, level, season and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.bernoulli import base_rate
from detectors.innovations import Noise, fit_noise
from detectors.model import FloatArray, SeriesSpec
from detectors.plan import Plan
from detectors.robust import median, robust_sd
from detectors.scores import Score, choose_score, clean_pairs, root_deviance
from detectors.seasonal import COARSE, FINE, Profile, fit_profile

_DAY_S = 86400.0
_SAMPLES_MIN = 20  # fewer do not give the scale of a continuous series
_TRIALS_MIN = 50.0  # requests; fewer do not give the level of a ratio
_EVENTS_WANTED = 30.0  # the level of a rare ratio reaches back until it rests on so many events
_RUNS_WANTED = 1000  # runs behind the level of a probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """One fitted series. Residuals are in s.d. of the series around its level; more is worse.

    raw: history, shape (n, width). season: shape (n,), learned without the day of each sample. reach: ticks
    behind a level. spread: s.d. of the residuals on the scale of the scores. traffic: usual denominator.
    events, trials: of a ratio or probe, summed over the last `reach` ticks.
    density: share of the steps of the level that hold data. error: why there is no baseline, or "".
    """

    spec: SeriesSpec
    score: Score
    raw: FloatArray
    season: FloatArray
    profile: Profile | None
    reach: int
    spread: float
    noise: Noise
    traffic: float
    events: float
    trials: float
    density: float
    error: str

    @property
    def is_paired(self) -> bool:
        """Whether samples are (events, trials)."""
        return self.score.form == "deviance"

    def levels(self, starts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Level before each start, and the samples behind it; starts: shape (J,), indices into the history.

        For a ratio the share of events, for a probe the conservative share of failures, else the
        winsorised mean on the scale of the scores.
        """
        at = starts.astype(np.intp)
        if self.is_paired:
            k, n = (np.r_[0.0, np.cumsum(c)] for c in clean_pairs(self.raw))
            low = np.maximum(at - self.reach, 0)
            k, n = k[at] - k[low], n[at] - n[low]
            seen = n / max(self.traffic, 1e-300)
            if self.spec.kind == "probe":
                return base_rate(k, n), seen
            return (k + 0.5) / (n + 1.0), seen
        if not len(self.raw):
            return np.full(len(at), np.nan), np.zeros(len(at))
        y = self.score.of(self.raw[:, 0]) - self.season
        window = y[np.maximum(at[:, None] - np.arange(self.reach, 0, -1), 0)]
        return winsorised_mean(window, 3.0 * self.spread)

    def residuals(
        self, level: FloatArray, raw: FloatArray, season: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """(residual, weight), NaN where missing. raw: (..., width); level and season broadcast to (...).

        The weight is how strongly a step of fixed size shows in this sample: the root of its relative traffic
        for a ratio, else 1.
        """
        if self.is_paired:
            k, n = clean_pairs(raw)
            r = self.score.sign * root_deviance(k, n, level) / self.spread
            return r, np.sqrt(n / max(self.traffic, 1e-300))
        r = (self.score.of(raw[..., 0]) - season - level) / self.spread
        return r, np.ones_like(r)


def winsorised_mean(window: FloatArray, reach: float) -> tuple[FloatArray, FloatArray]:
    """Mean of each row after cutting it at `reach` around its median, and the finite samples in it."""
    ranked = np.sort(window, axis=1)  # NaN sorts last
    seen = np.isfinite(ranked).sum(axis=1)
    last = np.maximum(seen - 1, 0)
    row = np.arange(len(window))
    middle = 0.5 * (ranked[row, last // 2] + ranked[row, (last + 1) // 2])[:, None]
    cut = np.clip(window, middle - reach, middle + reach)
    total = np.where(np.isfinite(cut), cut, 0.0).sum(axis=1)
    mean: FloatArray = np.where(seen > 0, total / np.maximum(seen, 1), np.nan)
    return mean, seen.astype(np.float64)


def least_change(spec: SeriesSpec, before: float) -> float:
    """The smallest change that matters, in the unit of the series: the larger of the two `ignore_below`.

    Of a share of what went well the part that went wrong is what a change is relative to: 99.9 to 99.5 % is
    five times as bad.
    """
    level = 1.0 - before if spec.kind == "ratio" and spec.bad == "down" else before
    return max(spec.ignore_below_rel * abs(level), spec.ignore_below_abs)


def fit_baseline(spec: SeriesSpec, raw: FloatArray, end_at: FloatArray, plan: Plan) -> Baseline:
    """Fit one series. raw: shape (n, width), NaN = missing; end_at: shape (n,), epoch seconds.

    Never fails: a history that does not suffice gives a baseline whose `error` says so.
    """
    n = len(raw)
    season, profile, error = np.zeros(n), None, ""
    events = behind = 0.0
    if spec.width == 2:
        score = choose_score(spec, raw[:, 0])
        k, trials = clean_pairs(raw)
        steps = max(int(np.count_nonzero(trials)), 1)
        traffic = float(trials.sum()) / steps
        rare = min(float(k.sum()), float(trials.sum() - k.sum())) / steps
        reach = int(min(max(plan.level, _EVENTS_WANTED / max(rare, 1e-9)), max(n // 2, min(n, plan.level))))
        if spec.kind == "probe":
            reach = min(max(plan.level, _RUNS_WANTED), max(n // 2, min(n, plan.level)))
        elif float(trials.sum()) < _TRIALS_MIN:
            error = f"only {trials.sum():.0f} of {_TRIALS_MIN:.0f} requests before the deploy"
        events, behind = float(k[max(n - reach, 0) :].sum()), float(trials[max(n - reach, 0) :].sum())
        r = score.sign * _block_deviance(k, trials, reach)
        least = 1.0  # no count has less noise than independent events
        density = float(np.mean(trials[max(n - reach, 0) :] > 0.0)) if n else 0.0
    else:
        score = choose_score(spec, raw[:, 0])
        y = score.of(raw[:, 0])
        traffic, reach = 1.0, plan.level
        seen = np.isfinite(y)
        if seen.sum() < _SAMPLES_MIN:
            error = f"only {seen.sum()} of {_SAMPLES_MIN} samples before the deploy"
        elif not seen[max(n - reach, 0) :].sum() >= 0.3 * reach:
            error = f"only {seen[max(n - reach, 0) :].sum()} samples in the {reach} steps before the deploy"
        # Fine, or what is left of a steep morning passes for a change that began before the deploy.
        found = fit_profile(y, end_at, plan.span, FINE if plan.step_s <= _DAY_S / FINE else COARSE)
        if found is not None:
            profile, season = found
        r = _block_residual(y - season, reach)
        middle = median(y[seen]) if seen.any() else 0.0
        before = score.unit(middle)
        moved = score.of(np.array([before + score.sign * least_change(spec, before)]))[0] - middle
        # Noise far below what matters is no reason to call a trifle significant.
        least = max(
            abs(float(moved)) / 3.0, 1.0 if score.form == "root_count" else 0.0, 1e-9 * max(1.0, abs(middle))
        )
        density = float(seen[max(n - reach, 0) :].mean()) if n else 0.0
    spread = max(_spread(r), least)
    return Baseline(
        spec=spec,
        score=score,
        raw=raw,
        season=season,
        profile=profile,
        reach=reach,
        spread=spread,
        noise=fit_noise(r / spread, least / spread),
        traffic=traffic,
        events=events,
        trials=behind,
        density=density,
        error=error,
    )


def history_residuals(base: Baseline) -> FloatArray:
    """Residuals of the whole history around the level of its own block, shape (n,), in s.d."""
    if base.is_paired:
        k, n = clean_pairs(base.raw)
        return base.score.sign * _block_deviance(k, n, base.reach) / base.spread
    return _block_residual(base.score.of(base.raw[:, 0]) - base.season, base.reach) / base.spread


def _blocks(n: int, length: int) -> FloatArray:
    count = max(n // max(length, 1), 1)
    result: FloatArray = np.minimum(np.arange(n) // max(length, 1), count - 1)
    return result


def _block_residual(y: FloatArray, length: int) -> FloatArray:
    seen = np.isfinite(y)
    block = _blocks(len(y), length).astype(np.intp)
    size = np.maximum(np.bincount(block, weights=seen), 1.0)
    mean = np.bincount(block, weights=np.where(seen, y, 0.0)) / size
    result: FloatArray = y - mean[block] if len(y) else y
    return result


def _block_deviance(k: FloatArray, n: FloatArray, length: int) -> FloatArray:
    if not len(k):
        return k
    block = _blocks(len(k), length).astype(np.intp)
    share = (np.bincount(block, weights=k) + 0.5) / (np.bincount(block, weights=n) + 1.0)
    return root_deviance(k, n, share[block])


def _spread(r: FloatArray) -> float:
    seen = r[np.isfinite(r)]
    if not seen.size:
        return 0.0
    mad = robust_sd(seen)
    return float(np.std(np.clip(seen, -5.0 * mad, 5.0 * mad))) if mad > 0.0 else float(np.std(seen))
