"""A distribution is judged as one: its tail is seen where a quantile is not moved, for one budget."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from detectors.histogram import quantile
from detectors.judge import DeployJudge
from detectors.model import HISTOGRAM_BINS, DeployInterval, FloatArray, History, JudgeSettings
from detectors.recovery import recovered
from detectors.replay import replay
from tests.detectors.simulated import T0, Watched, distribution, noise, spec, watch

N = 1440
SETTINGS = JudgeSettings(watch_s=1800.0)
LATENCY = spec("histogram", "order_latency", ignore_below_abs=0.005)


def shop(seed: int, slow: float = 1.0) -> FloatArray:
    """The slowest quarter takes `slow` times as long from the deploy on."""
    rng = np.random.default_rng(seed)
    level = 0.05 * noise(rng, N + 40, 0.5)
    return np.concatenate([distribution(rng, level[:N]), distribution(rng, level[N:], slow)])


def regressed(seed: int = 0) -> Watched:
    return watch([(LATENCY, shop(seed, 2.0))], N, SETTINGS)


def test_a_quarter_of_the_requests_twice_as_slow_is_seen_and_the_median_does_not_know() -> None:
    for seed in range(6):
        data = shop(seed, 2.0)
        came = watch([(LATENCY, data)], N, SETTINGS)
        assert came.verdict.state == "regressed", came.verdict.because
        assert came.tick is not None
        assert came.tick <= 12
        median = quantile(data, "s", 0.5)[:, None]
        blind = watch([(spec("latency"), median)], N, SETTINGS)
        assert blind.verdict.state == "healthy", blind.verdict.because


def test_the_evidence_names_the_cut_and_speaks_of_shares() -> None:
    came = regressed()
    (told,) = came.verdict.evidence
    assert told.series == "order_latency"
    assert told.bound is not None
    assert told.before is not None
    assert told.now is not None
    # 0.2 s exp(0.5 z): above 0.35 s lie 13 % before; after, all of the quarter but what takes 0.175 s twice.
    assert told.effect == pytest.approx(told.now - told.before)
    assert 0.0 < told.before < 0.3 < 1.0 > told.now > told.before
    assert told.effect_low is not None
    assert told.effect_low > 0.005
    assert came.verdict.because.startswith("Order latency: requests above ")
    assert f"requests above {1000 * told.bound:.0f} ms rose from" in came.verdict.because


def test_a_tide_is_foretold_by_other_days_and_hides_no_slow_quarter() -> None:
    """The deploy lies on the steepest rise of the day; a week of history tells that every day has it."""
    n, step = 7 * 288, replace(LATENCY, step_s=300.0)
    settings = JudgeSettings(watch_s=4 * 3600.0)
    for slow, state in ((1.0, "healthy"), (1.4, "regressed")):
        rng = np.random.default_rng(4)
        level = 0.05 * noise(rng, n + 60, 0.5) + 0.3 * np.sin(2.0 * np.pi * np.arange(-n, 60) / 288.0)
        data = np.concatenate([distribution(rng, level[:n]), distribution(rng, level[n:], slow)])
        came = watch([(step, data)], n, settings)
        assert came.verdict.state == state, came.verdict.because


def test_a_faster_service_is_no_regression() -> None:
    rng = np.random.default_rng(4)
    level = np.r_[np.zeros(N), np.full(40, -0.3)]
    came = watch([(LATENCY, distribution(rng, level))], N, SETTINGS)
    assert came.verdict.state == "healthy", came.verdict.because


def test_a_slow_restart_is_no_hard_break() -> None:
    """Every request takes four times as long in the warm-up; of a ratio that would be confirmed at once."""
    rng = np.random.default_rng(5)
    level = np.r_[np.zeros(N), np.full(3, np.log(4.0)), np.zeros(37)]
    came = watch([(LATENCY, distribution(rng, level))], N, SETTINGS)
    assert came.verdict.state == "healthy", came.verdict.because


def test_cuts_do_not_take_from_the_share_of_a_probe() -> None:
    """alpha is divided among series: the bound of a probe beside a distribution is that beside a gauge."""
    probe = (spec("probe"), np.column_stack([np.zeros(N + 40), np.ones(N + 40)]))
    beside_gauge = watch([probe, (spec("gauge"), shop(0).sum(axis=1)[:, None])], N, SETTINGS)
    beside_cuts = watch([probe, (LATENCY, shop(0))], N, SETTINGS)
    visible = [
        next(e.smallest_visible for e in came.verdict.evidence if e.series == "probe")
        for came in (beside_gauge, beside_cuts)
    ]
    assert visible[0] == visible[1]


def test_missing_steps_are_not_evidence_and_enough_of_them_are_blind() -> None:
    data = shop(6, 2.0)
    data[N:] = np.nan
    came = watch([(LATENCY, data)], N, SETTINGS)
    assert came.verdict.state == "blind"
    idle = shop(6, 2.0)
    idle[N:] = 0.0
    came = watch([(LATENCY, idle)], N, SETTINGS)
    assert came.verdict.state == "blind"


@pytest.mark.parametrize("past", [np.nan, 0.0])
def test_without_requests_before_there_is_nothing_to_compare_with(past: float) -> None:
    data = shop(7, 2.0)
    data[:N] = past
    came = watch([(LATENCY, data)], N, SETTINGS)
    assert (came.verdict.state, came.verdict.reason) == ("blind", "no_history")
    assert [e.series for e in came.verdict.evidence] == ["order_latency"]


def test_a_distribution_in_another_unit_than_said_is_blind_and_says_so() -> None:
    """Milliseconds taken for seconds: everything lies above the grid, and would look steady."""
    data = np.zeros((N + 40, HISTOGRAM_BINS))
    data[:, -1] = 300.0
    came = watch([(LATENCY, data)], N, SETTINGS)
    assert came.verdict.state == "blind"
    assert "lies above 64 s, where nothing is told apart; check its unit" in came.verdict.because


def test_a_shock_that_the_controls_share_is_not_this_deploys() -> None:
    control = replace(LATENCY, name="mail/order_latency")
    data, other = shop(8, 2.0), shop(9, 2.0)
    came = watch([(LATENCY, data)], N, SETTINGS, controls={"order_latency": [(control, other)]}, stop=False)
    assert (came.verdict.state, came.verdict.reason) == ("inconclusive", "shared"), came.verdict.because
    calm = watch([(LATENCY, data)], N, SETTINGS, controls={"order_latency": [(control, shop(9))]})
    assert calm.verdict.state == "regressed", calm.verdict.because


def test_a_packet_replays_to_the_same_verdict_bit_for_bit() -> None:
    came = regressed(1)
    packet = json.loads(json.dumps(came.judge.packet()))
    assert replay(packet) == came.verdict
    (one,) = packet["series"]
    assert one["spec"]["kind"] == "histogram"
    assert one["history"]["shape"] == [N, HISTOGRAM_BINS]
    # Counts are mostly 0: what is kept is a small part of the 8 bytes each.
    assert len(one["history"]["f8z"]) < 0.25 * 8 * N * HISTOGRAM_BINS
    assert len(one["trace"]["statistic"]) == one["ticks"]["shape"][0]
    assert one["trace"]["expected_low"][0] < 0.45 < one["trace"]["expected_high"][0] < 0.6


@pytest.mark.parametrize("text", ["AAAA", "not base64!", "", "eJwBAAA="])
def test_a_damaged_distribution_in_a_packet_is_refused(text: str) -> None:
    packet = json.loads(json.dumps(regressed(1).judge.packet()))
    packet["series"][0]["history"]["f8z"] = text
    with pytest.raises(ValueError, match=r"damaged|base64|padding"):
        replay(packet)


def test_a_recovery_is_seen_at_the_cut_that_was_worse() -> None:
    data = shop(2, 2.0)
    (told,) = regressed(2).verdict.evidence
    history = History(spec=LATENCY, values=data[:N], end_at=T0)
    back = recovered(LATENCY, history, shop(3)[-20:], lost=told.effect, bound=told.bound)
    assert back.state == "yes", back.because
    assert "requests above" in back.because
    still = recovered(LATENCY, history, data[N:], lost=told.effect, bound=told.bound)
    assert still.state == "no", still.because


def test_what_cannot_be_judged_as_one_is_refused() -> None:
    deploy = DeployInterval(id="d", started_at=T0, finished_at=T0)
    history = History(spec=LATENCY, values=shop(0)[:N], end_at=T0)
    down = replace(history, spec=replace(LATENCY, bad="down"))
    with pytest.raises(ValueError, match="only large values are worse"):
        DeployJudge(deploy, [], [down], SETTINGS)
    for unlike in (replace(LATENCY, name="b/x", unit="ms"), spec("gauge", "b/x")):
        control = History(spec=unlike, values=np.zeros((N, unlike.width)), end_at=T0)
        with pytest.raises(ValueError, match="of its kind and unit"):
            DeployJudge(deploy, [], [history], SETTINGS, {"order_latency": [control]})
