"""Intervals and tails by hand against scipy, and where placebo deploys are put."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from watchdog.backtest.chance import at_least, wilson
from watchdog.backtest.placebo import placebo_times


@pytest.mark.parametrize(("found", "of"), [(0, 40), (1, 40), (7, 40), (40, 40), (3, 1200)])
def test_intervals_and_tails_are_those_of_scipy(found: int, of: int) -> None:
    expected = stats.binomtest(found, of).proportion_ci(method="wilson")
    assert wilson(found, of) == pytest.approx((expected.low, expected.high), abs=1e-6)
    for probability in (0.001, 0.05, 0.5):
        tail = stats.binom.sf(found - 1, of, probability)
        assert at_least(found, of, probability) == pytest.approx(tail, abs=1e-12)


def test_nothing_tried_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert at_least(0, 0, 0.1) == 1.0
    assert at_least(1, 10, 0.0) == 0.0


busy_times = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(1, 600)).map(lambda pair: (float(pair[0]), float(sum(pair)))),
    max_size=12,
)


@given(busy=busy_times, first=st.integers(0, 1000), span=st.integers(1, 500))
def test_placebos_touch_neither_real_watches_nor_each_other(
    busy: list[tuple[float, float]], first: int, span: int
) -> None:
    times = placebo_times(float(first), 5000.0, 10.0, float(span), busy)
    assert all(at % 10.0 == 0.0 and at >= first and at + span <= 5000.0 for at in times)
    ordered = sorted(times)
    assert all(later - earlier >= span for earlier, later in itertools.pairwise(ordered))
    assert not any(start < at + span and end > at for at in times for start, end in busy)


def test_a_free_past_is_packed_and_every_beginning_of_the_order_is_spread_over_it() -> None:
    times = placebo_times(0.0, 100_000.0, 10.0, 95.0, [])
    assert sorted(times) == [100.0 * i for i in range(1000)]
    fewer = sorted(times[:20])
    gaps = [later - earlier for earlier, later in itertools.pairwise(fewer)]
    assert max(gaps) < 3 * 100_000.0 / 20


def test_a_long_watch_behind_a_short_one_that_begins_later_is_seen() -> None:
    assert placebo_times(0.0, 2000.0, 10.0, 100.0, [(0.0, 1500.0), (200.0, 300.0)])[0] >= 1500.0
    assert placebo_times(0.0, 50.0, 10.0, 100.0, []) == []
