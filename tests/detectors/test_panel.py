"""Many series of many services in one call: the same numbers as each watch for itself."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.calibrate import calibrate
from detectors.judge import DeployJudge
from detectors.model import DeployInterval, FloatArray, History, JudgeSettings, SeriesSpec
from detectors.panel import Panel
from detectors.plan import plan_watch
from detectors.subject import Subject
from tests.detectors.simulated import T0, quiet, spec

N = 900
SETTINGS = JudgeSettings(watch_s=1800.0)
DEPLOY = DeployInterval(id="d", started_at=T0, finished_at=T0 + 60.0)
KINDS = ("ratio", "rate", "latency", "gauge", "count", "probe")
SERVICES = 4


def _service(seed: int, plan_span: int) -> list[tuple[SeriesSpec, FloatArray]]:
    """One series of every kind: gaps in some, and from the deploy on a change in others."""
    rng = np.random.default_rng(seed)
    made = []
    for i, kind in enumerate(KINDS):
        values = quiet(kind, rng, N + plan_span, 0.5)
        if (seed + i) % 3 == 0:
            values[N + 6 :] *= 0.5 if kind == "count" else 1.6
        if (seed + i) % 3 == 1:
            values[N - 7 : N + 2 + 3 * i] = np.nan
        made.append((spec(kind), values))
    return made


def test_one_panel_of_many_services_agrees_with_each_watch_for_itself() -> None:
    plan = plan_watch(DEPLOY, SETTINGS, 60.0, T0, N)
    services = [_service(seed, plan.span) for seed in range(SERVICES)]
    judges, measured = [], []
    for series in services:
        histories = [History(spec=s, values=v[:N], end_at=T0) for s, v in series]
        beside = quiet("gauge", np.random.default_rng(9), N + plan.span, 0.5)
        control = History(spec=spec("gauge", "other/gauge"), values=beside[:N], end_at=T0)
        judges.append(DeployJudge(DEPLOY, [], histories, SETTINGS, {"gauge": [control]}))
        ordered = sorted(series, key=lambda one: one[0].name)
        subjects = [
            Subject(s, v[:N], plan, [(control.spec, beside[:N])] if s.kind == "gauge" else [])
            for s, v in ordered
        ]
        calibrate(subjects, plan, [], SETTINGS.false_rollbacks, SETTINGS.watch_s)
        measured += [subject.measured() for subject in subjects]
    panel = Panel(measured, plan)
    moved = 0
    for tick in range(plan.span):
        at = plan.tick_end(tick)
        samples = np.full((len(measured), 2), np.nan)
        controls = np.full((len(measured), panel.widest), np.nan)
        found: list[float] = []
        for i, (series, judge) in enumerate(zip(services, judges, strict=True)):
            values = {s.name: v[N + tick] for s, v in series}
            judge.tick(at, values, {"other/gauge": beside[N + tick]})
            for j, name in enumerate(sorted(values)):
                samples[i * len(KINDS) + j, : len(values[name])] = values[name]
                if name == "gauge":
                    controls[i * len(KINDS) + j, 0] = beside[N + tick, 0]
            found += [subject.statistics[-1] for subject in judge._subjects]
        panel.advance(samples, controls)
        assert panel.statistic == pytest.approx(found, rel=1e-9, abs=1e-9)
        moved += int((panel.statistic > 1.0).sum())
    assert moved > 20, "else nothing was compared but zeros"


def test_a_watched_series_is_small() -> None:
    plan = plan_watch(DEPLOY, JudgeSettings(), 60.0, T0, N)
    subject = Subject(spec("latency"), quiet("latency", np.random.default_rng(1), N), plan)
    calibrate([subject], plan, [], 0.005, 2700.0)
    assert Panel([subject.measured()] * 50, plan).held_bytes / 50 < 4096
