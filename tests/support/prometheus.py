"""A real Prometheus with history, and a false one (and a false /metrics page) that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from aiohttp import web

from tests.support.servers import binary, completed, free_port, running

# Series text such as `x_total{pod="a"}` to its (epoch seconds, value) samples, ascending.
Samples = Mapping[str, Iterable[tuple[float, float]]]

# Options with which it keeps native histograms and takes them as `tests.support.native` sends them.
TAKES_NATIVE = ("--enable-feature=native-histograms", "--web.enable-remote-write-receiver")


def openmetrics(samples: Samples) -> str:
    """OpenMetrics text for `prometheus_server`; names ending in `_total` or `_bucket` become such."""
    lines: list[str] = []
    for series, points in samples.items():
        lines += [f"{series} {value!r} {at:.3f}" for at, value in points]
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def prometheus_server(
    tmp_path: Path,
    openmetrics: str | None = None,
    scrape_targets: Mapping[str, Sequence[str]] | None = None,
    scrape_interval_s: float = 1.0,
    *,
    takes_native: bool = False,
) -> Iterator[str]:
    """Base URL of a real Prometheus on loopback, ended with the block.

    openmetrics: its history (any time in the past). scrape_targets: job name to the `host:port` it scrapes.
    takes_native: keeps native histograms, and takes them by remote write (`tests.support.native`).
    """
    prometheus, promtool = binary("prometheus", "prometheus"), binary("promtool", "prometheus")
    folder, port = tmp_path / "prometheus", free_port()
    folder.mkdir()
    if openmetrics is not None:
        (folder / "history.om").write_text(openmetrics)
        # It reads the whole file once per block; of the usual two hours there are many in weeks.
        blocks = ["tsdb", "create-blocks-from", "--max-block-duration=96h", "openmetrics"]
        completed([promtool, *blocks, folder / "history.om", folder / "data"], timeout_s=120)
    jobs = [
        {"job_name": job, "static_configs": [{"targets": list(targets)}]}
        for job, targets in (scrape_targets or {}).items()
    ]
    interval = f"{round(scrape_interval_s * 1000)}ms"
    settings = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": jobs,
    }
    # YAML 1.2 contains JSON.
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    url = f"http://127.0.0.1:{port}"
    command = [
        prometheus,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=100y",
        "--log.level=warn",
        *(TAKES_NATIVE if takes_native else ()),
    ]
    with running(command, ready=lambda: _is_ready(url), log=folder / "log"):
        yield url


def _is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/-/ready", timeout=1) as answer:  # loopback
            return bool(answer.status == 200)
    except OSError:
        return False


# How the false Prometheus misbehaves when `mode` says so; for "refused" the test calls `close_door`.
MODES = (
    "refused",
    "500",
    "503",
    "401",
    "slow",
    "drip",
    "html",
    "empty",
    "truncated",
    "broken_off",
    "nan_only",
    "huge",
    "gzip_bomb",
    "not_gzip",
    "gzip_cut",
    "redirect",
    "bad_types",
    "junk_values",
    "headers",
)
# Those that only an API of ranges can do.
API_MODES = (
    "warnings",
    "half_series",
    "frozen",
    "status_error",
    "off_grid",
    "out_of_order",
    "duplicates",
    "deep",
    "no_series",
)


@functools.cache
def gzip_bomb() -> bytes:
    """500 MB of zeros in about 0.5 MB; takes seconds to make, so it is made once and outside of the loop."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    megabyte = bytes(1_000_000)
    return b"".join([*(packer.compress(megabyte) for _ in range(500)), packer.flush()])


_ROUNDS = 10

# (labels, value) of every raw counter behind an expression at a time.
World = Callable[[str, float], Sequence[tuple[Mapping[str, str], float]]]


def steady(expression: str, at: float) -> Sequence[tuple[Mapping[str, str], float]]:
    """Ten pods, each with 2 requests and, where the expression says 5.., 0.02 errors per second."""
    rate = 0.02 if "5.." in expression else 2.0
    return [({"job": "shop", "instance": f"pod-{i}"}, float(int(rate * (at - 1e9)))) for i in range(10)]


