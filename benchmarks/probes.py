"""How many probes a core does in a second, beside blackbox_exporter on the same target in the same run.

Ours is the whole daemon: schedule, queue, request, CEL, series, metrics, store. Theirs is asked over /probe
by a small load generator whose own processor time does not count. Both have more to do than they can, and do
as many probes at once. Beside ours stands what its HTTP client does alone. Then 10,000 targets every 10
seconds: how late checks start, how much memory it takes, and what changes when 5 % of the targets hang.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import tempfile
import time
import urllib.request
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from sys import executable
from urllib.parse import quote

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.processes import cpu_s, free_port, is_listening, program, rss_mb, running

_SETTLE_S, _MEASURE_S = 5.0, 20.0
# More than a core can carry: what is not idle now and then does not pay for falling asleep and waking up.
_TARGETS, _EVERY = 4_000, "500ms"
# So many every turn: the first needs a core for itself, the second leaves most of one free.
_MANY, _TURN_S = (10_000, 2_000), 10.0
_MANY_EVERY = f"{_TURN_S:g}s"
_HANGING_SHARE = 0.05
_AT_ONCE_MAX = 1_000  # the default
_AT_ONCE = 20
_BODY = '{"status":"up","orders":12345,"ok":1}'
_NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 60s;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ default_type application/json; return 200 '{body}'; }}
  }}
}}
"""
_BLACKBOX = """
modules:
  http_2xx:
    prober: http
    timeout: 5s
    http: {preferred_ip_protocol: ip4, fail_if_body_not_matches_regexp: ['"status":"up"']}
"""
_DAEMON = """
state_dir: {folder}/state
log: {{level: error}}
api: {{listen: "127.0.0.1:{port}"}}
# One address stands for ten thousand hosts here.
concurrency: {{per_host: 10000, checks: {at_once}}}
"""
# History decides how much past the rings hold; a check's series holds two numbers a step.
_SERVICE = """
services:
  s{n}:
    history: 6h
    checks:
{checks}
"""
_KEPT = ", keep_alive: true"
_CHECKS_PER_SERVICE = 100
_CHECK = (
    '      c{i}: {{kind: http, get: "{url}", every: {every}, timeout: 10s{more}, '
    "expect: 'status == 200 && json.status == \"up\"'}}"
)


@dataclass(frozen=True, slots=True)
class _Counted:
    """What the daemon's own /metrics say. starts: upper bound of lateness in seconds to how many starts."""

    passed: float
    others: float
    starts: Mapping[float, float]


def measure() -> Iterator[str]:
    """Lines: per core-second both ways and the ratio; then many targets; then many with some that hang."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port = free_port()
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port, body=_BODY))
        nginx = [program("nginx", "nginx-light"), "-c", str(folder / "nginx.conf")]
        with running(nginx, lambda: is_listening(port)):
            url = f"http://127.0.0.1:{port}/"
            theirs = _exporter(folder, url)
            yield f"probes: blackbox_exporter {theirs:.0f} per core-second (always a new connection)"
            for words, more, headers, wanted in (
                ("a new connection each", "", {"Connection": "close"}, 1.2),
                ("keep-alive", _KEPT, {}, 4),
            ):
                ours = _rate(folder, [_check(i, url, _EVERY, more) for i in range(_TARGETS)])
                yield (
                    f"probes: ours {ours:.0f} per core-second, {words}: "
                    f"{ours / theirs:.2f} times (wanted {wanted}); "
                    f"aiohttp without anything around it {_client_alone(url, headers):.0f}"
                )
            for n in _MANY:
                yield from _many(folder, url, n)


def _exporter(folder: Path, url: str) -> float:
    (folder / "blackbox.yml").write_text(_BLACKBOX)
    port = free_port()
    command = [
        program("prometheus-blackbox-exporter", "prometheus-blackbox-exporter"),
        f"--config.file={folder / 'blackbox.yml'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with running(command, lambda: is_listening(port)) as pid:
        asyncio.run(_load(port, url, 2.0))
        before_s = cpu_s(pid)
        done = asyncio.run(_load(port, url, _MEASURE_S))
        return done / (cpu_s(pid) - before_s)


async def _load(port: int, url: str, seconds: float) -> int:
    """Successful probes of an exporter, asked over connections that are kept, as Prometheus does."""
    until_s = time.monotonic() + seconds
    request = (
        f"GET /probe?module=http_2xx&target={quote(url, safe='')} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    ).encode()

    async def client() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        done = 0
        while time.monotonic() < until_s:
            writer.write(request)
            # Longer than two kilobytes, so Go sends it in chunks; lines of metrics have no carriage return.
            page = await reader.readuntil(b"\r\n0\r\n\r\n")
            done += b"\nprobe_success 1\n" in page
        writer.close()
        return done

    return sum(await asyncio.gather(*(client() for _ in range(_AT_ONCE))))


def _client_alone(url: str, headers: Mapping[str, str]) -> float:
    """Requests per core-second of the client that our probes use: no more can be had with it."""

    async def ask() -> int:
        until_s = time.monotonic() + _MEASURE_S / 2

        async def client(session: aiohttp.ClientSession) -> int:
            done = 0
            while time.monotonic() < until_s:
                async with session.get(url, headers=headers) as answer:
                    done += (await answer.json())["status"] == "up"
            return done

        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            return sum(await asyncio.gather(*(client(session) for _ in range(_AT_ONCE))))

    before_s = time.process_time()
    return asyncio.run(ask()) / (time.process_time() - before_s)


def _check(i: int, url: str, every: str, more: str = "") -> str:
    return _CHECK.format(i=i, url=f"{url}{i}", every=every, more=more)


@contextmanager
def _daemon(folder: Path, checks: list[str], at_once: int) -> Iterator[tuple[int, int]]:
    """Pid and port of the daemon with these checks, running for a while already."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        port, written = free_port(), Path(name) / "bench"
        written.mkdir()
        (written / "daemon.yaml").write_text(_DAEMON.format(folder=name, port=port, at_once=at_once))
        for n, first in enumerate(range(0, len(checks), _CHECKS_PER_SERVICE)):
            of_one = "\n".join(checks[first : first + _CHECKS_PER_SERVICE])
            (written / f"s{n}.yaml").write_text(_SERVICE.format(n=n, checks=of_one))
        command = [executable, "-m", "watchdog", "run", "-c", str(written)]
        with running(command, lambda: is_listening(port)) as pid:
            yield pid, port


