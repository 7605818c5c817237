"""The arithmetic from counters to increases: restarts, roll-outs, gaps, and what must never be a spike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.model import FloatArray
from watchdog.sources.counters import LOOK_BACK, Fleet, increases, quantile

NAN = np.nan
STEP_S = 60.0
AT = 60_000.0


def grown(*targets: npt.ArrayLike, fleet: Fleet | None = None) -> list[float]:
    """Increases of one-column counters, each given as its values per step."""
    counts = np.array(targets, dtype=np.float64).T[:, :, np.newaxis]
    rows = increases(counts, first_at=AT, step_s=STEP_S, fleet=fleet or Fleet())
    return [float(row) for row in rows[:, 0]]


def equal(seen: list[float], expected: list[float]) -> None:
    np.testing.assert_array_equal(seen, expected)


def test_increases_are_differences_summed_over_targets() -> None:
    equal(grown([5, 7, 7, 10], [100, 100, 101, 111]), [NAN, 2, 1, 13])


def test_a_restart_counts_from_zero() -> None:
    equal(grown([100, 150, 30, 80], [0, 40, 80, 120]), [NAN, 90, 70, 90])


def test_one_process_alone_restarts_without_a_gap_or_a_spike() -> None:
    equal(grown([1_000_000, 1_000_050, 1_000_100, 40, 90]), [NAN, 50, 50, 40, 50])


def test_a_fall_to_an_old_count_is_not_a_restart_but_a_missing_step() -> None:
    """A label set that vanished from a running process leaves the sum a little lower, and huge."""
    equal(grown([1_000_000, 1_000_050, 1_000_030, 1_000_080]), [NAN, 50, NAN, 50])


def test_a_roll_out_that_replaces_every_target_at_once_neither_blinds_nor_fakes_a_spike() -> None:
    old = [[1000 * i + 50 * step for step in range(4)] + [NAN] * 4 for i in range(1, 4)]
    new = [[NAN] * 4 + [45 + 50 * step for step in range(4)] for _ in range(3)]
    equal(grown(*old, *new), [NAN, 150, 150, 150, 135, 150, 150, 150])


def test_a_rolling_roll_out_with_a_surge_stays_near_the_truth() -> None:
    """Four pods of 50 a step are replaced one per step; a fifth runs meanwhile."""
    rows = 12
    pods = np.full((8, rows), NAN)
    for i in range(4):
        pods[i, : 5 + i] = 10_000 + 50 * np.arange(5 + i)
        pods[4 + i, 4 + i :] = 40 + 50 * np.arange(rows - 4 - i)
    seen = np.array(grown(*pods))
    assert np.isfinite(seen[1:]).all()
    assert seen[1:].min() >= 190
    assert seen[1:].max() <= 250


def test_an_old_process_seen_for_the_first_time_is_no_spike() -> None:
    seen = grown([0, 50, 100, 150, 200], [NAN, NAN, NAN, 9_000_000, 9_000_050])
    equal(seen, [NAN, 50, 50, NAN, 100])


def test_nothing_is_counted_from_zero_before_anything_is_known() -> None:
    equal(grown([0, 50, 100], [NAN, 30, 60]), [NAN, NAN, 80])


def test_after_a_gap_of_all_the_increase_of_two_steps_is_in_none() -> None:
    equal(grown([0, 50, NAN, 150, 200], [0, 50, NAN, 150, 200]), [NAN, 100, NAN, NAN, 100])


def test_new_names_after_a_gap_of_all_are_only_a_base() -> None:
    equal(grown([0, 50, NAN, NAN, NAN], [NAN, NAN, NAN, 60, 110]), [NAN, 50, NAN, NAN, 50])


def test_one_failed_scrape_of_ten_costs_no_step() -> None:
    targets = [[i * 1000.0 + 10 * step for step in range(6)] for i in range(10)]
    targets[3][3] = NAN
    equal(grown(*targets), [NAN, 100, 100, 90, 90, 100])


def test_half_the_targets_gone_is_missing_and_not_half_the_traffic() -> None:
    targets = [[10.0 * step for step in range(20)] for _ in range(10)]
    for target in targets[:5]:
        target[10:] = [NAN] * 10
    equal(grown(*targets), [NAN] + [100] * 9 + [NAN] * 10)


def test_fewer_targets_become_usual_after_half_an_hour() -> None:
    targets = [[10.0 * step for step in range(120)] for _ in range(10)]
    for target in targets[:5]:
        target[60:] = [NAN] * 60
    seen = np.array(grown(*targets))
    assert np.isnan(seen[60:85]).all()
    assert (seen[95:] == 50).all()


def test_more_targets_are_welcome_at_once() -> None:
    first = [50.0 * step for step in range(8)]
    second = [NAN] * 4 + [50.0 * step for step in range(1, 5)]
    equal(grown(first, second), [NAN, 50, 50, 50, 100, 100, 100, 100])


def test_a_service_without_traffic_counts_zero_and_is_not_missing() -> None:
    equal(grown([7, 7, 7], [3, 3, 3]), [NAN, 0, 0])


@pytest.mark.parametrize("shape", [(0, 3, 1), (4, 0, 1), (1, 2, 1)])
def test_nothing_to_look_at_is_missing(shape: tuple[int, int, int]) -> None:
    out = increases(np.full(shape, NAN), first_at=AT, step_s=STEP_S, fleet=Fleet())
    assert out.shape == (shape[0], 1)
    assert np.isnan(out).all()


def test_a_live_read_gives_what_the_long_history_gave() -> None:
    """The same step read again and again through a sliding window, as ticks do, against one long read."""
    random = np.random.default_rng(3)
    rows = 200
    counts = np.cumsum(random.poisson(30, (rows, 6)), axis=0).astype(float)
    counts[90:, :3] = NAN
    counts[:90, 3:] = NAN
    counts[90:, 3:] -= counts[89, 3:] if np.isfinite(counts[89, 3:]).all() else 30 * 90 - 20
    counts[random.random((rows, 6)) < 0.02] = NAN
    counts = np.where(counts < 0, NAN, counts)[:, :, np.newaxis]
    whole = increases(counts, first_at=AT, step_s=STEP_S, fleet=Fleet())
    fleet = Fleet()
    increases(counts[:70], first_at=AT, step_s=STEP_S, fleet=fleet)
    live = np.full_like(whole, NAN)
    for newest in range(70, rows):
        first = newest - 3 - LOOK_BACK
        window = increases(
            counts[first : newest + 1], first_at=AT + first * STEP_S, step_s=STEP_S, fleet=fleet
        )
        live[newest - 3 : newest + 1] = window[LOOK_BACK:]
    np.testing.assert_array_equal(live[70:], whole[70:])
    assert np.isfinite(whole[70:]).mean() > 0.7


def test_what_is_usual_is_remembered_over_many_live_reads() -> None:
    """After hours of ticks a restart is still plausible, and half the targets gone is still missing.

    Traffic fell to 4 a step 20 steps ago; 100 from a restarted process is plausible for the hour only.
    """
    rows = 400
    counts = np.cumsum(np.full((rows, 4), 50.0), axis=0)
    counts[370:] = counts[369] + np.arange(1.0, 31.0)[:, np.newaxis]
    counts[390:, 0] -= counts[389, 0] - 99.0
    counts[395:, 1:3] = NAN
    fleet = Fleet()
    seen = np.full(rows, NAN)
    for newest in range(LOOK_BACK + 3, rows):
        first = newest - 3 - LOOK_BACK
        window = increases(
            counts[first : newest + 1, :, np.newaxis],
            first_at=AT + first * STEP_S,
            step_s=STEP_S,
            fleet=fleet,
        )
        seen[newest] = window[-1, 0]
    equal(seen[388:].tolist(), [4, 4, 103, 4, 4, 4, 4] + [NAN] * 5)
    assert fleet.remembers(AT + rows * STEP_S, STEP_S)
    assert len(fleet._steps) <= 61
    assert not fleet.remembers(AT + (rows + 100) * STEP_S, STEP_S)


@settings(max_examples=150)
@given(st.data())
def test_no_step_ever_holds_more_than_happened_in_it(data: st.DataObject) -> None:
    """Processes start, restart, end and are not scraped at will; a kept step is at most the true total.

    A process that is new to us may bring what it counted before, bounded by twice the busiest step; here
    every process counts 10 a step and starts with what it counted within its first step.
    """
    rows, targets = 14, 4
    counts = np.full((rows, targets), NAN)
    true = np.zeros(rows)
    for j in range(targets):
        value = None
        for i in range(rows):
            what = data.draw(st.sampled_from(["run", "run", "run", "unseen", "restart", "down"]))
            if what == "down":
                value = None
                continue
            value = 10.0 if value is None or what == "restart" else value + 10.0
            true[i] += 10.0
            if what != "unseen":
                counts[i, j] = value
    seen = increases(counts[:, :, np.newaxis], first_at=AT, step_s=STEP_S, fleet=Fleet())[:, 0]
    for i in range(1, rows):
        # An unseen process that shows itself within the bound may bring up to the steps it was unseen for.
        bound = true[i] + np.where(np.isfinite(counts[i]), np.minimum(counts[i] - 10.0, 90.0), 0.0).sum()
        assert np.isnan(seen[i]) or seen[i] <= bound


def prometheus_quantile(bounds: list[float], counts: list[float], q: float) -> float:
    out = quantile(np.array([counts], dtype=np.float64), np.array(bounds), q)
    return float(out[0])


def test_quantiles_are_those_of_prometheus() -> None:
    bounds = [0.1, 0.2, 0.5, np.inf]
    assert prometheus_quantile(bounds, [10, 30, 40, 40], 0.5) == pytest.approx(0.15)
    assert prometheus_quantile(bounds, [10, 30, 40, 40], 0.95) == pytest.approx(0.44)
    assert prometheus_quantile(bounds, [10, 30, 40, 40], 0.1) == pytest.approx(0.04)
    assert prometheus_quantile(bounds, [0, 0, 0, 40], 0.5) == 0.5
    assert prometheus_quantile([-1.0, 0.0, np.inf], [10, 20, 20], 0.2) == -1.0


@pytest.mark.parametrize(
    ("bounds", "counts"),
    [
        ([0.1, np.inf], [0, 0]),
        ([0.1, np.inf], [5, NAN]),
        ([0.1, np.inf], [NAN, 5]),
        ([np.inf], [5]),
    ],
)
def test_no_observation_is_no_quantile(bounds: list[float], counts: list[float]) -> None:
    assert np.isnan(prometheus_quantile(bounds, counts, 0.5))


def test_a_bucket_that_one_side_of_a_roll_out_lacks_is_left_out() -> None:
    assert prometheus_quantile([0.1, 0.2, 0.4, np.inf], [10, NAN, 30, 40], 0.5) == pytest.approx(0.25)


@settings(max_examples=100)
@given(st.lists(st.integers(0, 50), min_size=5, max_size=5), st.floats(0.01, 0.99))
def test_a_quantile_rises_with_its_share_and_stays_within_the_bounds(parts: list[int], q: float) -> None:
    bounds: FloatArray = np.array([0.1, 0.3, 1.0, 2.0, np.inf])
    buckets = np.cumsum(parts, dtype=np.float64)[np.newaxis, :]
    low, high = quantile(buckets, bounds, q * 0.9)[0], quantile(buckets, bounds, q)[0]
    if sum(parts) == 0:
        assert np.isnan(high)
    else:
        assert 0.0 <= low <= high <= 2.0
