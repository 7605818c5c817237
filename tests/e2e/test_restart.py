"""The daemon ended and killed while it watches, approves and bursts: what it began goes on afterwards."""

from __future__ import annotations

import json
import math
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from detectors.packet import decode_array
from tests.e2e.town import BAD, CLOCK, GOOD, Shape, Town, signed, town
from tests.support.daemon import Daemon
from tests.support.servers import free_port, wait_until

END_S_MAX = 10.0
SEED = 20261123
_BURST = """
    checks:
      version: {{kind: http, every: 5s, burst: {{every: 1s, for: 30s}}, get: "http://{address}/bursts/version"}}
"""
SHAPES = {
    "goes-on": Shape(watch_s=45),
    "killed": Shape(watch_s=20),
    "approved": Shape(),
    "signed": Shape(watch_s=60),
    "bursts": Shape(watch_s=60),
    "removed": Shape(watch_s=60),
    "offered": Shape(),
}
MESSAGE = json.dumps({"service": "signed", "version": "2", "from_version": "1"}).encode()


def test_what_was_begun_goes_on_after_an_end_and_after_a_kill(tmp_path: Path) -> None:
    with town(tmp_path, SHAPES) as world:
        port = free_port()
        headers = signed("msg-1", MESSAGE)
        configuration = _configuration(world, SHAPES)
        with world.watched(port=port, configuration=configuration) as running:
            begun = _begin(world, running)
            told = _tell_signed(running, headers)
            assert not told["duplicate"]
            began = running.watch_of(begun["goes-on"])
            wait_until(lambda: _ticks(running, began["id"]) >= 6, timeout_s=30, what="six steps judged")
            baseline = _baseline(running, began["id"])
            world.deployer.always = "503"
            key = _approve(running, "approved")
            assert running.end() < END_S_MAX
            ended_at = CLOCK.wall_s()

        # Away for more than two steps, however fast a daemon starts.
        wait_until(lambda: CLOCK.wall_s() > ended_at + 2.5, timeout_s=10, what="two steps unseen")
        with world.watched(port=port, configuration=configuration) as running:
            watch = running.watch_of(begun["goes-on"])
            assert (watch["id"], watch["closed_at"]) == (began["id"], None)
            back_at = CLOCK.wall_s()
            wait_until(
                lambda: _judged_to(running, watch["id"]) > back_at, timeout_s=20, what="it is judged again"
            )
            np.testing.assert_array_equal(_baseline(running, watch["id"]), baseline)
            assert _is_missing(running, watch["id"], ended_at + 1.0)

            # Both go on beside what follows: one turns bad now, one is to be killed in the middle.
            world.pods["goes-on"].error_share = BAD
            killed = world.ship(running, "killed", "2", GOOD, from_version="1")
            assert _tell_signed(running, headers)["duplicate"]
            twice = running.deploy("goes-on", "2", id="run-1", from_version="1")
            assert twice["duplicate"]
            other = running.deploy("goes-on", "2", id="other-9", from_version="1")
            assert (other["deploy"]["id"], other["watch"]["id"]) == (begun["goes-on"], began["id"])

            world.deployer.always = "contract"
            wait_until(
                lambda: _action(running, "approved")["state"] in ("acked", "confirmed"),
                timeout_s=30,
                what="the approved rollback sent after the restart",
            )
            assert world.deployer.effects[key] == 1
            assert len({request.body for request in world.deployer.sent_for("approved")}) == 1
            verdict = running.wait_for_verdict(begun["goes-on"], timeout_s=60)
            assert verdict["state"] == "regressed", verdict["because"]

            again = running.watch_of(killed)["id"]
            wait_until(lambda: _ticks(running, again) >= 4, timeout_s=30, what="four steps judged")
            running.kill()

        # `removed` and `offered` are no longer watched from here on.
        kept = {name: shape for name, shape in SHAPES.items() if name not in ("removed", "offered")}
        with world.watched(port=port, configuration=_configuration(world, kept)) as running:
            assert running.watch_of(killed)["id"] == again
            assert _tell_signed(running, headers)["duplicate"]
            gone = running.watch_of(begun["removed"])
            assert (gone["state"], gone["because"]) == ("cancelled", "the service is no longer configured")
            assert _action(running, "offered")["state"] == "expired"
            audit = [row["what"] for row in running.call("/api/v1/audit?limit=500")[1]["audit"]]
            assert any(row == "cancelled: the service is no longer configured" for row in audit), audit
            assert "awaiting_approval -> expired: the service is no longer configured" in audit
            world.pods["killed"].error_share = BAD
            verdict = running.wait_for_verdict(killed, timeout_s=60)
            # A kill loses the steps not yet on disk: seconds of a short watch here, so it may not be enough
            # to blame the deploy, but never to clear it.
            assert verdict["id"] == again
            assert verdict["state"] in ("regressed", "inconclusive", "blind"), verdict["because"]
            assert len(running.call("/api/v1/watches?service=killed")[1]["watches"]) == 1
            assert world.deployer.sent_for("offered") == []
            assert running.tracebacks == []


