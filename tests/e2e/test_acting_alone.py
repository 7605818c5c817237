"""The daemon that may act by itself: what holds it back, what it says of itself, and what it never says."""

from __future__ import annotations

import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.town import BAD, EVENT_SECRET, GOOD, ROLLBACK_SECRET, SLACK_CANARY, Shape, Town, town
from tests.support.daemon import Daemon
from tests.support.servers import free_port, wait_until
from watchdog.api.auth import digest

TOKEN = "dw_TOKENCANARY0123456789abcdefghijklmnop"
PASSWORD = "DSNCANARY0123456789"
SWITCH = "kill-switch"
_CHECK = """
    checks:
      ledger: {kind: sql, database: books, every: 1s, query: select 1 as n, expect: "rows[0].n == 1"}
"""
SHAPES = {
    "held": Shape(mode="auto", watch_s=6),
    "lapsed": Shape(mode="auto", watch_s=6, valid_for="5s"),
    "retried": Shape(watch_s=12),
    "offered": Shape(watch_s=12),
    "ledger": Shape(mode="observe", more=_CHECK),
}


@dataclass(slots=True)
class Alone:
    """The daemon and its world."""

    town: Town
    daemon: Daemon

    def action(self, service: str) -> dict[str, Any] | None:
        """The one rollback of that service, if there is one."""
        found = [action for action in self.daemon.actions() if action["service"] == service]
        assert len(found) <= 1, found
        return found[0] if found else None

    def wait_for(self, service: str, *states: str) -> dict[str, Any]:
        """Its rollback once it is in one of these states."""
        seen: list[dict[str, Any] | None] = []

        def is_there() -> bool:
            seen[:] = [self.action(service)]
            return seen[0] is not None and seen[0]["state"] in states

        wait_until(is_there, timeout_s=40, what=f"{service} {'/'.join(states)}, is {seen}")
        assert seen[0] is not None
        return seen[0]

    def holds(self, key: str) -> int:
        """How often it has said that it holds that rollback."""
        lines = self.daemon.log.splitlines()
        return sum(1 for line in lines if '"action held"' in line and key in line)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    """Two services whose version 2 is known to be good; a channel and a database that are not there."""
    dead = f"127.0.0.1:{free_port()}"
    settings = """
single_instance: true
databases: {books: {kind: postgres, dsn: "${BOOKS_DSN}"}}
channels:
  team: {kind: slack, webhook: "${SLACK}"}
  away: {kind: slack, webhook: "${SLACK_AWAY}"}
alerts: {default: [team, away]}
"""
    with town(tmp_path_factory.mktemp("alone"), SHAPES, settings=settings) as world:
        world.environ |= {
            "BOOKS_DSN": f"postgresql://watchdog:{PASSWORD}@{dead}/books",
            "SLACK_AWAY": f"http://{dead}/services/T/B/{SLACK_CANARY}",
            "WATCHDOG__API__TOKENS__CI__HASH": digest(TOKEN),
        }
        with world.watched() as running:
            deploys = [world.ship(running, name, "2", GOOD, from_version="1") for name in ("held", "lapsed")]
            for deploy_id in deploys:
                watch = running.wait_for_verdict(deploy_id, timeout_s=40)
                assert watch["state"] == "healthy", watch["because"]
            yield Alone(world, running)


def test_the_file_alone_holds_what_was_decided_until_it_is_gone(alone: Alone) -> None:
    running, sent_for = alone.daemon, alone.town.deployer.sent_for
    (running.folder / "state" / SWITCH).write_text("fire drill")
    status = running.cli("kill-switch", "status")
    assert (status.returncode, status.stdout) == (0, "on, by kill-switch: fire drill\n")
    for service in ("held", "lapsed"):
        alone.town.ship(running, service, "3", BAD)
    held, lapsed = alone.wait_for("held", "intended"), alone.wait_for("lapsed", "intended", "expired")
    wait_until(lambda: alone.holds(held["key"]) > 0, timeout_s=10, what="the rollback held")
    wait_until(
        lambda: running.metrics()["watchdog_oldest_intent_age_seconds"] > 1, timeout_s=10, what="its age told"
    )
    assert running.metrics()["watchdog_kill_switch"] == 1
    alone.wait_for("lapsed", "expired")
    assert (sent_for("held"), sent_for("lapsed")) == ([], [])

    off = running.cli("kill-switch", "off")
    assert (off.returncode, off.stdout) == (0, "off: rollbacks may be sent\n"), off.stderr
    assert alone.wait_for("held", "acked", "confirmed")["key"] == held["key"]
    assert [request.headers["idempotency-key"] for request in sent_for("held")] == [held["key"]]
    assert alone.wait_for("lapsed", "expired")["key"] == lapsed["key"]
    assert sent_for("lapsed") == []
    told = alone.town.told("lapsed")
    assert any("not sent" in text for text in told), told


