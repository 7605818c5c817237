"""`init --prometheus` against a real Prometheus that scrapes pages of several conventions."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

import config
from tests.support.native import Native, remote_write
from tests.support.prometheus import openmetrics, prometheus_server
from tests.support.servers import free_port, wait_until
from tests.watchdog.discovery.pages import Metric, serving
from watchdog.cli import exits, main
from watchdog.kinds import KINDS

OK, BROKEN = 5_000.0, 50.0
# By job. What each maker's documentation shows, with fewer labels where there are many.
PAGES = {
    "pods": [
        Metric(
            name="http_requests_total",
            type="counter",
            labels={
                'app="checkout",code="200",method="GET"': OK,
                'app="checkout",code="503",method="GET"': BROKEN,
                'app="stock",code="200",method="GET"': OK,
                'app="attic",code="200",method="GET"': 0.0,
            },
        ),
        Metric(
            name="http_request_duration_seconds",
            type="histogram",
            labels={'app="checkout",method="GET"': OK, 'app="stock",method="GET"': OK},
        ),
        Metric(name="orders_created_total", type="counter", labels={'app="checkout"': 100.0}),
        Metric(
            name="mails_waiting", type="gauge", labels={'app="stock",q="a"': 9.0, 'app="stock",q="b"': 5.0}
        ),
        Metric(name="stock_build_info", type="gauge", labels={'app="stock",version="2.8.1"': 1.0}),
        Metric(name="prometheus_http_requests_total", type="counter", labels={'code="200"': OK}),
    ],
    "payments": [
        Metric(
            name="http_server_request_duration_seconds",
            type="histogram",
            labels={
                'http_request_method="POST",http_response_status_code="200"': OK,
                'http_request_method="POST",http_response_status_code="500"': BROKEN,
            },
        ),
        Metric(
            name="grpc_server_handled_total",
            type="counter",
            labels={'grpc_service="shop.Payments",grpc_code="OK"': OK},
        ),
    ],
    "spring": [
        Metric(
            name="http_server_requests_seconds",
            type="summary",
            labels={'application="web",status="200",outcome="SUCCESS",uri="/"': OK},
        )
    ],
    "mesh": [
        Metric(
            name="istio_requests_total",
            type="counter",
            labels={
                'reporter="source",destination_canonical_service="search",response_code="200"': OK,
                'reporter="destination",destination_canonical_service="search",response_code="200"': OK,
                'reporter="destination",destination_canonical_service="checkout",response_code="200"': OK,
            },
        ),
        Metric(
            name="istio_request_duration_milliseconds",
            type="histogram",
            labels={'reporter="destination",destination_canonical_service="search",response_code="200"': OK},
        ),
        Metric(name="loads_request_duration_seconds", type="histogram", labels={'kind="a"': OK}),
    ],
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Prometheus that scraped all pages twice."""
    with ExitStack() as stack:
        targets = {job: [stack.enter_context(serving(page))] for job, page in PAGES.items()}
        folder = tmp_path_factory.mktemp("init")
        url = stack.enter_context(prometheus_server(folder, scrape_targets=targets, scrape_interval_s=0.3))
        asked = urlencode({"query": "count(count_over_time(up[1m]) >= 3)"})

        def has_two() -> bool:
            with urlopen(f"{url}/api/v1/query?{asked}", timeout=5) as answer:
                result = json.load(answer)["data"]["result"]
            return bool(result) and float(result[0]["value"][1]) == len(PAGES)

        wait_until(has_two, timeout_s=20, what="three scrapes of every page")
        yield url


def written(folder: Path, url: str, *options: str) -> Path:
    path = folder / "watchdog.yaml"
    assert main(["init", "--prometheus", url, "-o", str(path), *options]) == exits.HEALTHY
    return path


