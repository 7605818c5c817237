"""A series that fell before the deploy and only comes back with it, and one that does more than that."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.contrast import KINDS, Samples
from detectors.looks import Look
from detectors.model import FloatArray, JudgeSettings
from detectors.origins import placebo_origins
from detectors.past import Column
from detectors.rebound import Hours, hours_before
from detectors.ruler import Mark
from detectors.tracks import Crossing
from tests.detectors.simulated import Watched, quiet, spec, watch

N = 3 * 1440
SETTINGS = JudgeSettings(watch_s=1800.0)
LEVEL = Column(Look(first=0, length=10, is_late=False, sees_tail=True), "level")


def _dipped(seed: int, minutes: int, depth: float = 0.5, after: float = 1.0) -> Watched:
    """A latency that falls to `depth` of what it was, until a deploy that changes it by `after`."""
    slow = quiet("latency", np.random.default_rng(seed), N + 40)
    slow[N - minutes : N] *= depth
    slow[N:] *= after
    return watch([(spec("latency"), slow)], N, SETTINGS, stop=False)


@pytest.mark.parametrize("minutes", [6, 20, 80])
@pytest.mark.parametrize("depth", [0.5, 0.8])
def test_what_comes_back_from_a_dip_is_not_rolled_back(minutes: int, depth: float) -> None:
    for seed in range(4):
        came = _dipped(seed, minutes, depth)
        assert "regressed" not in came.states, came.verdict.because
        assert came.verdict.state in ("inconclusive", "healthy"), came.verdict.because


def test_it_is_not_cleared_either_and_the_reason_is_given() -> None:
    came = _dipped(0, 20)
    assert (came.verdict.state, came.verdict.reason) == ("inconclusive", "rebound")
    assert came.verdict.because.startswith("Latency rose from ")
    assert "it had fallen before the deploy, and is back" in came.verdict.because.lower()


@pytest.mark.parametrize("minutes", [6, 20, 80])
def test_what_comes_back_as_more_than_it_was_is_rolled_back(minutes: int) -> None:
    for seed in range(4):
        came = _dipped(seed, minutes, after=1.6)
        assert came.verdict.state == "regressed", came.verdict.because
        assert came.tick is not None
        assert came.tick <= 15


def test_a_watch_of_half_a_day_asks_as_many_hours_as_its_longest_look_takes() -> None:
    for seed in range(3):
        slow = quiet("latency", np.random.default_rng(seed), N + 144)
        slow[N - 30 : N] *= 0.5
        series = [(spec("latency", step_s=300.0), slow)]
        came = watch(series, N, JudgeSettings(watch_s=43_200.0), rollout_s=0.0, ticks=110, stop=False)
        assert "regressed" not in came.states, came.verdict.because


def test_orders_that_surged_before_the_deploy_and_are_as_ever_after_it_are_no_drop() -> None:
    for seed in range(4):
        orders = quiet("count", np.random.default_rng(seed), N + 40)
        orders[N - 30 : N] *= 1.8
        came = watch([(spec("count"), orders)], N, SETTINGS, stop=False)
        assert "regressed" not in came.states, came.verdict.because


def test_an_evening_that_falls_as_every_evening_explains_nothing() -> None:
    # From three times the night's latency to the night's within eight hours; the deploy is half way down.
    n = 7 * 1440
    day = 2.0 - np.sin(2.0 * np.pi * (np.arange(n + 40) - n) / 1440.0)
    for seed in range(4):
        slow = quiet("latency", np.random.default_rng(seed), n + 40)[:, 0] * day
        slow[n:] *= 1.4
        came = watch([(spec("latency"), slow[:, None])], n, SETTINGS)
        assert came.verdict.state == "regressed", came.verdict.because


def test_what_comes_back_every_day_at_this_time_is_not_rolled_back() -> None:
    # A job of half an hour before the deploy, every night.
    n = 7 * 1440
    job = np.where((np.arange(n + 40) - n) % 1440 >= 1410, 0.5, 1.0)
    for seed in range(6):
        slow = quiet("latency", np.random.default_rng(seed), n + 40)[:, 0] * job
        came = watch([(spec("latency"), slow[:, None])], n, SETTINGS, stop=False)
        assert "regressed" not in came.states, came.verdict.because


def test_what_comes_back_between_two_steep_hours_of_the_day_is_not_rolled_back() -> None:
    n = 7 * 1440
    hour = (np.arange(n + 40) - n) % 1440 / 60.0
    day = 1.0 + 2.0 / (1.0 + np.exp(-10.0 * (hour - 5.0))) - 2.0 / (1.0 + np.exp(-10.0 * (hour - 10.0)))
    for seed in range(4):
        slow = quiet("latency", np.random.default_rng(seed), n + 40)[:, 0] * day
        slow[n - 20 : n] *= 0.5
        came = watch([(spec("latency"), slow[:, None])], n, SETTINGS, stop=False)
        assert "regressed" not in came.states, came.verdict.because


def _hours(y: FloatArray, column: Column = LEVEL) -> Hours | None:
    origins = placebo_origins(len(y), 60.0)
    return hours_before(Samples.of(y), column, origins, alpha=0.005, floor=0.01, step_s=60.0)


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_fall_beyond_what_is_usual_explains_a_rise(kind: str) -> None:
    rng = np.random.default_rng(1)
    column = Column(LEVEL.look, kind)  # type: ignore[arg-type]  # one of KINDS
    y = 5.0 + 0.1 * rng.standard_normal(N)
    calm = _hours(y, column)
    assert calm is not None
    back = Crossing(column, calm.usual, least=0.01)
    assert not calm.explain(back, joint=1.0), "nothing had fallen"
    fallen = y.copy()
    if kind == "spread":
        fallen[-10:] = 5.0
    else:
        fallen[-10:] -= 2.0
    dip = _hours(fallen, column)
    assert dip is not None
    assert dip.fall > calm.fall
    assert dip.usual == pytest.approx(calm.usual, abs=0.05)
    assert dip.explain(back, joint=1.0)
    assert not dip.explain(back._replace(found=dip.usual + 3.0), joint=1.0)


def test_what_stands_out_but_is_too_small_to_matter_is_a_return() -> None:
    mark = Mark(
        look=LEVEL.look, scale=0.1, expected=0.0, past=np.zeros(1), windows=30.0, limit=4.0, has_own=True
    )
    hours = Hours(fall=9.0, usual=5.0, mark=mark, kind="level", floor=0.01)
    assert hours.explain(Crossing(LEVEL, 5.39, least=0.01), joint=1.0)
    assert not hours.explain(Crossing(LEVEL, 5.41, least=0.01), joint=1.0)
    assert hours.explain(Crossing(LEVEL, 5.41, least=0.01), joint=1.1), "the budget is spent once for all"
    assert hours.explain(Crossing(LEVEL, 5.41, least=0.5), joint=1.0)


def test_a_history_of_less_than_a_few_stretches_is_not_asked() -> None:
    assert _hours(np.full(50, 5.0)) is None
    assert _hours(np.full(400, np.nan)) is None


def test_gaps_in_the_hours_before_leave_the_median_of_the_rest() -> None:
    y = 5.0 + 0.1 * np.random.default_rng(2).standard_normal(N)
    whole = _hours(y)
    y[-200:-60] = np.nan
    holed = _hours(y)
    assert whole is not None
    assert holed is not None
    assert holed.usual == pytest.approx(whole.usual, abs=0.1)
