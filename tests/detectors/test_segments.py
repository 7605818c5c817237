"""The segments of a series: known truths, invariance, and how often noise is taken for a change."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.model import FloatArray
from detectors.segments import _partition, _sums, fitted, level_changes, segment
from tests.detectors.simulated import noise


def starts(values: FloatArray) -> list[int]:
    return [one.start for one in segment(values)]


def stepped(seed: int, levels: list[float], length: int = 100) -> FloatArray:
    return np.repeat(levels, length) + np.random.default_rng(seed).standard_normal(length * len(levels))


def test_steps_are_found_where_they_are_with_their_levels() -> None:
    found = segment(stepped(1, [10.0, 16.0, 12.0]))
    assert [one.start for one in found] == pytest.approx([0, 100, 200], abs=2)
    assert [one.level for one in found] == pytest.approx([10.0, 16.0, 12.0], abs=0.4)
    assert level_changes(found, 10) == pytest.approx([6.0, -4.0], abs=1.0)


def test_a_ramp_is_one_segment_with_its_slope_and_no_staircase() -> None:
    values = 0.05 * np.arange(400) + np.random.default_rng(2).standard_normal(400)
    (line,) = segment(values)
    assert line.slope == pytest.approx(0.05, abs=0.005)
    assert line.level == pytest.approx(values.mean())


def test_a_bend_is_a_break_that_adds_little_to_the_level() -> None:
    bent = np.r_[np.zeros(200), 0.1 * np.arange(200)] + 0.5 * np.random.default_rng(3).standard_normal(400)
    found = segment(bent)
    assert [one.start for one in found] == pytest.approx([0, 200], abs=15)
    assert abs(level_changes(found, 5)[0]) < 1.0


def test_a_spike_shorter_than_the_stretch_counts_for_its_part() -> None:
    values = 0.1 * np.random.default_rng(5).standard_normal(200)
    values[100:105] += 10.0
    found = segment(values)
    assert [one.start for one in found] == [0, 100, 105]
    assert level_changes(found, 5) == pytest.approx([10.0, -10.0], abs=0.5)
    assert level_changes(found, 20) == pytest.approx([2.5, -2.5], abs=0.5)


@pytest.mark.parametrize("level", [0.0, 0.1, -3e9])
def test_a_constant_is_one_flat_segment(level: float) -> None:
    (line,) = segment(np.full(50, level))
    assert (line.start, line.stop, line.slope) == (0, 50, 0.0)
    assert line.level == pytest.approx(level, rel=1e-12)


def test_a_step_without_noise_breaks_once() -> None:
    assert starts(np.repeat([1.0, 2.0], 200)) == [0, 200]


def test_nothing_to_see_gives_no_segment_and_few_samples_give_one() -> None:
    assert segment(np.empty(0)) == ()
    assert segment(np.full(20, np.nan)) == ()
    for n in range(1, 10):
        assert [(one.start, one.stop) for one in segment(np.arange(n) ** 2.0)] == [(0, n)]


def test_missing_samples_belong_to_the_segment_before_them() -> None:
    values = stepped(4, [0.0, 8.0])
    values[90:120] = np.nan
    values[:5] = np.nan
    assert [(one.start, one.stop) for one in segment(values)] == [(0, 120), (120, 200)]


def test_infinity_is_refused() -> None:
    with pytest.raises(ValueError, match="infinite"):
        segment(np.array([1.0, np.inf]))


@settings(max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(-8, 8), min_size=1, max_size=5),
    st.floats(1e-6, 1e6),
    st.floats(-1e3, 1e3),
)
def test_unit_and_zero_of_the_series_change_nothing(
    seed: int, levels: list[int], scale: float, offset: float
) -> None:
    values = stepped(seed, [float(level) for level in levels], 40)
    moved = scale * (values + offset)
    found, again = segment(values), segment(moved)
    assert [one.start for one in again] == [one.start for one in found]
    assert [one.level for one in again] == pytest.approx(
        [scale * (one.level + offset) for one in found], rel=1e-6, abs=scale * 1e-6
    )


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 20.0), st.floats(0.0, 0.5))
def test_segments_cover_the_series_once(seed: int, penalty: float, share_missing: float) -> None:
    random = np.random.default_rng(seed)
    values = np.cumsum(random.standard_normal(80)) * penalty
    values[random.random(80) < share_missing] = np.nan
    found = segment(values)
    assert [one.stop for one in found[:-1]] == [one.start for one in found[1:]]
    assert (found[0].start, found[-1].stop) == (0, 80)
    assert fitted(found).shape == (80,)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 30.0))
def test_pruning_leaves_out_no_cheaper_partition(seed: int, penalty: float) -> None:
    y = np.cumsum(np.random.default_rng(seed).standard_normal(40))
    x = np.arange(40)
    edges = _partition(_sums(x, y), penalty)

    def cost(a: int, b: int) -> float:
        return float(((y[a:b] - np.polyval(np.polyfit(x[a:b] - a, y[a:b], 1), x[a:b] - a)) ** 2).sum())

    best = [-penalty] + [np.inf] * 40
    for stop in range(5, 41):
        best[stop] = min(best[a] + cost(a, stop) + penalty for a in range(stop - 4))
    spent = sum(cost(a, b) + penalty for a, b in pairwise(edges)) - penalty
    assert spent == pytest.approx(best[40], rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_noise_is_seldom_taken_for_a_change(phi: float) -> None:
    random = np.random.default_rng(11)
    broken = sum(len(segment(noise(random, 1000, phi))) > 1 for _ in range(20))
    # 1 series in 20 is what is stated: of 20, mean 1, P(> 4) = 0.003 by the binomial.
    assert broken <= 4