@pytest.mark.real
def test_it_proposes_what_each_convention_tells(
    tmp_path: Path, prometheus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, prometheus)
    services = yaml.safe_load(path.read_text())["services"]
    assert {name: list(service["series"]) for name, service in services.items()} == {
        "checkout": ["errors", "latency", "traffic", "orders_created"],
        "stock": ["errors", "latency", "traffic", "mails_waiting"],
        "payments": ["errors", "latency", "traffic"],
        "web": ["errors", "traffic"],
        "search": ["errors", "latency", "traffic"],
        "mesh": ["latency", "traffic"],
    }
    # Its own numbers before those of the mesh in front of it.
    assert services["checkout"]["series"]["errors"] == {
        "kind": "ratio",
        "numerator": 'http_requests_total{app="checkout",code=~"5.."}',
        "denominator": 'http_requests_total{app="checkout"}',
    }
    behind = 'destination_canonical_service="search",reporter="destination"'
    assert services["search"]["series"]["latency"] == {
        "kind": "histogram",
        "histogram": f"istio_request_duration_milliseconds_bucket{{{behind}}}",
        "unit": "ms",
    }
    assert services["stock"]["version"] == {"series": 'stock_build_info{app="stock"}'}
    assert services["stock"]["series"]["mails_waiting"] == {
        "kind": "gauge",
        "query": 'sum(mails_waiting{app="stock"})',
        "acts": False,
    }
    said = capsys.readouterr().err
    assert "not proposed: http_server_requests_seconds: a summary without buckets" in said
    assert 'not proposed: http_requests_total{app="attic"}: 0 requests a minute are too few' in said
    assert "not proposed: prometheus_http_requests_total: counts the platform" in said
    assert re.search(
        "loads_request_duration_seconds: no label tells what failed: it has instance, job, kind[.]", said
    )
    assert "services 6, series 18" in said


@pytest.mark.real
def test_every_series_is_found_online(
    tmp_path: Path, prometheus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, prometheus)
    loaded = config.load([path], KINDS, {})
    assert loaded.warnings == ()
    assert loaded.settings.defaults.mode == "observe"
    capsys.readouterr()
    assert main(["validate", "-c", str(path), "--online", "--json"]) == exits.HEALTHY
    problems = json.loads(capsys.readouterr().out)["problems"]
    # Nothing failed in these three so far; that counts as 0.
    assert {(p["severity"], p["path"].partition(".series.")[2]) for p in problems} <= {
        ("warning", "errors.numerator")
    }
    assert len(problems) == 3


