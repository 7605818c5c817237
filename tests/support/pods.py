"""A service of two pods with counters: its past as OpenMetrics or samples, its /metrics, its deploys.

Arrivals are Poisson and failures binomial, drawn second by second from one seed, so that history and present
are one process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from detectors.model import FloatArray
from tests.support.prometheus import openmetrics
from watchdog.clock import Clock


@dataclass(slots=True)
class Pod:
    """One pod's counters since its start."""

    name: str
    ok: int = 0
    failed: int = 0


@dataclass(slots=True)
class Pods:
    """requests_s: of all pods together. error_share: of the version that runs now."""

    at: int
    requests_s: float = 40.0
    error_share: float = 0.01
    version: str = "4.11.2"
    is_dark: bool = False
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    pods: list[Pod] = field(default_factory=lambda: [Pod("a-1"), Pod("a-2")])
    app: str = "shop"
    _generation: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def advance(self, to: float) -> None:
        """Let customers come until the whole second before `to`."""
        for second in range(self.at + 1, int(to) + 1):
            for pod in self.pods:
                requests = int(self.rng.poisson(self.requests_s / len(self.pods)))
                failed = int(self.rng.binomial(requests, self.error_share))
                pod.ok += requests - failed
                pod.failed += failed
            self.at = second

    def deploy(self, version: str, error_share: float, now: float) -> None:
        """Replace every pod: new names, counters from zero."""
        with self._lock:
            self.advance(now)
            self._generation += 1
            self.version, self.error_share = version, error_share
            self.pods = [Pod(f"{chr(96 + self._generation)}-{i}") for i in (1, 2)]

    def history(self, seconds: int) -> str:
        """OpenMetrics of the `seconds` up to now, advancing to there from the past."""
        samples: dict[str, list[tuple[float, float]]] = {}
        end = self.at
        self.at = end - seconds
        for second in range(self.at + 1, end + 1):
            self.advance(second)
            for series, value in self._series():
                samples.setdefault(series, []).append((float(second), float(value)))
        return openmetrics(samples)

    def samples(self, n: int) -> FloatArray:
        """(failed, requests) of `n` seconds of the past, shape (n, 2); for a daemon that has kept them."""
        requests = self.rng.poisson(self.requests_s, n)
        return np.column_stack([self.rng.binomial(requests, self.error_share), requests]).astype(np.float64)

    def page(self, now: float) -> str:
        """The /metrics page of all pods at that time."""
        with self._lock:
            self.advance(now)
            lines = [f"{series} {value}" for series, value in self._series()]
        return "\n".join(["# TYPE http_requests_total counter", *lines, ""])

    def _series(self) -> Iterator[tuple[str, int]]:
        for pod in self.pods:
            for code, value in (("200", pod.ok), ("500", pod.failed)):
                yield f'http_requests_total{{app="{self.app}",pod="{pod.name}",code="{code}"}}', value


@contextmanager
def serving(pods: Pods, clock: Clock) -> Iterator[str]:
    """`host:port` of an HTTP server with /metrics and /version of the pods."""
    with _served(lambda path: (pods, path), clock) as address:
        yield address


@contextmanager
def serving_all(services: Mapping[str, Pods], clock: Clock) -> Iterator[str]:
    """`host:port` of an HTTP server with /<name>/metrics and /<name>/version of every service."""

    def find(path: str) -> tuple[Pods, str]:
        _, name, rest = path.split("/", 2)
        return services[name], f"/{rest}"

    with _served(find, clock) as address:
        yield address


@contextmanager
def _served(find: Callable[[str], tuple[Pods, str]], clock: Clock) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pods, path = find(self.path)
            if path == "/version":
                self._answer(f'{{"version": "{pods.version}"}}', "application/json")
            elif pods.is_dark:
                self.send_error(503)
            else:
                self._answer(pods.page(clock.wall_s()), "text/plain; version=0.0.4")

        def _answer(self, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        # With the usual 5 the kernel makes the sixth scrape of the same moment wait for a second.
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
