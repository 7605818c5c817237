"""Conventions every kind of series keeps, whatever its numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from detectors.judge import DeployJudge
from detectors.model import DeployInterval, FloatArray, History, JudgeSettings, SeriesKind, Verdict
from detectors.packet import decode_array, encode_array
from detectors.replay import replay
from tests.detectors.simulated import KINDS, T0, errors, quiet, spec, watch

N = 720
SETTINGS = JudgeSettings(watch_s=1200.0)
DEPLOY = DeployInterval(id="d", started_at=T0, finished_at=T0 + 60.0)


def _worse(kind: SeriesKind, seed: int = 0) -> FloatArray:
    data = quiet(kind, np.random.default_rng(seed), N + 30)
    if kind == "histogram":
        # Two bins up: every request takes twice as long.
        data[N:] = np.roll(data[N:], 2, axis=1)
    elif data.shape[1] == 2:
        data[N:, 0] = np.round(data[N:, 1] * 0.15) if kind == "ratio" else 1.0
    else:
        data[N:] *= 0.5 if kind == "count" else 1.8
    return data


def _numbers(verdict: Verdict) -> dict[str, object]:
    return json.loads(json.dumps(asdict(verdict)))


def _same(a: Verdict, b: Verdict) -> None:
    assert (a.state, a.reason, a.because, a.blamed_deploy) == (b.state, b.reason, b.because, b.blamed_deploy)
    for x, y in zip(a.evidence, b.evidence, strict=True):
        assert (x.series, x.state, x.onset_at) == (y.series, y.state, y.onset_at)
        for field in ("statistic", "threshold", "before", "now", "effect", "effect_low", "coverage"):
            assert getattr(x, field) == pytest.approx(getattr(y, field), rel=1e-6), field


@pytest.mark.parametrize("kind", KINDS)
def test_a_clear_regression_of_every_kind_is_found_and_replays(kind: SeriesKind) -> None:
    came = watch([(spec(kind), _worse(kind))], N, SETTINGS)
    assert came.verdict.state == "regressed", came.verdict.because
    packet = json.loads(json.dumps(came.judge.packet(), allow_nan=False))
    assert packet["schema"] == "deploy-watchdog/evidence/v1"
    _same(replay(packet), came.verdict)


@pytest.mark.parametrize("kind", KINDS)
def test_replacing_the_future_changes_no_earlier_answer(kind: SeriesKind) -> None:
    one = quiet(kind, np.random.default_rng(1), N + 30)
    two = one.copy()
    two[N + 12 :] = _worse(kind, 3)[N + 12 :]
    said = []
    for data in (one, two):
        judge = DeployJudge(DEPLOY, [], [History(spec=spec(kind), values=data[:N], end_at=T0)], SETTINGS)
        said.append([_numbers(judge.tick(T0 + 60.0 * (i + 1), {kind: data[N + i]})) for i in range(12)])
    assert said[0] == said[1]


@pytest.mark.parametrize("kind", ["latency", "gauge", "rate"])
def test_the_unit_of_a_series_changes_nothing(kind: SeriesKind) -> None:
    for data in (quiet(kind, np.random.default_rng(2), N + 30), _worse(kind)):
        a = watch([(spec(kind), data)], N, SETTINGS)
        b = watch([(spec(kind), data * 1000.0)], N, SETTINGS)
        assert (a.tick, a.verdict.state, a.verdict.reason) == (b.tick, b.verdict.state, b.verdict.reason)
        x, y = a.verdict.evidence[0], b.verdict.evidence[0]
        assert x.statistic == pytest.approx(y.statistic, rel=1e-6)
        assert x.effect is not None
        assert y.effect == pytest.approx(1000.0 * x.effect, rel=1e-6)


def test_the_zero_of_a_gauge_changes_no_evidence() -> None:
    plain = replace(spec("gauge"), ignore_below_rel=0.0, ignore_below_abs=5.0)
    data = _worse("gauge")
    a = watch([(plain, data)], N, SETTINGS)
    b = watch([(plain, data - 5000.0)], N, SETTINGS)
    assert a.tick == b.tick
    assert a.verdict.evidence[0].statistic == pytest.approx(b.verdict.evidence[0].statistic, rel=1e-6)


def test_the_order_of_the_series_changes_nothing() -> None:
    series = [(spec(kind), _worse(kind, i)) for i, kind in enumerate(KINDS)]
    a, b = watch(series, N, SETTINGS, stop=False), watch(series[::-1], N, SETTINGS, stop=False)
    assert _numbers(a.verdict) == _numbers(b.verdict)


@pytest.mark.parametrize("kind", KINDS)
def test_read_only_arrays_are_taken_and_left_alone(kind: SeriesKind) -> None:
    data = _worse(kind)
    copy = data.copy()
    data.flags.writeable = False
    watch([(spec(kind), data)], N, SETTINGS)
    assert np.array_equal(data, copy)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_series_stays_healthy_with_finite_numbers(kind: SeriesKind) -> None:
    constants: dict[str, list[list[float]]] = {
        "ratio": [[3.0, 300.0], [0.0, 300.0]],
        "probe": [[0.0, 1.0]],
        "histogram": [[0.0] * 12 + [7.0] + [0.0] * 21, [0.0] * 12 + [60.0, 7.0] + [0.0] * 19 + [1.0]],
    }
    for value in constants.get(kind, [[7.0], [0.0]]):
        data = np.tile(np.array(value), (N + 30, 1))
        came = watch([(spec(kind), data)], N, SETTINGS)
        assert (came.verdict.state, came.verdict.reason) == ("healthy", "steady"), came.verdict.because
        json.dumps(came.judge.packet(), allow_nan=False)


@pytest.mark.parametrize("kind", KINDS)
def test_scattered_holes_do_not_make_a_regression_or_hide_one(kind: SeriesKind) -> None:
    holes = np.random.default_rng(9).random(N + 30) < 0.1
    for data, state in (
        (quiet(kind, np.random.default_rng(3), N + 30), "healthy"),
        (_worse(kind), "regressed"),
    ):
        data[holes] = np.nan
        came = watch([(spec(kind), data)], N, SETTINGS)
        assert came.verdict.state == state, came.verdict.because


@pytest.mark.parametrize("kind", KINDS)
def test_infinite_values_are_refused_at_the_door(kind: SeriesKind) -> None:
    data = quiet(kind, np.random.default_rng(4), N)
    history = History(spec=spec(kind), values=data, end_at=T0)
    judge = DeployJudge(DEPLOY, [], [history], SETTINGS)
    bad = data[0].copy()
    bad[0] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        judge.tick(T0 + 60.0, {kind: bad})
    judge.tick(T0 + 60.0, {kind: data[0]})
    data[5, 0] = -np.inf
    with pytest.raises(ValueError, match="infinite"):
        DeployJudge(DEPLOY, [], [replace(history, values=data)], SETTINGS)


def test_calls_that_make_no_sense_are_refused_with_the_place() -> None:
    data = quiet("latency", np.random.default_rng(5), N)
    history = History(spec=spec("latency"), values=data, end_at=T0)
    with pytest.raises(ValueError, match="no series"):
        DeployJudge(DEPLOY, [], [], SETTINGS)
    with pytest.raises(ValueError, match="step_s"):
        DeployJudge(DEPLOY, [], [history, replace(history, spec=spec("latency", "x", 15.0))], SETTINGS)
    with pytest.raises(ValueError, match="two series are named latency"):
        DeployJudge(DEPLOY, [], [history, history], SETTINGS)
    with pytest.raises(ValueError, match="after the start"):
        DeployJudge(DEPLOY, [], [replace(history, end_at=T0 + 60.0)], SETTINGS)
    with pytest.raises(ValueError, match="off the grid"):
        DeployJudge(
            DEPLOY, [], [history, History(spec=spec("gauge"), values=data, end_at=T0 - 20.0)], SETTINGS
        )
    with pytest.raises(ValueError, match=r"pass \(n, 1\)"):
        DeployJudge(DEPLOY, [], [replace(history, values=np.ones((5, 2)))], SETTINGS)
    judge = DeployJudge(DEPLOY, [], [history], SETTINGS)
    with pytest.raises(ValueError, match="not the next step"):
        judge.tick(T0 + 120.0, {})
    with pytest.raises(ValueError, match="strange is not a series"):
        judge.tick(T0 + 60.0, {"strange": np.ones(1)})
    judge.close()
    with pytest.raises(ValueError, match="closed"):
        judge.tick(T0 + 60.0, {})


def test_a_history_that_lags_behind_the_deploy_is_filled_with_missing_steps() -> None:
    data = _worse("ratio")
    whole = data.copy()
    whole[N - 2 : N] = np.nan
    late = DeployJudge(
        DEPLOY, [], [History(spec=spec("ratio"), values=data[: N - 2], end_at=T0 - 120.0)], SETTINGS
    )
    full = DeployJudge(DEPLOY, [], [History(spec=spec("ratio"), values=whole[:N], end_at=T0)], SETTINGS)
    for i in range(10):
        a = late.tick(T0 + 60.0 * (i + 1), {"ratio": data[N + i]})
        b = full.tick(T0 + 60.0 * (i + 1), {"ratio": data[N + i]})
        assert _numbers(a) == _numbers(b)


def test_an_end_told_later_gives_the_judge_that_knew_it_and_replays() -> None:
    data = quiet("ratio", np.random.default_rng(6), N + 40)
    data[N + 8 :] = errors(np.random.default_rng(7), 32, 0.05)
    history = History(spec=spec("ratio"), values=data[:N], end_at=T0)
    guess = replace(DEPLOY, finished_at=T0 + 300.0)
    judge = DeployJudge(guess, [], [history], SETTINGS)
    for i in range(20):
        if i == 6:
            judge.finish(T0 + 60.0)
        if i == 9:
            judge.add_deploy(DeployInterval(id="late", started_at=T0 + 1100.0, finished_at=T0 + 1110.0))
        judge.tick(T0 + 60.0 * (i + 1), {"ratio": data[N + i]})
    verdict = judge.close()
    known = watch([(spec("ratio"), data[: N + 20])], N, replace(SETTINGS, watch_s=1140.0), deploy=DEPLOY)
    assert verdict.state == known.verdict.state == "regressed"
    packet = json.loads(json.dumps(judge.packet(), allow_nan=False))
    assert packet["deploy"]["finished_at"] == T0 + 60.0
    _same(replay(packet), verdict)
    with pytest.raises(ValueError, match="before the start"):
        judge.finish(T0 - 1.0)


def test_an_open_watch_replays_to_its_newest_verdict() -> None:
    data = quiet("latency", np.random.default_rng(8), N + 30)
    judge = DeployJudge(DEPLOY, [], [History(spec=spec("latency"), values=data[:N], end_at=T0)], SETTINGS)
    for i in range(12):
        verdict = judge.tick(T0 + 60.0 * (i + 1), {"latency": data[N + i]})
    assert verdict.state == "undecided"
    _same(replay(judge.packet()), verdict)
    assert judge.packet()["series"][0]["trace"]["at"][0] == T0 + 60.0


def test_controls_replay_too() -> None:
    rng = np.random.default_rng(10)
    data, control = _worse("ratio"), errors(rng, N + 30, 0.01)
    control[N:] = errors(rng, 30, 0.2)
    came = watch(
        [(spec("ratio"), data)], N, SETTINGS, controls={"ratio": [(spec("ratio", "mail/errors"), control)]}
    )
    assert came.verdict.reason == "shared"
    _same(replay(json.loads(json.dumps(came.judge.packet(), allow_nan=False))), came.verdict)


def test_arrays_come_back_bit_for_bit_and_damage_is_noticed() -> None:
    values = np.array([[1.5, np.nan], [-0.0, 1e300]])
    array = encode_array(values, 60.0, end_at=T0)
    assert decode_array(array).tobytes() == values.tobytes()
    with pytest.raises(ValueError, match="damaged"):
        decode_array({**array, "shape": [3, 2]})


def test_a_packet_of_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be replayed"):
        replay({"schema": "deploy-watchdog/evidence/v9"})


def test_regressed_stays_regressed_when_a_rollback_helps() -> None:
    data = quiet("ratio", np.random.default_rng(11), N + 30)
    data[N : N + 14] = errors(np.random.default_rng(12), 14, 0.1)
    came = watch([(spec("ratio"), data)], N, SETTINGS, stop=False)
    assert came.tick is not None
    assert came.states[came.tick :] == ["regressed"] * (len(came.states) - came.tick)
    assert (came.verdict.state, came.verdict.reason) == ("regressed", "evidence")
    assert came.verdict.at == T0 + 60.0 * len(came.states)