@pytest.mark.real
def test_the_label_and_the_limits_can_be_given(
    tmp_path: Path, prometheus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--by", "job", "--match", 'job!="mesh"', "--max-services", "1", "--max-series", "2"]
    services = yaml.safe_load(written(tmp_path, prometheus, *options).read_text())["services"]
    assert {name: list(service["series"]) for name, service in services.items()} == {
        "pods": ["errors", "latency"]
    }
    selector = services["pods"]["series"]["errors"]["denominator"]
    assert selector == 'http_requests_total{job="pods",job!="mesh"}'
    assert "the 1 busiest services are proposed" in capsys.readouterr().err


@pytest.mark.real
def test_a_file_is_never_overwritten_unasked(
    tmp_path: Path, prometheus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "watchdog.yaml"
    path.write_text("mine")
    words = ["init", "--prometheus", prometheus, "-o", str(path)]
    assert main(words) == exits.USAGE
    assert "exists" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main([*words, "--force"]) == exits.HEALTHY
    assert "checkout:" in path.read_text()


@pytest.mark.real
def test_nothing_that_is_understood_is_no_configuration(
    tmp_path: Path, prometheus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "watchdog.yaml"
    words = ["init", "--prometheus", prometheus, "-o", str(path), "--match", 'job="nobody"']
    assert main(words) == exits.CONFIGURATION
    assert "holds nothing from which a series could be proposed" in capsys.readouterr().err
    assert not path.exists()


def test_without_a_prometheus_it_is_the_smallest_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "watchdog.yaml"
    assert main(["init", "-o", str(path)]) == exits.HEALTHY
    assert main(["init"]) == exits.HEALTHY
    assert capsys.readouterr().out == path.read_text()
    assert path.read_text().startswith("# ")
    loaded = config.load([path], KINDS, {"SLACK_WEBHOOK": "https://hooks.slack.com/services/T0/B0/x"})
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([], exits.UNREACHABLE, "no answer (ConnectionError)"),
        (["--bearer-token", "s3cret"], exits.USAGE, "--bearer-token takes no secret, but where it is"),
        (["--bearer-token", "${UNHEARD_OF}"], exits.CONFIGURATION, "variable UNHEARD_OF is not set"),
        (["--header", "X-Scope-OrgID"], exits.USAGE, "--header is a name, a colon and a value"),
        (["--by", "app)"], exits.USAGE, "--by is the name of a label"),
        (["--match", "namespace"], exits.USAGE, "--match: write it as in"),
        (["--max-series", "0"], exits.USAGE, "are at least 1"),
        (["--timeout", "60"], exits.USAGE, "60 has no unit"),
    ],
)
def test_what_cannot_be_done_is_said(
    options: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--prometheus", f"http://127.0.0.1:{free_port()}", *options]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert "s3cret" not in captured.err
    assert captured.out == ""


async def ask(handler: web.Handler, *options: str) -> int:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    async with TestServer(app) as server:
        words = ["init", "--prometheus", str(server.make_url("/")), *options]
        return await asyncio.to_thread(main, words)


async def test_a_server_without_metadata_and_with_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.headers["Authorization"], request.headers["X-Scope-OrgID"]))
        if request.path.endswith("/metadata"):
            return web.Response(status=404)
        if request.path.endswith("/values"):
            return web.json_response({"data": ["http_requests_total"]})
        labels = {"app": "shop", "code": "200"}
        return web.json_response({"data": {"result": [{"metric": labels, "value": [0, "7"]}]}})

    token = tmp_path / "token"
    token.write_text("t0ken")
    options = ["--bearer-token", f"file:{token}", "--header", "X-Scope-OrgID: shop"]
    assert await ask(answer, *options) == exits.HEALTHY
    assert set(seen) == {("Bearer t0ken", "shop")}
    text = capsys.readouterr().out
    assert yaml.safe_load(text)["sources"]["prom"]["bearer_token"] == f"file:{token}"
    assert "t0ken" not in text.replace(str(tmp_path), "")

    monkeypatch.setenv("PROM_LOGIN", "me:s3cret")
    seen.clear()
    options = ["--basic-auth", "${PROM_LOGIN}", "--header", "X-Scope-OrgID: shop"]
    assert await ask(answer, *options) == exits.HEALTHY
    assert {authorization for authorization, _ in seen} == {"Basic bWU6czNjcmV0"}
    assert "s3cret" not in capsys.readouterr().out


