"""The scrape source: pages become increases on the grid, once per step, never dated too early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import SecretStr

from detectors.histogram import bounds
from detectors.model import HISTOGRAM_BINS
from tests.support.servers import free_port
from watchdog.sources.protocol import Grid, Query, SourceReading
from watchdog.sources.scrape import ScrapeSource

STEP_S = 60.0
START = 6_000_000.0
REQUESTS = Query(series_id="shop/requests", kind="count", counter="requests_total")
RATIO = Query(
    series_id="shop/errors",
    kind="ratio",
    numerator='requests_total{code=~"5.."}',
    denominator="requests_total",
)


@dataclass
class Pages:
    """Pages by path; an absent one answers 404. seen: (path, request headers) of every request."""

    text: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append((request.path, request.headers))
        if request.path not in self.text:
            return web.Response(status=404)
        return web.Response(text=self.text[request.path])


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    pages = Pages(url=f"http://127.0.0.1:{free_port()}")
    app = web.Application()
    app.router.add_get("/{tail:.*}", pages.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(pages.url.rpartition(":")[2])).start()
    yield pages
    await runner.cleanup()


@asynccontextmanager
async def opened(source: ScrapeSource) -> AsyncIterator[ScrapeSource]:
    try:
        yield source
    finally:
        await source.close()


async def tick(source: ScrapeSource, number: int, *queries: Query) -> list[SourceReading]:
    """Read as the daemon does with a lag of half a step: the scrape happens within step `number` + 1."""
    at = START + number * STEP_S
    grid = Grid(first_at=at - 3 * STEP_S, last_at=at, step_s=STEP_S)
    return await source.read(queries, grid, now=at + 30.0, timeout_s=5.0)


async def newest(source: ScrapeSource, number: int, query: Query = REQUESTS) -> list[float]:
    (reading,) = await tick(source, number, query)
    return [float(value) for value in reading.values[-1]]


async def test_a_counter_becomes_its_increase_in_the_step_of_the_scrape(pages: Pages) -> None:
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        seen = []
        for number, total in enumerate([1000, 1007, 1007, 1020, 1021]):
            pages.text["/metrics"] = f"requests_total {total}\n"
            seen += await newest(source, number)
        # The scrape of tick 1 happens half a step after the end of step 1, so it belongs to step 2.
        np.testing.assert_array_equal(seen, [np.nan, np.nan, 7, 0, 13])


async def test_many_reads_in_one_step_scrape_once(pages: Pages) -> None:
    pages.text["/metrics"] = "requests_total 1\n"
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        await asyncio.gather(*(tick(source, 0, REQUESTS, RATIO) for _ in range(20)))
        assert len(pages.seen) == 1
        await tick(source, 1, REQUESTS)
        assert len(pages.seen) == 2


async def test_series_of_two_step_sizes_do_not_share_increases(pages: Pages) -> None:
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        for second in range(0, 121, 15):
            pages.text["/metrics"] = f"requests_total {1000 + second}\n"
            now = START + second + 1.0
            for step_s in (15.0, 60.0):
                at = now // step_s * step_s
                grid = Grid(first_at=at, last_at=at, step_s=step_s)
                (reading,) = await source.read([REQUESTS], grid, now=now, timeout_s=5.0)
                if second == 120:
                    assert reading.values[0, 0] == step_s


async def test_a_restart_counts_from_zero_and_new_labels_too(pages: Pages) -> None:
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        seen = []
        for number, lines in enumerate(
            [
                ['requests_total{code="200"} 500'],
                ['requests_total{code="200"} 600'],
                ['requests_total{code="200"} 700', 'requests_total{code="500"} 3'],
                ['requests_total{code="200"} 90', 'requests_total{code="500"} 1'],
                ['requests_total{code="200"} 190', 'requests_total{code="500"} 1'],
                ['requests_total{code="200"} 290', 'requests_total{code="500"} 1'],
            ]
        ):
            pages.text["/metrics"] = "\n".join(lines) + "\n"
            seen.append(await newest(source, number, RATIO))
        np.testing.assert_array_equal(
            seen, [[np.nan] * 2, [np.nan] * 2, [0, 100], [3, 103], [1, 91], [0, 100]]
        )


async def test_after_a_failed_scrape_no_step_holds_two(pages: Pages) -> None:
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        seen, problems = [], []
        for number in range(7):
            pages.text = {} if number == 3 else {"/metrics": f"requests_total {1000 + 50 * number}\n"}
            (reading,) = await tick(source, number, REQUESTS)
            seen.append(reading.values[-1, 0])
            problems.append(reading.problem)
        np.testing.assert_array_equal(seen, [np.nan, np.nan, 50, 50, np.nan, np.nan, 50])
        assert [problem is not None for problem in problems] == [False] * 3 + [True] + [False] * 3
        assert problems[3] is not None
        assert "/metrics answered 404" in problems[3]


async def test_a_tick_that_came_too_late_leaves_a_hole_not_a_spike(pages: Pages) -> None:
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        for number in (0, 1, 2, 4, 5, 6):
            pages.text["/metrics"] = f"requests_total {1000 + 50 * number}\n"
            (reading,) = await tick(source, number, REQUESTS)
        np.testing.assert_array_equal(reading.values[:, 0], [50, np.nan, np.nan, 50])


async def test_ticks_due_at_the_very_end_of_a_step_leave_no_hole_when_one_comes_early(pages: Pages) -> None:
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        for number, off_s in enumerate([0.01, -0.01, 0.0, 2.0, -1.0, 0.3, 40.0, 0.0, 0.0]):
            pages.text["/metrics"] = f"requests_total {1000 + 50 * number}\n"
            at = START + number * STEP_S
            grid = Grid(first_at=at - 3 * STEP_S, last_at=at, step_s=STEP_S)
            (reading,) = await source.read([REQUESTS], grid, now=at + off_s, timeout_s=5.0)
            if number >= 2:
                assert reading.values[-1, 0] == 50
    assert len(pages.seen) == 9


async def test_processes_are_summed_and_one_that_is_gone_is_missing(pages: Pages) -> None:
    urls = (f"{pages.url}/a", f"{pages.url}/b")
    async with opened(ScrapeSource(urls=urls)) as source:
        seen = []
        for number in range(6):
            pages.text = {"/a": f"requests_total {50 * number}\n", "/b": f"requests_total {9 * number}\n"}
            if number == 5:
                del pages.text["/b"]
            seen += await newest(source, number)
        (reading,) = await tick(source, 6, REQUESTS)
        np.testing.assert_array_equal(seen[2:], [59, 59, 59, 59])
        assert np.isnan(reading.values[-1, 0])


async def test_what_the_official_client_writes_is_read(pages: Pages) -> None:
    registry = CollectorRegistry()
    requests = Counter("requests", "Requests.", ["code"], registry=registry)
    latency = Histogram("latency_seconds", "Latency.", buckets=(0.1, 0.5, 1.0), registry=registry)
    depth = Gauge("depth", "Queue \\ depth\nin jobs.", registry=registry)
    queries = (
        RATIO,
        Query(series_id="shop/p50", kind="latency", histogram="latency_seconds_bucket", quantile=0.5),
        Query(series_id="shop/depth", kind="gauge", gauge="depth"),
    )
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        for number in range(4):
            for _ in range(10):
                requests.labels("200").inc()
                latency.observe(0.3)
            requests.labels("503").inc()
            depth.set(number + 1)
            pages.text["/metrics"] = generate_latest(registry).decode()
            readings = await tick(source, number, *queries)
    assert [reading.problem for reading in readings] == [None] * 3
    assert [reading.values[-1].tolist() for reading in readings] == [[1, 11], [pytest.approx(0.3)], [3]]


async def test_a_page_gives_the_whole_distribution_of_a_classic_histogram(pages: Pages) -> None:
    registry = CollectorRegistry()
    latency = Histogram("latency_seconds", "Latency.", ["code"], buckets=(0.1, 0.5), registry=registry)
    query = Query(series_id="shop/latency", kind="histogram", histogram="latency_seconds_bucket")
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        for number in range(4):
            for seconds, code in ((0.05, "200"), (0.3, "200"), (0.3, "500"), (7.0, "200")):
                latency.labels(code).observe(seconds)
            pages.text["/metrics"] = generate_latest(registry).decode()
            (reading,) = await tick(source, number, query)
    assert reading.problem is None
    row, edges = reading.values[-1], bounds("s")
    filled = {int(i): row[i] for i in np.flatnonzero(row)}
    of_a_tenth, of_a_half = np.searchsorted(edges, [0.1, 0.5])
    assert filled == {of_a_tenth: 1.0, of_a_half: 2.0, len(edges): 1.0}


async def test_other_buckets_are_missing_with_the_reason(pages: Pages) -> None:
    query = Query(series_id="shop/latency", kind="histogram", histogram="latency_seconds_bucket")
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        for number in range(6):
            bounds_now = ("0.1", "0.5", "+Inf") if number < 4 else ("0.1", "+Inf")
            lines = [f'latency_seconds_bucket{{le="{le}"}} {10 * number + 9}\n' for le in bounds_now]
            pages.text["/metrics"] = "".join(lines)
            (reading,) = await tick(source, number, query)
            if number == 3:
                assert reading.problem is None
                assert reading.values[-1].sum() == 10.0
    assert np.isnan(reading.values[-1]).all()
    assert reading.problem is not None
    assert "other buckets" in reading.problem


async def test_a_page_has_no_native_histograms(pages: Pages) -> None:
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        query = Query(series_id="a/b", kind="histogram", histogram="latency_seconds")
        (reading,) = await tick(source, 0, query)
    assert reading.problem is not None
    assert "give the `_bucket` series" in reading.problem
    assert reading.values.shape == (4, HISTOGRAM_BINS)


async def test_a_long_history_is_missing_where_it_was_not_seen(pages: Pages) -> None:
    pages.text["/metrics"] = "requests_total 5\n"
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        for number in range(4):
            pages.text["/metrics"] = f"requests_total {number}\n"
            await tick(source, number, REQUESTS)
        grid = Grid(first_at=START - 9996 * STEP_S, last_at=START + 3 * STEP_S, step_s=STEP_S)
        (reading,) = await source.read([REQUESTS], grid, now=START + 3 * STEP_S + 40, timeout_s=5.0)
        assert reading.values.shape == (10_000, 1)
        assert np.isfinite(reading.values).sum() == 2


async def test_a_metric_that_is_not_there_says_so(pages: Pages) -> None:
    pages.text["/metrics"] = "other_total 5\n"
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        (reading,) = await tick(source, 0, REQUESTS)
        assert reading.problem == "no usable sample of requests_total on the page"


async def test_promql_is_refused_because_there_is_no_engine(pages: Pages) -> None:
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        (reading,) = await tick(source, 0, Query(series_id="a/b", kind="gauge", query="sum(x)"))
        assert reading.problem is not None
        assert "no PromQL" in reading.problem


async def test_memory_is_bounded(pages: Pages) -> None:
    async with opened(ScrapeSource(url=f"{pages.url}/metrics")) as source:
        for number in range(60):
            pages.text["/metrics"] = f"requests_total {number}\n"
            await tick(source, number, REQUESTS)
        assert len(source._scrapes[STEP_S]) <= ScrapeSource.KEPT_STEPS


async def test_the_token_goes_in_a_header_and_into_no_text(pages: Pages) -> None:
    source = ScrapeSource(
        url=f"{pages.url}/metrics?key=q", bearer_token=SecretStr("s3cret"), headers={"X-A": "1"}
    )
    async with opened(source):
        (reading,) = await tick(source, 0, REQUESTS)
    assert reading.problem is not None
    assert "key=q" not in reading.problem
    assert "s3cret" not in repr(source)
    path, headers = pages.seen[0]
    assert (path, headers["Authorization"], headers["X-A"]) == ("/metrics", "Bearer s3cret", "1")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": "http://a/m", "urls": ("http://b/m",)},
        {"urls": ("http://a/m", "http://a/m")},
        {"urls": ("b",)},
    ],
)
def test_contradictory_configuration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^urls?: "):
        ScrapeSource(**wrong)  # type: ignore[arg-type]  # wrong on purpose
