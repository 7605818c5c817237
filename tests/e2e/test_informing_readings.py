"""A page that becomes slow with a deploy: told with the verdict, and acted on only where `judge` names it.

No configuration names the reading of the first service; the page keeps passing its check all the time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from tests.e2e.town import CLOCK, GOOD, HISTORY_S, Shape, town
from tests.support.daemon import Daemon
from tests.support.servers import wait_until
from watchdog.demo.history import write_history
from watchdog.series import HEAL_STEPS

USUAL_S, SLOW_S = 0.1, 0.4
# What is compared is as long before the deploy as after it, so that much has to be seen by the daemon.
WATCH_S, RUNS_BEFORE = 16, 40
CHECK = """
    checks:
      home: {{kind: http, get: "http://{address}/{name}", every: 300ms, expect: status == 200{judge}}}
"""
WORSE = "Worse too, but only informing: home.total"


class Pages(ThreadingHTTPServer):
    """Pages that take their time: delay_s by path."""

    def __init__(self, *names: str) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.delay_s = dict.fromkeys(names, USUAL_S)
        self.rng = np.random.default_rng(21)

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.server_address[1]}"


class Page(BaseHTTPRequestHandler):
    """One page."""

    server: Pages

    def do_GET(self) -> None:
        delay_s = self.server.delay_s[self.path.strip("/")]
        threading.Event().wait(delay_s * float(np.exp(0.05 * self.server.rng.standard_normal())))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        # A daemon that ends does not wait for its last answer.
        with suppress(BrokenPipeError):
            self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        """Nothing is written to stderr."""


@contextmanager
def pages(*names: str) -> Iterator[Pages]:
    """The pages, served."""
    with Pages(*names) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def a_past(names: tuple[str, ...]) -> dict[str, Any]:
    """Ten minutes of the check of each service: it passed, and took its usual time."""
    rng = np.random.default_rng(3)
    past = {}
    for name in names:
        past[f"{name}/home"] = np.column_stack([np.zeros(HISTORY_S), np.full(HISTORY_S, 3.0)])
        past[f"{name}/home.total_s"] = (USUAL_S * np.exp(0.05 * rng.standard_normal(HISTORY_S)))[:, None]
    return past


def evidence(running: Daemon, watch_id: str) -> dict[str, dict[str, Any]]:
    """What is said of each series of a watch."""
    return {one["series"]: one for one in running.call(f"/api/v1/watches/{watch_id}")[1]["evidence"]}


def test_a_reading_that_got_worse_is_told_and_acts_only_where_it_is_named(tmp_path: Path) -> None:
    with pages("informs", "acts", "calm") as served:

        def shape(name: str, judge: str = "") -> Shape:
            return Shape(watch_s=WATCH_S, more=CHECK.format(address=served.address, name=name, judge=judge))

        shapes = {
            "informs": shape("informs"),
            "acts": shape("acts", ", judge: [total_s]"),
            "calm": shape("calm"),
        }
        with town(tmp_path, shapes) as world:
            last_at = float(int(CLOCK.wall_s()) - HEAL_STEPS - 1)
            past = a_past(("informs", "acts", "calm"))
            asyncio.run(write_history(tmp_path / "state", past, step_s=1.0, last_at=last_at))
            with world.watched() as running:
                # What was kept is known before the check has run once in this process.
                assert {"home.total_s"} <= {one["name"] for one in readings_of(running, "informs")}
                wait_until(
                    lambda: min(runs(running, name) for name in shapes) >= RUNS_BEFORE,
                    timeout_s=40,
                    what="the pages were looked at for a while",
                )
                assert "home.first_byte_s" in {one["name"] for one in readings_of(running, "informs")}
                served.delay_s |= {"informs": SLOW_S, "acts": SLOW_S}
                deploys = {name: world.ship(running, name, "2", GOOD, from_version="1") for name in shapes}
                seen = {name: running.wait_for_verdict(each, timeout_s=60) for name, each in deploys.items()}
                states = {name: watch["state"] for name, watch in seen.items()}
                assert states == {"informs": "healthy", "acts": "regressed", "calm": "healthy"}, [
                    w["because"] for w in seen.values()
                ]

                said = evidence(running, seen["informs"]["id"])
                assert said["home.total_s"]["state"] == "suspect"
                assert said["home.total_s"]["because"].startswith("Home.total rose from")
                assert said["home.total_s"]["because"].endswith("It informs only.")
                assert WORSE in seen["informs"]["because"]
                packet = tmp_path / "packet.json"
                packet.write_text(running.text(f"/api/v1/watches/{seen['informs']['id']}/packet"))
                explained = running.cli("verdict", "explain", str(packet)).stdout
                assert "It informs and never acts." in explained
                again = running.cli("verdict", "replay", str(packet))
                assert again.returncode == 0, again.stdout + again.stderr
                page = running.text(f"/d/{deploys['informs']}")
                assert "home.total" in page
                # The others have no past and nothing is said of them; nor of what stayed as it was.
                assert set(said) == {"errors", "home", "home.total_s"}
                assert set(evidence(running, seen["calm"]["id"])) == {"errors", "home"}
                assert [action["service"] for action in running.actions()] == ["acts"]
                assert evidence(running, seen["acts"]["id"])["home.total_s"]["state"] == "worse"
                shown = running.text("/s/informs")
                assert "a reading of check home" in shown
                assert running.tracebacks == []


def runs(running: Daemon, service: str) -> float:
    """How often its page has passed."""
    name = f'watchdog_checks_total{{check="home",outcome="pass",service="{service}"}}'
    return running.metrics().get(name, 0.0)


def readings_of(running: Daemon, service: str) -> list[dict[str, Any]]:
    """The readings of a service, as the API lists them."""
    services = running.call("/api/v1/services")[1]["services"]
    found: list[dict[str, Any]] = next(one["readings"] for one in services if one["service"] == service)
    return found
