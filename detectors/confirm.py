"""The conjunction that makes evidence a regression: every condition named, every failure with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.bernoulli import log_bets, wilson
from detectors.innovations import REACH
from detectors.model import FloatArray, JudgeSettings, Reason
from detectors.scores import clean_pairs
from detectors.subject import Subject

# A hard break is a rise of the share of failures by 30 points: beyond what a restart usually costs.
_HARD_RISE = 0.3
_PROBES_MIN = 3  # failed in a row: two are what a restart costs
_RECENT = 8
_MISSING_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of one series whose evidence crossed its threshold."""

    deploy_id: str
    is_shared: bool
    is_back: bool
    onset_probability: float
    shares: Mapping[str, float]
    is_practical: bool
    is_present: bool
    is_held: bool


def weigh(case: Case, settings: JudgeSettings) -> Reason:
    """`evidence` when all conditions hold, else the first that does not, gravest excuse first."""
    if case.is_shared:
        return "shared"
    mine = case.shares.get(case.deploy_id, 0.0)
    before = case.shares.get("before", 0.0)
    others = sum(p for k, p in case.shares.items() if k not in (case.deploy_id, "before", "none"))
    if case.onset_probability < settings.onset_probability_min:
        return "overlap" if others > before else "pre_existing"
    if mine < settings.share_min * (mine + others):
        return "overlap"
    if case.is_back:
        return "rebound"
    if not case.is_present:
        return "transient"
    if not case.is_practical:
        return "too_small"
    return "evidence" if case.is_held else "not_confirmed"


def is_present(subject: Subject, since: int) -> bool:
    """The newer half of the ticks since tick `since`, at most 8, keeps at least half of their mean shift.

    Three missing ticks in a row: not known, so not present.
    """
    seen = _seen_since(subject, since)
    shift = float(seen.mean()) if len(seen) else 0.0
    recent = seen[-min(_RECENT, (len(seen) + 1) // 2) :]
    return shift > 0.0 and float(recent.mean()) >= 0.5 * shift


def is_held(subject: Subject, since: int) -> bool:
    """The evidence has held for `dwell` ticks, and the last 2 seen show half of the mean shift.

    Both are needed against a spike of three ticks: it can cross at its second, and a mean remembers it.
    """
    seen = _seen_since(subject, since)
    return (
        subject.crossings >= subject.plan.dwell
        and len(seen) > 0
        and (not subject.is_probe or float(seen[-2:].mean()) >= 0.5 * float(seen.mean()))
    )


def _seen_since(subject: Subject, since: int) -> FloatArray:
    r = subject.residuals()[0][max(since, 0) :]
    if len(r) >= _MISSING_MAX and not np.isfinite(r[-_MISSING_MAX:]).any():
        return np.zeros(0)
    result: FloatArray = np.clip(r[np.isfinite(r)], -REACH, REACH)
    return result


def hard_break(subject: Subject) -> float:
    """Log evidence of a hard break in the last `severe_dwell` ticks, warm-up included; 0 when there is none.

    Only for ratios and probes, where "every second request fails" means the same for everybody; that every
    second one is slow may be what a restart costs. Each of the ticks must lie 30 points above the level, and
    their pooled counts, divided by the overdispersion, must bear it out against the upper bound of the level;
    of a service that nobody asked anything of late that is not known.
    """
    need = max(subject.plan.severe_dwell, _PROBES_MIN if subject.is_probe else 0)
    if (
        not subject.base.is_paired
        or subject.part.cut is not None
        or len(subject.raw) < need
        or len(subject.raw) > subject.plan.span
        or subject.error
    ):
        return 0.0
    k, n = clean_pairs(subject.raw.rows[-need:])
    if not (n > 0.0).all():
        return 0.0
    k0, n0 = subject.base.events, subject.base.trials
    if subject.spec.bad == "down":
        k, k0 = n - k, n0 - k0
    before = k0 / n0 if n0 > 0.0 else 0.0
    if not (k / n >= before + _HARD_RISE).all():
        return 0.0
    if subject.is_probe:
        return float(log_bets(k.sum(keepdims=True), n.sum(keepdims=True), subject.level)[0])
    if n0 <= 0.0:
        return 0.0
    wide = max(subject.base.spread * subject.base.noise.long_run_sd, 1.0) ** 2
    high: FloatArray = np.clip(wilson(np.array([k0 / wide]), np.array([n0 / wide]), 1.96)[1], 1e-6, 0.9)
    return float(log_bets(k.sum(keepdims=True) / wide, n.sum(keepdims=True) / wide, high)[0])
