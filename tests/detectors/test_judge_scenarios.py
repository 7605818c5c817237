"""What the judge must say of deploys whose truth is known. Seeds are fixed; one seed may be unlucky, so each
scenario runs over several and states how many must come out right."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from detectors.model import DeployInterval, FloatArray, JudgeSettings, SeriesKind
from tests.detectors.simulated import T0, Watched, errors, quiet, spec, watch

N = 1440
SETTINGS = JudgeSettings(watch_s=1800.0)


def _broken(rng: np.random.Generator, before: float, after: float, at: int = 0, n: int = N) -> FloatArray:
    """Errors that change share at tick `at` after the deploy."""
    return np.concatenate([errors(rng, n + at, before), errors(rng, 40 - at, after)])


def _onset_error(came: Watched, truth: float) -> float:
    worst = came.verdict.evidence[0]
    assert worst.onset_at is not None
    return abs(worst.onset_at - truth) / 60.0


@pytest.mark.parametrize(("delay", "latest"), [(0, 10), (10, 20)])
def test_errors_from_0_4_to_3_1_percent_are_found_in_a_few_ticks_and_dated(delay: int, latest: int) -> None:
    for seed in range(8):
        data = _broken(np.random.default_rng(seed), 0.004, 0.031, delay)
        came = watch([(spec("ratio", "failed_payments"), data)], N, SETTINGS)
        assert (came.verdict.state, came.verdict.reason) == ("regressed", "evidence"), came.verdict.because
        assert came.tick is not None
        assert came.tick <= latest
        assert _onset_error(came, T0 + delay * 60.0) <= 2.0
        assert came.verdict.blamed_deploy == "d"
        evidence = came.verdict.evidence[0]
        assert evidence.effect_low is not None
        assert evidence.effect_high is not None
        assert evidence.effect_low <= 0.027 <= evidence.effect_high
        assert sum(evidence.shares.values()) == pytest.approx(1.0)


def test_the_sentence_of_a_regression_has_effect_onset_blame_and_evidence() -> None:
    data = _broken(np.random.default_rng(0), 0.004, 0.031)
    came = watch([(spec("ratio", "failed_payments"), data)], N, SETTINGS)
    said = came.verdict.because
    for part in (
        "Failed payments rose from 0.4",
        " % to ",
        " pt, ",
        "UTC",
        "this deploy",
        "Evidence ",
        " needed",
    ):
        assert part in said, said


def test_half_of_all_requests_failing_is_found_inside_the_warm_up() -> None:
    for seed in range(5):
        came = watch([(spec("ratio"), _broken(np.random.default_rng(seed), 0.03, 0.5))], N, SETTINGS)
        assert came.verdict.state == "regressed"
        assert came.tick is not None
        assert came.tick <= 2


@pytest.mark.parametrize("history", [120, N])
def test_errors_where_there_never_were_any_are_found(history: int) -> None:
    for seed in range(5):
        data = _broken(np.random.default_rng(seed), 0.0, 0.05, n=history)
        assert watch([(spec("ratio"), data)], history, SETTINGS).verdict.state == "regressed"


@pytest.mark.parametrize("early", [-20, -10, -5])
def test_what_began_before_the_deploy_is_pre_existing(early: int) -> None:
    for seed in range(6):
        came = watch(
            [(spec("ratio"), _broken(np.random.default_rng(seed), 0.004, 0.031, early))], N, SETTINGS
        )
        # Trouble that is older than the looks reach back is simply the level this deploy is compared with.
        assert came.verdict.state in ("inconclusive", "healthy"), came.verdict.because
        assert "regressed" not in came.states


def test_a_break_right_after_a_steep_morning_is_not_taken_for_the_morning() -> None:
    n = 7 * N
    # Its middle is a quarter of an hour before the deploy.
    hour = (T0 + 60.0 * (np.arange(n + 40) - n)) % 86400.0 / 3600.0
    since = (hour - T0 % 86400.0 / 3600.0 + 0.25 + 12.0) % 24.0 - 12.0
    morning = 1.0 + 2.0 / (1.0 + np.exp(-10.0 * since)) - 2.0 / (1.0 + np.exp(-3.0 * (since - 10.0)))
    for seed in range(5):
        values = 0.1 * morning * np.exp(0.06 * np.random.default_rng(seed).standard_normal(n + 40))
        assert watch([(spec("latency"), values[:, None])], n, SETTINGS).verdict.state != "regressed"
        values[n:] *= 1.5
        came = watch([(spec("latency"), values[:, None])], n, SETTINGS)
        assert came.verdict.state == "regressed", came.verdict.because
        assert _onset_error(came, T0) <= 2.0


def test_a_surge_that_also_hits_the_controls_is_shared_and_never_regressed() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        target = _broken(rng, 0.004, 0.06)
        parts = [(spec("ratio", f"{s}/errors"), _broken(rng, 0.006, 0.05)) for s in ("mail", "stock")]
        came = watch([(spec("ratio", "errors"), target)], N, SETTINGS, controls={"errors": parts}, stop=False)
        assert (came.verdict.state, came.verdict.reason) == ("inconclusive", "shared"), came.verdict.because
        assert "regressed" not in came.states


def test_a_control_too_small_to_show_the_surge_in_time_still_holds_the_judge_back() -> None:
    regressed = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        target = _broken(rng, 0.004, 0.04)
        control = np.concatenate([errors(rng, N, 0.004, 8.0), errors(rng, 40, 0.04, 8.0)])
        controls = {"ratio": [(spec("ratio", "mail/errors"), control)]}
        came = watch([(spec("ratio"), target)], N, SETTINGS, controls=controls, stop=False)
        regressed += "regressed" in came.states
    # Each look at 8 requests a minute may err in 2.5 % of cases; without the look all 10 regress.
    assert regressed <= 2


def test_a_shared_factor_that_the_control_always_followed_is_shared_too() -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        common = quiet("latency", rng, N + 40, 0.7)
        common[N:] *= 1.6
        target = common * np.exp(0.03 * rng.standard_normal(common.shape))
        control = common * np.exp(0.03 * rng.standard_normal(common.shape))
        controls = {"latency": [(spec("latency", "b/latency"), control)]}
        came = watch([(spec("latency"), target)], N, SETTINGS, controls=controls, stop=False)
        assert (came.verdict.state, came.verdict.reason) == ("inconclusive", "shared"), came.verdict.because


def test_steady_controls_do_not_excuse_a_regression() -> None:
    rng = np.random.default_rng(1)
    controls = {"ratio": [(spec("ratio", "mail/errors"), errors(rng, N + 40, 0.006))]}
    came = watch([(spec("ratio"), _broken(rng, 0.004, 0.031))], N, SETTINGS, controls=controls)
    assert came.verdict.state == "regressed"


def test_a_service_that_goes_dark_is_blind_at_once_and_at_the_end() -> None:
    data = quiet("ratio", np.random.default_rng(0), N + 40)
    data[N:] = np.nan
    came = watch([(spec("ratio"), data)], N, SETTINGS)
    assert (came.verdict.state, came.verdict.reason) == ("blind", "no_data")
    assert came.states[3] == "blind"
    assert "regressed" not in came.states


def test_zero_requests_are_no_data_either() -> None:
    data = quiet("ratio", np.random.default_rng(0), N + 40)
    data[N:] = 0.0
    assert watch([(spec("ratio"), data)], N, SETTINGS).verdict.state == "blind"


def test_a_series_that_is_sparse_by_nature_is_judged_by_what_it_has() -> None:
    found = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        values = 0.1 * np.exp(0.06 * rng.standard_normal((7 * N + 60, 1)))
        values[rng.random(len(values)) < 0.6] = np.nan
        settings = JudgeSettings(watch_s=2700.0)
        assert watch([(spec("latency"), values)], 7 * N, settings).verdict.state in ("healthy", "blind")
        values[7 * N :] *= 2.0
        came = watch([(spec("latency"), values)], 7 * N, settings)
        assert came.verdict.state != "healthy", came.verdict.because
        found += came.verdict.state == "regressed"
    assert found >= 8


@pytest.mark.parametrize("history", [25, 40, 60])
def test_a_history_too_short_for_a_look_clears_nothing(history: int) -> None:
    rng = np.random.default_rng(history)
    values = quiet("latency", rng, history + 130)
    values[history:] *= 2.0
    came = watch([(spec("latency", step_s=15.0), values)], history, SETTINGS)
    assert (came.verdict.state, came.verdict.reason) == ("blind", "no_history")
    assert "the shortest look takes 61" in came.verdict.because
    for share, said in ((0.02, ("blind", "no_data")), (0.5, ("regressed", "evidence"))):
        failed = np.concatenate([errors(rng, history, 0.01), errors(rng, 130, share)])
        came = watch([(spec("ratio", step_s=15.0), failed)], history, SETTINGS)
        # Half of all requests is a hard break, whatever the past was like.
        assert (came.verdict.state, came.verdict.reason) == said, came.verdict.because


def test_a_watch_that_ends_before_its_first_look_clears_nothing() -> None:
    judge = watch(
        [(spec("latency"), quiet("latency", np.random.default_rng(1), N + 40))],
        N,
        JudgeSettings(watch_s=2700.0),
        ticks=7,  # four to warm up, and a look takes five
    ).judge
    assert (judge.verdict.state, judge.verdict.reason) == ("blind", "no_data")


def test_a_count_too_rare_to_miss_says_that_nothing_would_be_found() -> None:
    values = np.random.default_rng(1).poisson(0.3, (7 * N + 40, 1)).astype(np.float64)
    came = watch([(spec("count"), values)], 7 * N, SETTINGS)
    assert came.verdict.evidence[0].smallest_visible is None
    assert came.verdict.because.endswith("no change would surely be found.")


def test_a_rate_that_falls_to_nothing_is_told_as_nothing() -> None:
    values = 50.0 + 4.0 * np.random.default_rng(1).standard_normal((7 * N + 40, 1))
    values[7 * N :] = 0.0
    came = watch([(spec("rate", bad="down"), values)], 7 * N, SETTINGS)
    assert came.verdict.state == "regressed"
    assert " to 0 per s (-100 %, " in came.verdict.because


def test_series_that_went_missing_never_regress_and_leave_the_others_judged() -> None:
    rng = np.random.default_rng(2)
    gone, bad = _broken(rng, 0.004, 0.5), _broken(rng, 0.004, 0.05)
    gone[N + 1 :] = np.nan
    series = [(spec("ratio", "gone"), gone), (spec("ratio", "there"), errors(rng, N + 40, 0.004))]
    came = watch(series, N, SETTINGS, stop=False)
    assert (came.verdict.state, came.verdict.reason) == ("inconclusive", "coverage")
    assert "regressed" not in came.states
    assert {e.series: e.state for e in came.verdict.evidence}["gone"] == "blind"
    came = watch([series[0], (spec("ratio", "bad"), bad)], N, SETTINGS)
    assert came.verdict.state == "regressed"
    assert came.verdict.evidence[0].series == "bad"


@pytest.mark.parametrize("blip", ["ratio", "latency"])
def test_a_restart_blip_inside_the_warm_up_is_healthy(blip: str) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        if blip == "ratio":
            data = errors(rng, N + 40, 0.004)
            data[N : N + 3] = errors(rng, 3, 0.2)
            came = watch([(spec("ratio"), data)], N, SETTINGS, stop=False)
        else:
            data = quiet("latency", rng, N + 40)
            data[N : N + 3] *= 6.0
            came = watch([(spec("latency"), data)], N, SETTINGS, stop=False)
        assert came.verdict.state == "healthy", came.verdict.because
        assert "regressed" not in came.states


def test_an_improvement_is_healthy() -> None:
    rng = np.random.default_rng(3)
    faster, busier = quiet("latency", rng, N + 40), quiet("count", rng, N + 40)
    faster[N:] *= 0.6
    busier[N:] *= 1.5
    came = watch([(spec("latency"), faster), (spec("count"), busier)], N, SETTINGS, stop=False)
    assert (came.verdict.state, came.verdict.reason) == ("healthy", "steady")


def test_a_drop_of_orders_is_found() -> None:
    for seed in range(5):
        data = quiet("count", np.random.default_rng(seed), N + 40)
        data[N:] = np.round(data[N:] * 0.6)
        came = watch([(spec("count", "orders"), data)], N, SETTINGS)
        assert came.verdict.state == "regressed"
        assert "Orders fell from" in came.verdict.because
        effect = came.verdict.evidence[0].effect
        assert effect is not None
        assert effect > 0.0


@pytest.mark.parametrize("history", [0, N])
def test_a_probe_that_fails_is_found_with_and_without_history(history: int) -> None:
    data = quiet("probe", np.random.default_rng(4), history + 40)
    data[history:, 0] = 1.0
    came = watch([(spec("probe", "home"), data)], history, SETTINGS)
    assert came.verdict.state == "regressed"
    assert came.tick is not None
    assert came.tick <= 4


def test_a_change_too_small_to_matter_is_not_a_regression() -> None:
    rng = np.random.default_rng(5)
    data = 0.2 * np.exp(0.002 * rng.standard_normal((N + 40, 1)))
    data[N:] *= 1.02
    came = watch([(spec("latency"), data)], N, SETTINGS, stop=False)
    assert "regressed" not in came.states
    data[N:] *= 1.3
    assert watch([(spec("latency"), data)], N, SETTINGS).verdict.state == "regressed"


@pytest.mark.parametrize("history", [0, 19])
def test_without_history_nothing_is_judged(history: int) -> None:
    # At five minutes a look takes 16 steps: 19 samples are enough for it, and too few for a level.
    data = quiet("latency", np.random.default_rng(6), history + 40)
    data[history:] *= 3.0
    came = watch([(spec("latency", step_s=300.0), data)], history, JudgeSettings(watch_s=7200.0))
    assert (came.verdict.state, came.verdict.reason) == ("blind", "no_history")


def test_a_series_that_may_not_act_informs_only() -> None:
    rng = np.random.default_rng(7)
    series = [
        (spec("ratio", "info", acts=False), _broken(rng, 0.004, 0.2)),
        (spec("ratio", "acting"), errors(rng, N + 40, 0.004)),
    ]
    came = watch(series, N, SETTINGS, stop=False)
    assert came.verdict.state == "healthy"
    assert {e.series: e.state for e in came.verdict.evidence}["info"] == "suspect"


@pytest.mark.parametrize(("guilty", "blamed"), [(0, "d"), (10, "e")])
def test_of_two_deploys_ten_minutes_apart_the_guilty_one_is_blamed(guilty: int, blamed: str) -> None:
    other = DeployInterval(id="e", started_at=T0 + 600.0, finished_at=T0 + 660.0)
    for seed in range(5):
        data = _broken(np.random.default_rng(seed), 0.004, 0.04, guilty)
        came = watch([(spec("ratio"), data)], N, SETTINGS, others=[other], stop=False)
        assert came.verdict.blamed_deploy == blamed
        assert came.verdict.evidence[0].shares[blamed] >= 0.8
        if blamed == "d":
            assert came.verdict.state == "regressed"
        else:
            assert (came.verdict.state, came.verdict.reason) == ("inconclusive", "overlap")
            assert "regressed" not in came.states


def test_the_later_of_two_deploys_is_judged_against_the_earlier_too() -> None:
    earlier = DeployInterval(id="c", started_at=T0 - 600.0, finished_at=T0 - 540.0)
    for seed in range(5):
        data = _broken(np.random.default_rng(seed), 0.004, 0.04)
        assert watch([(spec("ratio"), data)], N, SETTINGS, others=[earlier]).verdict.state == "regressed"
        data = _broken(np.random.default_rng(seed), 0.004, 0.04, -10)
        came = watch([(spec("ratio"), data)], N, SETTINGS, others=[earlier], stop=False)
        assert (came.verdict.state, came.verdict.reason) == ("inconclusive", "overlap")
        assert came.verdict.blamed_deploy == "c"


def test_two_deploys_at_once_are_ambiguous() -> None:
    twin = DeployInterval(id="twin", started_at=T0 + 60.0, finished_at=T0 + 120.0)
    data = _broken(np.random.default_rng(8), 0.004, 0.04, 1)
    came = watch([(spec("ratio"), data)], N, SETTINGS, others=[twin], stop=False)
    assert (came.verdict.state, came.verdict.reason) == ("inconclusive", "overlap")


@pytest.mark.parametrize(("kind", "factor"), [("latency", 1.4), ("count", 0.6)])
def test_what_every_day_does_at_this_time_is_not_rolled_back(kind: SeriesKind, factor: float) -> None:
    n = 7 * 1440
    minute = (np.arange(n + 40) - n) % 1440
    for seed in range(4):
        rng = np.random.default_rng(seed)
        values = quiet(kind, rng, n + 40)
        values[(minute > 0) & (minute < 35)] *= factor
        came = watch([(spec(kind), values)], n, SETTINGS, stop=False)
        assert "regressed" not in came.states, came.verdict.because
        values[:n] = quiet(kind, rng, n)
        alone = watch([(spec(kind), values)], n, SETTINGS)
        assert alone.verdict.state == "regressed", "no other day did that"


@pytest.mark.parametrize(("bad", "verb"), [("up", "rises"), ("down", "falls")])
def test_failures_of_every_day_at_this_time_are_told_as_such(bad: Literal["up", "down"], verb: str) -> None:
    n = 7 * 1440
    minute = (np.arange(n + 40) - n) % 1440
    for seed in range(4):
        rng = np.random.default_rng(seed)
        counts = errors(rng, n + 40, 0.004)
        is_then = (minute > 0) & (minute < 20)
        counts[is_then, 0] = rng.binomial(counts[is_then, 1].astype(np.int64), 0.04)
        if bad == "down":
            counts[:, 0] = counts[:, 1] - counts[:, 0]
        came = watch([(spec("ratio", bad=bad), counts)], n, SETTINGS, stop=False)
        assert "regressed" not in came.states, came.verdict.because
        assert f"it {verb} at this time of other days, too; a change of " in came.verdict.evidence[0].because


@pytest.mark.parametrize("bad", ["up", "down"])
def test_a_share_of_failures_and_one_of_successes_are_judged_alike(bad: Literal["up", "down"]) -> None:
    for seed in range(4):
        counts = _broken(np.random.default_rng(seed), 0.004, 0.031)
        if bad == "down":
            counts[:, 0] = counts[:, 1] - counts[:, 0]
        came = watch([(spec("ratio", bad=bad), counts)], N, SETTINGS)
        assert came.verdict.state == "regressed", came.verdict.because
        smallest = came.verdict.evidence[0].smallest_visible
        assert smallest is not None
        assert smallest < 0.01
