"""What a series does by itself: binned here, fitted by statsmodels in the real worker process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from detectors.model import FloatArray
from tests.detectors.simulated import noise
from watchdog.opinion.habits import Habits, coarse
from watchdog.opinion.worker import Worker

TIMEOUT_S = 60.0
BIN_S = 300.0
N = 2016
DAY = 288

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[Worker]:
    worker = Worker()
    yield worker
    await worker.close()


async def habits(worker: Worker, past: FloatArray, size: float = 4.0, bin_s: float = BIN_S) -> Habits:
    told = await worker.habits(past, bin_s, size=size, before=24, after=9, timeout_s=TIMEOUT_S)
    assert told is not None
    return told


def moved(seed: int) -> FloatArray:
    """A quiet week whose level is 6 s.d. higher on the fourth day and a half."""
    raised = np.where((np.arange(N) >= 900) & (np.arange(N) < 1300), 6.0, 0.0)
    return raised + noise(np.random.default_rng(seed), N, 0.5)


def wave() -> FloatArray:
    return 4.0 * np.sin(2.0 * np.pi * np.arange(N) / DAY)


async def test_level_changes_of_the_week_are_counted_against_the_size_asked_for(worker: Worker) -> None:
    told = await habits(worker, moved(1))
    assert (told.days, told.changes) == (7.0, 2)
    assert told.largest == pytest.approx(6.0, abs=0.8)
    assert (await habits(worker, moved(1), size=20.0)).changes == 0


async def test_a_daily_pattern_is_no_level_change_and_hides_none(worker: Worker) -> None:
    calm = await habits(worker, wave() + noise(np.random.default_rng(2), N, 0.5))
    assert calm.changes == 0
    assert calm.season_explains == pytest.approx(8.0 / 9.0, abs=0.04)
    both = await habits(worker, wave() + moved(3))
    assert both.changes == 2
    # 45 minutes after midnight less two hours before it, of a sine with 4 of amplitude.
    due = wave()[:9].mean() - wave()[-24:].mean()
    assert both.season_effect == pytest.approx(due, abs=0.8)


async def test_a_level_change_is_not_smeared_into_the_season(worker: Worker) -> None:
    told = await habits(worker, moved(4))
    assert told.season_explains == pytest.approx(0.0, abs=0.1)
    assert told.season_effect is None


async def test_a_step_without_noise_is_one_change_and_no_season(worker: Worker) -> None:
    told = await habits(worker, np.repeat([1.0, 3.0], N // 2), size=2.0)
    assert (told.changes, told.largest, told.season_effect) == (1, pytest.approx(2.0), None)


async def test_a_constant_has_no_habits(worker: Worker) -> None:
    told = await habits(worker, np.full(N, 0.1))
    assert (told.changes, told.largest, told.season_effect) == (0, 0.0, None)


async def test_gaps_are_bridged_and_too_little_data_says_nothing(worker: Worker) -> None:
    gappy = wave() + moved(5)
    gappy[500:700] = np.nan
    assert (await habits(worker, gappy)).changes == 2
    assert await habits(worker, np.full(N, np.nan)) == Habits(days=7.0)


@pytest.mark.parametrize(("n", "bin_s"), [(2 * DAY, 300.0), (N, 700.0)])
async def test_without_three_whole_days_there_is_no_season(worker: Worker, n: int, bin_s: float) -> None:
    told = await habits(worker, np.resize(wave(), n), bin_s=bin_s)
    assert (told.season_explains, told.season_effect) == (None, None)


async def test_a_late_answer_is_none_and_the_next_one_is_whole(worker: Worker) -> None:
    past = moved(6)
    assert await worker.habits(past, BIN_S, size=4.0, before=24, after=9, timeout_s=0.01) is None
    assert (await habits(worker, past)).changes == 2


async def test_too_many_samples_are_a_bug_of_the_caller_and_a_binned_week_never_is(worker: Worker) -> None:
    with pytest.raises(ValueError, match="bytes"):
        await worker.habits(np.full(200_000, 0.1), 1.0, size=1.0, before=1, after=1, timeout_s=TIMEOUT_S)
    levels, bin_s = coarse(np.random.default_rng(7).normal(1e9, 1.0, (700_000, 1)), 1.0)
    assert (len(levels), bin_s) == (N, 300.0)
    assert (await habits(worker, levels, bin_s=bin_s)).changes == 0


async def test_a_week_is_binned_by_medians_and_spikes_are_gone() -> None:
    rows = np.ones((9 * 1440, 1))
    rows[::7] = 50.0
    levels, bin_s = coarse(rows, 60.0)
    assert (len(levels), bin_s) == (N, 300.0)
    assert (levels == 1.0).all()


async def test_ratios_are_binned_by_their_sums_and_missing_stays_missing() -> None:
    rows = np.column_stack([np.full(4032, 1.0), np.resize([10.0, 30.0], 4032)])
    rows[:2] = np.nan
    rows[2:4, 1] = 0.0
    rows[4, 0] = np.nan
    levels, bin_s = coarse(rows, 60.0)
    assert bin_s == 120.0
    assert np.isnan(levels[:2]).all()
    assert levels[2:4] == pytest.approx([1.0 / 30.0, 2.0 / 40.0])
    single, _ = coarse(np.full((3, 1), np.nan), 60.0)
    assert np.isnan(single).all()
