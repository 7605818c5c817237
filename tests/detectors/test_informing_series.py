"""Series that inform take no part in what is decided: not in limits, blame, warm-up or verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.model import DeployInterval, FloatArray, JudgeSettings, SeriesKind, SeriesSpec
from detectors.replay import replay
from detectors.warmup import learned_warm_up
from tests.detectors.simulated import KINDS, T0, Watched, quiet, spec, watch
from watchdog.judging.accounts import differences

N = 600
SETTINGS = JudgeSettings(false_rollbacks=0.05, watch_s=1200.0, warm_up_s=60.0)
TICKS = 21
Made = list[tuple[SeriesSpec, FloatArray]]


def made(kinds: Sequence[SeriesKind], seed: int, *, acts: bool, by: float = 1.0) -> Made:
    """Series of these kinds; `by`: what their value is multiplied with from the deploy on."""
    rng = np.random.default_rng(seed)
    found = []
    for i, kind in enumerate(kinds):
        values = quiet(kind, rng, N + TICKS)
        values[N:, 0] *= by
        found.append((spec(kind, f"{'acting' if acts else 'told'}{i}", acts=acts), values))
    return found


def restarting(series: Made) -> tuple[Made, list[DeployInterval]]:
    """Ten deploys before this one, each of which doubled every value for three minutes."""
    past = [T0 - (N - 60 - 50 * i) * 60.0 for i in range(10)]
    slow = []
    for one, rows in series:
        values = rows.copy()
        for at in past:
            first = N + round((at - T0) / 60.0)
            values[first : first + 3] *= 2.0
        slow.append((one, values))
    return slow, [DeployInterval(id=f"p{at:g}", started_at=at, finished_at=at) for at in past]


def same(alone: Watched, together: Watched) -> None:
    """What is said of the series that act, and what follows from it, is the same to the last digit."""
    told = {e.series: e for e in together.verdict.evidence}
    for evidence in alone.verdict.evidence:
        assert repr(told[evidence.series]) == repr(evidence)
    assert together.states == alone.states
    assert together.tick == alone.tick
    assert together.verdict.because.startswith(alone.verdict.because)
    rest = {"evidence": (), "because": ""}
    assert repr(replace(together.verdict, **rest)) == repr(replace(alone.verdict, **rest))


@settings(derandomize=True, max_examples=12, deadline=None)
@given(
    acting=st.lists(st.sampled_from(KINDS), min_size=1, max_size=2),
    informing=st.lists(st.sampled_from(["latency", "gauge"]), min_size=1, max_size=3),
    seed=st.integers(0, 2**20),
    is_broken=st.booleans(),
    by=st.sampled_from([1.0, 3.0]),
)
def test_what_acts_is_judged_the_same_whatever_informs_beside_it(
    acting: list[SeriesKind], informing: list[SeriesKind], seed: int, is_broken: bool, by: float
) -> None:
    mine = made(acting, seed, acts=True, by=1.5 if is_broken else 1.0)
    beside = made(informing, seed + 1, acts=False, by=by)
    same(watch(mine, N, SETTINGS), watch([*mine, *beside], N, SETTINGS))


def test_what_informs_teaches_no_warm_up() -> None:
    mine = made(["ratio"], 1, acts=True)
    beside, past = restarting(made(["latency"], 2, acts=False))
    same(watch(mine, N, SETTINGS, past=past), watch([*mine, *beside], N, SETTINGS, past=past))
    # It would have: where it acts, that past is learned from.
    ((one, rows),) = beside
    assert learned_warm_up(one, rows[:N], T0, past, 300.0) == 180.0


def test_what_informs_is_named_in_the_verdict_and_closes_it_no_worse() -> None:
    seen = watch([*made(["ratio"], 1, acts=True), *made(["latency"], 2, acts=False, by=4.0)], N, SETTINGS)
    assert seen.verdict.state == "healthy"
    assert seen.verdict.because.endswith(" Worse too, but only informing: told0.")
    assert seen.verdict.blamed_deploy is None
    told = next(e for e in seen.verdict.evidence if e.series == "told0")
    assert told.state == "suspect"
    assert told.because.startswith("Told0 rose from ")
    assert told.because.endswith(" It informs only.")


@pytest.mark.parametrize("by", [1.0, 4.0])
def test_a_packet_without_what_was_quiet_replays_to_what_is_in_it(by: float) -> None:
    quiet_ones = made(["gauge", "latency"], 3, acts=False)
    loud = [(replace(one, name="loud"), rows) for one, rows in made(["latency"], 2, acts=False, by=4.0)]
    seen = watch([*made(["ratio"], 1, acts=True, by=by), *quiet_ones, *loud], N, SETTINGS)
    without = frozenset(one.name for one, _ in quiet_ones)
    packet = seen.judge.packet(without=without)
    assert {one["spec"]["name"] for one in packet["series"]} == {"acting0", "loud"}
    assert {said["series"] for said in packet["evidence"]} == {"acting0", "loud"}
    assert differences(packet) == []
    assert replay(packet).state == seen.verdict.state
