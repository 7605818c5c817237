"""Every kind of source: whatever the world does, missing values in time, with a reason, no exception."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from tests.support.prometheus import API_MODES, MODES, FalsePrometheus, false_prometheus, gzip_bomb
from watchdog.sources import SOURCES
from watchdog.sources.protocol import Grid, Query, Source

STEP_S = 60.0
NOW = 1.79e9 // STEP_S * STEP_S
ERRORS = Query(series_id="shop/errors", kind="ratio", numerator='x_total{code=~"5.."}', denominator="x_total")
REQUESTS = Query(series_id="shop/requests", kind="count", counter="x_total")
# Long enough that a healthy answer on a busy machine is not late, short enough for a test.
TIMEOUT_S = 1.0

CASES = [(kind, mode) for kind in sorted(SOURCES) for mode in MODES] + [
    ("prometheus", mode) for mode in API_MODES
]


@asynccontextmanager
async def opened(kind: str, url: str) -> AsyncIterator[Source]:
    path = {"prometheus": "", "scrape": "/metrics"}[kind]
    source = SOURCES[kind](url=url + path)  # type: ignore[call-arg]  # every kind has a url
    try:
        yield source
    finally:
        await source.close()


async def read_ticks(source: Source, false: FalsePrometheus, first: int, last: int) -> list[tuple[bool, str]]:
    """(everything newest is missing, problem) of both queries for every tick from `first` to `last`."""
    seen = []
    for tick in range(first, last + 1):
        at = NOW + tick * STEP_S
        false.now = lambda at=at: at - 30.0  # type: ignore[misc]  # a default to bind the loop's value
        grid = Grid(first_at=at - 3 * STEP_S, last_at=at, step_s=STEP_S)
        readings = await source.read([ERRORS, REQUESTS], grid, now=at - 30.0, timeout_s=TIMEOUT_S)
        assert [reading.series_id for reading in readings] == ["shop/errors", "shop/requests"]
        assert [reading.values.shape for reading in readings] == [(4, 2), (4, 1)]
        seen += [(bool(np.isnan(reading.values[-1]).all()), reading.problem or "") for reading in readings]
    return seen


@pytest.mark.parametrize("kind", sorted(SOURCES))
async def test_a_healthy_answer_becomes_finite_rows(kind: str) -> None:
    async with false_prometheus() as false, opened(kind, false.url) as source:
        seen = await read_ticks(source, false, 0, 3)
        assert seen[-2:] == [(False, ""), (False, "")]


@pytest.mark.parametrize(("kind", "mode"), CASES)
async def test_misbehaviour_is_missing_data_with_a_reason(kind: str, mode: str) -> None:
    if mode == "gzip_bomb":
        gzip_bomb()
    async with false_prometheus() as false, opened(kind, false.url) as source:
        assert (await read_ticks(source, false, 0, 3))[-1] == (False, "")
        if mode == "refused":
            await false.close_door()
        false.mode = mode
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # Twice the deadline: the reading has to come back at it, whatever the server does.
        seen = await asyncio.wait_for(read_ticks(source, false, 4, 4), 2 * TIMEOUT_S)
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        for is_missing, problem in seen:
            assert is_missing
            assert 10 < len(problem) < 400
            assert "Traceback" not in problem
        assert grown_mb < 30


@pytest.mark.parametrize("kind", sorted(SOURCES))
async def test_labels_are_those_of_every_series(kind: str) -> None:
    async with false_prometheus() as false, opened(kind, false.url) as source:
        found = await source.label_sets("x_total", now=NOW, timeout_s=TIMEOUT_S)
        codes = {labels.get("code") for labels in found}
        assert (len(found), codes) == {"prometheus": (10, {None}), "scrape": (2, {"200", "500"})}[kind]
        assert await source.label_sets("rate(x_total[5m])", now=NOW, timeout_s=TIMEOUT_S) == []


# One point cannot be out of order, and that half of the series is gone cannot be seen in one answer.
@pytest.mark.parametrize(
    ("kind", "mode"), [case for case in CASES if case[1] not in ("out_of_order", "half_series")]
)
async def test_labels_that_cannot_be_told_are_none(kind: str, mode: str) -> None:
    if mode == "gzip_bomb":
        gzip_bomb()
    async with false_prometheus() as false, opened(kind, false.url) as source:
        assert await source.label_sets("x_total", now=NOW, timeout_s=TIMEOUT_S)
        if mode == "refused":
            await false.close_door()
        false.mode = mode
        asked = source.label_sets("x_total", now=NOW + STEP_S, timeout_s=TIMEOUT_S / 2)
        assert await asyncio.wait_for(asked, TIMEOUT_S) == []


@pytest.mark.parametrize("kind", sorted(SOURCES))
async def test_after_an_outage_no_step_holds_the_increase_of_two(kind: str) -> None:
    async with false_prometheus() as false, opened(kind, false.url) as source:
        await read_ticks(source, false, 0, 3)
        false.mode = "html"
        await read_ticks(source, false, 4, 4)
        false.mode = "ok"
        grid_at = NOW + 7 * STEP_S
        await read_ticks(source, false, 5, 6)
        false.now = lambda: grid_at - 30.0
        grid = Grid(first_at=grid_at - 3 * STEP_S, last_at=grid_at, step_s=STEP_S)
        (reading,) = await source.read([REQUESTS], grid, now=grid_at - 30.0, timeout_s=5.0)
        seen = reading.values[np.isfinite(reading.values)]
        assert len(seen) >= 2
        # 10 pods, 2 requests a second; the page's second series adds 1 %.
        np.testing.assert_allclose(seen, 10 * 2.0 * STEP_S, rtol=0.02)


@pytest.mark.parametrize("kind", sorted(SOURCES))
@pytest.mark.parametrize(
    "query",
    [
        Query(series_id="a/b", kind="ratio", numerator="x_total"),
        Query(series_id="a/b", kind="count", counter="rate(x_total[5m])"),
        Query(series_id="a/b", kind="latency", histogram="x_total", quantile=0.9),
        Query(series_id="a/b", kind="histogram", histogram="x_total"),
        Query(series_id="a/b", kind="histogram", histogram="x_bucket"),
        Query(series_id="a/b", kind="histogram"),
        Query(series_id="a/b", kind="gauge"),
    ],
)
async def test_a_query_that_cannot_be_asked_says_why(kind: str, query: Query) -> None:
    async with false_prometheus() as false, opened(kind, false.url) as source:
        grid = Grid(first_at=NOW, last_at=NOW, step_s=STEP_S)
        (reading,) = await source.read([query], grid, now=NOW - 30.0, timeout_s=5.0)
        assert np.isnan(reading.values).all()
        assert reading.problem


@pytest.mark.parametrize("kind", sorted(SOURCES))
@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://x", "http://", "http://me:secret@prometheus"])
def test_an_address_that_is_none_is_refused_with_the_key_and_without_the_secret(kind: str, url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: ") as refused:
        SOURCES[kind](url=url)  # type: ignore[call-arg]  # every kind has a url
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("kind", sorted(SOURCES))
async def test_no_queries_are_no_readings(kind: str) -> None:
    async with false_prometheus() as false, opened(kind, false.url) as source:
        grid = Grid(first_at=NOW, last_at=NOW, step_s=STEP_S)
        assert await source.read([], grid, now=NOW, timeout_s=1.0) == []
