"""What becomes of a verdict in every mode, and what a pipeline and a person at a terminal see of it.

One daemon watches everything; each test has services of its own, all deployed before the first test looks.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.town import BAD, CLOCK, GOOD, Shape, Town, town
from tests.support.daemon import Daemon, start_cli
from tests.support.servers import free_port, wait_until

SHAPES = {
    "asks": Shape(),
    "vetoed": Shape(),
    "forgotten": Shape(valid_for="2s"),
    "watched-only": Shape(mode="observe"),
    # Without single_instance: over SQLite nobody promises that no second daemon acts.
    "would-act": Shape(mode="auto"),
    "fine": Shape(),
    "surge": Shape(controls="surge-too"),
    "surge-too": Shape(),
    "dark": Shape(),
    "slow": Shape(watch_s=120),
    "overlap": Shape(watch_s=14),
    "senders": Shape(watch_s=14),
    "end-only": Shape(watch_s=14),
}
VERDICT_S = 60.0


@dataclass(slots=True)
class Day:
    """The running daemon, the commands that wait since the deploy, and the ids of what was deployed."""

    town: Town
    daemon: Daemon
    waiting: dict[str, subprocess.Popen[str]]
    deploys: dict[str, str]

    def ended(self, name: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of the command that waits for that service."""
        out, err = self.waiting[name].communicate(timeout=VERDICT_S)
        return self.waiting[name].returncode, out, err

    def asked(self, name: str, *options: str) -> tuple[int, str, str]:
        """The same of a command that is given now, for a deploy that was told before."""
        told = ("--version", "2", "--from", "1", "--wait", "--timeout", f"{VERDICT_S:.0f}s")
        answer = self.daemon.cli("deploy", name, *told, *options)
        return answer.returncode, answer.stdout, answer.stderr

    def offer(self, service: str) -> dict[str, Any]:
        """The one rollback of that service, once there is one."""
        wait_until(lambda: self.actions(service) != [], timeout_s=VERDICT_S, what=f"an action of {service}")
        (action,) = self.actions(service)
        return action

    def actions(self, service: str) -> list[dict[str, Any]]:
        """Its rollbacks as the API tells them."""
        return [action for action in self.daemon.actions() if action["service"] == service]

    def wait_for_state(self, service: str, *states: str) -> None:
        """Until its rollback is in one of these states."""
        what = f"{service} {'/'.join(states)}"
        wait_until(lambda: self.actions(service)[0]["state"] in states, timeout_s=30, what=what)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """A morning with many deploys."""
    with town(tmp_path_factory.mktemp("day"), SHAPES) as world, world.watched() as running:
        today = Day(world, running, {}, {})

        def wait(service: str, error_share: float, *options: str) -> None:
            at = world.roll_out(service, "2", error_share)
            words = (service, "--version", "2", "--from", "1", "--started", f"{at:.3f}", "--wait")
            today.waiting[service] = running.start_cli("deploy", *words, *options)

        wait("asks", BAD)
        wait("slow", GOOD, "--timeout", "2s", "--json")
        world.pods["dark"].is_dark = True
        world.roll_out("surge-too", "1", BAD)
        for service in ("fine", "dark"):
            today.deploys[service] = world.ship(running, service, "2", GOOD, from_version="1")
        for service in ("watched-only", "surge", "vetoed", "forgotten", "would-act"):
            today.deploys[service] = world.ship(running, service, "2", BAD, from_version="1")
        try:
            _tell_of_senders(today)
            _tell_of_overlap(today)
            yield today
        finally:
            for process in today.waiting.values():
                process.kill()
                process.communicate()


def _tell_of_senders(today: Day) -> None:
    """The end first, by one sender; the start after it, by another."""
    at = today.town.roll_out("senders", "2", GOOD)
    first = today.daemon.deploy("senders", "2", id="deployer-7", finished_at=at + 1.0)
    today.deploys["senders"] = first["deploy"]["id"]
    today.deploys["end-only"] = today.daemon.deploy("end-only", "2", from_version="1")["deploy"]["id"]


def _tell_of_overlap(today: Day) -> None:
    """Two deploys six seconds apart, once the daemon has seen a few; the second one breaks the service.

    Six, so that a second or two that a busy machine misses leave no doubt whose break it is.
    """
    _wait_s(5.0)
    times = {"started_at": CLOCK.wall_s(), "finished_at": CLOCK.wall_s()}
    first = today.daemon.deploy("overlap", "2", from_version="1", **times)
    today.town.pods["overlap"].deploy("2", GOOD, CLOCK.wall_s())
    _wait_s(6.0)
    today.deploys["first"] = first["deploy"]["id"]
    today.deploys["second"] = today.town.ship(today.daemon, "overlap", "3", BAD)


def _wait_s(seconds: float) -> None:
    until = CLOCK.wall_s() + seconds
    wait_until(lambda: CLOCK.wall_s() >= until, timeout_s=seconds + 5, what=f"{seconds} s going by")


