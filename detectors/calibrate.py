"""The limits of all series of one watch together, so that the budget is spent once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from detectors.fitness import is_fit
from detectors.model import DeployInterval
from detectors.origins import Origins, placebo_origins
from detectors.plan import Plan
from detectors.ruler import joint_limit
from detectors.subject import Subject


def placebos(plan: Plan, n: int, deploys: Sequence[DeployInterval], watch_s: float) -> Origins:
    """The origins of a history of n ticks, of which those are placebos whose watch touches no real deploy or
    its watch.

    Incidents without a deploy stay in, since they can happen again.
    """
    origins = placebo_origins(n, plan.step_s, plan.end_at + plan.zone_s)
    begin = plan.end_at - (n - origins.at) * plan.step_s
    end = begin + plan.span * plan.step_s
    free = origins.free.copy()
    for deploy in deploys:
        free &= (end <= deploy.started_at) | (begin >= deploy.finished_at + watch_s)
    return replace(origins, free=free)


def calibrate(
    subjects: Sequence[Subject], plan: Plan, deploys: Sequence[DeployInterval], alpha: float, watch_s: float
) -> None:
    """Set the limits of every subject. deploys: real ones, never used as placebos.

    alpha is shared evenly over the series that act, in however many parts they are judged. Probes hold the
    bound of their bets, log(series / alpha); the others pool their parts in one max-T over the looks of all
    of them, once as they are and once with the controls taken off. A series that may not act, or whose
    calibration does not hold on its own past (`fitness`), spends nothing and is measured as if it were alone.
    """
    acting = [s for s in subjects if s.spec.acts and not s.error]
    count = max(_series(acting), 1)
    for subject in subjects:
        subject.bound = math.log(count / alpha)
    judged = [s for s in subjects if not s.error and not s.is_probe]
    able = [s for s in judged if s.spec.acts]
    share = alpha * _series(able) / count
    origins: dict[int, Origins] = {}
    for subject in judged:
        n = len(subject.base.raw)
        if n not in origins:
            origins[n] = placebos(plan, n, deploys, watch_s)
        subject.measure(origins[n], share if subject.spec.acts else alpha)
        subject.is_fit = subject.past is None or is_fit(subject.past)
    able, idle = [s for s in judged if s.acts], [s for s in judged if not s.acts]
    alone = [[s for s in idle if s.part.whole.name == name] for name in {s.part.whole.name: 0 for s in idle}]
    for group in ([able] if able else []) + alone:
        spent = share if group is able else alpha
        plain = joint_limit([m for s in group if s.past for m in s.past.marks if m], spent)
        beside = joint_limit([m for s in group if s.beside for m in s.beside.marks if m], spent)
        for subject in group:
            subject.joint, subject.beside_joint = plain, beside


def _series(subjects: Sequence[Subject]) -> int:
    """How many series they are parts of."""
    return len({s.part.whole.name for s in subjects})
