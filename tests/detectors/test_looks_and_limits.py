"""The looks of a watch, the contrasts they take, and what chance is allowed of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from detectors.calibrate import calibrate, placebos
from detectors.contrast import (
    Before,
    Samples,
    after,
    before,
    carried,
    condensed,
    count_contrast,
    density_of,
    level_after,
    level_before,
    log_ratio,
    poisson_root,
    spread,
    trimmed,
    upper,
    value_contrasts,
    wanted_after,
    with_longer_level,
)
from detectors.controls import Companions, company_of
from detectors.looks import Look, plan_looks
from detectors.model import DeployInterval, FloatArray, JudgeSettings
from detectors.origins import placebo_origins
from detectors.past import base_of, columns_of, past_of_counts, past_of_values, rates_before
from detectors.plan import plan_watch
from detectors.ruler import joint_limit, make_mark
from detectors.scores import Score
from detectors.subject import Subject
from detectors.tails import normal_quantile, student_quantile, tail_quantile
from detectors.tracks import CountTracks, ValueTracks
from tests.detectors.simulated import T0, noise, quiet, spec

DEPLOY = DeployInterval(id="d", started_at=T0, finished_at=T0 + 60.0)
LOOK = Look(first=0, length=10, is_late=False, sees_tail=True)


@pytest.mark.parametrize("judged", [1, 2, 3, 4, 12, 42, 120])
@pytest.mark.parametrize("step_s", [1.0, 15.0, 60.0, 300.0])
def test_every_look_lies_inside_the_judged_ticks(judged: int, step_s: float) -> None:
    looks = plan_looks(3, judged, step_s)
    assert looks
    assert all(look.first >= 3 and look.first + look.length <= 3 + judged for look in looks)
    lengths = [look.length for look in looks if not look.is_late]
    assert lengths == sorted(set(lengths))
    assert all(look.first == 3 for look in looks if not look.is_late)
    assert len(looks) < 40


def _ranked(length: int, bad: int) -> FloatArray:
    """A stretch with `bad` bad ticks in it, sorted."""
    return np.sort(np.where(np.arange(length) < bad, 100.0, 0.0))


def test_the_shortest_look_is_mostly_not_a_restart() -> None:
    for step_s in (15.0, 60.0, 300.0):
        shortest = min(look.length for look in plan_looks(0, 120, step_s))
        assert level_after(_ranked(shortest, math.ceil(120.0 / step_s))) == 0.0


@pytest.mark.parametrize("step_s", [15.0, 60.0, 300.0])
def test_a_burst_of_four_ticks_is_not_most_of_a_late_look(step_s: float) -> None:
    late = [look for look in plan_looks(0, 120, step_s) if look.is_late]
    assert late
    assert all(level_after(_ranked(look.length, 4)) == 0.0 for look in late)


@pytest.mark.parametrize("step_s", [15.0, 60.0, 300.0])
def test_a_restart_is_not_the_tail_of_a_look(step_s: float) -> None:
    wide = [look for look in plan_looks(0, 120, step_s) if look.sees_tail]
    assert wide
    assert all(upper(_ranked(look.length, math.ceil(150.0 / step_s))) == 0.0 for look in wide)


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=40), st.floats(0.1, 50.0), st.floats(-1e3, 1e3))
def test_contrasts_follow_scale_and_offset(values: list[float], scale: float, offset: float) -> None:
    window = np.sort(values)
    moved = scale * window + offset
    for measure in (level_after, level_before, trimmed, upper):
        assert float(measure(moved)) == pytest.approx(
            scale * float(measure(window)) + offset, rel=1e-6, abs=1e-6
        )
    assert float(spread(moved)) == pytest.approx(scale * float(spread(window)), rel=1e-6, abs=1e-6)
    assert level_after(window) <= level_before(window) + 1e-9 or len(values) < 5


def test_what_came_before_the_deploy_raises_the_level_compared_with() -> None:
    y = np.random.default_rng(4).standard_normal(800)
    y[690:700] += 20.0
    samples, origins = Samples.of(y), np.arange(700, 40, -5)
    short = before(samples, origins, 20)
    for base in (short, with_longer_level(short, samples, origins, 2)):
        # Its newer half is all trouble, less what halves usually stray.
        assert base.level[0] > 10.0
        assert base.tail[0] > 18.0
        assert np.abs(base.level[8:]).max() < 1.0


def test_a_longer_stretch_before_is_known_better() -> None:
    samples, origins = Samples.of(np.random.default_rng(5).standard_normal(4000)), np.arange(4000, 100, -7)
    short = before(samples, origins, 20)
    assert with_longer_level(short, samples, origins, 2).level.std() < 0.85 * short.level.std()


def test_the_spread_is_that_of_the_upper_half_without_its_largest_tenth() -> None:
    quiet_one = np.sort(np.random.default_rng(6).standard_normal(200))
    # Of a normal: the mean between its median and its 90 % quantile, (phi(0) - phi(1.2816)) / 0.4.
    assert spread(quiet_one) == pytest.approx(0.558, abs=0.1)
    spiked = np.append(quiet_one[:-10], np.full(10, 1e6))
    assert spread(spiked) == pytest.approx(float(spread(quiet_one)), abs=0.1)
    assert log_ratio(np.array(3.0), np.array(1.0), 0.0) == pytest.approx(math.log(3.0))


def test_a_long_stretch_is_compared_by_its_sixtieths() -> None:
    y = np.arange(1003.0)
    assert condensed(y[:179]).shape == (179,)
    parts = condensed(y)
    assert parts.shape == (62,)
    assert parts[-1] == y[-16:].mean()


def test_a_gap_carries_the_last_value_and_too_large_a_gap_hides_the_look() -> None:
    assert carried(np.array([np.nan, 1.0, np.nan, 3.0])).tolist() == [1.0, 1.0, 1.0, 3.0]
    y = np.arange(40.0)
    y[22:27] = np.nan
    samples, origins = Samples.of(y), np.array([20, 12, 5, 35])
    found, base = after(samples, origins, LOOK), before(samples, origins, LOOK.length)
    level, *rest = value_contrasts(found, base, 1.0)
    assert np.isfinite(level).tolist() == [False, True, False, False]
    assert [np.isfinite(x).tolist() for x in rest] == [np.isfinite(level).tolist()] * 2


def test_a_stretch_must_hold_most_of_what_it_usually_holds_and_more_than_a_restart() -> None:
    y = np.ones(1000)
    y[:100] = y[300:500] = np.nan
    assert density_of(y) == 1.0  # a late start and one long gap are no habit
    y[::2] = np.nan
    assert density_of(y) == pytest.approx(0.5, abs=0.02)
    assert density_of(np.full(5, np.nan)) == 1.0
    assert [float(wanted_after(n, 1.0)) for n in (5, 10, 40)] == [3.0, 6.0, 24.0]
    assert [float(wanted_after(n, 0.5)) for n in (5, 10, 40)] == [3.0, 5.0, 12.0]


def test_counts_are_measured_by_their_deviance_and_no_tick_decides_alone() -> None:
    k, mean = np.arange(0.0, 12.0), 3.0
    exact = stats.norm.ppf(
        np.clip(stats.poisson.cdf(k - 1, mean) + 0.5 * stats.poisson.pmf(k, mean), 1e-9, 1)
    )
    assert np.abs(poisson_root(k[4:], np.array(mean)) - exact[4:]).max() < 0.6
    events, trials = np.zeros(30), np.full(30, 100.0)
    events[20:30] = 3.0
    spread = count_contrast(events, trials, np.array([0.01]), np.array([20]), LOOK)[0]
    events[20:30] = 0.0
    events[25] = 30.0
    alone = count_contrast(events, trials, np.array([0.01]), np.array([20]), LOOK)[0]
    assert alone < 0.0 < spread


def test_the_rate_before_is_that_of_the_usual_ticks_whatever_came_last() -> None:
    k, n = np.full(1000, 1.0), np.full(1000, 100.0)
    k[-20:] = 30.0
    assert rates_before(k, n, np.array([1000, 980]), 800) == pytest.approx([0.0173, 0.01], rel=0.01)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01, 0.001, 1e-5])
@pytest.mark.parametrize("freedom", [2.0, 2.5, 4.0, 10.0, 300.0])
def test_quantiles_agree_with_scipy(alpha: float, freedom: float) -> None:
    assert normal_quantile(alpha) == pytest.approx(stats.norm.isf(alpha), abs=1e-9)
    assert student_quantile(alpha, freedom) == pytest.approx(stats.t.isf(alpha, freedom), rel=1e-3)


def test_a_tail_is_read_off_where_it_was_seen_and_continued_where_it_was_not() -> None:
    values = np.random.default_rng(1).exponential(size=20_000)
    assert tail_quantile(values, 0.05, 20_000) == pytest.approx(math.log(20.0), rel=0.05)
    assert tail_quantile(values, 0.0005, 20_000) == pytest.approx(math.log(2000.0), rel=0.05)
    assert tail_quantile(values[:9], 0.05, 9) is None
    # Few independent windows: the tail is continued from further in, and stays about right.
    assert tail_quantile(values, 0.005, 20.0) == pytest.approx(math.log(200.0), rel=0.1)


def test_placebos_keep_away_from_real_deploys() -> None:
    plan = plan_watch(DEPLOY, JudgeSettings(watch_s=600.0), 60.0, T0, 1000)
    past = DeployInterval(id="p", started_at=T0 - 30_000.0, finished_at=T0 - 29_900.0)
    origins = placebos(plan, 1000, [past], 600.0)
    begin = T0 - (1000 - origins.at[origins.free]) * 60.0
    assert 900 < origins.free.sum() < len(origins.at)
    assert not ((begin < past.finished_at + 600.0) & (begin + plan.span * 60.0 > past.started_at)).any()


def test_one_deploy_alone_is_never_its_own_placebo() -> None:
    contrast = np.random.default_rng(3).standard_normal(400)
    origins = placebo_origins(400, 60.0)
    here = make_mark(contrast, 0.0 * contrast, LOOK, origins, 0.0, 0.01, 4000)
    contrast[0] = 1e6
    there = make_mark(contrast, 0.0 * contrast, LOOK, origins, 0.0, 0.01, 4000)
    assert here is not None
    assert there is not None
    assert (here.scale, here.limit) == (there.scale, there.limit)


def _base_here(samples: Samples, look: Look) -> Before:
    """What the deploy at 600 is compared with: chosen by the placebos before it."""
    history, origins = Samples.of(samples.y[:600]), placebo_origins(600, 60.0).at
    base = base_of(history, origins, look.length, after(history, origins, look)[0])
    return Before(look.length, *(a[:1] for a in (base.level, base.tail, base.spread, base.newest)))


@pytest.mark.parametrize("kind", ["gauge", "ratio"])
def test_live_and_placebo_are_the_same_comparison(kind: str) -> None:
    """What a watch finds in the last ticks of a series is what its placebo there would have found."""
    data = quiet(kind, np.random.default_rng(6), 640, 0.9)
    looks = tuple(look for look in plan_looks(2, 38, 60.0) if not look.sees_tail)
    origins = placebo_origins(600, 60.0)
    one, columns = np.ones(1), columns_of(looks)
    found: list[float] = []
    if kind == "ratio":
        data[600:, 0] += 20.0
        past = past_of_counts(data[:600, 0], data[:600, 1], looks, 60.0, origins, lambda level: 0.0, 0.01)
        counts = CountTracks(columns, [past], 40, one)
        for row in data[600:]:
            counts.take(row[:1], row[1:])
            found.append(float(counts.statistic[0]))
    else:
        data[600:] += 500.0
        past = past_of_values(data[:600, 0], looks, 60.0, origins, lambda level: 0.0, 0.01)
        values = ValueTracks(columns, [past], 40, one)
        for row in data[600:]:
            values.take(row)
            found.append(float(values.statistic[0]))
    here, expected = np.array([600]), np.zeros(40)
    for column, mark in zip(columns, past.marks, strict=True):
        assert mark is not None
        look = column.look
        if kind == "ratio":
            rate = rates_before(data[:, 0], data[:, 1], here, 1440)
            value = count_contrast(data[:, 0], data[:, 1], rate, here, look)[0]
        else:
            samples = Samples.of(data[:, 0])
            value = value_contrasts(after(samples, here, look), _base_here(samples, look), 1.0)[0][0]
        # A change that stays counts from the last tick of its look to the end.
        ratio = (value - mark.expected) / mark.scale / mark.limit
        expected[look.first + look.length - 1 :] = np.maximum(expected[look.first + look.length - 1 :], ratio)
    assert found == pytest.approx(expected, rel=1e-9)


def test_series_that_move_together_cost_no_more_than_one() -> None:
    z = noise(np.random.default_rng(7), 4000, 0.5)[:, None]
    plan = plan_watch(DEPLOY, JudgeSettings(watch_s=900.0), 60.0, T0, 4000)

    def joint(count: int) -> float:
        subjects = [Subject(spec("gauge", f"g{i}"), 100.0 + 10.0 * z, plan) for i in range(count)]
        calibrate(subjects, plan, [], 0.02, 900.0)
        assert {s.calibration for s in subjects} == {"own"}
        return subjects[0].joint

    assert joint(6) == pytest.approx(joint(1))
    assert joint_limit([], 0.01) == 1.0


def test_a_watch_of_a_day_costs_its_first_hour_little() -> None:
    y = np.random.default_rng(12).standard_normal(20_160)
    origins = placebo_origins(len(y), 60.0)
    needed = {}
    for hours in (1, 24):
        looks = plan_looks(0, hours * 60, 60.0)
        past = past_of_values(y, looks, 60.0, origins, lambda level: 0.0, 0.005)
        joint = joint_limit([m for m in past.marks if m], 0.005)
        needed[hours] = {m.look.length: m.limit * joint for m in past.marks if m and not m.look.is_late}
        assert len(looks) < 100
    hour = [length for length in needed[1] if length <= 40]
    assert len(hour) >= 4
    assert max(needed[24][length] / needed[1][length] for length in hour) < 1.15
    assert max(needed[24]) >= 600


def test_the_budget_is_spent_by_phases() -> None:
    looks = plan_looks(0, 24 * 60, 60.0)
    ends = {look.first + look.length: look.share for look in looks if not look.is_late}
    assert {share for end, share in ends.items() if end <= 60} == {0.9}
    assert {share for end, share in ends.items() if 60 < end <= 360} == {0.225}
    assert {share for end, share in ends.items() if end > 360} == {0.1125}
    assert {look.share for look in looks if look.is_late} == {0.1, 0.025, 0.0125}


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_a_healthy_past_exceeds_its_limits_as_often_as_allowed(phi: float) -> None:
    """Calibrated on one part of many series, counted on another; all of them in one call per tick."""
    rng = np.random.default_rng(8)
    looks = plan_looks(0, 42, 60.0)
    watches = 300
    y = np.array([noise(rng, 1482, phi) for _ in range(watches)])
    origins = placebo_origins(1440, 60.0)
    pasts = [past_of_values(row[:1440], looks, 60.0, origins, lambda level: 0.0, 0.05) for row in y]
    joint = np.array([joint_limit([m for m in past.marks if m], 0.05) for past in pasts])
    tracks = ValueTracks(columns_of(looks), pasts, 42, joint)
    worst = np.zeros(watches)
    for tick in y[:, 1440:].T:
        tracks.take(tick)
        worst = np.maximum(worst, tracks.statistic)
    # 300 at 0.05: mean 15; P(more than 28) = 0.001.
    assert np.count_nonzero(worst > 1.0) <= 28


def test_companions_are_measured_in_the_scale_of_the_target() -> None:
    score = Score(form="log", sign=1.0)
    target, control = np.full(100, 5.0), np.full(100, 700.0)
    company = company_of(score, target, [control, np.full(100, np.nan)], 60)
    assert np.allclose(company.history, 0.0)
    beside = Companions([company], [10], 20)
    for _ in range(10):
        assert beside.rise() == 0.0
        assert beside.take(np.array([[1400.0, math.nan]])) == pytest.approx(math.log(2.0))
    assert beside.rise() == pytest.approx(math.log(2.0))
    assert math.isnan(beside.take(np.array([[math.nan, math.nan]]))[0])
