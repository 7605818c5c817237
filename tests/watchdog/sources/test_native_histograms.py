"""Native histograms of a real Prometheus, and answers that look like some and are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from detectors.histogram import bounds
from detectors.model import HISTOGRAM_BINS, FloatArray
from tests.support.native import Native, remote_write
from tests.support.prometheus import openmetrics, prometheus_server
from watchdog.sources.native import read_native
from watchdog.sources.prometheus import PrometheusSource
from watchdog.sources.protocol import Grid, Query
from watchdog.sources.unreadable import Unreadable

STEP_S = 60.0
START = 1_790_000_000 // 3600 * 3600.0
STEPS = 60
EDGES = bounds("s")
NATIVE = Query(series_id="shop/latency", kind="histogram", histogram="latency_seconds")
# The step in which pod b is replaced by pod c, and the ones in which pod a begins anew or is not scraped.
REPLACED, RESTARTED, COARSER = 20, 30, 40
SILENT = range(50, 53)


def observed(pod: str, step: int) -> list[float]:
    """What a pod observes in a step: fixed by its name and the step, clear of every bound."""
    rng = np.random.default_rng([ord(pod), step])
    drawn = np.exp(rng.normal(-1.5, 0.8, rng.integers(20, 40)))
    return [*drawn.tolist(), 0.0, 300.0]


def truth(pod: str, step: int) -> FloatArray:
    place = np.searchsorted(EDGES, observed(pod, step), side="left")
    made: FloatArray = np.bincount(place, minlength=HISTOGRAM_BINS).astype(np.float64)
    return made


def history() -> dict[str, dict[float, Native]]:
    """Scraped 5 s before the end of every step."""
    pods: dict[str, dict[float, Native]] = {"a": {}, "b": {}, "c": {}}
    alive = {"a": range(STEPS), "b": range(REPLACED), "c": range(REPLACED, STEPS)}
    for pod, points in pods.items():
        so_far: list[float] = []
        for step in alive[pod]:
            if pod == "a" and step == RESTARTED:
                so_far = []
            so_far += observed(pod, step)
            schema = 1 if pod == "a" and step >= COARSER else 3 if pod == "a" else 5
            if not (pod == "a" and step in SILENT):
                points[START + step * STEP_S - 5.0] = Native(schema=schema).and_these(so_far)
    return pods


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("native")
    # In a block of its own: nothing is taken by remote write for a time that a block covers.
    classic = openmetrics({'depth{pod="a"}': [(START - 86400.0 + 60.0 * i, 3.0) for i in range(30)]})
    with prometheus_server(folder, classic, takes_native=True) as url:
        remote_write(url, history())
        yield url


async def read(url: str, first: int, last: int, query: Query = NATIVE) -> tuple[FloatArray, str | None]:
    source = PrometheusSource(url=url)
    grid = Grid(first_at=START + first * STEP_S, last_at=START + last * STEP_S, step_s=STEP_S)
    try:
        (reading,) = await source.read([query], grid, now=grid.last_at + 30.0, timeout_s=20.0)
    finally:
        await source.close()
    return reading.values, reading.problem


@pytest.mark.real
async def test_every_observation_is_in_its_bin(url: str) -> None:
    """Through two schemas, their change, a restart and a replaced pod, zeros and values beyond the grid."""
    values, problem = await read(url, 5, 49)
    assert problem is None
    for i, step in enumerate(range(5, 50)):
        expected = truth("a", step) + truth("b" if step < REPLACED else "c", step)
        np.testing.assert_array_equal(values[i], expected, err_msg=f"step {step}")


@pytest.mark.real
async def test_a_pod_that_is_not_scraped_makes_steps_missing_and_no_spike(url: str) -> None:
    values, _ = await read(url, 45, 56)
    is_missing = np.isnan(values).all(axis=1)
    # One of two pods is too many to go on without, and its first value after the gap covers four steps.
    assert is_missing.tolist() == [False] * 5 + [True] * 4 + [False] * 3
    np.testing.assert_array_equal(values[9], truth("a", 54) + truth("c", 54))


@pytest.mark.real
async def test_live_reads_give_what_the_history_gave(url: str) -> None:
    whole, _ = await read(url, 5, 49)
    source = PrometheusSource(url=url)
    try:
        for newest in range(12, 49, 4):
            grid = Grid(
                first_at=START + (newest - 3) * STEP_S, last_at=START + newest * STEP_S, step_s=STEP_S
            )
            (reading,) = await source.read([NATIVE], grid, now=grid.last_at, timeout_s=20.0)
            np.testing.assert_array_equal(reading.values, whole[newest - 8 : newest - 4])
    finally:
        await source.close()


@pytest.mark.real
async def test_after_the_last_sample_steps_are_missing_at_once(url: str) -> None:
    """An instant selector repeats the last value for five minutes; that must not read as idle."""
    values, _ = await read(url, STEPS - 3, STEPS + 3)
    assert np.isfinite(values[:3]).all()
    assert np.isnan(values[3:]).all()


@pytest.mark.real
@pytest.mark.parametrize(
    ("selector", "because"),
    [("depth", "numbers, not native histograms"), ("unheard_of", "no usable sample of unheard_of")],
)
async def test_what_is_no_native_histogram_is_missing_with_the_reason(
    url: str, selector: str, because: str
) -> None:
    query = Query(series_id="a/b", kind="histogram", histogram=selector)
    values, problem = await read(url, -1435, -1430, query)
    assert np.isnan(values).all()
    assert values.shape == (6, HISTOGRAM_BINS)
    assert problem is not None
    assert because in problem


GRID = Grid(first_at=600.0, last_at=720.0, step_s=60.0)


def answer(*buckets: Any, at: float = 660, **more: Any) -> bytes:
    item = {"metric": {"pod": "a"}, "histograms": [[at, {"count": "9", "buckets": list(buckets)}]], **more}
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [item]}}).encode()


def test_negative_values_and_the_bucket_around_zero_are_small_ones() -> None:
    body = answer([1, "-2", "-1", "3"], [3, "-0.001", "0.0001", "2"], [0, "0.25", "0.5", "4"])
    streams = {stream.labels["le"]: stream.values for stream in read_native(body, GRID, EDGES)}
    assert len(streams) == HISTOGRAM_BINS
    assert streams[repr(float(EDGES[0]))][1] == 5.0
    assert streams["inf"].tolist()[1:2] == [9.0]
    assert np.isnan(streams["inf"][[0, 2]]).all()


@pytest.mark.parametrize(
    ("body", "because"),
    [
        (answer([0, "0.25", "0.5", 4]), "not a time and a histogram"),
        (answer([0, "0.25", "4"]), "not a time and a histogram"),
        (answer([0, "0.25", "0.5", "-4"]), "counts are none"),
        (answer([0, "0.25", "0.5", "NaN"]), "counts are none"),
        (answer([0, "0.25", "NaN", "4"]), "counts are none"),
        (answer(at=630), "off the grid"),
        (answer(at=1000), "another time"),
        (answer(values=[[600, "1"]]), "numbers, not native"),
        (answer(metric={"pod": 3}), "not text"),
        (answer(histograms=[[600, 7]]), "not a time and a histogram"),
        (answer(*[[0, "0.25", "0.5", "1"]] * 2001), "2001 buckets"),
    ],
)
def test_an_answer_that_is_wrong_in_one_place_is_not_trusted(body: bytes, because: str) -> None:
    with pytest.raises(Unreadable, match=because):
        read_native(body, GRID, EDGES)


def test_a_sum_over_a_reset_is_worked_out_here_and_is_no_partial_answer() -> None:
    told = json.loads(answer([0, "0.25", "0.5", "4"]))
    told["warnings"] = ["PromQL warning: conflicting counter resets during histogram aggregation (1:1)"]
    assert read_native(json.dumps(told).encode(), GRID, EDGES)
    told["warnings"] = ["one store was down"]
    with pytest.raises(Unreadable, match="partial"):
        read_native(json.dumps(told).encode(), GRID, EDGES)
