"""What is drawn is what was measured: gaps stay gaps, extremes survive, damage stays in its frame."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detectors.histogram import bounds
from detectors.model import HISTOGRAM_BINS, SeriesSpec
from detectors.packet import encode_array
from tests.support.board import STARTED_AT, STEP_S, a_deploy, a_watch, example_packet
from watchdog.api.charts import chart, gaps, level, thin

DEPLOY = a_deploy("d-checkout", "checkout", "4.12.0", STARTED_AT, from_version="4.11.3")
WATCH = a_watch(DEPLOY, "observing")

columns = hnp.arrays(
    np.float64,
    st.integers(1, 400),
    elements=st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6)),
)


@given(columns, st.integers(12, 200))
@settings(max_examples=80)
def test_thinning_keeps_extremes_and_gaps(values: np.ndarray, points_max: int) -> None:
    kept = thin({"value": values}, points_max)
    assert list(kept) == sorted(set(kept.tolist()))
    # A third per bucket of least, greatest and a missing row, and the two ends.
    assert len(kept) <= points_max + 2
    drawn = values[kept]
    if np.isfinite(values).any():
        assert np.nanmin(drawn) == np.nanmin(values)
        assert np.nanmax(drawn) == np.nanmax(values)
    assert np.isnan(drawn).any() == np.isnan(values).any()


def test_a_single_missing_step_among_thousands_still_parts_the_line() -> None:
    values = np.sin(np.arange(20_000) / 50.0)
    values[12_345] = np.nan
    kept = thin({"value": values}, 600)
    assert 12_345 in kept
    assert len(kept) <= 602


@given(hnp.arrays(np.bool_, st.integers(0, 60)))
@settings(max_examples=60)
def test_gaps_are_exactly_the_missing_steps(is_missing: np.ndarray) -> None:
    at = 1000.0 + 10.0 * np.arange(len(is_missing))
    spans = gaps(at, np.where(is_missing, np.nan, 1.0), 10.0)
    covered = [any(low < t <= high for low, high in spans) for t in at]
    assert covered == is_missing.tolist()
    assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))


def test_a_quotient_without_a_denominator_is_missing() -> None:
    rows = np.array([[1.0, 4.0], [0.0, 0.0], [3.0, np.nan], [np.nan, 5.0], [0.0, 8.0]])
    spec = SeriesSpec(name="errors", kind="ratio", unit="ratio", bad="up", step_s=60.0)
    assert np.array_equal(level(rows, spec), [0.25, np.nan, np.nan, np.nan, 0.0], equal_nan=True)


def test_of_a_distribution_its_quantile_is_drawn() -> None:
    rows = np.zeros((3, HISTOGRAM_BINS))
    rows[0, [10, 20]] = [90.0, 10.0]
    rows[1] = np.nan
    edges = bounds("s")
    median, tail = (
        level(rows, SeriesSpec(name="x", kind="histogram", unit="s", bad="up", step_s=60.0, quantile=q))
        for q in (0.5, 0.95)
    )
    assert edges[9] < median[0] < edges[10]
    assert edges[19] < tail[0] < edges[20]
    # Missing, and a step in which nothing was asked for.
    assert np.isnan(tail[1:]).all()


def test_the_chart_of_the_example_says_what_the_packet_says() -> None:
    packet = example_packet(DEPLOY)
    drawn = chart(packet, WATCH)
    names = [one["spec"]["name"] for one in drawn["series"]]
    assert names == [item["series"] for item in packet["evidence"]]
    failed = drawn["series"][names.index("failed_payments")]
    assert len(failed["at"]) == len(failed["value"]) == len(failed["statistic"])
    assert drawn["from_at"] - STEP_S <= failed["at"][0] <= drawn["from_at"] + STEP_S
    assert np.allclose(np.diff(failed["at"]), STEP_S)
    assert failed["gaps"] == [[failed["gaps"][0][0], failed["gaps"][0][0] + 8 * STEP_S]]
    first_over = next(
        at
        for at, value in zip(failed["at"], failed["statistic"], strict=True)
        if value is not None and value > failed["threshold"]
    )
    assert failed["crossed_at"] == first_over
    latency = drawn["series"][names.index("order_latency")]
    assert latency["value"][-20:] == [None] * 20
    assert latency["crossed_at"] is None


def test_before_the_deploy_nothing_was_expected() -> None:
    drawn = chart(example_packet(DEPLOY), WATCH)
    for one in drawn["series"]:
        before = [low for at, low in zip(one["at"], one["expected_low"], strict=True) if at <= STARTED_AT]
        assert before
        assert set(before) == {None}


def test_a_watch_that_ended_early_is_not_drawn_into_an_empty_future() -> None:
    closed = a_watch(DEPLOY, "regressed")
    drawn = chart(example_packet(DEPLOY), closed)
    assert drawn["to_at"] == closed.closed_at
    assert chart(example_packet(DEPLOY), WATCH)["to_at"] == WATCH.ends_at


def test_steps_that_nobody_sent_between_history_and_ticks_are_missing() -> None:
    end_at = STARTED_AT - STARTED_AT % STEP_S
    one = {
        "spec": {"name": "s", "kind": "gauge", "unit": "x", "bad": "up", "step_s": STEP_S},
        "history": encode_array(np.ones((10, 1)), STEP_S, end_at=end_at - 3 * STEP_S),
        "ticks": encode_array(np.ones((4, 1)), STEP_S, first_at=end_at + STEP_S),
        "trace": {},
    }
    packet = {"deploy": {"started_at": STARTED_AT, "finished_at": None}, "series": [one], "evidence": []}
    drawn = chart(packet, WATCH)["series"][0]
    assert drawn["value"] == [1.0] * 10 + [None] * 3 + [1.0] * 4
    assert drawn["gaps"] == [[end_at - 3 * STEP_S, end_at]]


@pytest.mark.parametrize("f8", ["AAAA", "not base64!", ""])
def test_a_damaged_series_stays_in_its_own_frame(f8: str) -> None:
    packet = example_packet(DEPLOY)
    broken = {**packet["series"][0], "ticks": {**packet["series"][0]["ticks"], "f8": f8}}
    drawn = chart({**packet, "series": [broken, *packet["series"][1:]]}, WATCH)
    problems = {one["spec"]["name"]: one["problem"] for one in drawn["series"]}
    assert problems.pop(broken["spec"]["name"])
    assert set(problems.values()) == {None}


def test_the_first_tick_of_all_is_drawn() -> None:
    packet = example_packet(DEPLOY, n_ticks=0)
    drawn = chart(packet, WATCH)
    assert all(one["at"] and one["problem"] is None for one in drawn["series"])