def test_told_to_end_at_any_moment_it_ends_in_order(tmp_path: Path) -> None:
    moments = np.random.default_rng(SEED)
    with town(tmp_path, SHAPES) as world:
        port = free_port()
        configuration = _configuration(world, SHAPES)
        for turn in range(5):
            with world.watched(port=port, configuration=configuration) as running:
                if turn == 0:
                    begun = _begin(world, running)
                at = CLOCK.wall_s() + float(moments.uniform(0.0, 1.5))
                wait_until(lambda at=at: CLOCK.wall_s() >= at, timeout_s=5, what="the moment")  # type: ignore[misc]  # no type is inferred for a default
                took_s = running.end()
                assert took_s < END_S_MAX, (turn, took_s)
        with world.watched(port=port, configuration=configuration) as running:
            assert running.watch_of(begun["bursts"])["closed_at"] is None
            assert running.tracebacks == []
            assert "disarmed" not in running.log


def _configuration(world: Town, shapes: dict[str, Shape]) -> str:
    bursts = Shape(watch_s=60, more=_BURST.format(address=world.address))
    return world.configured({**shapes, "bursts": bursts})


def _begin(world: Town, running: Daemon) -> dict[str, str]:
    """A deploy of everything but `killed`, of which two are bad; the deploys' ids."""
    # A baseline that is on disk whole: its newest steps were still in memory only.
    until = CLOCK.wall_s() + 2.0
    wait_until(lambda: CLOCK.wall_s() >= until, timeout_s=5, what="two seconds")
    for service in ("approved", "offered"):
        world.ship(running, service, "2", BAD, from_version="1")
    return {
        "goes-on": world.ship(running, "goes-on", "2", GOOD, from_version="1", id="run-1"),
        "removed": world.ship(running, "removed", "2", GOOD, from_version="1"),
        "bursts": world.ship(running, "bursts", "2", GOOD, from_version="1"),
    }


def _approve(running: Daemon, service: str) -> str:
    """Approve its rollback as soon as it is proposed, while the deployer is down; the key."""

    def is_offered(name: str) -> bool:
        return any(action["service"] == name for action in running.actions())

    for name in (service, "offered"):
        wait_until(lambda name=name: is_offered(name), timeout_s=40, what=f"an offer for {name}")  # type: ignore[misc]  # no type is inferred for a default
    key = str(_action(running, service)["key"])
    status, answer = running.call(f"/api/v1/actions/{key}/approve", {})
    assert status == 200, answer
    wait_until(lambda: _action(running, service)["attempts"] > 0, timeout_s=10, what="the first attempt")
    return key


def _action(running: Daemon, service: str) -> dict[str, Any]:
    (action,) = [action for action in running.actions() if action["service"] == service]
    return action


def _tell_signed(running: Daemon, headers: dict[str, str]) -> dict[str, Any]:
    """The same signed request, byte for byte; the answer."""
    request = urllib.request.Request(f"{running.url}/api/v1/deploys", data=MESSAGE, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.loads(response.read())
    assert response.status == (200 if answer["duplicate"] else 202)
    return answer


def _series(running: Daemon, watch_id: str) -> dict[str, Any] | None:
    status, answer = running.call(f"/api/v1/watches/{watch_id}/packet")
    return answer["packet"]["series"][0] if status == 200 and answer["packet"]["series"] else None


def _ticks(running: Daemon, watch_id: str) -> int:
    series = _series(running, watch_id)
    return 0 if series is None else len(decode_array(series["ticks"]))


def _baseline(running: Daemon, watch_id: str) -> Any:
    series = _series(running, watch_id)
    assert series is not None
    return decode_array(series["history"])


def _judged_to(running: Daemon, watch_id: str) -> float:
    series = _series(running, watch_id)
    return 0.0 if series is None else series["ticks"]["first_at"] + len(decode_array(series["ticks"])) - 1.0


def _is_missing(running: Daemon, watch_id: str, at: float) -> bool:
    """Whether the step that ends next after `at` is missing, neither zero nor made up."""
    series = _series(running, watch_id)
    assert series is not None
    row = decode_array(series["ticks"])[math.ceil(at - series["ticks"]["first_at"])]
    return bool(np.isnan(row).all())
