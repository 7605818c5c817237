"""`validate --online` against a real Prometheus, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import config
from tests.support.native import Native, remote_write
from tests.support.prometheus import TAKES_NATIVE
from tests.support.servers import binary, free_port, is_listening, running
from watchdog.cli import exits, main
from watchdog.discovery.online import Finding, ask_sources
from watchdog.kinds import KINDS

NOW = 1_790_000_000.0
SAMPLES = {
    "http_requests_total": ['{app="checkout",code="200",pod="a"}', '{app="checkout",code="200",pod="b"}'],
    "waiting": ['{app="checkout"}'],
    "http_request_duration_seconds_bucket": ['{app="checkout",le="1"}', '{app="checkout",le="+Inf"}'],
}
# A native histogram; the blocks above end before this time.
NATIVE = {"checkout": {NOW + 2 * 86400.0: Native(schema=3, buckets={-10: 4})}}


def load(folder: Path, source: str, series: str) -> config.Loaded:
    path = folder / "watchdog.yaml"
    path.write_text(f"sources: {{s: {source}}}\nservices:\n  checkout:\n    series:\n      one: {series}\n")
    return config.load([path], KINDS, {})


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Prometheus that holds an hour of SAMPLES, newest at NOW."""
    program = binary("prometheus", "prometheus")
    promtool = binary("promtool", "prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    lines = [
        f"{name}{labels} {step} {NOW - 3600 + 60 * step:.0f}"
        for name, all_labels in SAMPLES.items()
        for labels in all_labels
        for step in range(61)
    ]
    (folder / "history.om").write_text("\n".join([*lines, "# EOF\n"]))
    subprocess.run(
        [
            promtool,
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            str(folder / "history.om"),
            str(folder / "data"),
        ],
        check=True,
        capture_output=True,
    )
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    port = free_port()
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        *TAKES_NATIVE,
    ]

    def is_ready() -> bool:
        if not is_listening(port):
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with running(command, ready=is_ready, log=folder / "log"):
        remote_write(f"http://127.0.0.1:{port}", NATIVE, label="app")
        yield f"http://127.0.0.1:{port}"


def found(folder: Path, url: str, series: str) -> list[Finding]:
    return ask_sources(load(folder, f"{{kind: prometheus, url: '{url}'}}", series), now=NOW)


@pytest.mark.real
@pytest.mark.parametrize(
    "series",
    [
        "{kind: count, counter: http_requests_total}",
        "{kind: count, counter: 'http_requests_total{app=\"checkout\"}'}",
        "{kind: latency, histogram: http_request_duration_seconds_bucket}",
        "{kind: histogram, histogram: http_request_duration_seconds_bucket}",
        "{kind: gauge, gauge: 'waiting{app=~\"ch.*\"}'}",
        "{kind: gauge, query: sum(http_requests_total)}",
        "{kind: gauge, query: sum by (code) (http_requests_total), by: [code]}",
    ],
)
def test_a_query_that_finds_its_series_has_no_finding(tmp_path: Path, prometheus: str, series: str) -> None:
    assert found(tmp_path, prometheus, series) == []


@pytest.mark.real
@pytest.mark.parametrize(
    ("series", "key", "code", "said"),
    [
        (
            "{kind: count, counter: 'http_requests_total{app=\"chekout\"}'}",
            "counter",
            "no-data",
            '{app="chekout"} matches 0 series in 28 days. closest label value: app="checkout"',
        ),
        (
            "{kind: count, counter: http_request_total}",
            "counter",
            "no-data",
            "closest metric: http_requests_total",
        ),
        ("{kind: gauge, gauge: unheard_of}", "gauge", "no-data", "unheard_of matches 0 series in 28 days."),
        ("{kind: latency, histogram: waiting}", "histogram", "not-a-histogram", "has no label `le`"),
        ("{kind: histogram, histogram: waiting}", "histogram", "not-a-histogram", "not native histograms"),
        ("{kind: gauge, query: absent_metric}", "query", "no-data", "query returns nothing now."),
        ("{kind: gauge, query: http_requests_total}", "query", "many-series", "query returns 2 series."),
        ("{kind: gauge, gauge: http_requests_total}", "gauge", "many-series", "gauge returns 2 series."),
        ("{kind: gauge, query: 'sum('}", "", "no-answer", "parse error"),
    ],
)
def test_a_query_that_does_not_says_why(
    tmp_path: Path, prometheus: str, series: str, key: str, code: str, said: str
) -> None:
    (finding,) = found(tmp_path, prometheus, series)
    path = ("services", "checkout", "series", "one", *([key] if key else []))
    assert (finding.path, finding.code, finding.is_warning) == (path, code, False)
    assert said in f"{finding.message} {finding.hint}"


