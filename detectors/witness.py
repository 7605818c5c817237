"""What one series has to say at one tick: numbers, the excuse if there is one, and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors.baseline import Baseline, least_change
from detectors.confirm import Case, hard_break, is_held, is_present, weigh
from detectors.effect import Effect, measure, visible_to_probe
from detectors.explain import explain
from detectors.model import DeployInterval, Evidence, JudgeSettings, Reason, SeriesState
from detectors.onset import Onset, locate
from detectors.panel import LIMIT
from detectors.subject import Subject
from detectors.too_late import too_late_for_looks

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
    return min(1.0, float(seen.mean()) / _usual_density(subject)) if len(seen) else 1.0


def _usual_density(subject: Subject) -> float:
    return max(subject.base.density, 0.5 if subject.is_probe else 0.05)


def _is_dark(subject: Subject, share: float, settings: JudgeSettings) -> bool:
    """So much is missing that what is seen is no fair sample of what happened.

    Of a series that is sparse by nature a few samples more or less come by chance: one s.d. is forgiven.
    """
    usual = _usual_density(subject)
    chance = np.sqrt(max(1.0 - usual, 0.0) / (usual * max(subject.judged, 1)))
    return subject.judged >= _LOOKS_MIN and bool(share < settings.coverage_min - chance)


def testify(
    subject: Subject,
    deploy: DeployInterval,
    others: Sequence[DeployInterval],
    settings: JudgeSettings,
    is_closed: bool,
) -> Testimony:
    """The testimony of one series at its newest tick; is_closed: no more will come."""
    spec, plan = subject.spec, subject.plan
    share = coverage(subject)
    is_dark = _is_dark(subject, share, settings)
    statistic = subject.statistics[-1] if subject.statistics else 0.0
    severe = hard_break(subject) / max(subject.bound, 1e-9)
    is_severe = severe > LIMIT and not is_dark and not subject.is_crossed
    if is_severe:
        statistic = max(severe, statistic)
    is_over = (subject.is_crossed or is_severe) and not is_dark and not subject.error
    onset: Onset | None = None
    effect: Effect | None = None
    first, back = plan.gap, 0
    if len(subject.raw) and not subject.error:
        if is_over or subject.is_shared or statistic > 0.5 * LIMIT:
            evidence, ends = subject.onset_series()
            onset = locate(evidence, ends, plan.step_s, deploy, others, plan.half_life)
            back = len(evidence) - len(subject.raw)
            newest = len(subject.raw) - 1
            first = min(max(onset.at - back, 0 if is_severe else plan.gap), newest)
        effect = subject.effect_since(first)
    is_shared, stands_out = False, True
    if subject.is_accompanied:
        is_shared = subject.is_shared and not is_dark
    elif onset is not None and effect is not None:
        is_shared, stands_out = _compare(subject, onset, effect, first)
    subject.has_shared = subject.has_shared or (is_shared and (is_over or subject.is_accompanied))
    least = least_change(spec, effect.before) if effect is not None else 0.0
    by_looks = subject.is_crossed and not subject.is_probe
    is_practical = by_looks or (effect is not None and effect.low > least)
    smallest = visible(subject, effect)
    late = None
    if is_closed and not (is_over or is_shared or is_dark) and smallest is not None:
        late = too_late_for_looks(subject, smallest)
    if late is not None:
        first, effect = late
        subject.has_shared = subject.has_shared or _came_along(subject, effect, first)
    is_asked = is_over or subject.has_crossed
    present = by_looks or late is not None or (is_asked and effect is not None and is_present(subject, first))
    if present and is_over and effect is not None and not by_looks:
        # Residuals are cut, counts are not: in a pooled share a short burst of errors outweighs its hour.
        newer = subject.effect_since((first + len(subject.raw)) // 2)
        present = newer is not None and newer.size >= 0.5 * effect.size
    excuse: Reason = ""
    if late is not None:
        excuse = "too_late"
    elif subject.is_faint and not is_dark:
        excuse = "too_small"
    if (is_over or is_shared) and onset is not None:
        excuse = weigh(
            Case(
                deploy_id=deploy.id,
                is_shared=is_shared,
                is_back=subject.is_back,
                onset_probability=onset.probability,
                shares=onset.shares,
                is_practical=is_practical,
                is_present=present,
                is_held=stands_out and (is_severe or is_held(subject, first)),
            ),
            settings,
        )
    state: SeriesState = "steady"
    if subject.error or is_dark:
        state = "blind"
    elif excuse == "evidence":
        state = "worse" if subject.acts else "suspect"
    elif is_over or is_shared:
        state = "suspect"
    elif statistic > 0.5 * LIMIT or late is not None:
        state = "not_sure"
    times = _times(subject, onset, back)
    newest = len(subject.raw) - 1
    band = subject.band(newest) if newest >= 0 and not subject.error else (None, None)
    made = Evidence(
        series=spec.name,
        state=state,
        because="",
        statistic=statistic,
        threshold=LIMIT,
        calibration="model" if is_severe else subject.calibration,
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
        smallest_visible=smallest,
        expected_low=band[0],
        expected_high=band[1],
        is_practical=is_practical,
        is_present=present,
        is_shared=is_shared,
    )
    return Testimony(evidence=replace(made, because=explain(subject, made, excuse, deploy)), excuse=excuse)


def visible(subject: Subject, effect: Effect | None = None) -> float | None:
    """The effect a watch of this length finds in 80 % of the cases, in the unit of the series; None without
    one."""
    if subject.error:
        return None
    level = float(subject.level[0])
    if subject.is_probe:
        return visible_to_probe(subject.base, level, subject.plan.judged, subject.bound)
    size = subject.smallest_visible
    if size is None:
        return None
    if not subject.base.is_paired:
        reached = subject.base.score.unit(level + size)
        if subject.spec.bad == "down" and reached <= 0.0 and subject.base.score.form != "identity":
            return None  # not even a fall to nothing would surely stand out
        size = abs(reached - subject.base.score.unit(level))
    return max(size, least_change(subject.spec, effect.before) if effect is not None else 0.0)


def _compare(subject: Subject, onset: Onset, effect: Effect, first: int) -> tuple[bool, bool]:
    """(the controls moved too, the change stands out from theirs).

    Moved too: with evidence, at about the same time, by a part of the change that counts. Stands out: the
    change exceeds that of the controls with 95 % confidence; without it a shared shock that the controls are
    slow to show would pass for a regression. Controls that hold no data excuse and prove nothing.
    """
    moves = _moves(subject, first)
    if not moves or effect.size <= 0.0:
        return False, True
    size, above = (float(np.median([m[i] for m in moves])) for i in (0, 2))
    mine, below, _ = _relative(subject.base, effect)
    # The median of m controls is known better than each of them by about the root of m.
    margin = np.hypot(mine - below, (above - size) / np.sqrt(len(moves)))
    evidence = subject.control_evidence()[max(onset.low - _NEAR, 0) : onset.high + _NEAR + 1]
    moved = len(evidence) > 0 and float(evidence.max()) > _SHARED_EVIDENCE and size >= _SHARED_PART * mine
    return moved, bool(mine - size > margin)


def _came_along(subject: Subject, effect: Effect, first: int) -> bool:
    """The controls moved too, surely and by a part of the change that counts."""
    moves = _moves(subject, first)
    if not moves:
        return False
    size, low = (float(np.median([m[i] for m in moves])) for i in (0, 1))
    return low > 0.0 and size >= _SHARED_PART * _relative(subject.base, effect)[0]


def _moves(subject: Subject, first: int) -> list[tuple[float, float, float]]:
    """How each control that holds data moved since tick `first` (`_relative`)."""
    seen = [
        measure(c, float(levels[0]), float(c.reach), tape.rows[first:], subject.season_of(c, first))
        for c, levels, tape in zip(subject.controls, subject.control_levels, subject.control_raw, strict=True)
    ]
    return [_relative(c, e) for c, e in zip(subject.controls, seen, strict=True) if e]


def _relative(base: Baseline, effect: Effect) -> tuple[float, float, float]:
    """Size, low and high of an effect as something that can be compared between services."""
    scale = 1.0 if base.is_paired or effect.before == 0.0 else 1.0 / abs(effect.before)
    return effect.size * scale, effect.low * scale, effect.high * scale


def _times(
    subject: Subject, onset: Onset | None, back: int
) -> tuple[float | None, float | None, float | None]:
    """Onset and its interval: from the start of the first changed step to the end of the last candidate."""
    if onset is None:
        return None, None, None
    step = subject.plan.step_s
    start = subject.plan.end_at - back * step
    return start + onset.at * step, start + onset.low * step, start + (onset.high + 1) * step
