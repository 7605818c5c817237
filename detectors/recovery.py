"""Did the rollback help: is the series back near what it was before the deploy?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from detectors import say
from detectors.baseline import fit_baseline, least_change
from detectors.door import checked, ends_of
from detectors.effect import measure
from detectors.model import FloatArray, History, SeriesSpec
from detectors.parts import part_at
from detectors.plan import Plan
from detectors.scores import clean_pairs

_SAMPLES_MIN = 5
_RECENT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """state: `yes`, `no`, or `unknown` (not yet). because: one sentence. before, now: in the series' unit."""

    state: Literal["yes", "no", "unknown"]
    because: str
    before: float | None = None
    now: float | None = None


def recovered(
    spec: SeriesSpec,
    history: History,
    after: FloatArray,
    *,
    lost: float | None = None,
    bound: float | None = None,
) -> Recovery:
    """Whether the samples since the rollback finished are back near the level before the deploy.

    history: what the watch compared with (up to the deploy). after: shape (t, spec.width), oldest first,
    NaN = missing; the last 10 steps with data count, at least 5 are needed. lost: the effect that caused the
    rollback, in the unit of the series, if known. bound: of a histogram, above which the evidence told
    shares. Yes: the difference is at most one s.d. of a sample or too small to matter, and its 95 % interval
    excludes half of what was lost. No: the interval excludes that much recovery. Raises ValueError for shapes
    that do not fit and for infinite values.
    """
    part = part_at(spec, bound)
    after = part.of(checked(spec, after, "after"))
    raw = part.of(checked(spec, history.values, "history"))
    spec = part.spec
    n = len(history.values)
    plan = Plan(
        step_s=spec.step_s, end_at=history.end_at, gap=0, judged=max(len(after), 1), finished=0,
        level=max(min(n, 30), min(120, n // 2)), dwell=1, severe_dwell=2, half_life=1.0, lookback=1,
    )  # fmt: skip
    base = fit_baseline(spec, raw, ends_of(n, history.end_at, spec.step_s), plan)
    name = say.title(spec.name)
    if base.error and spec.kind != "probe":
        return Recovery(state="unknown", because=f"{name}: {base.error}; recovery cannot be told.")
    seen = clean_pairs(after)[1] > 0.0 if base.is_paired else np.isfinite(after[:, 0])
    where = np.flatnonzero(seen)[-_RECENT:]
    if len(where) < _SAMPLES_MIN:
        because = f"{name}: {len(where)} of {_SAMPLES_MIN} steps with data since the rollback."
        return Recovery(state="unknown", because=because)
    level, behind = (float(a[0]) for a in base.levels(np.array([n])))
    ends = ends_of(len(after), history.end_at + len(after) * spec.step_s, spec.step_s)[where]
    season = base.profile.at(ends) if base.profile else np.zeros(len(where))
    effect = measure(base, level, behind, after[where], season)
    if effect is None:
        return Recovery(state="unknown", because=f"{name}: no data since the rollback.")
    if base.is_paired:
        sd = base.spread * float(np.sqrt(max(level * (1.0 - level), 0.0) / max(base.traffic, 1.0)))
    else:
        sd = abs(base.score.unit(level + base.spread) - base.score.unit(level))
    near = max(sd, least_change(spec, effect.before))
    limit = min(near, 0.5 * lost) if lost is not None and lost > 0.0 else near
    moved = say.change(spec, effect.before, effect.size, effect.low, effect.high)
    numbers = (
        f"{say.value(effect.now, spec.unit)} against {say.value(effect.before, spec.unit)} before ({moved})"
    )
    ceiling = 0.5 * lost if lost is not None and lost > 0.0 else 3.0 * near
    if effect.size <= limit and effect.high <= max(ceiling, limit):
        state: Literal["yes", "no", "unknown"] = "yes"
        because = f"{name} is back: {numbers}."
    elif effect.low > limit:
        state, because = "no", f"{name} has not recovered: {numbers}."
    else:
        state, because = "unknown", f"{name} may be recovering: {numbers}; more data needed."
    return Recovery(state=state, because=because, before=effect.before, now=effect.now)