@dataclass(slots=True)
class FalsePrometheus:
    """Answers query_range and /metrics from `world`, in the way `mode` says; both may change at any time."""

    url: str = ""
    mode: str = "ok"
    world: World = steady
    requests: list[Mapping[str, str]] = field(default_factory=list)
    now: Callable[[], float] = lambda: 1.79e9
    _frozen: bytes = b""
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None
    _door: socket.socket = field(init=False)

    async def answer_range(self, request: web.Request) -> web.StreamResponse:
        """`/api/v1/query_range`."""
        asked = {**request.query, **{key: str(value) for key, value in (await request.post()).items()}}
        self.requests.append(asked)
        start, step = float(asked["start"]), float(asked["step"])
        times = [start + i * step for i in range(round((float(asked["end"]) - start) / step) + 1)]
        streams: dict[str, dict[str, Any]] = {}
        for at in times:
            for labels, value in self.world(asked["query"], at):
                stream = streams.setdefault(json.dumps(labels), {"metric": dict(labels), "values": []})
                stream["values"].append([at, f"{value:g}" if value < 1e5 else f"{value:.0f}"])
        result = list(streams.values())
        answer: dict[str, Any] = {
            "status": "success",
            "data": {"resultType": "matrix", "result": result},
        }
        self._spoil(answer, result)
        body = json.dumps(answer).encode()
        if self.mode == "deep":
            body = b'{"status":' + b"[" * 200_000
        if self.mode == "frozen":
            body = self._frozen
        else:
            self._frozen = body
        return await self._send(request, body, "application/json")

    async def answer_page(self, request: web.Request) -> web.StreamResponse:
        """`/metrics`."""
        self.requests.append(dict(request.query))
        value: Callable[[float], str] = {
            "nan_only": lambda _: "NaN",
            "junk_values": lambda _: "12abc",
            "bad_types": lambda _: "{}",
        }.get(self.mode, repr)
        lines = []
        for name, labels in (("x_total", 'code="500"'), ("x_total", 'code="200"')):
            query = "5.." if "500" in labels else ""
            total = sum(v for _, v in self.world(query, self.now()))
            lines.append(f"{name}{{{labels}}} {value(total)}\n")
        return await self._send(request, "".join(lines).encode(), "text/plain")

    def _spoil(self, answer: dict[str, Any], result: list[dict[str, Any]]) -> None:
        points = [point for stream in result for point in stream["values"]]
        match self.mode:
            case "nan_only":
                for point in points:
                    point[1] = "NaN"
            case "junk_values":
                points[-1][1] = "12abc"
            case "bad_types":
                points[-1][1] = {"value": 7}
            case "warnings":
                answer["warnings"] = ["store api: no response from 10.0.0.7, partial response"]
            case "half_series":
                del result[::2]
            case "status_error":
                answer.clear()
                answer.update(
                    status="error", errorType="execution", error="query processing would load too much"
                )
            case "off_grid":
                points[-1][0] -= 7.3
            case "out_of_order":
                result[0]["values"].reverse()
            case "duplicates":
                result.append(result[0])
            case "no_series":
                result.clear()

    async def _send(self, request: web.Request, body: bytes, kind: str) -> web.StreamResponse:
        match self.mode:
            case "500" | "503" | "401":
                return web.Response(status=int(self.mode), headers={"Retry-After": "7"}, text="no")
            case "html":
                return web.Response(text="<!doctype html><title>Log in</title>", content_type="text/html")
            case "empty":
                return web.Response(body=b"", content_type=kind)
            case "truncated":
                return web.Response(body=body[: len(body) * 2 // 3], content_type=kind)
            case "redirect":
                if not request.path.startswith("/elsewhere"):
                    raise web.HTTPTemporaryRedirect(f"/elsewhere{request.path}")
            case "gzip_cut":
                headers = {"Content-Encoding": "gzip"}
                return web.Response(body=gzip.compress(body)[:-9], headers=headers, content_type=kind)
            case "not_gzip":
                return web.Response(body=body, headers={"Content-Encoding": "gzip"}, content_type=kind)
            case "headers":
                return web.Response(body=body, headers={"X-Flood": "x" * 1_000_000})
            case "slow":
                await self._ended.wait()
            case "huge" | "gzip_bomb" | "drip" | "broken_off":
                return await self._stream(request, body)
        return web.Response(body=body, content_type=kind)

    async def _stream(self, request: web.Request, body: bytes) -> web.StreamResponse:
        headers = {"Content-Encoding": "gzip"} if self.mode == "gzip_bomb" else {}
        response = web.StreamResponse(headers=headers)
        if self.mode == "broken_off":
            response.content_length = len(body)
        # Whoever asked may have had enough.
        with suppress(ConnectionError):
            await self._write(request, response, body)
        if self.mode == "broken_off" and request.transport is not None:
            request.transport.abort()
        return response

    async def _write(self, request: web.Request, response: web.StreamResponse, body: bytes) -> None:
        await response.prepare(request)
        for piece in self._pieces(body):
            if self._ended.is_set():
                break
            await response.write(piece)
            if self.mode == "drip":
                try:
                    await asyncio.wait_for(self._ended.wait(), 0.02)
                except TimeoutError:
                    continue

    def _pieces(self, body: bytes) -> Iterator[bytes]:
        if self.mode == "huge":
            yield from (b"x" * 65_536 for _ in range(50 * 16))
        elif self.mode == "gzip_bomb":
            yield gzip_bomb()
        elif self.mode == "broken_off":
            yield body[: len(body) // 2]
        else:
            yield from (body[i : i + 1] for i in range(len(body)))

    async def open_door(self) -> None:
        """Listen, on the same port as before."""
        app = web.Application()
        app.router.add_route("*", "/api/v1/query_range", self.answer_range)
        app.router.add_get("/metrics", self.answer_page)
        # Where mode `redirect` points: a good answer, for whoever follows.
        app.router.add_route("*", "/elsewhere/api/v1/query_range", self.answer_range)
        app.router.add_get("/elsewhere/metrics", self.answer_page)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        self._door = socket.create_server(("127.0.0.1", int(self.url.rpartition(":")[2])))
        await web.SockSite(self._runner, self._door).start()

    async def close_door(self) -> None:
        """Let every slow answer go and listen no more: connections are refused."""
        self._ended.set()
        if self._runner is not None:
            # A connection accepted just now gets its transport some rounds of the loop later, and would be
            # lost if its server were closed by then.
            asyncio.get_running_loop().remove_reader(self._door)
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)
            await self._runner.cleanup()
            self._runner = None


@asynccontextmanager
async def false_prometheus(mode: str = "ok", world: World = steady) -> AsyncIterator[FalsePrometheus]:
    """A false Prometheus on loopback in the running loop."""
    false = FalsePrometheus(url=f"http://127.0.0.1:{free_port()}", mode=mode, world=world)
    await false.open_door()
    try:
        yield false
    finally:
        await false.close_door()
