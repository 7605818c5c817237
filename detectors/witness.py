"""What one series has to say at one tick: numbers, the excuse if there is one, and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors.baseline import least_change
from detectors.confirm import Case, hard_break, is_held, is_present, weigh
from detectors.effect import Effect, measure, smallest_visible
from detectors.explain import explain
from detectors.model import DeployInterval, Evidence, JudgeSettings, Reason, SeriesState
from detectors.onset import Onset, locate
from detectors.subject import Subject

# Controls that moved by less than a quarter of the target's change do not explain it.
_SHARED_PART = 0.25
_SHARED_EVIDENCE = 3.0  # log 20
_NEAR = 3  # ticks by which a shared shock may reach the controls earlier or later
_LOOKS_MIN = 3  # ticks before missing data is called blind rather than late


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """Evidence of one series and what stands between it and a regression ("" = nothing crossed)."""

    evidence: Evidence
    excuse: Reason


def coverage(subject: Subject) -> float:
    """Share of the expected samples seen since the warm-up (while it lasts, since the deploy), 0 to 1.

    Expected is what the steps before the deploy held: a series that is sparse by nature is not blind.
    """
    first = subject.plan.gap if subject.judged else 0
    seen = subject.seen_ticks()[first : subject.plan.span]
    if not len(seen):
        return 1.0
    usual = max(subject.base.density, 0.05) if not subject.is_probe else max(subject.base.density, 0.5)
    return min(1.0, float(seen.mean()) / usual)


def testify(
    subject: Subject, deploy: DeployInterval, others: Sequence[DeployInterval], settings: JudgeSettings
) -> Testimony:
    """The testimony of one series at its newest tick."""
    spec, plan = subject.spec, subject.plan
    share = coverage(subject)
    # With so much missing, what is seen is no fair sample of what happened.
    is_dark = subject.judged >= _LOOKS_MIN and share < settings.coverage_min
    statistic = subject.statistics[-1] if subject.statistics else 0.0
    severe = hard_break(subject)
    is_severe = severe > subject.bound and not is_dark
    if is_severe and not subject.is_crossed:
        statistic = max(severe, statistic)
    limit = subject.bound if is_severe and not subject.is_crossed else subject.threshold
    is_over = (subject.is_crossed or is_severe) and not is_dark and not subject.error
    onset: Onset | None = None
    effect: Effect | None = None
    first = plan.gap
    if subject.raw and not subject.error:
        if is_over or statistic > 0.5 * limit:
            evidence, ends = subject.onset_series()
            onset = locate(evidence, ends, plan.step_s, deploy, others, plan.half_life)
            back = len(evidence) - len(subject.raw)
            newest = len(subject.raw) - 1
            first = min(max(onset.at - back, 0 if is_severe else plan.gap), newest)
        effect = _effect(subject, first)
    is_shared = onset is not None and effect is not None and _is_shared(subject, onset, effect, first)
    subject.has_shared = subject.has_shared or (is_shared and (is_over or subject.plain_crosses()))
    least = least_change(spec, effect.before) if effect is not None else 0.0
    is_practical = effect is not None and effect.low > least
    present = effect is not None and is_present(subject, first)
    excuse: Reason = ""
    if is_over and onset is not None:
        excuse = weigh(
            Case(
                deploy_id=deploy.id,
                is_shared=is_shared,
                onset_probability=onset.probability,
                shares=onset.shares,
                is_practical=is_practical,
                is_present=present,
                is_held=is_severe or is_held(subject, first),
            ),
            settings,
        )
    state: SeriesState = "steady"
    if subject.error or is_dark:
        state = "blind"
    elif excuse == "evidence":
        state = "worse" if spec.acts else "suspect"
    elif is_over:
        state = "suspect"
    elif statistic > 0.5 * limit:
        state = "not_sure"
    visible = None
    if not subject.error and subject.noise.unit > 0.0:
        slope = max(1.0 - float(subject.noise.phi.sum()), 0.03) / subject.noise.unit
        level, behind = float(subject.level[0]), float(subject.behind[0])
        before = effect.before if effect is not None else 0.0
        visible = smallest_visible(
            subject.base, level, behind, slope**2, plan.judged, subject.threshold, least_change(spec, before)
        )
    times = _times(subject, onset)
    band = subject.band[-1] if subject.band and not subject.error else (None, None)
    made = Evidence(
        series=spec.name,
        state=state,
        because="",
        statistic=statistic,
        threshold=limit,
        calibration=subject.calibration if limit == subject.threshold else "model",
        coverage=share,
        before=effect.before if effect else None,
        now=effect.now if effect else None,
        effect=effect.size if effect else None,
        effect_low=effect.low if effect else None,
        effect_high=effect.high if effect else None,
        onset_at=times[0],
        onset_low_at=times[1],
        onset_high_at=times[2],
        onset_probability=onset.probability if onset else None,
        shares=onset.shares if onset else {},
        smallest_visible=visible,
        expected_low=band[0],
        expected_high=band[1],
        is_practical=is_practical,
        is_present=present,
        is_shared=is_shared,
    )
    return Testimony(evidence=replace(made, because=explain(subject, made, excuse, deploy)), excuse=excuse)


def _effect(subject: Subject, first: int) -> Effect | None:
    raw = np.stack(subject.raw)[first:]
    if not len(raw):
        return None
    ends = [subject.plan.tick_end(i) for i in range(first, len(subject.raw))]
    season = subject.base.profile.at(np.array(ends)) if subject.base.profile else np.zeros(len(raw))
    return measure(subject.base, float(subject.level[0]), float(subject.behind[0]), raw, season)


def _is_shared(subject: Subject, onset: Onset, effect: Effect, first: int) -> bool:
    """The controls moved too: at about the same time, and by a part of the change that counts."""
    if not subject.controls or effect.size <= 0.0:
        return False
    moved = subject.control_evidence()[max(onset.low - _NEAR, 0) : onset.high + _NEAR + 1]
    if not len(moved) or float(moved.max()) <= _SHARED_EVIDENCE:
        return False
    sizes = []
    for control, levels, i in zip(
        subject.controls, subject.control_levels, range(len(subject.controls)), strict=True
    ):
        raw = np.stack([tick[i] for tick in subject.control_raw[first:]])
        behind = float(control.reach)
        ends = np.array([subject.plan.tick_end(t) for t in range(first, len(subject.raw))])
        season = control.profile.at(ends) if control.profile else np.zeros(len(raw))
        seen = measure(control, float(levels[0]), behind, raw, season)
        if seen is not None:
            sizes.append(_relative(control.is_paired, seen))
    return bool(sizes) and float(np.median(sizes)) >= _SHARED_PART * _relative(subject.base.is_paired, effect)


def _relative(is_paired: bool, effect: Effect) -> float:
    return effect.size if is_paired or effect.before == 0.0 else effect.size / abs(effect.before)


def _times(subject: Subject, onset: Onset | None) -> tuple[float | None, float | None, float | None]:
    """Onset and its interval: from the start of the first changed step to the end of the last candidate."""
    if onset is None:
        return None, None, None
    step, back = subject.plan.step_s, len(subject.onset_series()[1]) - len(subject.raw)
    start = subject.plan.end_at - back * step
    return start + onset.at * step, start + onset.low * step, start + (onset.high + 1) * step
