"""One form for every number, time and state."""

from __future__ import annotations

import math
from typing import get_args

import pytest

from watchdog.api.dashboard.words import (
    STATES,
    amount,
    badge,
    change,
    clock,
    judged,
    score,
    sentence,
    share,
    shown,
    sign_of,
    visible,
    when,
)
from watchdog.model import ActionState, WatchState


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.031, "ratio", "3.1 %"),
        (0.0, "ratio", "0 %"),
        (0.21, "s", "210 ms"),
        (1.4, "s", "1.4 s"),
        (118.0, "per_step", "118 per step"),
        (41.0, "EUR", "41 EUR"),
        (None, "ratio", "-"),
        (math.nan, "s", "-"),
    ],
)
def test_amounts_carry_their_unit(value: float | None, unit: str, said: str) -> None:
    assert amount(value, unit) == said


@pytest.mark.parametrize(
    ("unit", "bad", "before", "effect", "low", "high", "said"),
    [
        ("ratio", "up", 0.004, 0.027, 0.021, 0.034, "+2.7 pt, 2.1 to 3.4"),
        ("ratio", "down", 0.99, 0.05, 0.02, 0.08, "-5.0 pt, -8.0 to -2.0"),
        ("per_step", "down", 118.0, 9.0, 2.0, 15.0, "-7.6 %, -13 to -1.7"),
        ("s", "up", 0.2, 0.08, 0.04, 0.12, "+40 %, 20 to 60"),
        ("jobs", "up", 0.0, 5.0, 3.0, 7.0, "+5.0 jobs, 3.0 to 7.0"),
        ("s", "up", 0.2, None, None, None, "-"),
    ],
)
def test_a_change_says_which_way_the_number_went(
    unit: str,
    bad: str,
    before: float,
    effect: float | None,
    low: float | None,
    high: float | None,
    said: str,
) -> None:
    evidence = {"before": before, "effect": effect, "effect_low": low, "effect_high": high}
    spec = {"name": "s", "kind": "gauge", "unit": unit, "bad": bad, "step_s": 60.0}
    assert change(spec, evidence) == said


def test_a_distribution_is_drawn_as_a_quantile_and_told_as_shares() -> None:
    spec = {"name": "order_latency", "kind": "histogram", "unit": "s", "bad": "up", "step_s": 60.0}
    spec["quantile"] = 0.95
    evidence = {
        "state": "worse",
        "statistic": 3.0,
        "threshold": 1.0,
        "coverage": 1.0,
        "bound": 0.25,
        "before": 0.01,
        "now": 0.031,
        "effect": 0.021,
        "effect_low": 0.012,
        "effect_high": 0.03,
        "smallest_visible": 0.008,
    }
    assert shown(spec) == "order latency p95"
    assert judged(spec, evidence, "now") == "3.1 % above 250 ms"
    assert sentence(spec, evidence).startswith(
        "order latency: 1.0 % above 250 ms before the deploy, 3.1 % above 250 ms now, "
        "change +2.1 pt, 1.2 to 3.0; "
    )
    assert visible(spec, evidence) == "0.80 pt"
    assert shown({**spec, "kind": "latency"}) == "order latency"


@pytest.mark.parametrize(
    ("value", "said"),
    [(1.0, "100 %"), (0.999, "above 99 %"), (0.96, "96 %"), (0.004, "below 1 %"), (0.0, "0 %"), (None, "-")],
)
def test_shares_are_certain_only_when_they_are(value: float | None, said: str) -> None:
    assert share(value) == said


def test_times_are_utc_and_machine_readable() -> None:
    assert clock(1795356130.0) == "14:02:10"
    assert clock(1795356130.0, "day") == "22 Nov 14:02"
    assert 'datetime="2026-11-22T14:02:10Z"' in when(1795356130.0)
    assert when(None) == "<span>-</span>"


def test_evidence_that_does_not_exist_is_a_dash() -> None:
    assert [score(value) for value in (9.14, None, -math.inf, math.nan)] == ["9.1", "-", "-", "-"]


def test_every_state_of_the_model_has_its_sign() -> None:
    for state in (*get_args(WatchState), *get_args(ActionState)):
        assert state in STATES
        assert sign_of(state).word in badge(state)
    assert sign_of("something new").word == "something new"