def _rate(folder: Path, checks: list[str]) -> float:
    with _daemon(folder, checks, _AT_ONCE) as (pid, port):
        time.sleep(_SETTLE_S)
        before, before_s = _counted(port), cpu_s(pid)
        time.sleep(_MEASURE_S)
        after, after_s = _counted(port), cpu_s(pid)
    if after.others > before.others:
        raise RuntimeError(f"{after.others - before.others:g} probes of a target that is well did not pass")
    return (after.passed - before.passed) / (after_s - before_s)


def _many(folder: Path, url: str, n: int) -> Iterator[str]:
    plain = [_check(i, url, _MANY_EVERY, _KEPT) for i in range(n)]
    calm = yield from _lateness(folder, plain, f"{n:,} targets every {_MANY_EVERY}, keep-alive")
    with _silent() as silent:
        nth = round(1 / _HANGING_SHARE)
        some = [_check(i, silent if i % nth == 0 else url, _MANY_EVERY, _KEPT) for i in range(n)]
        hanging = yield from _lateness(folder, some, f"the same, {_HANGING_SHARE:.0%} of them hanging")
    delay_ms = (hanging - calm) * 1000
    yield f"probes: those that hang delay the others by {delay_ms:.0f} ms at p99 (wanted < 100 ms)"


def _lateness(folder: Path, checks: list[str], words: str) -> Generator[str, None, float]:
    """One line; returns how late the latest hundredth of the starts was, in seconds."""
    began_s = time.monotonic()
    with _daemon(folder, checks, _AT_ONCE_MAX) as (pid, port):
        ready_s = time.monotonic() - began_s
        time.sleep(_TURN_S + 2.0)
        before, before_s = _counted(port), cpu_s(pid)
        time.sleep(2 * _TURN_S)
        after, after_s = _counted(port), cpu_s(pid)
        memory_mb = rss_mb(pid)
    done = after.passed + after.others - before.passed - before.others
    starts = {bound: n - before.starts.get(bound, 0.0) for bound, n in after.starts.items()}
    p50_s, p99_s = _quantile(starts, 0.5), _quantile(starts, 0.99)
    yield (
        f"probes: {words}: {done / (2 * _TURN_S):.0f} per second, start lateness p50 {p50_s * 1000:.1f} ms, "
        f"p99 {p99_s * 1000:.1f} ms (wanted < 50 ms), RSS {memory_mb:.0f} MB (wanted < 250 MB), "
        f"{(after_s - before_s) / (2 * _TURN_S):.0%} of a core, ready after {ready_s:.0f} s"
    )
    return p99_s


@contextmanager
def _silent() -> Iterator[str]:
    """URL of a port where the kernel takes connections and nobody answers."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(4096)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def _counted(port: int) -> _Counted:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    passed = others = 0.0
    starts: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "watchdog_checks_total":
                is_pass = sample.labels["outcome"] == "pass"
                passed, others = passed + is_pass * sample.value, others + (not is_pass) * sample.value
            elif sample.name == "watchdog_check_start_lateness_seconds_bucket":
                starts[float(sample.labels["le"])] = sample.value
    return _Counted(passed, others, starts)


def _quantile(cumulative: Mapping[float, float], share: float) -> float:
    """Where that share of a histogram ends, linear within its bucket; its last finite bound at most."""
    bounds = sorted(cumulative)
    wanted = share * cumulative[bounds[-1]]
    for lower, upper in itertools.pairwise([0.0, *bounds]):
        below = cumulative.get(lower, 0.0)
        if cumulative[upper] >= wanted and cumulative[upper] > below:
            within = (wanted - below) / (cumulative[upper] - below)
            return lower if upper == float("inf") else lower + within * (upper - lower)
    return 0.0


def main() -> None:
    """Print the figures."""
    for line in measure():
        print(line, flush=True)


if __name__ == "__main__":
    main()
