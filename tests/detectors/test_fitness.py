"""Limits tried on the newer part of a past that they were not made from."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.fitness import held_out, is_fit
from detectors.judge import DeployJudge
from detectors.looks import plan_looks
from detectors.model import DeployInterval, FloatArray, History, JudgeSettings, Verdict
from detectors.origins import placebo_origins
from detectors.past import Past, past_of_values
from tests.detectors.simulated import T0, noise, quiet, spec

N = 4320
LOOKS = plan_looks(0, 42, 60.0)


def _past(y: FloatArray) -> Past:
    return past_of_values(y, LOOKS, 60.0, placebo_origins(len(y), 60.0), lambda level: 0.0, 0.005)


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_a_series_that_stays_itself_is_fit(phi: float) -> None:
    rng = np.random.default_rng(21)
    pasts = [_past(noise(rng, N, phi)) for _ in range(30)]
    # 30 at 0.01: P(more than 3) < 0.0003.
    assert sum(not is_fit(past) for past in pasts) <= 3
    held = [held_out(past, (0.05, 0.01)) for past in pasts]
    assert all(h.low - 1e-9 <= h.found <= h.high and h.windows > 10.0 for pair in held for h in pair)
    assert 0.02 < np.mean([pair[0].found for pair in held]) < 0.09


def test_a_past_too_short_to_tell_is_not_called_unfit() -> None:
    assert is_fit(_past(np.random.default_rng(1).standard_normal(40)))
    nothing = _past(np.random.default_rng(1).standard_normal(12))
    assert held_out(nothing, (0.05,)) == ()
    assert is_fit(nothing)


def test_a_constant_series_is_fit() -> None:
    assert is_fit(_past(np.full(N, 3.0)))
    assert is_fit(_past(3.0 + 1e-9 * np.arange(N)))


def _judged(values: FloatArray) -> Verdict:
    at = DeployInterval(id="d", started_at=T0, finished_at=T0)
    history = History(spec=spec("gauge"), values=values[:N], end_at=T0)
    judge = DeployJudge(at, [], [history], JudgeSettings(warm_up_s=0.0))
    for i in range(45):
        judge.tick(T0 + (i + 1) * 60.0, {"gauge": values[N + i]})
    return judge.close()


def test_a_series_that_became_another_one_informs_and_never_acts() -> None:
    values = quiet("gauge", np.random.default_rng(5), N + 45, 0.5)
    broken = values.copy()
    broken[N:] += 400.0
    assert _judged(broken).state == "regressed"
    # For the last day it has jumped up and down by a lot every hour or so.
    jumps = np.repeat(np.random.default_rng(6).standard_normal(200), 37)[: int(0.35 * N)]
    broken[N - len(jumps) : N, 0] += 60.0 * jumps
    verdict = _judged(broken)
    assert verdict.state != "regressed"
    assert "informs only" in verdict.evidence[0].because
