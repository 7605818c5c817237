"""How large the change is, in the unit of the series: what people read and what is worth a rollback."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from detectors.baseline import Baseline, winsorised_mean
from detectors.bernoulli import wilson
from detectors.model import FloatArray
from detectors.robust import robust_sd
from detectors.scores import clean_pairs

_Z = 1.959964  # 95 %, two-sided
_Z_POWER = 0.841621  # 80 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """before, now in the unit of the series; size > 0 is worse, with its 95 % interval [low, high]."""

    before: float
    now: float
    size: float
    low: float
    high: float


def measure(
    base: Baseline, level: float, behind: float, raw: FloatArray, season: FloatArray
) -> Effect | None:
    """Effect of the samples `raw`, shape (t, width), against the frozen level; None when none holds data.

    level: on the scale of `Baseline.levels`. behind: samples behind it. season: shape (t,).
    """
    if base.is_paired:
        k, n = clean_pairs(raw)
        if n.sum() <= 0.0:
            return None
        return _of_shares(base, behind, float(k.sum()), float(n.sum()))
    y = base.score.of(raw[:, 0])
    seen = np.isfinite(y)
    if not seen.any():
        return None
    y, season = y[seen], season[seen]
    # Cut at 3 robust s.d. of the samples themselves: a spike must not pass for a level.
    flat = y - season
    rise = float(winsorised_mean((flat - level)[None, :], 3.0 * max(robust_sd(flat), base.spread))[0][0])
    usual = level + float(season.mean())
    long_run = base.noise.long_run_sd**2
    se = base.spread * math.sqrt(min(1.0, long_run / len(y)) + min(1.0, long_run / max(behind, 1.0)))
    before, now = base.score.unit(usual), base.score.unit(usual + rise)
    sign = base.score.sign
    return Effect(
        before=before,
        now=now,
        size=sign * (now - before),
        low=sign * (base.score.unit(usual + rise - _Z * se) - before),
        high=sign * (base.score.unit(usual + rise + _Z * se) - before),
    )


def _of_shares(base: Baseline, behind: float, k: float, n: float) -> Effect:
    """Difference of two shares by R. G. Newcombe, Statistics in Medicine 17 (1998), 873-890, method 10.

    Trials are divided by the overdispersion of the series, so that the interval is not too narrow.
    """
    spread = max(base.spread * base.noise.long_run_sd, 1.0) ** 2 if base.spec.kind == "ratio" else 1.0
    k0, n0 = base.events, max(base.trials, 1e-9)
    before, now = k0 / n0, k / n
    low0, high0 = (float(b) for b in wilson(np.array(k0 / spread), np.array(n0 / spread), _Z))
    low1, high1 = (float(b) for b in wilson(np.array(k / spread), np.array(n / spread), _Z))
    if n0 < 1.0:  # a probe without history is measured against no failures at all
        low0 = high0 = 0.0
    rise = now - before
    low = rise - math.hypot(now - low1, high0 - before)
    high = rise + math.hypot(high1 - now, before - low0)
    if base.score.sign > 0.0:
        return Effect(before=before, now=now, size=rise, low=low, high=high)
    return Effect(before=before, now=now, size=-rise, low=-high, high=-low)


def visible_to_probe(base: Baseline, level: float, ticks: int, needed: float) -> float:
    """The rise of its share of failures that a probe finds in `ticks` ticks in 80 % of the cases.

    needed: log evidence asked for.
    """
    n = max(ticks * max(base.traffic, 1.0), 1.0)
    return float(
        min(1.0, _share(level, (math.sqrt(2.0 * max(needed, 0.5)) + _Z_POWER) / math.sqrt(n)) - level)
    )


def _share(p: float, shift: float) -> float:
    """The share that lies `shift` root-deviance units (per trial) from p, by the arcsine approximation."""
    angle = math.asin(math.sqrt(min(max(p, 0.0), 1.0))) + shift / 2.0
    return math.sin(min(max(angle, 0.0), math.pi / 2.0)) ** 2


def expected_band(base: Baseline, level: float, season: float, trials: float) -> tuple[float, float]:
    """Where a single sample lies in 95 % of the cases, in the unit of the series. trials: of that sample."""
    if base.is_paired:
        shift = _Z * max(base.spread, 1.0) / math.sqrt(max(trials, 1.0))
        return _share(level, -shift), _share(level, shift)
    ends = [base.score.unit(level + season + z * base.spread) for z in (-_Z, _Z)]
    return min(ends), max(ends)
