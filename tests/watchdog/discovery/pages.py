"""Pages of metrics as their makers write them, served over HTTP: they count on with every scrape."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOUNDS = ("0.05", "0.25", "1", "+Inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of a page. labels: the inside of the braces of each series, to what it counts by scrape;
    of a gauge, how far it goes up and down."""

    name: str
    type: str
    labels: Mapping[str, float]

    def lines(self, n: int) -> Iterator[str]:
        """Its text at the n-th scrape."""
        yield f"# TYPE {self.name} {self.type}"
        for inside, each in self.labels.items():
            if self.type == "counter":
                yield f"{self.name}{{{inside}}} {n * each:.0f}"
            elif self.type == "gauge":
                yield f"{self.name}{{{inside}}} {(n % 2) * each:.0f}"
            else:
                yield from self._distribution(inside, n * each)

    def _distribution(self, inside: str, count: float) -> Iterator[str]:
        if self.type == "histogram":
            for share, bound in zip((0.4, 0.8, 0.95, 1.0), BOUNDS, strict=True):
                yield f'{self.name}_bucket{{{inside},le="{bound}"}} {share * count:.0f}'
        else:
            yield f'{self.name}{{{inside},quantile="0.99"}} 0.3'
        yield f"{self.name}_count{{{inside}}} {count:.0f}"
        yield f"{self.name}_sum{{{inside}}} {0.2 * count:.3f}"


@contextmanager
def serving(metrics: Sequence[Metric]) -> Iterator[str]:
    """`host:port` of a server whose /metrics holds these."""
    scrapes = iter(range(1, 1_000_000))

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            n = next(scrapes)
            body = "".join(f"{line}\n" for metric in metrics for line in metric.lines(n)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
