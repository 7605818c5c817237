"""What policy would have done on real deploys: its own answers, on the facts that the replay itself makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.support.examples import DEPLOY
from tests.support.sample_plan import a_plan
from tests.watchdog.backtest.report_material import AT, replayed
from watchdog.backtest.decisions import MODES, Replayed, would_have_done
from watchdog.model import Deploy, Limits, WatchState

HOUR_S = 3600.0
PLANS = {
    name: a_plan(name=name, history_min_s=60.0, version={"http": "x"}, limits=Limits(cool_down_s=1800.0))
    for name in ("checkout", "search", "stock", "cart")
}


def shipped(id: str, version: str, previous: str, hours: float, **changes: Any) -> Deploy:  # noqa: A002
    at = AT + hours * HOUR_S
    chosen: dict[str, Any] = {"id": id, "to_version": version, "from_version": previous}
    return replace(DEPLOY, **chosen, started_at=at, finished_at=at + 60.0, **changes)


def done(*replays: Replayed, recorded: dict[str, WatchState] | None = None) -> dict[str, tuple[str, ...]]:
    found = would_have_done(replays, PLANS, recorded or {})
    return {name: tuple(said[mode].do for mode in MODES) for name, said in found.items()}


GOOD = replayed(shipped("good", "2", "1", 0.0), "healthy")
BAD = replayed(shipped("bad", "3", "2", 5.0), "regressed")


def test_each_mode_answers_for_itself() -> None:
    assert MODES == ("observe", "approve", "auto")
    assert done(GOOD, BAD) == {"good": ("close", "close", "close"), "bad": ("alert", "propose", "roll_back")}


def test_a_version_that_was_never_found_good_is_not_gone_back_to_alone() -> None:
    assert done(BAD)["bad"] == ("alert", "propose", "propose")
    regressed_before = replayed(GOOD.watched.deploy, "regressed")
    assert done(regressed_before, BAD)["bad"][2] != "roll_back"


def test_what_the_daemon_recorded_counts_where_the_replay_is_open() -> None:
    unfinished = replayed(GOOD.watched.deploy, "observing")
    assert done(unfinished, BAD)["bad"][2] == "propose"
    assert done(unfinished, BAD, recorded={"good": "healthy"})["bad"][2] == "roll_back"


def test_a_rollback_of_that_mode_cools_the_next_one_down() -> None:
    again = replayed(shipped("again", "4", "2", 5.3), "regressed")
    later = replayed(shipped("later", "5", "2", 9.0), "regressed")
    said = done(GOOD, BAD, again, later)
    assert (said["bad"][2], said["later"][2]) == ("roll_back", "roll_back")
    assert said["again"][2] != "roll_back"


def test_several_services_worse_at_once_are_no_case_for_a_machine() -> None:
    others = [
        part
        for name in ("search", "stock", "cart")
        for part in (
            replayed(shipped(f"{name}-1", "2", "1", 0.0, service=name), "healthy"),
            replayed(shipped(f"{name}-2", "3", "2", 5.0, service=name), "regressed"),
        )
    ]
    assert done(GOOD, BAD)["bad"][2] == "roll_back"
    assert done(GOOD, BAD, *others)["bad"][2] != "roll_back"


def test_only_the_newest_deploy_is_acted_on() -> None:
    newer = replayed(shipped("newer", "4", "3", 5.05), "healthy")
    assert done(GOOD, BAD, newer)["bad"][2] != "roll_back"


def test_what_was_not_judged_to_an_end_has_no_decision() -> None:
    open_one = replayed(shipped("open", "9", "2", 30.0), "observing")
    ended_before = replayed(shipped("ended", "8", "2", 20.0), "superseded")
    assert done(open_one, ended_before) == {}