def test_a_pipeline_sees_a_regression_and_a_person_approves_it_once(day: Day) -> None:
    code, out, err = day.ended("asks")
    assert code == 10, out + err
    lines = out.splitlines()
    assert lines[0].startswith("asks prod 1 -> 2   deploy d")
    assert " UTC   http://127.0.0.1:" in lines[0]
    told = [line.split()[2] for line in lines[1:-2]]
    assert told[-1] == "regressed", out
    assert set(told) <= {"announced", "warming", "observing", "suspect", "regressed"}, out
    assert "waits for approval until" in lines[-2]
    assert "mode is approve" in lines[-2]
    action = day.offer("asks")
    assert lines[-1].strip() == f"deploy-watchdog rollback approve {action['key'][:12]}"
    assert action["state"] == "awaiting_approval"
    assert day.town.deployer.sent_for("asks") == []

    listed = day.daemon.cli("rollback", "list", "--service", "asks")
    assert listed.returncode == 0, listed.stderr
    assert f"{action['key'][:12]}  " in listed.stdout
    assert "awaiting_approval: mode is approve" in listed.stdout

    approved = day.daemon.cli("rollback", "approve", action["key"][:12], "--because", "errors are real")
    assert approved.returncode == 0, approved.stderr
    assert approved.stdout == "asks 2 -> 1: approved; it is sent now\n"
    day.wait_for_state("asks", "acked", "confirmed")
    again = day.daemon.cli("rollback", "approve", action["key"])
    assert again.returncode == 64
    assert again.stderr.startswith("error: This rollback was sent already"), again.stderr
    late = day.daemon.cli("rollback", "veto", action["deploy_id"])
    assert late.returncode == 64
    assert "so it cannot be vetoed any more" in late.stderr

    (sent,) = day.town.deployer.sent_for("asks")
    assert sent.json["to_version"] == "1"
    assert day.town.deployer.unsigned == []
    back = day.daemon.deploy("asks", "1", from_version="2")
    assert back["deploy"]["rolls_back"] == action["deploy_id"]
    day.wait_for_state("asks", "confirmed")
    assert len(day.town.deployer.sent_for("asks")) == 1
    assert len(day.actions("asks")) == 1


def test_a_veto_stops_a_rollback_for_good(day: Day) -> None:
    action = day.offer("vetoed")
    vetoed = day.daemon.cli("rollback", "veto", action["key"], "--because", "a test of mine")
    assert (vetoed.returncode, vetoed.stdout) == (0, "vetoed 2 -> 1: vetoed; it is not sent\n"), vetoed.stderr
    refused = day.daemon.cli("rollback", "approve", action["key"])
    assert refused.returncode == 64
    assert refused.stderr == (
        "error: This rollback was vetoed (vetoed by local: a test of mine), "
        "so it cannot be approved any more.\n"
    )
    wait_until(lambda: len(day.town.told("vetoed")) == 2, timeout_s=10, what="Slack told of the veto")
    assert "vetoed by local: a test of mine" in day.town.told("vetoed")[1]
    unknown = day.daemon.cli("rollback", "veto", "feed")
    assert (unknown.returncode, unknown.stdout) == (64, "")
    assert "no single rollback is `feed`" in unknown.stderr
    assert day.town.deployer.sent_for("vetoed") == []


def test_an_offer_nobody_takes_expires_and_says_so(day: Day) -> None:
    action = day.offer("forgotten")
    day.wait_for_state("forgotten", "expired")
    late = day.daemon.cli("rollback", "approve", action["key"])
    assert late.returncode == 64
    assert "has expired (nobody approved it" in late.stderr
    wait_until(lambda: len(day.town.told("forgotten")) == 2, timeout_s=10, what="Slack told of the expiry")
    proposed, expired = day.town.told("forgotten")
    assert "waits for approval" in proposed
    assert "not sent: nobody approved it" in expired
    assert day.town.deployer.sent_for("forgotten") == []


def test_observe_says_what_it_would_have_done(day: Day) -> None:
    code, out, err = day.asked("watched-only")
    assert code == 10, out + err
    assert out.splitlines()[-1].startswith("next: nothing happens by itself: mode is observe: would have")
    assert "would have rolled back 2 to 1" in out
    wait_until(lambda: day.town.told("watched-only") != [], timeout_s=10, what="Slack told")
    (told,) = day.town.told("watched-only")
    assert told.startswith("! observe: watched-only 2 (prod) regressed")
    fields = json.dumps(list(day.town.slack.messages))
    assert "would have rolled back 2 to 1" in fields
    assert day.actions("watched-only") == []
    assert day.town.deployer.sent_for("watched-only") == []


def test_auto_without_the_promise_of_one_instance_only_proposes(day: Day) -> None:
    action = day.offer("would-act")
    assert action["state"] == "awaiting_approval"
    assert action["because"] == "mode auto over SQLite needs single_instance: true"
    assert day.town.deployer.sent_for("would-act") == []


