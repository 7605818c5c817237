"""Each condition between a crossed threshold and a regression, one at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detectors import witness
from detectors.confirm import Case, is_held, is_present, weigh
from detectors.innovations import CLIP, fit_noise
from detectors.judge import DeployJudge
from detectors.model import DeployInterval, FloatArray, History, JudgeSettings, Reason, SeriesSpec, Verdict
from detectors.panel import LIMIT
from detectors.recovery import recovered
from detectors.subject import Subject
from detectors.verdict import conclude
from tests.detectors.simulated import T0, errors, quiet, spec, watch

N = 1440
SETTINGS = JudgeSettings(watch_s=1800.0)
GAP = 4  # a minute of roll-out and three of warm-up
DEPLOY = DeployInterval(id="d", started_at=T0, finished_at=T0 + 60.0)
SURE = Case(
    deploy_id="d",
    is_shared=False,
    is_back=False,
    onset_probability=0.99,
    shares={"d": 0.97, "before": 0.02, "none": 0.01},
    is_practical=True,
    is_present=True,
    is_held=True,
)


def seated(*series: tuple[SeriesSpec, FloatArray], n: int = N) -> DeployJudge:
    """A judge on the first n samples of each series, before its first tick."""
    histories = [History(spec=each, values=values[:n], end_at=T0) for each, values in series]
    return DeployJudge(DEPLOY, [], histories, SETTINGS)


def fed(judge: DeployJudge, ticks: int, *series: tuple[SeriesSpec, FloatArray], n: int = N) -> DeployJudge:
    """The same judge after the next samples."""
    for i in range(ticks):
        judge.tick(T0 + (i + 1) * 60.0, {each.name: values[n + i] for each, values in series})
    return judge


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "evidence"),
        ({"is_shared": True}, "shared"),
        ({"onset_probability": 0.09, "shares": {"d": 0.09, "before": 0.91}}, "pre_existing"),
        ({"onset_probability": 0.09, "shares": {"d": 0.05, "other": 0.9, "before": 0.05}}, "overlap"),
        ({"shares": {"d": 0.79, "other": 0.21}}, "overlap"),
        ({"shares": {"d": 0.39, "none": 0.61}}, "evidence"),
        ({"is_back": True}, "rebound"),
        ({"is_back": True, "is_present": False}, "rebound"),
        ({"is_present": False}, "transient"),
        ({"is_practical": False}, "too_small"),
        ({"is_held": False}, "not_confirmed"),
    ],
)
def test_every_condition_must_hold_and_names_itself(change: dict[str, Any], reason: Reason) -> None:
    assert weigh(replace(SURE, **change), SETTINGS) == reason


def test_what_is_no_longer_seen_is_neither_present_nor_held() -> None:
    gauge = (spec("gauge"), quiet("gauge", np.random.default_rng(3), N + 30))
    gauge[1][N + GAP :] += 80.0
    gauge[1][N + 12 : N + 15] = np.nan
    judge = fed(seated(gauge), 12, gauge)
    subject: Subject = judge._subjects[0]
    assert is_present(subject, GAP)
    assert is_held(subject, GAP)
    for i in (12, 13, 14):
        judge.tick(T0 + (i + 1) * 60.0, {"gauge": gauge[1][N + i]})
    assert not is_present(subject, GAP), "three steps in a row are missing"
    assert not is_held(subject, GAP)


def test_a_clear_change_is_believed_one_tick_after_its_first_look() -> None:
    for seed in range(4):
        slow = (spec("latency"), quiet("latency", np.random.default_rng(seed), N + 40))
        slow[1][N:] *= 4.0
        came = watch([slow], N, SETTINGS)
        assert came.verdict.state == "regressed"
        assert came.tick is not None
        # The first judged tick is number GAP; the shortest look takes 5, and its finding must last one more.
        assert came.tick == GAP + 5


def test_a_burst_that_outweighs_its_hour_is_not_still_there() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        # Three minutes of 20 % errors: pooled over half an hour the burst still weighs 2 %.
        burst = [errors(rng, N + 5, 0.004), errors(rng, 3, 0.2), errors(rng, 32, 0.004)]
        came = watch([(spec("ratio"), np.concatenate(burst))], N, SETTINGS)
        assert (came.tick, came.verdict.reason) == (None, "transient"), came.verdict.because


def test_too_few_requests_are_no_recovery() -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        history = History(spec=spec("ratio"), values=errors(rng, N, 0.004), end_at=T0)
        # Not one failure, but of 30 requests a step: half of what was lost may as well still be missing.
        after = np.tile([0.0, 30.0], (5, 1))
        told = recovered(spec("ratio"), history, after, lost=0.006)
        assert told.state == "unknown", told.because


def test_an_effect_counts_when_its_whole_interval_is_worth_it() -> None:
    differ = 0
    for seed in range(6):
        gauge = (spec("gauge"), quiet("gauge", np.random.default_rng(seed), N + 40))
        gauge[1][N:] += 12.0
        judge = seated(gauge)
        for i in range(20):
            judge.tick(T0 + (i + 1) * 60.0, {"gauge": gauge[1][N + i]})
            found = judge.verdict.evidence[0]
            if found.effect is None:
                continue  # still warming up
            assert found.effect_low is not None
            assert found.before is not None
            least = max(0.05 * abs(found.before), gauge[0].ignore_below_abs)
            assert found.is_practical == (found.effect_low > least)
            differ += found.effect > least >= found.effect_low
    assert differ > 10, "else the interval would not have mattered"


def test_the_threshold_itself_is_no_crossing() -> None:
    gauge = (spec("gauge"), quiet("gauge", np.random.default_rng(5), N + 40))
    gauge[1][N:] += 60.0
    ticks = GAP + 5  # the first look has just been taken
    first = fed(seated(gauge), ticks, gauge)
    assert first._subjects[0].statistics[-1] > LIMIT
    twin = seated(gauge)
    twin._panel._value_tracks._joint = first._panel._value_tracks._most.copy()
    subject: Subject = fed(twin, ticks, gauge)._subjects[0]
    assert (subject.statistics[-1], subject.crossings) == (LIMIT, 0)


def test_without_placebos_the_budget_is_shared_over_the_series() -> None:
    n = 60
    three = [(spec("gauge", name), quiet("gauge", np.random.default_rng(n), n)) for name in ("a", "b", "c")]
    for count in (1, 3):
        judge = seated(*three[:count], n=n)
        assert {each.calibration for each in judge.verdict.evidence} == {"model"}
        assert judge._subjects[0].bound == pytest.approx(math.log(count / SETTINGS.false_rollbacks))


def test_forty_requests_are_no_level_to_compare_with() -> None:
    few = np.zeros((N + 40, 2))
    few[N - 40 : N] = (0.0, 1.0)
    few[N:] = (30.0, 100.0)
    came = watch([(spec("ratio"), few)], N, SETTINGS)
    assert (came.verdict.state, came.verdict.reason) == ("blind", "no_history")
    assert "40 of 50 requests" in came.verdict.because


def test_what_nobody_asked_of_late_has_no_level_for_a_hard_break() -> None:
    idle = errors(np.random.default_rng(3), N + 3, 0.01)
    idle[120:N] = np.nan
    idle[N:] = (30.0, 30.0)
    came = watch([(spec("ratio"), idle)], N, SETTINGS, ticks=3)
    assert (came.verdict.state, came.verdict.statistic) == ("blind", 0.0), came.verdict.because


def test_one_sample_proves_no_more_than_its_cut() -> None:
    noise = fit_noise(np.random.default_rng(1).standard_normal(500), 1e-3)
    edge = noise.centre + CLIP * noise.width
    assert noise.scores(np.array([1e9]))[0] == noise.scores(np.array([edge]))[0]
    assert noise.scores(np.array([-1e9]))[0] == noise.scores(np.array([edge - 2 * CLIP * noise.width]))[0]


def _said(judge: DeployJudge) -> list[witness.Testimony]:
    return [witness.testify(subject, DEPLOY, [], SETTINGS, False) for subject in judge._subjects]


def _concluded(judge: DeployJudge, said: list[witness.Testimony], ticks: int, *, is_closed: bool) -> Verdict:
    return conclude(judge._subjects, said, judge._plan, DEPLOY, SETTINGS, ticks, is_closed)


def _worse(one: witness.Testimony) -> witness.Testimony:
    return witness.Testimony(evidence=replace(one.evidence, state="worse"), excuse="evidence")


def _pair(**second: Any) -> DeployJudge:
    """A quiet watch of two gauges, `a` and `b`, all of whose 31 ticks were judged."""
    rng = np.random.default_rng(11)
    both = [(spec("gauge", name), quiet("gauge", rng, N + 31)) for name in ("a", "b")]
    both[1] = (replace(both[1][0], **second), both[1][1])
    return fed(seated(*both), 31, *both)


@pytest.mark.parametrize("is_closed", [False, True])
def test_one_series_that_shares_a_shock_holds_the_others_back(is_closed: bool) -> None:
    judge = _pair()
    first, second = _said(judge)
    assert _concluded(judge, [_worse(first), second], 31, is_closed=is_closed).state == "regressed"
    shares = witness.Testimony(evidence=replace(second.evidence, state="suspect"), excuse="shared")
    verdict = _concluded(judge, [_worse(first), shares], 31, is_closed=is_closed)
    assert verdict.state == ("inconclusive" if is_closed else "suspect")


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_series_that_only_informs_decides_nothing(is_closed: bool) -> None:
    judge = _pair(acts=False)
    first, second = _said(judge)
    quiet_one = _concluded(judge, [first, second], 31, is_closed=is_closed)
    told = _concluded(judge, [first, _worse(second)], 31, is_closed=is_closed)
    assert (told.state, told.reason) == (quiet_one.state, quiet_one.reason)
    assert {each.series for each in told.evidence} == {"a", "b"}


def test_a_change_that_is_still_there_at_the_end_is_no_all_clear() -> None:
    judge = _pair()
    first, second = _said(judge)
    judge._panel.has_crossed[0] = True
    still = witness.Testimony(evidence=replace(first.evidence, state="not_sure", is_present=True), excuse="")
    verdict = _concluded(judge, [still, second], 31, is_closed=True)
    assert (verdict.state, verdict.reason) == ("inconclusive", "not_confirmed")


@pytest.mark.parametrize(("missing", "state"), [(2, "healthy"), (3, "inconclusive")])
def test_a_watch_that_ends_in_the_dark_is_not_cleared(missing: int, state: str) -> None:
    gauge = (spec("gauge"), quiet("gauge", np.random.default_rng(8), N + 31))
    gauge[1][N + 31 - missing :] = np.nan
    verdict = fed(seated(gauge), 31, gauge).close()
    assert verdict.state == state, verdict.because
    assert verdict.coverage >= SETTINGS.coverage_min
