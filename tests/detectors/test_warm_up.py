"""What past deploys teach about restarts, and what they must not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from detectors.judge import DeployJudge
from detectors.model import DeployInterval, FloatArray, History, JudgeSettings, SeriesKind, Verdict
from detectors.warmup import learned_warm_up
from tests.detectors.simulated import T0, quiet, spec

N = 4320
SETTINGS = JudgeSettings(watch_s=2700.0, warm_up_s=60.0)
DEPLOY = DeployInterval(id="d", started_at=T0, finished_at=T0)


def _deploys(count: int) -> list[DeployInterval]:
    """Every three hours, a minute long."""
    begins = [T0 - (i + 1) * 10_800.0 for i in range(count)]
    return [DeployInterval(id=f"p{at:.0f}", started_at=at, finished_at=at + 60.0) for at in begins]


def _restarted(kind: SeriesKind, past: Sequence[DeployInterval], minutes: int, factor: float) -> FloatArray:
    """A quiet history in which every deploy costs so many minutes; 60 more for the watch, as bad as those."""
    values = quiet(kind, np.random.default_rng(3), N + 60)
    for deploy in [*past, DEPLOY]:
        at = N - round((T0 - deploy.finished_at) / 60.0)
        values[at : at + minutes, 0] *= factor
    return values


@pytest.mark.parametrize(("kind", "factor"), [("latency", 3.0), ("ratio", 20.0), ("count", 0.2)])
def test_a_restart_that_every_deploy_costs_is_learned(kind: SeriesKind, factor: float) -> None:
    past = _deploys(12)
    values = _restarted(kind, past, 7, factor)
    assert learned_warm_up(spec(kind), values[:N], T0, past, 900.0) == 420.0


def test_what_too_few_deploys_or_none_show_is_not_learned() -> None:
    past = _deploys(12)
    values = _restarted("latency", past, 7, 3.0)
    assert learned_warm_up(spec("latency"), values[:N], T0, past[:9], 900.0) == 0.0
    # Nine of the twelve lie in this history; in a little more of it lie ten.
    assert learned_warm_up(spec("latency"), values[N - 1750 : N], T0, past, 900.0) == 0.0
    assert learned_warm_up(spec("latency"), values[N - 1850 : N], T0, past, 900.0) > 0.0
    assert learned_warm_up(spec("latency"), values[:N], T0, [], 900.0) == 0.0
    assert learned_warm_up(spec("latency", bad="down"), values[:N], T0, past, 900.0) == 0.0
    # Longer than a restart may take, or in a minority of the deploys: no habit.
    assert learned_warm_up(spec("latency"), values[:N], T0, past, 300.0) == 0.0
    few = _restarted("latency", past[:5], 7, 3.0)
    assert learned_warm_up(spec("latency"), few[:N], T0, past, 900.0) == 0.0
    assert learned_warm_up(spec("probe"), np.zeros((N, 2)), T0, past, 900.0) == 0.0


@pytest.mark.parametrize("hole", [np.nan, 5.0])
def test_gaps_and_constants_teach_nothing(hole: float) -> None:
    values = np.full((N, 1), hole)
    assert learned_warm_up(spec("latency"), values, T0, _deploys(12), 900.0) == 0.0


def _judged(values: FloatArray, past: list[DeployInterval]) -> Verdict:
    history = History(spec=spec("latency"), values=values[:N], end_at=T0)
    judge = DeployJudge(DEPLOY, [], [history], SETTINGS, past_deploys=past)
    for i in range(45):
        if judge.tick(T0 + (i + 1) * 60.0, {"latency": values[N + i]}).state == "regressed":
            break
    return judge.verdict


def test_a_slow_restart_is_no_regression_once_it_is_known() -> None:
    past = _deploys(12)
    values = _restarted("latency", past, 9, 3.0)
    assert _judged(values, past).state != "regressed"
    assert _judged(values, past[:9]).state == "regressed", "nine minutes are a level to who has not learned"


def test_a_regression_behind_a_learned_restart_is_found() -> None:
    past = _deploys(12)
    values = _restarted("latency", past, 9, 3.0)
    values[N:] *= 2.0
    assert _judged(values, past).state == "regressed"
