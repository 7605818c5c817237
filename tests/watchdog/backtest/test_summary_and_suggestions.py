"""From replays to numbers and advice: every figure by hand, every suggestion at its limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detectors.model import JudgeSettings
from tests.support.examples import DEPLOY
from tests.watchdog.backtest.report_material import AT, a_service, outcome, plan, replayed, series
from watchdog.backtest.watched import Watched

QUIET = [outcome() for _ in range(40)]


def test_false_alarms_are_the_regressed_of_those_that_could_be_judged() -> None:
    said = [
        *QUIET[:17],
        outcome("regressed", fired={"latency": 120.0}),
        outcome("inconclusive", fired={"latency": 60.0}),
        outcome("suspect"),
        outcome("blind"),
        outcome(is_judge_broken=True),
    ]
    report = a_service(said)
    placebos = report.placebos
    assert (placebos.false_alarms.found, placebos.false_alarms.of) == (1, 19)
    assert placebos.states == {"blind": 1, "healthy": 18, "inconclusive": 1, "regressed": 1, "suspect": 1}
    assert (placebos.used, placebos.room, placebos.broken) == (22, 44, 1)
    assert placebos.own_calibration == 1.0
    assert [one.at for one in placebos.each] == sorted(one.at for one in placebos.each)
    latency, queue = report.series
    assert (latency.fired.found, latency.fired.of) == (2, 19)
    assert (queue.fired.found, queue.fired.of) == (0, 19)
    assert latency.allowed == pytest.approx(0.005 / 2)


def test_false_alarms_a_month_follow_the_frequency_of_deploys() -> None:
    deploys = [
        replayed(replace(DEPLOY, id=f"d{i}", started_at=AT + 1000.0 * i), "healthy") for i in range(14)
    ]
    placebos = a_service([*QUIET[:19], outcome("regressed")], deploys=deploys).placebos
    assert placebos.per_month == pytest.approx(30 / 20, rel=0.001)
    assert placebos.per_month_low == pytest.approx(30 * placebos.false_alarms.low, rel=0.001)
    assert a_service(QUIET).placebos.per_month is None


def test_power_counts_only_placebos_at_which_the_series_was_quiet() -> None:
    def injected(*delays: float | None) -> tuple[dict[str, float | None], ...]:
        return tuple({"latency": delay} for delay in delays)

    said = [
        outcome(injected=injected(None, 600.0, 300.0, 60.0)),
        outcome(injected=injected(None, 480.0, 300.0, 60.0)),
        outcome(injected=injected(None, None, 360.0, 60.0)),
        outcome(injected=injected(60.0, 60.0, 60.0, 60.0), fired={"latency": 60.0}),
        outcome(),
    ]
    latency, queue = a_service(said).series
    assert [(one.found.found, one.found.of) for one in latency.power] == [(0, 3), (2, 3), (3, 3), (3, 3)]
    assert [one.delay_s for one in latency.power] == [None, 540.0, 300.0, 60.0]
    assert latency.smallest_found == "+50 %"
    assert queue.power == ()
    assert queue.smallest_found is None


def test_of_a_series_that_only_informs_nothing_is_counted() -> None:
    noted = plan(series("latency"), series("memory", acts=False))
    latency, memory = a_service(QUIET, of=noted).series
    assert latency.allowed == 0.005
    assert (memory.fired.of, memory.allowed, memory.is_noisy) == (0, 0.0, False)


def test_a_deploy_says_what_was_replayed_recorded_and_would_have_been_done() -> None:
    failed = replace(DEPLOY, id="d2", is_failed=True, started_at=AT + 900.0)
    watch = replayed(failed, "healthy").watched.watch
    late = replace(DEPLOY, id="d3", started_at=AT + 1800.0)
    cancelled_watch = replace(watch, state="cancelled", because="the deploy failed")
    report = a_service(
        QUIET,
        deploys=[
            replayed(replace(DEPLOY, started_at=AT), "regressed"),
            replayed(late, "observing"),
        ],
        unjudged=[Watched(deploy=failed, watch=cancelled_watch, suspects=())],
    )
    regressed, cancelled, unfinished = report.deploys
    assert (regressed.state, regressed.recorded, regressed.delay_s) == ("regressed", "healthy", 300.0)
    assert (cancelled.state, cancelled.because, cancelled.delay_s) == ("cancelled", "the deploy failed", None)
    assert (unfinished.state, unfinished.because) == ("open", "The past ends before its watch.")
    assert (unfinished.delay_s, unfinished.history_s) == (None, None)
    # A deploy that failed is followed by no watch.
    assert report.deploys_per_month == pytest.approx(2 / 14 * 30, rel=0.001)


def whats(*args: object, **more: object) -> dict[str, str]:
    return {one.what: one.text for one in a_service(*args, **more).suggestions}  # type: ignore[arg-type]


def test_a_noisy_series_is_to_be_dropped_and_the_budget_without_it_is_said() -> None:
    loud = [outcome("regressed", fired={"latency": 60.0}) for _ in range(5)]
    both = [outcome("regressed", fired={"latency": 60.0, "queue": 60.0})]
    said = whats([*QUIET[:34], *loud, *both])
    assert said["drop_series"].startswith("`latency` alone called 6 of 40 placebos a regression")
    assert "1 in 400" in said["drop_series"]
    assert "6 of 40 placebos were called regressed" in said["budget"] or "extrapolated" in said["budget"]
    texts = [one.text for one in a_service([*QUIET[:34], *loud, *both]).suggestions]
    assert any("does not hold" in text and "Without `latency`: 1 of 40." in text for text in texts)


def test_one_alarm_in_forty_is_no_reason_to_drop_a_series() -> None:
    assert "drop_series" not in whats([*QUIET[:39], outcome("regressed", fired={"latency": 60.0})])


def test_history_that_is_missing_is_said_in_days() -> None:
    assert "5 days are missing" in whats(QUIET, days=2.0)["history"]
    assert "history" not in whats(QUIET, days=8.0)


def test_the_affordable_budget_needs_three_stretches_an_alarm() -> None:
    """A watch of 30 minutes: 7 days hold 336 stretches, so 1 in 112; 1 in 200 needs 600, 12.5 days."""

    def judged(budget: float, days: float) -> dict[str, str]:
        settings = JudgeSettings(false_rollbacks=budget, watch_s=1800.0, warm_up_s=60.0)
        return whats(QUIET, of=plan(judge=settings), days=days)

    said = judged(1 / 200, 9.0)["budget"]
    assert "1 in 112" in said
    assert "`history: 13d` (4 days more than were read), or `false_rollbacks: 1/112`" in said
    assert "more than were read" not in judged(1 / 200, 14.0)["budget"]
    assert "budget" not in judged(1 / 100, 14.0)


def test_holes_blindness_bugs_and_a_missing_log_are_said() -> None:
    said = whats(QUIET, coverage=0.5, problems={"checkout/latency": "prom: refused"})
    assert said["coverage"] == "`queue` has a value in 50 % of the steps; 80 % are needed to judge by it."
    texts = [
        one.text
        for one in a_service(QUIET, coverage=0.5, problems={"checkout/latency": "prom: no"}).suggestions
    ]
    assert any(text.endswith("needed to judge by it. Prom: no.") for text in texts)
    assert "--deploys" in said["deploys"]
    nothing = tuple({"latency": None} for _ in range(4))
    assert "not even +100 %" in whats([outcome(injected=nothing)] * 8)["sensitivity"]
    assert "failed at 1 of 41 placebos" in whats([*QUIET, outcome(is_judge_broken=True)])["bug"]


def test_nothing_is_suggested_without_a_reason() -> None:
    settings = JudgeSettings(false_rollbacks=1 / 100, watch_s=1800.0, warm_up_s=60.0)
    assert whats(QUIET, of=plan(judge=settings), deploys=[replayed(DEPLOY, "healthy")]) == {}
