"""The prometheus source against a real Prometheus: exact counts, roll-outs, and the library's numbers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from prometheus_api_client import PrometheusConnect
from pydantic import SecretStr

from detectors.histogram import bounds
from detectors.model import FloatArray
from tests.support.prometheus import (
    FalsePrometheus,
    false_prometheus,
    openmetrics,
    prometheus_server,
    steady,
)
from tests.support.servers import free_port
from watchdog.sources.prometheus import PrometheusSource
from watchdog.sources.protocol import Grid, Query

STEP_S = 60.0
START = 1_790_000_000 // 3600 * 3600.0
STEPS = 240
RATIO = Query(
    series_id="shop/errors",
    kind="ratio",
    numerator='http_requests_total{app="shop",code=~"5.."}',
    denominator='http_requests_total{app="shop"}',
)
# Of the history below: three pods, replaced one by one by three others from step 120 on.
SCRAPE_S = 15.0
RATES = {"200": 3.0, "404": 0.2, "500": 0.1}


def pod_history(pod: str, first_s: float, last_s: float, base: float) -> dict[str, list[tuple[float, float]]]:
    """Counters of one pod, scraped every 15 s at an odd offset; `500` first appears after 20 minutes."""
    offset = 1.0 + (sum(map(ord, pod)) % 12)
    series = {}
    for code, rate in RATES.items():
        born = first_s + (1200.0 if code == "500" else 0.0)
        times = np.arange(math.ceil(first_s / SCRAPE_S) * SCRAPE_S + offset, last_s, SCRAPE_S)
        samples = [
            (START + t, base + math.floor(rate * (t - born))) for t in times.tolist() if t >= born + 1 / rate
        ]
        labels = f'job="k8s",instance="10.0.0.{pod}:80",pod="shop-{pod}",app="shop",code="{code}"'
        series[f"http_requests_total{{{labels}}}"] = samples
    return series


def history() -> str:
    span_s = STEPS * STEP_S
    series: dict[str, list[tuple[float, float]]] = {}
    for i in range(3):
        replaced_s = 120 * STEP_S + 40.0 * i
        series |= pod_history(f"{i}", 0.0, replaced_s, 5000.0)
        series |= pod_history(f"{i + 3}", replaced_s - 20.0, span_s, 0.0)
    for le, share in (("0.1", 0.5), ("0.5", 0.9), ("+Inf", 1.0)):
        labels = f'job="k8s",instance="10.0.0.9:80",app="shop",le="{le}"'
        series[f"latency_seconds_bucket{{{labels}}}"] = [
            (START + t, math.floor(share * 10.0 * t)) for t in np.arange(5.0, span_s, SCRAPE_S).tolist()
        ]
    for queue in ("a", "b"):
        series[f'depth{{queue="{queue}"}}'] = [
            (START + t, 7.0 + t / 60.0)
            for t in np.arange(5.0, span_s, SCRAPE_S).tolist()
            if not 3600 < t < 4200
        ]
    return openmetrics(series)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus_server(tmp_path_factory.mktemp("prometheus"), history()) as url:
        yield url


@pytest.fixture
async def source(url: str) -> AsyncIterator[PrometheusSource]:
    async with opened(PrometheusSource(url=url)) as source:
        yield source


@asynccontextmanager
async def opened(source: PrometheusSource) -> AsyncIterator[PrometheusSource]:
    try:
        yield source
    finally:
        await source.close()


async def read(
    source: PrometheusSource, query: Query, first: int, last: int, step_s: float = STEP_S
) -> tuple[FloatArray, str | None]:
    """Values and problem of the steps that end `first` to `last` minutes after the start."""
    grid = Grid(first_at=START + first * 60.0, last_at=START + last * 60.0, step_s=step_s)
    (reading,) = await source.read([query], grid, now=grid.last_at + 30.0, timeout_s=20.0)
    return reading.values, reading.problem


@pytest.mark.real
async def test_counts_are_exact_and_a_counter_that_is_not_there_yet_is_zero(source: PrometheusSource) -> None:
    values, problem = await read(source, RATIO, 70, 110)
    assert problem is None
    # Three pods at 3.3 requests and 0.1 errors a second; floor() moves at most one count a series and step.
    np.testing.assert_allclose(values[:, 1], 3 * 60 * 3.3, atol=9)
    np.testing.assert_allclose(values[:, 0], 3 * 60 * 0.1, atol=3)
    assert values[:, 1].sum() == pytest.approx(41 * 3 * 60 * 3.3, abs=9)
    assert (values == np.floor(values)).all()
    early, _ = await read(source, RATIO, 10, 15)
    assert (early[:, 0] == 0.0).all()
    assert (early[:, 1] > 0.0).all()


@pytest.mark.real
async def test_a_roll_out_of_every_pod_neither_blinds_nor_spikes(source: PrometheusSource) -> None:
    values, problem = await read(source, RATIO, 110, 140)
    assert problem is None
    assert np.isfinite(values).all()
    usual = 3 * 60 * 3.3
    assert values[:, 1].min() > 0.75 * usual
    # Each new pod runs 20 s beside the one it replaces.
    assert values[:, 1].max() < 1.25 * usual


@pytest.mark.real
async def test_ticks_give_what_the_history_gave(url: str) -> None:
    async with opened(PrometheusSource(url=url)) as one, opened(PrometheusSource(url=url)) as other:
        whole, _ = await read(one, RATIO, 60, 150)
        await read(other, RATIO, 1, 109)
        for newest in (113, 117, 121, 125, 129):
            live, _ = await read(other, RATIO, newest - 3, newest)
            np.testing.assert_array_equal(live, whole[newest - 63 : newest - 59])


@pytest.mark.real
async def test_chunks_of_any_size_give_the_same(url: str) -> None:
    class Small(PrometheusSource):
        CHUNK_STEPS_FIRST = 40
        CHUNK_BYTES = 2_000

    async with opened(PrometheusSource(url=url)) as one, opened(Small(url=url)) as other:
        whole, _ = await read(one, RATIO, 1, STEPS - 1)
        pieces, problem = await read(other, RATIO, 1, STEPS - 1)
        assert problem is None
        np.testing.assert_array_equal(pieces, whole)


@pytest.mark.real
async def test_an_answer_beyond_the_limit_is_asked_for_in_smaller_pieces(url: str) -> None:
    class Narrow(PrometheusSource):
        BODY_BYTES_MAX = 10_000

    class TooNarrow(PrometheusSource):
        BODY_BYTES_MAX = 100

    async with opened(PrometheusSource(url=url)) as one, opened(Narrow(url=url)) as other:
        whole, _ = await read(one, RATIO, 120, STEPS - 1)
        pieces, problem = await read(other, RATIO, 120, STEPS - 1)
        assert problem is None
        np.testing.assert_array_equal(pieces[40:], whole[40:])
    async with opened(TooNarrow(url=url)) as other:
        values, problem = await read(other, RATIO, 60, STEPS - 1)
        assert np.isnan(values).all()
        assert problem is not None
        assert "narrow or aggregate" in problem


@pytest.mark.real
async def test_a_histogram_gives_its_quantile(source: PrometheusSource) -> None:
    query = Query(
        series_id="shop/latency",
        kind="latency",
        histogram='latency_seconds_bucket{app="shop"}',
        quantile=0.7,
    )
    values, problem = await read(source, query, 70, 90)
    assert problem is None
    np.testing.assert_allclose(values, 0.1 + 0.4 * 0.5, atol=0.001)


@pytest.mark.real
async def test_a_classic_histogram_gives_its_whole_distribution(source: PrometheusSource) -> None:
    query = Query(series_id="shop/latency", kind="histogram", histogram='latency_seconds_bucket{app="shop"}')
    values, problem = await read(source, query, 70, 90)
    assert problem is None
    (of_a_tenth, of_a_half), edges = np.searchsorted(bounds("s"), [0.1, 0.5]), bounds("s")
    # 10 requests a second: half of them up to 0.1 s, nine tenths up to 0.5 s; floor() moves one at most.
    np.testing.assert_allclose(values[:, of_a_tenth], 300.0, atol=1)
    np.testing.assert_allclose(values[:, of_a_half], 240.0, atol=2)
    np.testing.assert_allclose(values[:, len(edges)], 60.0, atol=2)
    np.testing.assert_array_equal(values.sum(axis=1), 600.0)


@pytest.mark.real
async def test_a_gauge_is_its_last_value_and_missing_where_it_was_not_scraped(
    source: PrometheusSource,
) -> None:
    query = Query(series_id="shop/depth", kind="gauge", gauge='depth{queue="a"}')
    values, problem = await read(source, query, 55, 75)
    assert problem is None
    minutes = np.arange(55, 76)
    np.testing.assert_array_equal(np.isnan(values[:, 0]), (minutes > 60) & (minutes <= 70))
    seen = np.isfinite(values[:, 0])
    np.testing.assert_allclose(values[seen, 0], 7.0 + minutes[seen], atol=1.0)


@pytest.mark.real
@pytest.mark.parametrize(
    "query",
    [
        Query(series_id="shop/depth", kind="gauge", gauge="depth"),
        Query(series_id="shop/depth", kind="gauge", query="depth"),
    ],
)
async def test_more_than_one_series_says_to_aggregate(source: PrometheusSource, query: Query) -> None:
    values, problem = await read(source, query, 55, 59)
    assert np.isnan(values).all()
    assert problem is not None
    assert "2 series: aggregate" in problem


@pytest.mark.real
async def test_finished_promql_is_taken_as_it_is(source: PrometheusSource) -> None:
    query = Query(series_id="shop/depth", kind="gauge", query="sum(depth)")
    values, problem = await read(source, query, 55, 59)
    assert problem is None
    assert (values > 100.0).all()


@pytest.mark.real
async def test_a_label_that_makes_several_series_is_refused(source: PrometheusSource) -> None:
    query = Query(series_id="shop/requests", kind="count", counter="http_requests_total", by=("code",))
    values, problem = await read(source, query, 55, 59)
    assert np.isnan(values).all()
    assert problem is not None
    assert "3 values of (code)" in problem
    one = Query(series_id="shop/ok", kind="count", counter='http_requests_total{code="200"}', by=("code",))
    values, problem = await read(source, one, 55, 59)
    assert problem is None
    np.testing.assert_allclose(values, 3 * 60 * 3.0, atol=3)


@pytest.mark.real
@pytest.mark.parametrize(
    ("query", "because"),
    [
        (Query(series_id="a/b", kind="count", counter="no_such_total"), "no usable sample of no_such_total"),
        (Query(series_id="a/b", kind="gauge", query="sum("), "refuses the query"),
        (Query(series_id="a/b", kind="gauge", query="sum(rate(x[5m])) by"), "refuses the query"),
        (Query(series_id="a/b", kind="latency", histogram="http_requests_total"), "`le`"),
    ],
)
async def test_what_prometheus_cannot_give_is_missing_with_the_reason(
    source: PrometheusSource, query: Query, because: str
) -> None:
    values, problem = await read(source, query, 55, 59)
    assert np.isnan(values).all()
    assert problem is not None
    assert because in problem


@pytest.mark.real
async def test_steps_before_and_after_the_data_are_missing(source: PrometheusSource) -> None:
    values, problem = await read(source, RATIO, STEPS - 3, STEPS + 10)
    assert problem is None
    assert np.isfinite(values[:3]).all()
    assert np.isnan(values[4:]).all()
    values, problem = await read(source, RATIO, -500, -400)
    assert np.isnan(values).all()
    assert problem is not None


@pytest.mark.real
async def test_the_library_and_we_read_equal_raw_numbers(url: str, source: PrometheusSource) -> None:
    """prometheus-api-client does discovery and `doctor`; both must see the same Prometheus."""
    first, last = START + 100 * 60.0, START + 110 * 60.0
    library = PrometheusConnect(url=url)
    for query in (RATIO, Query(series_id="shop/depth", kind="gauge", gauge='depth{queue="b"}')):
        for expression in source.expressions(query, STEP_S):
            theirs = await asyncio.to_thread(
                library.custom_query_range,
                expression,
                start_time=datetime.fromtimestamp(first, UTC),
                end_time=datetime.fromtimestamp(last, UTC),
                step="60",
            )
            ours, _ = await source._ask(expression, Grid(first_at=first, last_at=last, step_s=STEP_S))
            assert len(ours) == len(theirs) > 0
            for mine, other in zip(ours, theirs, strict=True):
                assert mine.labels == other["metric"]
                at, values = np.array(other["values"], dtype=np.float64).T
                assert at.tolist() == [first + i * STEP_S for i in range(11)]
                np.testing.assert_array_equal(mine.values, values)


@pytest.mark.real
async def test_what_a_live_prometheus_scrapes_is_what_the_target_counted(tmp_path: Path) -> None:
    """A real scrape every 0.2 s of a page that counts 7 per scrape, read at steps of 1 s."""
    counted = [0]
    enough = asyncio.Event()

    async def page(_: web.Request) -> web.Response:
        counted[0] += 7
        if counted[0] >= 7 * 16:
            enough.set()
        return web.Response(text=f"x_total {counted[0]}\n")

    app = web.Application()
    app.router.add_get("/metrics", page)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    loop = asyncio.get_running_loop()
    server = prometheus_server(
        tmp_path, scrape_targets={"shop": [f"127.0.0.1:{port}"]}, scrape_interval_s=0.2
    )
    url = await loop.run_in_executor(None, server.__enter__)
    try:
        async with asyncio.timeout(20), opened(PrometheusSource(url=url)) as source:
            await enough.wait()
            last_at = math.floor(datetime.now(UTC).timestamp()) - 1.0
            grid = Grid(first_at=last_at, last_at=last_at, step_s=1.0)
            query = Query(series_id="a/b", kind="count", counter="x_total")
            (reading,) = await source.read([query], grid, now=last_at, timeout_s=5.0)
        assert reading.problem is None
        assert set(np.mod(reading.values[:, 0], 7.0).tolist()) == {0.0}
        assert 7 * 3 <= reading.values[:, 0].min() <= reading.values[:, 0].max() <= 7 * 7
    finally:
        await loop.run_in_executor(None, server.__exit__, None, None, None)
        await runner.cleanup()


def ratio_grid(newest: int) -> Grid:
    return Grid(first_at=START + (newest - 3) * STEP_S, last_at=START + newest * STEP_S, step_s=STEP_S)


async def test_a_numerator_from_other_processes_is_missing_when_they_are(tmp_path: Path) -> None:
    """Failed payments counted by a worker, orders by the shop: a worker that is down is not "no failures"."""
    is_down = False

    def world(expression: str, at: float) -> list[tuple[dict[str, str], float]]:
        if "failed" in expression:
            return [] if is_down else [({"instance": "worker"}, at - START + 1000.0)]
        return [({"instance": "shop"}, 10.0 * (at - START) + 1000.0)]

    query = Query(series_id="a/b", kind="ratio", numerator="failed_total", denominator="orders_total")
    async with false_prometheus(world=world) as false, opened(PrometheusSource(url=false.url)) as source:
        (reading,) = await source.read([query], ratio_grid(10), now=START, timeout_s=5.0)
        np.testing.assert_array_equal(reading.values, [[60.0, 600.0]] * 4)
        is_down = True
        (reading,) = await source.read([query], ratio_grid(11), now=START, timeout_s=5.0)
        assert np.isnan(reading.values[:, 0]).all()


async def test_a_counter_below_zero_is_none() -> None:
    async with (
        false_prometheus(world=lambda _, at: [({"instance": "a"}, at - 2e9)]) as false,
        opened(PrometheusSource(url=false.url)) as source,
    ):
        query = Query(series_id="a/b", kind="count", counter="x_total")
        (reading,) = await source.read([query], ratio_grid(10), now=START, timeout_s=5.0)
        assert np.isnan(reading.values).all()


async def test_a_server_that_asks_for_rest_gets_it() -> None:
    async with false_prometheus("503") as false, opened(PrometheusSource(url=false.url)) as source:
        for now, requests in ((100.0, 1), (106.0, 1), (107.5, 2)):
            (reading,) = await source.read([RATIO], ratio_grid(10), now=now, timeout_s=5.0)
            assert reading.problem
            assert await source.label_sets("build_info", now=now, timeout_s=5.0) == []
            assert len(false.requests) == requests


async def test_secrets_go_in_headers_and_into_no_text() -> None:
    seen: list[str] = []

    class Recording(FalsePrometheus):
        async def answer_range(self, request: web.Request) -> web.StreamResponse:
            seen.append(request.headers.get("Authorization", ""))
            assert request.headers["X-Scope-OrgID"] == "team"
            return await FalsePrometheus.answer_range(self, request)

    false = Recording(url=f"http://127.0.0.1:{free_port()}", mode="401")
    await false.open_door()
    tenant = {"X-Scope-OrgID": "team"}
    for source in (
        PrometheusSource(url=false.url, headers=tenant, bearer_token=SecretStr("s3cret")),
        PrometheusSource(url=false.url, headers=tenant, basic_auth=SecretStr("me:s3cret")),
    ):
        async with opened(source):
            assert await source.label_sets("build_info", now=START, timeout_s=5.0) == []
            (reading,) = await source.read([RATIO], ratio_grid(10), now=START, timeout_s=5.0)
            assert reading.problem is not None
            assert "credentials" in reading.problem
            assert "s3cret" not in reading.problem + repr(source)
    await false.close_door()
    assert seen == ["Bearer s3cret"] * 2 + ["Basic bWU6czNjcmV0"] * 2


async def test_queries_answered_before_the_deadline_are_kept() -> None:
    stuck = asyncio.Event()

    class OneSlow(FalsePrometheus):
        async def answer_range(self, request: web.Request) -> web.StreamResponse:
            if "slow_total" in str((await request.post())["query"]):
                await stuck.wait()
            return await FalsePrometheus.answer_range(self, request)

    false = OneSlow(url=f"http://127.0.0.1:{free_port()}", world=steady)
    await false.open_door()
    async with opened(PrometheusSource(url=false.url)) as source:
        queries = [
            Query(series_id="a/slow", kind="count", counter="slow_total"),
            Query(series_id="a/fast", kind="count", counter="fast_total"),
        ]
        slow, fast = await source.read(queries, ratio_grid(10), now=START, timeout_s=0.5)
    stuck.set()
    await false.close_door()
    assert slow.problem == "no answer within 0.5 s"
    assert np.isnan(slow.values).all()
    assert fast.problem is None
    assert np.isfinite(fast.values).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"bearer_token": SecretStr("a"), "basic_auth": SecretStr("b")},
        {"target_labels": ()},
    ],
)
def test_contradictory_configuration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^(basic_auth|target_labels): "):
        PrometheusSource(url="http://prometheus:9090", **wrong)  # type: ignore[arg-type]  # two cases of it
