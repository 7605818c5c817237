"""One watch being judged: late data, restarts, and a judge that fails."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.model import FloatArray, SeriesSpec, Verdict
from tests.watchdog.watching_rig import (
    HISTORY_S,
    JUDGE,
    START,
    STEP_S,
    a_book,
    filled,
    noise,
    series,
    service,
    watched,
)
from watchdog.judging.accounts import differences
from watchdog.judging.seat import Seat
from watchdog.metrics import Metrics
from watchdog.model import Deploy, Watch
from watchdog.plan import ServicePlan
from watchdog.series import HEAL_STEPS, SeriesBook, SeriesRing
from watchdog.watch import advance

PLAN = service()
STEPS = round((2 * STEP_S + JUDGE.watch_s) / STEP_S)


def seated(
    plan: ServicePlan,
    book: SeriesBook,
    deploy: Deploy | None = None,
    watch: Watch | None = None,
    metrics: Metrics | None = None,
    others: Sequence[Deploy] = (),
) -> Seat:
    usual_deploy, usual_watch = watched(plan.name)
    seat = Seat(watch or usual_watch, deploy or usual_deploy, others, plan, metrics or Metrics())
    seat.open(book, [])
    return seat


def bugs(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("watchdog_judge_bugs_total", {"service": "checkout"})


def test_a_quiet_watch_ends_healthy_after_its_last_step_and_not_before() -> None:
    book = filled(PLAN, until_at=START + 2 * STEPS * STEP_S)
    seat = seated(PLAN, book)
    assert seat.history_s == HISTORY_S
    for i in range(1, STEPS):
        verdict = seat.tick(book, START + i * STEP_S)
        assert verdict is not None
        assert (verdict.state, seat.is_over) == ("undecided", False)
    # However late the next tick comes, nothing after the watch is judged.
    last = seat.tick(book, START + 2 * STEPS * STEP_S)
    assert last is not None
    assert (last.state, last.at, seat.is_over) == ("healthy", START + STEPS * STEP_S, True)
    assert seat.tick(book, START + 3 * STEPS * STEP_S) is None


def test_a_step_that_is_late_is_waited_for_until_it_heals_no_more() -> None:
    book = filled(PLAN)
    seat = seated(PLAN, book)
    for i in range(1, HEAL_STEPS + 1):
        assert seat.tick(book, START + i * STEP_S) is None, "the step may still come"
    verdict = seat.tick(book, START + (HEAL_STEPS + 1) * STEP_S)
    assert verdict is not None
    assert verdict.at == START + STEP_S, "one step is too old by now, the next three are not"
    (evidence,) = verdict.evidence
    assert evidence.coverage == 0.0


def test_a_late_step_is_judged_with_its_value_and_in_its_turn() -> None:
    book = filled(PLAN)
    seat = seated(PLAN, book)
    at = [START + i * STEP_S for i in range(5)]
    book.write("checkout/load", at[2], [100.0])
    assert seat.tick(book, at[2]) is None
    book.write("checkout/load", at[1], [101.0])
    verdict = seat.tick(book, at[2])
    assert verdict is not None
    assert (verdict.at, verdict.evidence[0].coverage) == (at[2], 1.0)


def test_a_check_is_not_waited_for_because_its_bin_is_closed() -> None:
    plan = service("checkout", series("checkout", "home", "probe", check="home"))
    book = filled(plan, value=lambda _, at: (0.0, 1.0))
    verdict = seated(plan, book).tick(book, START + STEP_S)
    assert verdict is not None
    assert verdict.at == START + STEP_S


def worse(series_id: str, at: float) -> tuple[float, ...]:
    return (noise(series_id, at)[0] + (80.0 if at > START + 6 * STEP_S else 0.0),)


@settings(max_examples=25)
@given(
    cut=st.integers(1, STEPS),
    is_worse=st.booleans(),
    gaps=st.sets(st.integers(1, STEPS), max_size=8),
    late=st.dictionaries(st.integers(1, STEPS), st.integers(1, HEAL_STEPS + 2), max_size=8),
)
def test_a_seat_rebuilt_at_any_tick_says_what_the_one_that_ran_through_says(
    cut: int, is_worse: bool, gaps: set[int], late: dict[int, int]
) -> None:
    """gaps: steps that never come. late: steps that come that many ticks late."""
    plan = service("checkout", series("checkout", "load"), series("checkout", "depth"))
    book = filled(plan)
    deploy, watch = watched()
    ran = seated(plan, book, deploy, watch)
    for tick in range(1, cut + 1):
        for step in range(max(1, tick - HEAL_STEPS), tick + 1):
            at = START + step * STEP_S
            for item in plan.series:
                is_here = step not in gaps and tick >= step + late.get(step, 0)
                if item.spec.name == "load" and not is_here:
                    book.write(item.id, at, [np.nan])
                else:
                    book.write(item.id, at, worse(item.id, at) if is_worse else noise(item.id, at))
        ran.tick(book, START + tick * STEP_S)
        if ran.verdict is not None and ran.verdict.state == "regressed":
            break
    rebuilt = seated(plan, book, deploy, watch)
    rebuilt.tick(book, START + tick * STEP_S)
    assert rebuilt.judged_to_at == ran.judged_to_at
    assert rebuilt.is_over == ran.is_over
    assert repr(rebuilt.verdict) == repr(ran.verdict)
    if is_worse and cut == STEPS and not gaps and not late:
        assert ran.verdict is not None
        assert ran.verdict.state == "regressed"


def test_a_regression_stops_the_judging_where_it_was_found() -> None:
    book = filled(PLAN, until_at=START + STEPS * STEP_S, value=worse)
    verdict = seated(PLAN, book).tick(book, START + STEPS * STEP_S)
    assert verdict is not None
    assert verdict.state == "regressed"
    assert START + 6 * STEP_S < verdict.at < START + STEPS * STEP_S


def malformed() -> tuple[ServicePlan, SeriesBook]:
    """Two series of different steps, which no judge can take."""
    plan = service("checkout", series("checkout", "load"), series("checkout", "slow", step_s=2 * STEP_S))
    return plan, a_book(plan)


@pytest.mark.parametrize("plan_and_book", [malformed(), (replace(PLAN, series=()), SeriesBook())])
def test_what_cannot_be_judged_is_inconclusive_and_closes_the_watch(
    plan_and_book: tuple[ServicePlan, SeriesBook], caplog: pytest.LogCaptureFixture
) -> None:
    plan, book = plan_and_book
    metrics = Metrics()
    with caplog.at_level(logging.CRITICAL):
        seat = seated(plan, book, metrics=metrics)
    for i in (0, 1, 50):
        verdict = seat.tick(book, START + i * STEP_S)
        assert verdict is not None
        assert (verdict.state, verdict.evidence, seat.is_over) == ("inconclusive", (), True)
        assert "ValueError" in verdict.because
    watch = advance(seat.watch, seat.deploy, verdict, is_over=seat.is_over, now=START)
    assert watch.state == "inconclusive"
    assert watch.closed_at == START
    assert seat.packet()["verdict"]["state"] == "inconclusive"
    assert bugs(metrics) == 1


def test_a_judge_that_fails_half_way_is_contained_too() -> None:
    metrics = Metrics()
    book = filled(PLAN, until_at=START + 20 * STEP_S)
    seat = seated(PLAN, book, metrics=metrics)
    assert seat.tick(book, START + 10 * STEP_S) is not None
    # A book without the series is a bug of ours, met in the middle of judging.
    verdict = seat.tick(SeriesBook(), START + 11 * STEP_S)
    assert verdict is not None
    assert (verdict.state, verdict.at) == ("inconclusive", START + 10 * STEP_S)
    assert bugs(metrics) == 1


def blamed(verdict: Verdict | None) -> set[str]:
    assert verdict is not None
    return set(verdict.evidence[0].shares)


def test_a_seat_is_built_anew_when_its_deploys_changed_and_then_shares_the_blame() -> None:
    book = filled(PLAN, until_at=START + 20 * STEP_S, value=worse)
    deploy, watch = watched()
    other = replace(deploy, id="d2", started_at=START + 5 * STEP_S, finished_at=None)
    ended = replace(other, finished_at=START + 8 * STEP_S)
    seat = seated(PLAN, book, deploy, watch)
    assert seat.rests_on(deploy, [])
    assert not seat.rests_on(deploy, [other])
    assert not seat.rests_on(replace(deploy, finished_at=START + 9 * STEP_S), [])
    assert "d2" not in blamed(seat.tick(book, START + 14 * STEP_S))
    anew = seated(PLAN, book, deploy, replace(watch, suspect_ids=(deploy.id, "d2")), others=[ended])
    assert anew.rests_on(deploy, [ended])
    assert "d2" in blamed(anew.tick(book, START + 14 * STEP_S))


def test_a_control_is_waited_for_until_it_was_read_and_no_longer() -> None:
    surge = service("web", series("web", "load"))
    plan = replace(PLAN, controls={"load": ("web/load",)})
    book = a_book(plan, surge)
    for item in (*plan.series, *surge.series):
        for i in range(-round(HISTORY_S / STEP_S), 1):
            book.write(item.id, START + i * STEP_S, noise(item.id, START + i * STEP_S))
    seat = seated(plan, book)
    at = START + STEP_S
    book.write("checkout/load", at, noise("checkout/load", at))
    assert seat.tick(book, at) is None
    book.write("web/load", at, [np.nan])
    assert seat.tick(book, at) is not None
    assert seat.are_controls_blind()


def test_blindness_is_counted_in_judged_time_and_ends_with_data() -> None:
    book = filled(PLAN)
    seat = seated(PLAN, book)
    spans = []
    for i in range(HEAL_STEPS + 1, 20):
        seat.tick(book, START + i * STEP_S)
        spans.append(seat.blind_s())
    assert spans[0] == 0.0
    assert spans[-1] > 5 * STEP_S
    assert spans == sorted(spans)
    for i in range(17, 60):
        book.write("checkout/load", START + i * STEP_S, noise("", START + i * STEP_S))
        seat.tick(book, START + i * STEP_S)
    assert seat.blind_s() == 0.0 or seat.verdict is not None
    assert seat.verdict is not None
    assert seat.verdict.state != "blind" or seat.is_over


@pytest.mark.parametrize(
    ("i", "is_finished", "stage"),
    [(1, True, "warming"), (3, True, "warming"), (4, True, "observing"), (1, False, "announced")],
)
def test_the_stage_follows_the_deploy_and_its_warm_up(i: int, is_finished: bool, stage: str) -> None:
    book = filled(PLAN, until_at=START + 9 * STEP_S)
    deploy, watch = watched()
    seat = seated(PLAN, book, deploy if is_finished else replace(deploy, finished_at=None), watch)
    verdict = seat.tick(book, START + i * STEP_S)
    assert verdict is not None
    assert seat.stage(verdict) == stage


def told(*moves: tuple[str, float], until_at: float) -> list[SeriesRing]:
    """Rings of readings with their whole past; each is multiplied by its number from the deploy on."""
    rings = []
    for name, by in moves:
        ring = SeriesRing(
            SeriesSpec(name=name, kind="gauge", unit="", bad="up", step_s=STEP_S, acts=False), 2000
        )
        first_at = PLAN.history_grid(START).first_at
        for i in range(round((until_at - first_at) / STEP_S) + 1):
            at = first_at + i * STEP_S
            ring.write(at, [noise(name, at)[0] * (by if at > START else 1.0)])
        rings.append(ring)
    return rings


def test_readings_are_told_of_from_when_they_got_worse_and_decide_nothing() -> None:
    end_at = START + STEPS * STEP_S
    book = filled(PLAN, until_at=end_at)
    alone = seated(PLAN, book)
    deploy, watch = watched(PLAN.name)
    seat = Seat(watch, deploy, [], PLAN, Metrics())
    seat.open(
        book, [], told(("home.quiet", 1.0), ("home.total_s", 3.0), ("home.dns_s", 0.3), until_at=end_at)
    )
    assert (seat.tick(book, START + STEP_S), alone.tick(book, START + STEP_S)) == (alone.verdict,) * 2
    seen, plain = seat.tick(book, end_at), alone.tick(book, end_at)
    assert seen is not None
    assert plain is not None
    assert (seen.state, plain.state, seat.is_over) == ("healthy", "healthy", True)
    assert [said.series for said in seen.evidence] == ["home.total_s", "load"]
    assert seen.evidence[1] == plain.evidence[0]
    assert seen.because == f"{plain.because} Worse too, but only informing: home.total."
    packet = seat.packet()
    assert [one["spec"]["name"] for one in packet["series"]] == ["home.total_s", "load"]
    assert differences(packet) == []


def test_a_reading_that_was_told_of_stays_in_the_packet_when_it_is_back() -> None:
    end_at = START + STEPS * STEP_S
    book = filled(PLAN, until_at=end_at)
    deploy, watch = watched(PLAN.name)
    (ring,) = told(("home.total_s", 1.0), until_at=START)
    seat = Seat(watch, deploy, [], PLAN, Metrics())
    seat.open(book, [], [ring])
    states = []
    for i in range(1, STEPS + 1):
        at = START + i * STEP_S
        ring.write(at, [noise("home.total_s", at)[0] * (3.0 if i < STEPS // 2 else 1.0)])
        verdict = seat.tick(book, at)
        assert verdict is not None
        states.append({said.series: said.state for said in verdict.evidence}.get("home.total_s"))
        assert differences(json.loads(json.dumps(seat.packet()))) == []
    assert states[0] is None
    assert "suspect" in states
    assert states[-1] not in (None, "suspect")


def test_a_ring_that_gets_no_more_steps_is_missing_data_and_no_bug() -> None:
    end_at = START + STEPS * STEP_S
    book = filled(PLAN, until_at=end_at)
    deploy, watch = watched(PLAN.name)
    metrics = Metrics()
    seat = Seat(watch, deploy, [], PLAN, metrics)
    seat.open(book, [], told(("home.total_s", 1.0), until_at=START))
    verdict = seat.tick(book, end_at)
    assert verdict is not None
    assert (verdict.state, [said.series for said in verdict.evidence]) == ("healthy", ["load"])
    assert bugs(metrics) is None


class Broken(SeriesRing):
    """A ring that cannot be read any more after the deploy: a bug of ours."""

    def at(self, at: float) -> FloatArray:
        raise LookupError(f"no step {at}")


@pytest.mark.parametrize("is_met_at_the_start", [True, False])
def test_a_reading_that_breaks_the_judge_is_left_out_and_the_rest_is_judged_as_without_it(
    is_met_at_the_start: bool, caplog: pytest.LogCaptureFixture
) -> None:
    end_at = START + STEPS * STEP_S
    book = filled(PLAN, until_at=end_at, value=worse)
    alone = seated(PLAN, book)
    # Series of two steps cannot be judged together, which is found out when the judge is built.
    step_s = 2 * STEP_S if is_met_at_the_start else STEP_S
    spec = SeriesSpec(name="home.total_s", kind="gauge", unit="", bad="up", step_s=step_s, acts=False)
    deploy, watch = watched(PLAN.name)
    metrics = Metrics()
    seat = Seat(watch, deploy, [], PLAN, metrics)
    with caplog.at_level(logging.CRITICAL):
        seat.open(book, [], [Broken(spec, 2000)])
        verdict = seat.tick(book, end_at)
    assert verdict is not None
    assert verdict.state == "regressed"
    assert repr(verdict) == repr(alone.tick(book, end_at))
    assert seat.packet() == alone.packet()
    assert bugs(metrics) == 1


def test_what_informs_lends_no_history_to_what_acts() -> None:
    deploy, watch = watched(PLAN.name)
    seat = Seat(watch, deploy, [], PLAN, Metrics())
    seat.open(a_book(PLAN), [], told(("home.total_s", 1.0), until_at=START))
    assert seat.history_s == 0.0
