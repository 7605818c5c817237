"""From the sample that confirms a regression to the rollback request on the wire, on loopback.

The whole daemon in this process (store with FULL fsync, judge, policy, outbox, signed webhook), a source that
hands out prepared numbers, and a receiver that notes when each request arrived. One regression per service,
one after another; the clock starts when the source has handed over the confirming sample.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import numpy as np

import config
from watchdog.app import wired
from watchdog.clock import SystemClock
from watchdog.deploys.canonical import Rules, settle
from watchdog.kinds import KINDS
from watchdog.model import Decision, DeployEvent, Facts, Ruling
from watchdog.sources.protocol import Grid, Query, SourceReading
from watchdog.store.sqlite import SqliteStore

_OPEN_WATCHES = 20
_ROUNDS = 5
_STEP_S = 0.25

_CONFIGURATION = """
state_dir: {folder}/state
environment: bench
step: 250ms
lag: 0s
single_instance: true
log: {{level: error}}
api: {{listen: "127.0.0.1:0"}}
limits: {{rollbacks_per_hour: 100000, rollbacks_per_day: 100000, services_regressed_max: 100000}}
sources: {{made: {{kind: prometheus, url: "http://127.0.0.1:1"}}}}
targets: {{deployer: {{kind: webhook, url: "{url}", secret: whsec_c2VjcmV0LW9mLXRoZS1iZW5jaG1hcmstMDE=}}}}
services:
{services}
"""
_SERVICE = """
  s{i}:
    mode: auto
    history: 5m
    history_min: 1m
    watch: {{for: 10m, warm_up: 1s}}
    rollback: {{target: deployer}}
    version: {{http: "{url}/version/s{i}"}}
    series: {{errors: {{kind: ratio, numerator: 's{i}{{code="500"}}', denominator: s{i}}}}}
"""


class Numbers:
    """A source of which each service turns bad at a time of its own. handed_at: when it last answered."""

    def __init__(self) -> None:
        self.bad_from_at: dict[str, float] = {}
        self.handed_at: dict[str, float] = {}
        self._rng = np.random.default_rng(11)

    async def read(
        self, queries: Sequence[Query], grid: Grid, *, now: float, timeout_s: float
    ) -> list[SourceReading]:
        """Forty requests a step, half a per cent of them failed, half of them once the service is bad."""
        ends = grid.first_at + np.arange(grid.n) * grid.step_s
        readings = []
        for query in queries:
            service = query.series_id.partition("/")[0]
            share = np.where(ends > self.bad_from_at.get(service, np.inf), 0.5, 0.005)
            failed = self._rng.binomial(40, share).astype(np.float64)
            readings.append(
                SourceReading(
                    series_id=query.series_id, values=np.column_stack([failed, np.full(grid.n, 40.0)])
                )
            )
        handed_s = time.perf_counter()
        for query in queries:
            self.handed_at[query.series_id.partition("/")[0]] = handed_s
        return readings

    async def close(self) -> None:
        """Nothing to release."""


class Receiver:
    """Notes when each rollback arrived and how long ago its service's newest sample had been handed over."""

    def __init__(self, numbers: Numbers) -> None:
        self.waits_s: list[float] = []
        self.versions: dict[str, str] = {}
        waits_s, versions = self.waits_s, self.versions

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                arrived_s = time.perf_counter()
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                waits_s.append(arrived_s - numbers.handed_at[body["service"]])
                versions[body["service"]] = body["to_version"]
                self._answer(b"{}")

            def do_GET(self) -> None:
                service = self.path.rpartition("/")[2]
                self._answer(json.dumps({"version": versions.get(service, "2")}).encode())

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


def measure() -> Iterator[str]:
    """One line: p50, p99 and maximum over all rollbacks of all rounds."""
    waits_s: list[float] = []
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            numbers = Numbers()
            receiver = Receiver(numbers)
            asyncio.run(_run(Path(folder), numbers, receiver))
            receiver.close()
            waits_s += receiver.waits_s
    p50, p99 = np.quantile(waits_s, [0.5, 0.99]) * 1000
    yield (
        f"evidence present to rollback request on the wire: p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
        f"max {max(waits_s) * 1000:.1f} ms over {len(waits_s)} rollbacks with {_OPEN_WATCHES} open watches"
    )


async def _run(folder: Path, numbers: Numbers, receiver: Receiver) -> None:
    services = "".join(_SERVICE.format(i=i, url=receiver.url) for i in range(_OPEN_WATCHES))
    file = folder / "bench.yaml"
    file.write_text(_CONFIGURATION.format(folder=folder, url=receiver.url, services=services))
    loaded = config.load([file], KINDS, {})
    clock = SystemClock()
    store = SqliteStore(folder / "state" / "state.db")
    async with wired(replace(loaded, sources={"made": numbers}), {}, clock, store) as parts:
        running = [asyncio.create_task(part) for _, part in parts.all()]
        await asyncio.sleep(2.0)
        now = clock.wall_s()
        token = (folder / "state" / "local-token").read_text()
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as api:
            for i in range(_OPEN_WATCHES):
                await _call_healthy(store, f"s{i}", now)
                event = {"service": f"s{i}", "version": "2", "started_at": now - 1, "finished_at": now}
                async with api.post(f"http://127.0.0.1:{parts.port}/api/v1/deploys", json=event) as answer:
                    assert answer.status == 202, await answer.text()
                numbers.bad_from_at[f"s{i}"] = now + 10.0 + i * 3 * _STEP_S
        deadline_s = time.monotonic() + 10.0 + _OPEN_WATCHES * 3 * _STEP_S + 60.0
        while len(receiver.waits_s) < _OPEN_WATCHES and time.monotonic() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _call_healthy(store: SqliteStore, service: str, now: float) -> None:
    """Version 1 of the service was watched and found healthy an hour ago."""
    event = DeployEvent(
        sender="bench",
        sender_id=f"{service} 1",
        received_at=now - 3600.0,
        environment="bench",
        service=service,
        to_version="1",
        state="finished",
        started_at=now - 3660.0,
        finished_at=now - 3600.0,
    )
    intake = await store.take_in(
        event, lambda d, w, a: settle(event, d, w, a, now=now - 3600.0, rules=Rules()), now - 3600.0
    )
    assert intake.watch is not None

    def close(facts: Facts) -> Ruling:
        watch = replace(facts.watch, state="healthy", because="made up", closed_at=now - 1800.0)
        return Ruling(decision=Decision(do="close", because="made up"), watch=watch)

    await store.transact(intake.watch.id, close, now - 1800.0)
