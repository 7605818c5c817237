"""The thresholds of all series of one watch together, so that the budget is spent once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from detectors.model import DeployInterval
from detectors.placebo import WINDOWS_MIN, disjoint, placebo_starts, threshold
from detectors.plan import Plan
from detectors.subject import Subject


def calibrate(
    subjects: Sequence[Subject],
    plan: Plan,
    deploys: Sequence[DeployInterval],
    alpha: float,
    watch_s: float,
) -> None:
    """Set factor, threshold and calibration of every subject.

    deploys: real ones, never used as placebos. alpha is shared evenly over the acting series; those with
    placebo windows enough pool their parts in one max-T, each of the others holds the model's bound
    log(series / alpha). A series that may not act spends nothing and is measured against that bound too.
    """
    acting = [s for s in subjects if s.spec.acts and not s.error]
    count = max(len(acting), 1)
    for subject in subjects:
        subject.bound = subject.threshold = math.log(count / alpha)
    able = [s for s in acting if len(s.base.raw) >= s.base.reach + plan.span]
    reach = max((s.base.reach for s in able), default=0)
    length = max((len(s.base.raw) for s in able), default=0)
    starts = placebo_starts(plan, length, max(reach, 8), deploys, watch_s)
    if disjoint(starts, plan.span) < WINDOWS_MIN:
        return
    most = {id(s): s.placebo(starts) for s in able}
    # Windows before a series existed say nothing of it; a young series stays with the model.
    able = [s for s in able if disjoint(starts[np.isfinite(most[id(s)][0])], plan.span) >= WINDOWS_MIN]
    if not able:
        return
    unit = math.log(1.0 / alpha)
    joint = np.full(len(starts), -math.inf)
    windows = math.inf
    for subject in able:
        maxima = most[id(subject)]
        usable = np.isfinite(maxima[0])
        mine = disjoint(starts[usable], plan.span)
        windows = min(windows, mine)
        scales = [threshold(m[usable], mine, alpha, unit)[0] for m in maxima]
        subject.factor = unit / np.array(scales)
        joint = np.maximum(joint, np.max(maxima * subject.factor[:, None], axis=0))
    joint = joint[np.isfinite(joint)]
    limit, calibration = threshold(joint, int(windows), alpha * len(able) / count, subjects[0].bound)
    for subject in able:
        subject.threshold, subject.calibration = limit, calibration
