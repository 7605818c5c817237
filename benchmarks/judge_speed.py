"""What judging costs: the start of a watch, a tick of it, and a tick of a hundred thousand series at once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np

from detectors.calibrate import calibrate
from detectors.judge import DeployJudge
from detectors.model import DeployInterval, FloatArray, History, JudgeSettings, SeriesKind, SeriesSpec
from detectors.panel import Panel
from detectors.plan import Plan, plan_watch
from detectors.subject import Subject

_WEEK = 10_080  # one-minute steps
_SERIES = 100_000
_DIFFERENT = 60  # histories; their marks are shared by the series, whose samples are not
_KINDS: tuple[SeriesKind, ...] = ("latency", "gauge", "count", "ratio")
_AT = 1.7e9
_DEPLOY = DeployInterval(id="d", started_at=_AT, finished_at=_AT)
_PAST = [
    DeployInterval(
        id=f"p{i}", started_at=_AT - 43_200.0 * (i + 1), finished_at=_AT - 43_200.0 * (i + 1) + 60.0
    )
    for i in range(12)
]
_SETTINGS = JudgeSettings()


def measure() -> Iterator[str]:
    """Four lines; processor time of this process, so that a busy neighbour counts less."""
    rng = np.random.default_rng(1)
    plan = plan_watch(_DEPLOY, _SETTINGS, 60.0, _AT, _WEEK)
    made = [_series(rng, _KINDS[i % len(_KINDS)], plan.span) for i in range(_DIFFERENT)]
    starts_s = [_start_s(made[i : i + len(_KINDS)]) for i in range(0, _DIFFERENT, len(_KINDS))]
    yield (
        f"start of a watch, 7 days of one-minute history, {len(_PAST)} deploys before: "
        f"median {1e3 * statistics.median(starts_s):.1f} ms a series, max {1e3 * max(starts_s):.1f} ms"
    )
    subjects = [Subject(spec, values[:_WEEK], plan) for spec, values in made]
    for subject in subjects:
        calibrate([subject], plan, [], _SETTINGS.false_rollbacks, _SETTINGS.watch_s)
    yield from _in_one_call(rng, plan, subjects, made)
    yield _streaming(made[:10], plan)


def _start_s(made: list[tuple[SeriesSpec, FloatArray]]) -> float:
    """Processor time of the start of one watch, by its series."""
    histories = [History(spec=spec, values=values[:_WEEK], end_at=_AT) for spec, values in made]
    began_s = time.process_time()
    DeployJudge(_DEPLOY, [], histories, _SETTINGS, past_deploys=_PAST)
    return (time.process_time() - began_s) / len(made)


def _in_one_call(
    rng: np.random.Generator,
    plan: Plan,
    subjects: list[Subject],
    made: list[tuple[SeriesSpec, FloatArray]],
) -> Iterator[str]:
    measured = [subject.measured() for subject in subjects]
    which = np.arange(_SERIES) % _DIFFERENT
    panel = Panel([measured[i] for i in which], plan)
    live = np.full((_DIFFERENT, plan.span, 2), np.nan)
    for i, (_, values) in enumerate(made):
        live[i, :, : values.shape[1]] = values[_WEEK:]
    nobody = np.zeros((_SERIES, 0))
    spent_s = 0.0
    for tick in range(plan.span):
        samples = live[which, (tick + rng.integers(0, plan.span, _SERIES)) % plan.span]
        began_s = time.process_time()
        panel.advance(samples, nobody)
        spent_s += time.process_time() - began_s
    yield (
        f"{_SERIES:,} series in one call: {1e6 * spent_s / _SERIES / plan.span:.2f} us a series and tick, "
        f"over {plan.span} ticks"
    )
    yield f"held beside its history: {panel.held_bytes / _SERIES:.0f} bytes a watched series"


def _streaming(made: list[tuple[SeriesSpec, FloatArray]], plan: Plan) -> str:
    histories = [History(spec=spec, values=values[:_WEEK], end_at=_AT) for spec, values in made]
    began_s = time.process_time()
    judge = DeployJudge(_DEPLOY, [], histories, _SETTINGS)
    started_s = time.process_time()
    for tick in range(plan.span):
        at = plan.tick_end(tick)
        judge.tick(at, {spec.name: values[_WEEK + tick] for spec, values in made})
    ended_s = time.process_time()
    ticks = len(made) * plan.span
    return (
        f"a watch of {len(made)} series with its evidence in sentences: "
        f"{1e6 * (ended_s - started_s) / ticks:.0f} us a series and tick, "
        f"{1e6 * (ended_s - began_s) / ticks:.0f} with its start"
    )


def _series(rng: np.random.Generator, kind: SeriesKind, ticks: int) -> tuple[SeriesSpec, FloatArray]:
    """A quiet series with AR(1) noise of 0.6, `ticks` longer than its history."""
    n = _WEEK + ticks
    noise = rng.standard_normal(n)
    for i in range(1, n):
        noise[i] += 0.6 * noise[i - 1]
    spec = SeriesSpec(name=f"{kind}{rng.integers(1 << 30)}", kind=kind, unit="", bad="up", step_s=60.0)
    match kind:
        case "ratio":
            run = rng.poisson(200, n)
            return spec, np.stack([rng.binomial(run, 0.01), run], axis=1).astype(np.float64)
        case "count":
            return spec, rng.poisson(50.0 * np.exp(0.1 * noise))[:, None].astype(np.float64)
        case "gauge":
            return spec, (100.0 + 5.0 * noise)[:, None]
        case _:
            return spec, (0.2 * np.exp(0.1 * noise))[:, None]