async def test_a_file_that_came_meanwhile_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "watchdog.yaml"

    async def answer(request: web.Request) -> web.Response:
        path.write_text("mine")
        if request.path.endswith("/values"):
            return web.json_response({"data": ["http_requests_total"]})
        labels = {"app": "shop", "code": "200"}
        return web.json_response({"data": {"result": [{"metric": labels, "value": [0, "7"]}]}})

    assert await ask(answer, "-o", str(path)) == exits.USAGE
    assert "cannot be written: File exists" in capsys.readouterr().err
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, "<html>", "no answer (JSONDecodeError)"),
        (200, "{}", "the answer is not Prometheus's (KeyError)"),
        (401, "who are you", "refused: HTTP Status Code 401"),
        (503, "later", "refused: HTTP Status Code 503"),
    ],
)
async def test_a_server_that_is_no_prometheus(
    status: int, body: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    assert await ask(answer) == exits.UNREACHABLE
    assert said in capsys.readouterr().err


async def test_a_query_that_is_too_much_leaves_out_one_metric(capsys: pytest.CaptureFixture[str]) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/values"):
            return web.json_response({"data": ["http_requests_total", "grpc_server_handled_total"]})
        if request.path.endswith("/metadata"):
            return web.json_response({"data": {}})
        if "handled" in request.query["query"]:
            return web.Response(status=422, text="query processing would load too many samples")
        labels = {"app": "shop", "code": "200"}
        return web.json_response({"data": {"result": [{"metric": labels, "value": [0, "7"]}]}})

    assert await ask(answer) == exits.HEALTHY
    said = capsys.readouterr().err
    assert "not proposed: grpc_server_handled_total: refused: HTTP Status Code 422" in said
    assert "shop: errors, traffic" in said


async def test_a_server_that_stops_answering(capsys: pytest.CaptureFixture[str]) -> None:
    leave = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/values"):
            return web.json_response({"data": ["http_requests_total", "grpc_server_handled_total"]})
        if request.path.endswith("/query") and "handled" in request.query["query"]:
            await leave.wait()
        labels = {"app": "shop", "code": "200"}
        return web.json_response({"data": {"result": [{"metric": labels, "value": [0, "7"]}]}})

    asking = asyncio.create_task(ask(answer, "--timeout", "500ms"))
    # The server waits for its handlers when it closes.
    asyncio.get_running_loop().call_later(2.0, leave.set)
    assert await asking == exits.HEALTHY
    said = capsys.readouterr().err
    assert "not everything was looked at: no answer within 0.5 s" in said
    assert "services 1, series 2" in said


@pytest.mark.real
def test_native_histograms_become_latency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    end_at = int(time.time()) // 60 * 60
    count, points = Native(schema=3), {}
    for at in range(end_at - 1200, end_at + 1, 60):
        count = count.and_these([0.3] * 100)
        points[float(at)] = count
    with prometheus_server(tmp_path, takes_native=True) as url:
        remote_write(url, {"shop": points}, "service_name", "http_server_request_duration_seconds")
        path = written(tmp_path, url)
        assert "native histograms hold no counter for a ratio" in capsys.readouterr().err
        series = yaml.safe_load(path.read_text())["services"]["shop"]["series"]
        selector = 'http_server_request_duration_seconds{service_name="shop"}'
        assert series == {"latency": {"kind": "histogram", "histogram": selector}}
        assert main(["validate", "-c", str(path), "--online"]) == exits.HEALTHY
    assert "no problems" in capsys.readouterr().out


@pytest.mark.real
def test_a_step_is_as_long_as_scrapes_are_apart(tmp_path: Path) -> None:
    end_at = int(time.time()) // 60 * 60
    past = {
        f'{metric}{{job="{job}"{more}}}': [
            (at + jitter, value * (at - end_at + 7200))
            for jitter, at in zip(itertools.cycle((0, 3, -2)), range(end_at - 7200, end_at, every_s))
        ]
        for job, every_s in (("slow", 120), ("usual", 60), ("quick", 15))
        for metric, more, value in (("up", "", 0), ("http_requests_total", ',code="200"', 1))
    }
    with prometheus_server(tmp_path, openmetrics(past)) as url:
        services = yaml.safe_load(written(tmp_path, url).read_text())["services"]
    assert {name: service.get("step") for name, service in services.items()} == {
        "slow": "2m",
        "usual": None,
        "quick": None,
    }


@pytest.mark.real
def test_what_it_proposes_can_be_backtested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    end_at = int(time.time()) // 60 * 60
    noise = np.random.default_rng(7)
    at = np.arange(end_at - 14 * 3600, end_at + 1, 60)
    past = {
        f'http_requests_total{{app="shop",code="{code}"}}': zip(
            at.tolist(), np.cumsum(noise.poisson(mean, len(at))).tolist(), strict=True
        )
        for code, mean in (("200", 300.0), ("500", 1.5))
    }
    with prometheus_server(tmp_path, openmetrics(past)) as url:
        path = written(tmp_path, url)
        capsys.readouterr()
        words = ["backtest", "-c", str(path), "--since", "12h", "--jobs", "1", "--placebos", "1"]
        assert main([*words, "--json", "-"]) == exits.HEALTHY
    (service,) = json.loads(capsys.readouterr().out)["services"]
    assert service["placebos"]["used"] == 1
    coverage = {series["series"]: series["coverage"] for series in service["series"]}
    assert coverage.keys() == {"errors", "traffic"}
    assert min(coverage.values()) > 0.9


def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--prometheus", "prometheus:9090"]) == exits.CONFIGURATION
    assert "is not an address" in capsys.readouterr().err
