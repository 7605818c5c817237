"""The watch's machine: every verdict in every state, and what may never happen."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from detectors.model import Verdict, VerdictState
from tests.support.examples import DEPLOY, NOW, WATCH
from watchdog.model import OPEN_WATCH_STATES, WatchState
from watchdog.watch import advance


def verdict(state: VerdictState, at: float = NOW) -> Verdict:
    return Verdict(state=state, reason="", because="x", at=at)


@pytest.mark.parametrize("state", sorted(set(get_args(WatchState)) - OPEN_WATCH_STATES))
@pytest.mark.parametrize("said", get_args(VerdictState))
def test_a_closed_watch_never_changes(state: WatchState, said: VerdictState) -> None:
    closed = replace(WATCH, state=state)
    assert advance(closed, DEPLOY, verdict(said), is_over=True, now=NOW) == closed


@pytest.mark.parametrize("state", sorted(OPEN_WATCH_STATES))
@pytest.mark.parametrize("is_over", [False, True])
def test_regressed_closes_at_once(state: WatchState, is_over: bool) -> None:
    after = advance(replace(WATCH, state=state), DEPLOY, verdict("regressed"), is_over=is_over, now=NOW)
    assert after.state == "regressed"
    assert after.closed_at == NOW


@pytest.mark.parametrize("said", [s for s in get_args(VerdictState) if s != "regressed"])
def test_nothing_else_closes_before_the_end(said: VerdictState) -> None:
    after = advance(WATCH, DEPLOY, verdict(said), is_over=False, now=NOW + 10_000)
    assert after.state in OPEN_WATCH_STATES
    assert after.closed_at is None


@pytest.mark.parametrize(
    ("said", "ends_as"),
    [
        ("healthy", "healthy"),
        ("inconclusive", "inconclusive"),
        ("blind", "blind"),
        ("undecided", "inconclusive"),
        ("suspect", "inconclusive"),
    ],
)
def test_the_end_of_the_watch_takes_the_final_verdict(said: VerdictState, ends_as: WatchState) -> None:
    assert advance(WATCH, DEPLOY, verdict(said), is_over=True, now=NOW).state == ends_as


def test_a_deploy_in_progress_stays_announced() -> None:
    running = replace(DEPLOY, finished_at=None)
    assert advance(WATCH, running, verdict("undecided"), is_over=False, now=NOW).state == "announced"


def test_before_the_warm_up_ends_it_is_warming() -> None:
    warming = replace(WATCH, observe_at=NOW + 1)
    assert advance(warming, DEPLOY, verdict("undecided"), is_over=False, now=NOW).state == "warming"
    assert advance(WATCH, DEPLOY, verdict("undecided"), is_over=False, now=NOW).state == "observing"


def test_suspect_can_be_left_again() -> None:
    suspect = advance(WATCH, DEPLOY, verdict("suspect"), is_over=False, now=NOW)
    assert suspect.state == "suspect"
    assert advance(suspect, DEPLOY, verdict("undecided"), is_over=False, now=NOW).state == "observing"
