"""What a watch would be able to say of each series if a deploy finished now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detectors.calibrate import calibrate
from detectors.door import aligned
from detectors.fitness import Held, held_out
from detectors.model import Calibration, DeployInterval, History, JudgeSettings
from detectors.panel import Panel
from detectors.parts import parts_of
from detectors.plan import plan_watch
from detectors.subject import Subject
from detectors.witness import visible

BUDGETS = (0.05, 0.01)  # tried beside the one that is set: rarer ones are seldom seen in a week


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """One series, or one part of a histogram. error: why it cannot be judged, or "". held: how its limits
    hold out of sample, by budget; () when its past is too short to tell, and for a probe. smallest_visible:
    the change found in four of five watches, before: the level it is counted from, both in its unit; None
    when unknown. acts: False for a series that informs only, because it was told to or as it is not fit.
    """

    name: str
    unit: str
    error: str
    calibration: Calibration
    held: tuple[Held, ...]
    smallest_visible: float | None
    before: float | None
    is_fit: bool
    acts: bool


def survey(
    histories: Sequence[History],
    settings: JudgeSettings,
    at: float,
    past_deploys: Sequence[DeployInterval] = (),
) -> list[Surveyed]:
    """The series of one service as a watch that began at `at` (epoch seconds) would measure them.

    histories: one per series, all with one step, up to `at`. past_deploys: not used as placebos. Raises
    ValueError as `DeployJudge` does.
    """
    deploy = DeployInterval(id="survey", started_at=at, finished_at=at)
    step_s = histories[0].spec.step_s
    end_at, arrays = aligned(histories, at, step_s)
    plan = plan_watch(deploy, settings, step_s, end_at, len(arrays[0]))
    subjects = [
        Subject(part.spec, part.of(values), plan, (), part)
        for history, values in zip(histories, arrays, strict=True)
        for part in parts_of(history.spec, values)
    ]
    calibrate(subjects, plan, past_deploys, settings.false_rollbacks, settings.watch_s)
    budgets = (*BUDGETS, settings.false_rollbacks)
    held = [held_out(s.past, budgets) if s.past is not None else () for s in subjects]
    panel = Panel([s.measured() for s in subjects], plan)
    for i, subject in enumerate(subjects):
        subject.join(panel, i)
    return [
        Surveyed(
            name=subject.spec.name,
            unit=subject.spec.unit,
            error=subject.error,
            calibration=subject.calibration,
            held=tried,
            smallest_visible=visible(subject),
            before=_level_of(subject),
            is_fit=subject.is_fit,
            acts=subject.acts,
        )
        for subject, tried in zip(subjects, held, strict=True)
    ]


def _level_of(subject: Subject) -> float | None:
    """The level before, in the unit of the series; None for a series that cannot be judged."""
    if subject.error:
        return None
    level = float(subject.level[0])
    return level if subject.base.is_paired else subject.base.score.unit(level)