def test_the_verdict_is_the_exit_code(day: Day) -> None:
    code, out, err = day.asked("fine")
    assert code == 0, out + err
    assert out.splitlines()[-1].split()[2] == "healthy"

    code, out, err = day.asked("surge")
    assert code == 11, out + err
    assert "inconclusive" in out
    assert "controls moved too" in out

    code, out, err = day.asked("dark", "--json")
    assert code == 12, out + err
    answer = json.loads(out)
    assert answer["schema"] == "deploy-watchdog/v1"
    assert (answer["watch"]["state"], answer["actions"]) == ("blind", [])

    code, out, err = day.ended("slow")
    assert code == 13, out + err
    assert "no verdict within the timeout; the watch goes on until" in err
    assert json.loads(out)["watch"]["closed_at"] is None


def test_fail_on_regressed_lets_everything_else_pass(day: Day) -> None:
    for service, words in (("dark", ()), ("surge", ()), ("slow", ("--timeout", "0s"))):
        told = day.asked(service, "--fail-on", "regressed", *words)
        assert told[0] == 0, (service, told)
    assert day.asked("watched-only", "--fail-on", "regressed")[0] == 10


def test_what_cannot_be_a_deploy_is_refused_with_the_place(day: Day) -> None:
    tomorrow = f"{time.time() + 86400:.0f}"
    naive = datetime.now(UTC).replace(tzinfo=None).isoformat()
    for words, said in (
        (("nobody", "--version", "2"), "`nobody` is not configured. Services: asks, "),
        (("fine", "--version", "3", "--finished", tomorrow), "ahead of this machine's clock"),
        (("fine", "--version", "3", "--started", naive), "has no time zone; add Z or an offset"),
        (("fine", "--version", "3", "--environment", "stage"), "this daemon watches `prod`"),
        (("fine", "--version", "3", "--kind", "magic"), "invalid choice: 'magic'"),
    ):
        refused = day.daemon.cli("deploy", *words)
        assert refused.returncode == 64, refused
        assert said in refused.stderr
        assert refused.stdout == ""
    status, answer = day.daemon.call("/api/v1/deploys", {"service": "fine", "version": "3", "finishd_at": 1})
    assert status == 422
    assert answer["at"] == "finishd_at"
    status, answer = day.daemon.call("/api/v1/deploys", {"service": "fine", "version": "3"}, token="guessed")
    assert status == 401
    assert len(day.daemon.call("/api/v1/watches?service=fine")[1]["watches"]) == 1


def test_without_a_daemon_the_command_says_how_to_start_one(tmp_path: Path) -> None:
    away = start_cli(
        "deploy", "fine", "--version", "2", url=f"http://127.0.0.1:{free_port()}", state_dir=tmp_path
    )
    out, err = away.communicate(timeout=30)
    assert (away.returncode, out) == (69, "")
    assert err.startswith("error: no daemon answers at http://127.0.0.1:")
    assert "deploy-watchdog run -c watchdog.yaml" in err


def test_two_senders_out_of_order_tell_of_one_deploy(day: Day) -> None:
    deploy_id = day.deploys["senders"]
    before = day.daemon.call(f"/api/v1/deploys/{deploy_id}")[1]["deploy"]
    started_at = before["finished_at"] - 2.5
    other = day.daemon.deploy(
        "senders", "2", id="ci-7", state="started", started_at=started_at, from_version="1"
    )
    assert other["deploy"]["id"] == deploy_id
    assert not other["duplicate"]
    assert other["deploy"]["started_at"] == pytest.approx(started_at)
    assert other["deploy"]["finished_at"] == before["finished_at"]
    assert other["watch"]["id"] == day.daemon.watch_of(deploy_id)["id"]
    assert day.daemon.deploy("senders", "2", id="ci-7", state="started", started_at=started_at)["duplicate"]
    assert day.daemon.wait_for_verdict(deploy_id, timeout_s=VERDICT_S)["state"] == "healthy"
    assert len(day.daemon.call("/api/v1/watches?service=senders")[1]["watches"]) == 1

    only = day.daemon.call(f"/api/v1/deploys/{day.deploys['end-only']}")[1]["deploy"]
    assert only["finished_at"] - only["started_at"] == pytest.approx(3.0, abs=0.01)
    assert day.daemon.wait_for_verdict(only["id"], timeout_s=VERDICT_S)["state"] == "healthy"


def test_of_overlapping_deploys_only_the_guilty_newest_is_acted_on(day: Day) -> None:
    first, second = day.deploys["first"], day.deploys["second"]
    guilty = day.daemon.wait_for_verdict(second, timeout_s=VERDICT_S)
    assert guilty["state"] == "regressed", guilty["because"]
    assert set(guilty["suspect_ids"]) == {first, second}
    innocent = day.daemon.wait_for_verdict(first, timeout_s=VERDICT_S)
    assert innocent["state"] in ("inconclusive", "healthy"), innocent["because"]
    assert set(innocent["suspect_ids"]) == {first, second}
    packet = day.daemon.call(f"/api/v1/watches/{guilty['id']}/packet")[1]["packet"]
    shares = packet["evidence"][0]["shares"]
    assert shares[second] >= 0.8 > shares[first]
    assert packet["verdict"]["blamed_deploy"] == second
    action = day.offer("overlap")
    assert (action["deploy_id"], action["from_version"], action["to_version"]) == (second, "3", "2")
