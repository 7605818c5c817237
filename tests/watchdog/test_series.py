"""Rings, the book and the bins: what is kept, what heals, what is frozen, what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.model import HISTOGRAM_BINS, SeriesSpec
from watchdog.series import HEAL_STEPS, Bins, SeriesBook, SeriesRing

RATIO = SeriesSpec(name="errors", kind="ratio", unit="ratio", bad="up", step_s=60.0)
GAUGE = SeriesSpec(name="depth", kind="gauge", unit="", bad="up", step_s=1.0)
LATENCY = SeriesSpec(name="latency", kind="histogram", unit="s", bad="up", step_s=60.0)
PROBE = SeriesSpec(name="home", kind="probe", unit="ratio", bad="up", step_s=60.0)


def test_what_was_written_is_read_back_oldest_first() -> None:
    ring = SeriesRing(RATIO, 10)
    for i in range(4):
        assert ring.write(600.0 + 60 * i, (i, 100 + i))
    assert ring.read(600.0, 780.0).tolist() == [[0, 100], [1, 101], [2, 102], [3, 103]]
    assert ring.at(660.0).tolist() == [1, 101]
    assert ring.newest_at == 780.0


def test_steps_never_written_are_missing_before_within_and_after() -> None:
    ring = SeriesRing(GAUGE, 10)
    ring.write(100.0, 1.0)
    ring.write(103.0, 4.0)
    np.testing.assert_array_equal(ring.read(99.0, 104.0)[:, 0], [np.nan, 1, np.nan, np.nan, 4, np.nan])
    assert np.isnan(ring.at(5000.0)).all()


def test_an_empty_ring_reads_as_missing() -> None:
    assert np.isnan(SeriesRing(RATIO, 10).read(600.0, 1200.0)).all()


def test_old_rows_do_not_come_back_when_the_ring_turns_over() -> None:
    ring = SeriesRing(GAUGE, 5)
    for i in range(5):
        ring.write(float(i), i)
    ring.write(7.0, 7.0)
    np.testing.assert_array_equal(
        ring.read(0.0, 7.0)[:, 0], [np.nan, np.nan, np.nan, 3, 4, np.nan, np.nan, 7]
    )


def test_a_jump_longer_than_the_ring_leaves_only_the_newest() -> None:
    ring = SeriesRing(GAUGE, 5)
    for i in range(5):
        ring.write(float(i), i)
    ring.write(1000.0, 9.0)
    assert np.isfinite(ring.read(996.0, 1000.0)).sum() == 1


def test_a_missing_step_heals_for_three_steps_and_is_frozen_after() -> None:
    ring = SeriesRing(GAUGE, 20)
    ring.write(10.0, np.nan)
    ring.write(9.0, 9.0)
    ring.write(10.0 + HEAL_STEPS, 13.0)
    assert ring.write(10.0, 10.0)
    assert not ring.write(8.0, 8.0)
    assert ring.at(10.0)[0] == 10.0
    assert np.isnan(ring.at(8.0)[0])


def test_a_value_is_never_replaced_because_it_may_have_been_judged() -> None:
    ring = SeriesRing(GAUGE, 20)
    ring.write(10.0, 1.0)
    assert not ring.write(10.0, 2.0)
    assert not ring.write(10.0, np.nan)
    assert ring.backfill(10.0, np.array([[3.0]])) == 0
    assert ring.at(10.0)[0] == 1.0


def test_a_whole_distribution_heals_and_is_missing_as_one_row() -> None:
    ring = SeriesRing(LATENCY, 10)
    row = np.arange(HISTOGRAM_BINS, dtype=np.float64)
    ring.write(600.0, np.where(row == 3.0, np.nan, row))
    ring.write(660.0, row)
    assert np.isnan(ring.at(600.0)).all()
    assert ring.write(600.0, 2.0 * row)
    np.testing.assert_array_equal(ring.read(600.0, 660.0), [2.0 * row, row])


@pytest.mark.parametrize("row", [(np.nan, 5.0), (1.0, np.nan), (np.inf, 5.0), (1.0, -np.inf)])
def test_a_row_with_a_bad_half_is_missing_as_a_whole(row: tuple[float, float]) -> None:
    ring = SeriesRing(RATIO, 10)
    assert not ring.write(600.0, row)
    assert np.isnan(ring.at(600.0)).all()


def test_backfill_fills_old_holes_only() -> None:
    ring = SeriesRing(GAUGE, 20)
    ring.write(15.0, 15.0)
    assert ring.backfill(10.0, np.array([[10.0], [np.nan], [12.0]])) == 2
    np.testing.assert_array_equal(ring.read(10.0, 15.0)[:, 0], [10, np.nan, 12, np.nan, np.nan, 15])
    assert ring.backfill(0.0, np.empty((0, 1))) == 0


def test_backfill_older_than_the_ring_is_not_kept() -> None:
    ring = SeriesRing(GAUGE, 5)
    ring.write(100.0, 1.0)
    assert ring.backfill(90.0, np.ones((8, 1))) == 2
    assert np.isnan(ring.at(95.0)[0])


def test_a_time_off_the_grid_is_a_bug() -> None:
    with pytest.raises(ValueError, match="not a multiple"):
        SeriesRing(RATIO, 10).write(601.0, (0, 1))


def test_what_is_read_is_a_copy() -> None:
    ring = SeriesRing(GAUGE, 5)
    ring.write(1.0, 1.0)
    ring.at(1.0)[:] = 9
    ring.read(1.0, 1.0)[:] = 9
    assert ring.at(1.0)[0] == 1.0


def test_a_ring_must_hold_what_still_heals() -> None:
    with pytest.raises(ValueError, match="capacity"):
        SeriesRing(GAUGE, HEAL_STEPS)


@settings(derandomize=True, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 40), st.floats(-9, 9) | st.just(float("nan"))), max_size=40))
def test_a_ring_agrees_with_a_dictionary(writes: list[tuple[int, float]]) -> None:
    ring = SeriesRing(GAUGE, 8)
    model: dict[int, float] = {}
    newest = -1
    for at, value in writes:
        if newest < 0 or at >= newest - HEAL_STEPS:
            newest = max(newest, at)
            if np.isfinite(value):
                model.setdefault(at, value)
        ring.write(float(at), value)
    expected = [model.get(at, np.nan) if newest - 8 < at <= newest else np.nan for at in range(45)]
    np.testing.assert_array_equal(ring.read(0.0, 44.0)[:, 0], expected)


def book_of(spec: SeriesSpec) -> SeriesBook:
    book = SeriesBook()
    book.add("shop/x", spec, capacity=100)
    return book


def test_check_runs_become_failed_and_run_per_step() -> None:
    book = book_of(PROBE)
    for at, failed in [(600.1, True), (630.0, False), (660.0, True), (660.5, False)]:
        book.bins("shop/x").add(at, float(failed))
    book.close_bin("shop/x", 660.0)
    assert book.at("shop/x", 660.0).tolist() == [2.0, 3.0]
    assert np.isnan(book.at("shop/x", 720.0)).all()
    book.close_bin("shop/x", 720.0)
    assert book.at("shop/x", 720.0).tolist() == [0.0, 1.0]


def test_a_step_without_runs_is_missing_not_zero() -> None:
    book = book_of(PROBE)
    book.close_bin("shop/x", 660.0)
    assert np.isnan(book.at("shop/x", 660.0)).all()


def test_readings_become_their_mean_however_many_a_burst_made() -> None:
    book = book_of(GAUGE)
    for value in (1.0, 2.0, 6.0):
        book.bins("shop/x").add(9.5, value)
    book.bins("shop/x").add(9.5, float("nan"))
    book.close_bin("shop/x", 10.0)
    assert book.at("shop/x", 10.0).tolist() == [3.0]


def test_a_result_for_a_closed_step_is_dropped_and_counted() -> None:
    bins = Bins(step_s=60.0, is_mean=False)
    assert list(bins.close(660.0)) == []
    bins.add(650.0, 1.0)
    assert bins.dropped == 1
    assert list(bins.close(720.0)) == []


def test_bins_that_nobody_closes_do_not_grow() -> None:
    bins = Bins(step_s=1.0, is_mean=False)
    for i in range(1000):
        bins.add(float(i), 1.0)
    assert bins.dropped > 900
    assert len(list(bins.close(2000.0))) == 1000 - bins.dropped


def test_the_wrong_kind_of_result_is_a_bug() -> None:
    with pytest.raises(ValueError, match="two columns"):
        book_of(RATIO).bins("shop/x")


def test_history_ends_where_asked_and_carries_the_spec() -> None:
    book = book_of(GAUGE)
    book.backfill("shop/x", 1.0, np.arange(1.0, 11.0)[:, np.newaxis])
    history = book.history("shop/x", end_at=8.0, n=3)
    assert history.values[:, 0].tolist() == [6.0, 7.0, 8.0]
    assert (history.end_at, history.spec) == (8.0, GAUGE)
    assert book.history("shop/x", end_at=8.0, n=3, name="other/x").spec.name == "other/x"


def test_shares_of_missing_steps() -> None:
    book = book_of(RATIO)
    book.backfill("shop/x", 600.0, np.ones((4, 2)))
    assert book.missing_share("shop/x", 600.0, 1080.0) == pytest.approx(5 / 9)
    assert book.coverage_last_hour("shop/x", 780.0) == pytest.approx(4 / 60)


def test_a_step_is_frozen_when_no_later_tick_asks_for_it() -> None:
    book = book_of(RATIO)
    assert book.is_frozen("shop/x", 600.0, 600.0 + HEAL_STEPS * 60)
    assert not book.is_frozen("shop/x", 660.0, 600.0 + HEAL_STEPS * 60)


def test_an_id_is_taken_once() -> None:
    book = book_of(GAUGE)
    with pytest.raises(ValueError, match="already"):
        book.add("shop/x", GAUGE, capacity=10)
