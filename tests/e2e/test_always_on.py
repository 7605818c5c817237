"""A service that becomes worse without a deploy, with the daemon ended and killed in the middle of it."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.town import BAD, GOOD, Shape, town
from tests.support.daemon import Daemon
from tests.support.servers import free_port, wait_until

SHAPES = {"leaks": Shape(mode="auto"), "calm": Shape(mode="auto"), "deployed": Shape(watch_s=60)}


def _judged(running: Daemon, service: str) -> bool:
    return running.metrics().get(f'watchdog_always_on_series{{service="{service}"}}', 0.0) > 0.0


def _is_open(running: Daemon, service: str) -> float:
    return running.metrics()[f'watchdog_incident_open{{service="{service}"}}']


def _note(running: Daemon, service: str) -> str:
    services = running.call("/api/v1/services")[1]["services"]
    return str(next(one["always_on"] for one in services if one["service"] == service))


def test_it_is_told_once_over_two_restarts_and_ended_once(tmp_path: Path) -> None:
    with town(tmp_path, SHAPES) as world:
        port = free_port()
        with world.watched(port=port) as running:
            for name in SHAPES:
                wait_until(lambda name=name: _judged(running, name), timeout_s=30, what=f"{name} is judged")  # type: ignore[misc]  # no type is inferred for a default
            world.ship(running, "deployed", "2", GOOD, from_version="1")
            wait_until(lambda: "paused" in _note(running, "deployed"), timeout_s=20, what="the watch judges")
            world.pods["leaks"].error_share = BAD
            wait_until(lambda: _is_open(running, "leaks") == 1.0, timeout_s=60, what="it is noticed")
            wait_until(lambda: len(world.told("leaks")) == 1, timeout_s=20, what="it is told")
            assert "worse without a deploy: Errors rose from" in world.told("leaks")[0]
            page = running.text("/s/leaks")
            assert "worse without a deploy" in page
            running.end()

        with world.watched(port=port) as running:
            wait_until(lambda: _judged(running, "leaks"), timeout_s=30, what="it is judged again")
            assert _is_open(running, "leaks") == 1.0
            world.pods["leaks"].error_share = GOOD
            running.kill()

        with world.watched(port=port) as running:
            wait_until(lambda: _judged(running, "leaks"), timeout_s=30, what="it is judged again")
            wait_until(lambda: _is_open(running, "leaks") == 0.0, timeout_s=60, what="it is over")
            wait_until(lambda: len(world.told("leaks")) == 2, timeout_s=20, what="the end is told")
            assert "resolved" in world.told("leaks")[1]
            assert running.actions() == []
            assert running.tracebacks == []
        assert len(world.told("leaks")) == 2
        assert world.told("calm") == []
        assert world.deployer.sent_for("leaks") == []
