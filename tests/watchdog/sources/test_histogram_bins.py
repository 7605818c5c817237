"""From buckets to bins: exact where bounds coincide, whole where they do not, whatever a process has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.histogram import bounds
from detectors.model import HISTOGRAM_BINS, FloatArray
from watchdog.sources.bins import Layouts, per_bin, places, regrid
from watchdog.sources.counters import Fleet, increases
from watchdog.sources.protocol import Grid

EDGES = bounds("s")
NAN = np.nan


def binned(upper: list[float], *targets: list[list[float]]) -> FloatArray:
    """Counts per bin and step of cumulative buckets, each target given as its rows."""
    counts = np.array(targets).transpose(1, 0, 2)
    grid = regrid(counts, np.array(upper), EDGES)
    return per_bin(increases(grid, first_at=60_000.0, step_s=60.0, fleet=Fleet()))


def held(row: FloatArray) -> dict[int, float]:
    return {int(i): float(row[i]) for i in np.flatnonzero(row)}


def test_a_bucket_goes_whole_into_the_bin_of_its_upper_bound() -> None:
    rows = binned([0.1, 0.25, 1.0, np.inf], [[0, 0, 0, 0], [4, 10, 13, 20]])
    assert np.isnan(rows[0]).all()
    places_of = {bound: int(np.searchsorted(EDGES, bound)) for bound in (0.1, 0.25, 1.0)}
    assert EDGES[places_of[0.25]] == 0.25
    assert held(rows[1]) == {
        places_of[0.1]: 4,
        places_of[0.25]: 6,
        places_of[1.0]: 3,
        HISTOGRAM_BINS - 1: 7,
    }


def test_what_lies_below_and_above_the_grid_is_in_its_first_and_last_bin() -> None:
    rows = binned([0.0001, 0.0005, 100.0, 1000.0, np.inf], [[0] * 5, [1, 3, 3, 10, 15]])
    assert held(rows[1]) == {0: 3, HISTOGRAM_BINS - 1: 12}


def test_a_process_with_other_buckets_is_binned_by_its_own() -> None:
    """A roll-out brought 0.25 and dropped 0.2; both report in the same step."""
    upper = [0.2, 0.25, 1.0, np.inf]
    old = [[0.0, NAN, 0.0, 0.0], [5.0, NAN, 8.0, 8.0]]
    new = [[NAN, 0.0, 0.0, 0.0], [NAN, 6.0, 7.0, 7.0]]
    in_a_quarter, in_one = int(places(np.array(0.25), EDGES)), int(places(np.array(1.0), EDGES))
    assert held(binned(upper, old, new)[1]) == {in_a_quarter: 11, in_one: 4}


def hours(*spans: tuple[int, int, list[float]]) -> tuple[FloatArray, FloatArray]:
    """(counts, bounds) of processes that live from one hour to another with their own buckets."""
    upper = sorted({bound for _, _, own in spans for bound in own} | {np.inf})
    counts = np.full((max(last for _, last, _ in spans), len(spans), len(upper)), NAN)
    for i, (first, last, own) in enumerate(spans):
        for bound in (*own, np.inf):
            counts[first:last, i, upper.index(bound)] = 1.0
    return counts, np.array(upper)


def alike(layouts: Layouts, first_hour: int, *spans: tuple[int, int, list[float]]) -> list[bool]:
    counts, upper = hours(*spans)
    last_at = 3600.0 * (first_hour + len(counts) - 1)
    grid = Grid(first_at=3600.0 * first_hour, last_at=last_at, step_s=3600.0)
    return [bool(row) for row in layouts.comparable(counts, upper, EDGES, grid)]


FEW, MANY = [0.1, 0.5], [0.1, 0.2, 0.5]


def test_a_deploy_that_changes_its_buckets_is_missing_for_six_hours_and_not_a_regression() -> None:
    layouts = Layouts()
    assert alike(layouts, 100, (0, 10, MANY), (2, 10, FEW)) == [True, True, *[False] * 6, True, True]
    assert layouts.remark(3600.0 * 101) is None
    assert "other buckets" in (layouts.remark(3600.0 * 102) or "")
    assert layouts.remark(3600.0 * 108) is None
    # Read again, from later on, and once the old processes are gone.
    assert alike(layouts, 104, (0, 8, FEW)) == [False] * 4 + [True] * 4
    # And back: that layout was known.
    assert alike(layouts, 112, (0, 2, FEW), (2, 5, MANY)) == [True] * 5


def test_a_process_that_replaces_another_between_two_reads_is_seen_too() -> None:
    layouts = Layouts()
    assert alike(layouts, 100, (0, 3, MANY)) == [True] * 3
    assert alike(layouts, 103, (0, 3, FEW)) == [False] * 3


def test_processes_that_always_had_other_buckets_may_come_and_go() -> None:
    layouts = Layouts()
    assert alike(layouts, 100, (0, 4, MANY), (0, 2, FEW)) == [True] * 4
    assert alike(layouts, 104, (0, 4, MANY), (2, 4, FEW)) == [True] * 4
    # A bound that moves within its bin moves nothing.
    assert alike(layouts, 108, (0, 4, MANY), (2, 4, [0.1, 0.51, 0.6])) == [True, True, False, False]
    assert alike(layouts, 120, (0, 2, [0.1, 0.48])) == [True, True]


def test_a_restart_counts_every_bin_from_zero() -> None:
    rows = binned([0.25, np.inf], [[100, 200], [110, 220], [7, 9], [8, 12]])
    k = int(places(np.array(0.25), EDGES))
    assert [held(row) for row in rows[1:]] == [
        {k: 10, HISTOGRAM_BINS - 1: 10},
        {k: 7, HISTOGRAM_BINS - 1: 2},
        {k: 1, HISTOGRAM_BINS - 1: 2},
    ]


def test_a_replaced_process_counts_from_zero_and_a_silent_one_is_missing() -> None:
    old = [[100.0, 200.0], [110.0, 220.0], [NAN, NAN]]
    new = [[NAN, NAN], [NAN, NAN], [3.0, 9.0]]
    rows = binned([0.25, np.inf], old, new)
    assert rows[2].sum() == 9.0
    assert np.isnan(binned([0.25, np.inf], old)[2]).all()


def test_an_idle_step_is_known_and_empty() -> None:
    rows = binned([0.25, np.inf], [[100, 200], [100, 200]])
    assert rows[1].tolist() == [0.0] * HISTOGRAM_BINS


@given(
    st.lists(st.floats(1e-5, 1e4, allow_nan=False), min_size=0, max_size=60),
    st.integers(1, 8),
)
def test_native_buckets_of_every_finer_schema_merge_into_the_bins_exactly(
    values: list[float], schema: int
) -> None:
    """The bin of a bucket is that of every value in it: nothing is lost but the place within the bin."""
    index = np.ceil(np.log2(np.array(values)) * 2.0**schema) if values else np.empty(0)
    upper = np.exp2(index / 2.0**schema)
    exact = np.array(values)
    # A value within rounding of a bound may lie on either side of it, in Prometheus' clients as here.
    is_clear = np.abs(np.log2(exact) * 2 - np.rint(np.log2(exact) * 2)) > 1e-6
    np.testing.assert_array_equal(
        places(upper, EDGES)[is_clear], np.searchsorted(EDGES, exact, side="left")[is_clear]
    )


@given(st.integers(-20, 12))
def test_bounds_that_others_computed_are_ours(exponent: int) -> None:
    text = f"{2.0 ** (exponent / 2):.15g}"
    assert places(np.array(float(text)), EDGES) == exponent + 20


@pytest.mark.parametrize(("unit", "low", "high"), [("s", 2.0**-10, 64.0), ("ms", 1.0, 65536.0)])
def test_the_range_of_the_grid(unit: str, low: float, high: float) -> None:
    edges = bounds(unit)
    assert (edges[0], edges[-1], len(edges)) == (low, high, HISTOGRAM_BINS - 1)
    np.testing.assert_allclose(edges[1:] / edges[:-1], np.sqrt(2.0))


def test_a_lower_bucket_that_ran_ahead_adds_nothing_negative() -> None:
    row = np.zeros((1, HISTOGRAM_BINS))
    row[0, 5:] = 10.0
    row[0, 6:] = 8.0
    assert (per_bin(row) >= 0.0).all()
