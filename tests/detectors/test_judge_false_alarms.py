"""The budget: how often a deploy that changed nothing is called regressed; and a shop at 1-second steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.model import FloatArray, JudgeSettings, SeriesKind, SeriesSpec
from tests.detectors.simulated import KINDS, errors, noise, quiet, spec, watch

DEPLOYS = 40


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("phi", "heavy"), [(0.0, True), (0.8, False)])
def test_a_quiet_service_is_not_regressed_more_often_than_promised(
    kind: SeriesKind, phi: float, heavy: bool
) -> None:
    n, settings = 600, JudgeSettings(false_rollbacks=0.05, watch_s=1500.0)
    alarms = 0
    for seed in range(DEPLOYS):
        data = quiet(kind, np.random.default_rng(seed), n + 30, phi, heavy)
        alarms += watch([(spec(kind), data)], n, settings).verdict.state == "regressed"
    # 40 deploys at 0.05: mean 2; P(more than 7) = 0.0007 for each of the 14 cells, 1 % for all of them. A
    # distribution with a budget for each of its six cuts would have a mean of up to 11.
    assert alarms <= 7


def test_all_kinds_together_share_one_budget() -> None:
    n, settings = 600, JudgeSettings(false_rollbacks=0.05, watch_s=1500.0)
    alarms = 0
    for seed in range(25):
        rng = np.random.default_rng(1000 + seed)
        series = [(spec(kind), quiet(kind, rng, n + 30, 0.6)) for kind in KINDS]
        alarms += watch(series, n, settings).verdict.state == "regressed"
    # 25 deploys at 0.05: mean 1.25; P(more than 5) = 0.001. Six series with a budget each: mean 6.6.
    assert alarms <= 5


def test_a_long_history_earns_thresholds_of_its_own() -> None:
    settings = JudgeSettings(false_rollbacks=0.05, watch_s=900.0)
    data = quiet("latency", np.random.default_rng(1), 1440 + 30, 0.5)
    for n, calibration in ((1440, "own"), (600, "own"), (60, "model")):
        came = watch([(spec("latency"), data[1440 - n :])], n, settings)
        assert came.verdict.evidence[0].calibration == calibration


def _seconds(rng: np.random.Generator, n: int, m: int, state: str) -> list[tuple[SeriesSpec, FloatArray]]:
    """A shop at 1-second steps with 20 to 60 requests in each; state: fine, broken or surge."""
    failed, wrong, slow = {"fine": (0.005, 0.004, 1.0), "broken": (0.035, 0.03, 1.0)}.get(
        state, (0.05, 0.06, 1.8)
    )
    traffic = rng.uniform(20.0, 60.0, n + m)
    latency = 0.12 * np.exp(0.15 * noise(rng, n + m, 0.3))
    latency[n:] *= slow
    run = [rng.poisson(traffic) for _ in range(2)]
    shares = [np.r_[np.full(n, a), np.full(m, b)] for a, b in ((0.005, failed), (0.004, wrong))]
    pairs = [
        np.column_stack([rng.binomial(k, p), k]).astype(np.float64) for k, p in zip(run, shares, strict=True)
    ]
    return [
        (spec("ratio", "failed_payments", 1.0), pairs[0]),
        (spec("ratio", "errors", 1.0), pairs[1]),
        (spec("latency", "latency", 1.0), latency[:, None]),
    ]


@pytest.mark.parametrize("n", [900, 7200])
@pytest.mark.parametrize("state", ["fine", "broken", "surge"])
def test_the_demo_at_one_second_steps(n: int, state: str) -> None:
    settings = JudgeSettings(watch_s=60.0, warm_up_s=5.0)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        series = _seconds(rng, n, 70, state)
        beside = _seconds(rng, n, 70, "surge" if state == "surge" else "fine")
        controls = {s.name: [(replace(s, name=f"mail/{s.name}"), v)] for s, v in beside}
        came = watch(series, n, settings, rollout_s=3.0, controls=controls)
        if state == "fine":
            assert came.verdict.state == "healthy", came.verdict.because
        elif state == "surge":
            assert (came.verdict.state, came.verdict.reason) == ("inconclusive", "shared"), (
                came.verdict.because
            )
        else:
            assert came.verdict.state == "regressed", came.verdict.because
            assert came.tick is not None
            assert came.tick <= 35


def test_errors_are_dated_by_the_tick_whatever_the_step() -> None:
    rng = np.random.default_rng(3)
    data = np.concatenate([errors(rng, 3600, 0.004, 40.0), errors(rng, 70, 0.08, 40.0)])
    came = watch(
        [(spec("ratio", step_s=1.0), data)], 3600, JudgeSettings(watch_s=60.0, warm_up_s=5.0), rollout_s=3.0
    )
    assert came.verdict.state == "regressed"
    assert "with this deploy" in came.verdict.because or "s after this deploy" in came.verdict.because