def test_the_command_holds_even_what_is_being_retried(alone: Alone) -> None:
    running, deployer = alone.daemon, alone.town.deployer
    deployer.script.extend(["503"])
    for service in ("retried", "offered"):
        alone.town.ship(running, service, "2", BAD, from_version="1")
    offer = alone.wait_for("retried", "awaiting_approval")
    assert running.cli("rollback", "approve", offer["deploy_id"]).returncode == 0
    alone.wait_for("retried", "retry_wait")
    on = running.cli("kill-switch", "on", "--because", "the deployer is ill")
    assert (on.returncode, on.stdout) == (0, "on, by kill-switch: the deployer is ill\n")
    assert "nothing is sent while it is" in on.stderr
    wait_until(lambda: alone.holds(offer["key"]) > 0, timeout_s=20, what="the retry held")
    assert len(deployer.sent_for("retried")) == 1

    waiting = alone.wait_for("offered", "awaiting_approval")
    refused = running.cli("rollback", "approve", waiting["key"])
    assert refused.returncode == 64
    assert refused.stderr == ("error: The kill switch is on (the deployer is ill): switch it off first.\n")
    # The file gone, the stored switch still holds.
    (running.folder / "state" / SWITCH).unlink()
    status = running.cli("kill-switch", "status")
    assert status.stdout == "on, by local: the deployer is ill\n", status
    assert len(deployer.sent_for("retried")) == 1

    assert running.cli("kill-switch", "off").returncode == 0
    alone.wait_for("retried", "acked", "confirmed")
    first, second = deployer.sent_for("retried")
    assert (first.body, first.headers["idempotency-key"]) == (second.body, second.headers["idempotency-key"])
    assert deployer.sent_for("offered") == []
    assert alone.wait_for("offered", "awaiting_approval")["key"] == waiting["key"]


def test_its_own_numbers_are_there(alone: Alone) -> None:
    numbers = alone.daemon.metrics()
    # A counter without an event has no sample yet.
    assert "# TYPE watchdog_drops_total counter" in alone.daemon.text("/metrics")
    for name in (
        "watchdog_loop_lag_seconds",
        "watchdog_schedule_lateness_seconds",
        'watchdog_queue_depth{queue="checks"}',
        'watchdog_blind_seconds{service="held"}',
        "watchdog_oldest_intent_age_seconds",
        "watchdog_rollbacks_left_today",
        'watchdog_last_tick_timestamp_seconds{step="tick:1:held"}',
        'watchdog_verdicts_total{service="held",verdict="regressed"}',
        "watchdog_schedule_overruns",
    ):
        assert name in numbers, name
    # held was sent, retried approved, lapsed decided; the open offer is nobody's rollback yet.
    assert numbers["watchdog_rollbacks_left_today"] == 40 - 3
    for path in ("/livez", "/readyz"):
        with urllib.request.urlopen(alone.daemon.url + path, timeout=5) as answer:
            assert answer.status == 200
    health = alone.daemon.cli("health")
    assert (health.returncode, health.stdout) == (0, "alive and ready\n")


def test_no_secret_is_written_or_told_anywhere(alone: Alone) -> None:
    running = alone.daemon
    status, _ = running.call("/api/v1/services", token=TOKEN)
    assert status == 200
    assert running.call("/api/v1/actions", token=TOKEN + "x")[0] == 401
    secrets = [SLACK_CANARY, PASSWORD, TOKEN]
    secrets += [secret.removeprefix("whsec_") for secret in (EVENT_SECRET, ROLLBACK_SECRET)]
    # They were used: a channel that is away, a database that is away, signed rollbacks.
    assert running.metrics()['watchdog_checks_total{check="ledger",outcome="fail",service="ledger"}'] > 0
    assert _tries_at(running.folder / "state" / "state.db", "away") > 0
    assert alone.town.deployer.unsigned == []
    action = running.actions()[0]["key"]
    watch = running.call("/api/v1/watches")[1]["watches"][0]
    for path in (
        "/metrics",
        "/api/v1/services",
        "/api/v1/watches",
        f"/api/v1/watches/{watch['id']}",
        f"/api/v1/watches/{watch['id']}/packet",
        "/api/v1/actions",
        f"/api/v1/actions/{action}",
        "/api/v1/audit",
        "/",
        "/s/held",
        f"/d/{watch['deploy_id']}",
    ):
        assert _found(running.text(path).encode(), secrets) == [], path
    files = [path for path in running.folder.rglob("*") if path.is_file()]
    assert {"state.db", "samples.db", "daemon.log"} <= {path.name for path in files}
    for path in files:
        assert _found(path.read_bytes(), secrets) == [], path
    assert _modes(running.folder / "state") == {"state.db": 0o600, "samples.db": 0o600, "local-token": 0o600}


def _found(content: bytes, secrets: list[str]) -> list[str]:
    return [secret for secret in secrets if secret.encode() in content]


def _tries_at(state: Path, channel: str) -> int:
    with closing(sqlite3.connect(f"{state.as_uri()}?mode=ro", uri=True)) as db:
        (tries,) = db.execute(
            "SELECT SUM(attempts) FROM alert_outbox WHERE channel = ?", (channel,)
        ).fetchone()
    return int(tries or 0)


def _modes(state: Path) -> dict[str, int]:
    names = ("state.db", "samples.db", "local-token")
    return {name: (state / name).stat().st_mode & 0o777 for name in names}
