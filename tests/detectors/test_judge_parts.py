"""The parts of the judge, each against its formula, an oracle or its promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from detectors import say
from detectors.bernoulli import base_rate, log_bets, wilson
from detectors.controls import mean_of
from detectors.effect import measure
from detectors.innovations import fit_noise
from detectors.mixture import log_mixture
from detectors.model import DeployInterval, JudgeSettings
from detectors.onset import locate, onset_evidence
from detectors.plan import plan_watch
from detectors.scores import Form, Score, choose_score, clean_pairs, root_deviance
from detectors.seasonal import fit_profile
from detectors.subject import Subject
from tests.detectors.simulated import T0, noise, quiet, spec

DEPLOY = DeployInterval(id="d", started_at=T0, finished_at=T0 + 60.0)


def test_log_mixture_is_the_half_normal_mixture_of_likelihood_ratios() -> None:
    for s, v in ((0.0, 1.0), (3.0, 4.0), (-2.0, 5.0), (20.0, 30.0)):
        value, _ = integrate.quad(
            lambda d, s=s, v=v: 2.0 * stats.norm.pdf(d) * math.exp(d * s - 0.5 * d * d * v), 0.0, 40.0
        )
        assert log_mixture(np.array(s), np.array(v)) == pytest.approx(math.log(value), rel=1e-6)
    assert log_mixture(np.array(0.0), np.array(0.0)) == pytest.approx(0.0)


def test_root_deviance_is_close_to_the_normal_score_of_few_events() -> None:
    k = np.arange(1.0, 6.0)
    n, p = 200.0, 0.005
    exact = stats.norm.ppf(stats.binom.cdf(k - 1, 200, p) + 0.5 * stats.binom.pmf(k, 200, p))
    assert np.max(np.abs(root_deviance(k, np.full(5, n), np.array(p)) - exact)) < 0.25


def test_no_requests_are_no_deviation_but_a_missing_one() -> None:
    assert np.isnan(root_deviance(np.zeros(1), np.zeros(1), np.array(0.005)))[0]


def test_pairs_that_say_nothing_are_missing() -> None:
    raw = np.array([[1.0, 10.0], [np.nan, 10.0], [1.0, np.nan], [0.0, 0.0], [-1.0, 10.0], [12.0, 10.0]])
    k, n = clean_pairs(raw)
    assert n.tolist() == [10.0, 0.0, 0.0, 0.0, 0.0, 10.0]
    assert k.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 10.0]


def test_every_transform_comes_back() -> None:
    rng = np.random.default_rng(3)
    for kind in ("latency", "rate", "count", "gauge"):
        values = quiet(kind, rng, 200)[:, 0]
        score = choose_score(spec(kind), values)
        assert score.unit(float(score.of(values)[7])) == pytest.approx(values[7])
    assert choose_score(spec("gauge"), np.exp(2.0 * rng.standard_normal(500))).form == "log"
    assert choose_score(spec("latency"), np.array([1.0, 0.0, 2.0])).form == "identity"
    assert choose_score(spec("rate"), 100.0 + rng.standard_normal(100)).form == "log"
    assert choose_score(spec("rate"), rng.poisson(0.5, 100).astype(np.float64)).form == "root"
    assert choose_score(spec("count"), rng.poisson(400.0, 100).astype(np.float64)).form == "log"
    assert choose_score(spec("count"), rng.poisson(9.0, 100).astype(np.float64)).form == "root_count"
    assert choose_score(spec("rate"), np.array([1.0, -1.0])).form == "identity"


@pytest.mark.parametrize("form", ["root_count", "root", "log", "identity"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nothing_comes_back_as_nothing(form: Form, sign: float) -> None:
    score = Score(form=form, sign=sign, tiny=0.02)
    assert score.unit(float(score.of(np.zeros(1))[0])) == 0.0


def test_bets_are_a_fair_game_at_the_base_rate() -> None:
    # E over all outcomes of 6 runs, weighted by their probability at the base rate, is 1.
    k = np.arange(7.0)
    e = np.exp(log_bets(k, np.full(7, 6.0), np.full(7, 0.05)))
    assert float(e @ stats.binom.pmf(k, 6, 0.05)) == pytest.approx(1.0)
    low, high = wilson(np.array(8.0), np.array(40.0), 1.959964)
    oracle = stats.binomtest(8, 40).proportion_ci(method="wilson")
    assert (float(low), float(high)) == pytest.approx((oracle.low, oracle.high), rel=1e-6)
    assert base_rate(np.array([0.0, 0.0]), np.array([0.0, 5000.0])).tolist() == [0.05, 0.01]


def test_a_profile_is_used_only_where_it_helps() -> None:
    rng = np.random.default_rng(4)
    end_at = T0 + 60.0 * np.arange(1440 * 7)
    wave = 3.0 * np.sin(2.0 * np.pi * end_at / 86400.0)
    flat = rng.standard_normal(len(end_at))
    assert fit_profile(flat, end_at, 45) is None
    found = fit_profile(flat + wave, end_at, 45)
    assert found is not None
    profile, held_out = found
    assert np.abs(profile.at(end_at) - wave).max() < 0.5
    assert np.abs(held_out - wave).max() < 0.6
    # Left out: a day that differs from all others does not teach its own profile.
    odd = (flat + wave).copy()
    odd[:1440] += np.where(np.arange(1440) < 720, 4.0, -4.0)
    again = fit_profile(odd, end_at, 45)
    assert again is not None
    assert np.abs(again[1][:1440] - wave[:1440]).max() < 0.8


def test_the_onset_is_where_the_step_is_and_shares_sum_to_one() -> None:
    rng = np.random.default_rng(8)
    fitted = fit_noise(noise(rng, 5000, 0.6), 1e-3)
    ends = T0 + 60.0 * np.arange(-99, 31)
    for at in (90, 100, 110):
        r = noise(rng, 130, 0.6)
        r[at:] += 4.0
        found = locate(onset_evidence(fitted, r, np.ones(130)), ends, 60.0, DEPLOY, [], 2.5)
        assert abs(found.at - at) <= 1
        assert found.low <= at <= found.high
        assert sum(found.shares.values()) == pytest.approx(1.0)
        assert (found.probability > 0.95) == (at >= 100)
    calm = locate(onset_evidence(fitted, noise(rng, 130, 0.6), np.ones(130)), ends, 60.0, DEPLOY, [], 2.5)
    assert calm.shares["none"] > 0.3


def test_a_control_not_seen_leaves_the_mean_to_the_others() -> None:
    mean = mean_of([np.array([1.0, np.nan, np.nan]), np.array([3.0, 5.0, np.nan])])
    assert mean[:2].tolist() == [2.0, 5.0]
    assert np.isnan(mean[2])


@pytest.mark.parametrize("kind", ["ratio", "latency", "count"])
def test_the_interval_of_an_effect_covers(kind: str) -> None:
    settings = JudgeSettings(watch_s=1800.0)
    plan = plan_watch(DEPLOY, settings, 60.0, T0, 720)
    covered = 0
    for seed in range(60):
        data = quiet(kind, np.random.default_rng(seed), 750, 0.3)
        subject = Subject(spec(kind), data[:720], plan)
        effect = measure(
            subject.base, float(subject.level[0]), float(subject.behind[0]), data[720:], np.zeros(30)
        )
        assert effect is not None
        assert effect.low <= effect.size <= effect.high
        covered += effect.low <= 0.0 <= effect.high
    assert covered >= 50  # of 60 at 95 %: mean 57; P(fewer than 50) = 0.0002


def test_numbers_and_times_read_as_people_write_them() -> None:
    assert say.value(0.031, "ratio") == "3.1 %"
    assert say.value(0.21, "s") == "210 ms"
    assert say.value(1.44, "s") == "1.4 s"
    assert say.value(118.0, "per_step") == "118 per step"
    assert say.value(12_345.6, "items") == "12,346 items"
    assert say.clock(1_700_000_000.0) == "22:13:20"
    assert say.clock(86_399.6) == "00:00:00"
    assert say.span(45.0) == "45 s"
    assert say.span(600.0) == "10 min"
    assert say.span(3 * 3600.0 + 300.0) == "3 h 5 min"
    assert say.change(spec("ratio"), 0.004, 0.027, 0.021, 0.034) == "+2.7 pt, 2.1 to 3.4"
    assert say.change(spec("count"), 100.0, 17.0, 10.0, 24.0) == "-17 %, -24 to -10"
    assert say.percent(0.9999) == "above 99 %"
    assert say.title("failed_payments") == "Failed payments"