@pytest.mark.real
def test_a_native_histogram_is_one(tmp_path: Path, prometheus: str) -> None:
    loaded = load(
        tmp_path,
        f"{{kind: prometheus, url: '{prometheus}'}}",
        "{kind: histogram, histogram: 'latency_seconds{app=\"checkout\"}'}",
    )
    assert ask_sources(loaded, now=NOW + 2 * 86400.0 + 60.0) == []


@pytest.mark.real
def test_a_counter_of_failures_may_not_exist_yet(tmp_path: Path, prometheus: str) -> None:
    numerator = 'http_requests_total{{app="{}",code=~"5.."}}'
    series = f"{{{{kind: ratio, numerator: '{numerator}', denominator: http_requests_total}}}}"
    (finding,) = found(tmp_path, prometheus, series.format("checkout"))
    assert (finding.code, finding.is_warning) == ("no-data", True)
    (finding,) = found(tmp_path, prometheus, series.format("chekout"))
    assert (finding.code, finding.is_warning) == ("no-data", False)


@pytest.mark.real
def test_the_command_places_it_in_the_file(
    tmp_path: Path, prometheus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(tmp_path, f"{{kind: prometheus, url: '{prometheus}'}}", "{kind: gauge, gauge: unheard_of}")
    words = ["validate", "-c", str(tmp_path / "watchdog.yaml")]
    assert main(words) == exits.HEALTHY
    capsys.readouterr()
    assert main([*words, "--online"]) == exits.CONFIGURATION
    said = capsys.readouterr().out
    assert "error[no-data]: unheard_of matches 0 series in 28 days." in said
    assert "watchdog.yaml:5:33   services.checkout.series.one.gauge" in said


async def ask(
    folder: Path, handler: web.Handler, source: str, series: str, timeout_s: float = 10
) -> list[Finding]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    async with TestServer(app) as server:
        loaded = load(folder, source.format(server.make_url("/")), series)
        return await asyncio.to_thread(ask_sources, loaded, now=NOW, timeout_s=timeout_s)


PROMETHEUS = "{{kind: prometheus, url: '{}'}}"
GAUGE = "{kind: gauge, gauge: waiting}"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, "<html>", "no answer (JSONDecodeError)"),
        (200, "{}", "the answer is not Prometheus's (KeyError)"),
        (200, '{"data": 5}', "the answer is not Prometheus's"),
        (401, "who are you", "refused: HTTP Status Code 401"),
        (503, "later", "refused: HTTP Status Code 503"),
    ],
)
async def test_a_server_that_is_no_prometheus(tmp_path: Path, status: int, body: str, said: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    (finding,) = await ask(tmp_path, answer, PROMETHEUS, GAUGE)
    assert (finding.path, finding.code) == (("sources", "s"), "no-answer")
    assert said in finding.message


async def test_a_silent_server_is_left_behind(tmp_path: Path) -> None:
    leave = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        await leave.wait()
        return web.Response()

    asking = asyncio.create_task(ask(tmp_path, silent, PROMETHEUS, GAUGE, timeout_s=0.2))
    # The server waits for its handlers when it closes.
    asyncio.get_running_loop().call_later(1.0, leave.set)
    (finding,) = await asking
    assert finding.message == "no answer within 0.2 s"


def test_nobody_listens(tmp_path: Path) -> None:
    loaded = load(tmp_path, f"{{kind: prometheus, url: 'http://127.0.0.1:{free_port()}'}}", GAUGE)
    (finding,) = ask_sources(loaded, now=NOW)
    assert finding.message == "no answer (ConnectionError)"


async def test_a_gauge_is_no_counter(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/metadata"):
            return web.json_response({"data": {"waiting": [{"type": "gauge"}]}})
        return web.json_response({"data": [{"__name__": "waiting"}]})

    (finding,) = await ask(tmp_path, answer, PROMETHEUS, "{kind: count, counter: waiting}")
    assert (finding.code, finding.is_warning) == ("not-a-counter", True)


async def test_credentials_go_with_every_question(tmp_path: Path) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        if request.path.endswith("/query"):
            return web.json_response({"data": {"result": []}})
        return web.json_response({"data": [{"__name__": "waiting"}]})

    source = "{{kind: prometheus, url: '{}', bearer_token: t0ken}}"
    assert await ask(tmp_path, answer, source, GAUGE) == []
    assert set(seen) == {"Bearer t0ken"}


SCRAPE = "{{kind: scrape, url: '{}'}}"


async def test_a_page_with_the_series(tmp_path: Path) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="waiting 3\n")

    assert await ask(tmp_path, page, SCRAPE, GAUGE) == []


async def test_a_page_without_the_series(tmp_path: Path) -> None:
    gets: list[str] = []

    async def page(request: web.Request) -> web.Response:
        gets.append(request.method)
        return web.Response(text="other 3\n")

    (finding,) = await ask(tmp_path, page, SCRAPE, GAUGE)
    assert finding.code == "no-data"
    assert "waiting" in finding.message
    assert gets == ["GET"]
