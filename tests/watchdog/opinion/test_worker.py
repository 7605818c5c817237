"""The worker process: its opinions are right, its failures cost nothing, and the daemon stays light."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from detectors.model import FloatArray
from tests.detectors.simulated import noise
from watchdog.opinion.worker import SecondOpinion, Worker

# Importing statsmodels for the first time takes up to 20 s on a cold disk and a busy machine.
TIMEOUT_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[Worker]:
    worker = Worker()
    yield worker
    await worker.close()


# One loop for the module, so that statsmodels is imported once.
pytestmark = pytest.mark.asyncio(loop_scope="module")


def column(values: FloatArray) -> FloatArray:
    return values[:, np.newaxis]


async def opinion(
    worker: Worker, before: FloatArray, after: FloatArray, kind: str | None = None
) -> SecondOpinion:
    told = await worker.second_opinion(before, after, 60.0, timeout_s=TIMEOUT_S, kind=kind)  # type: ignore[arg-type]  # a literal at every call
    assert told is not None
    return told


async def test_a_step_in_a_continuous_series_is_found_with_its_size(worker: Worker) -> None:
    random = np.random.default_rng(1)
    before, after = random.normal(10.0, 1.0, 100), random.normal(14.0, 1.0, 30)
    told = await opinion(worker, column(before), column(after), "latency")
    assert told.effect is not None
    assert told.low is not None
    assert told.high is not None
    assert told.low < 4.0 < told.high
    assert told.high - told.low < 3.0
    assert told.p_value is not None
    assert told.p_value < 1e-6
    assert "HAC" in told.model


async def test_a_steady_trend_is_not_a_step(worker: Worker) -> None:
    trend = np.arange(130) * 0.1 + np.random.default_rng(2).normal(0.0, 0.3, 130)
    told = await opinion(worker, column(trend[:100]), column(trend[100:]))
    assert told.low is not None
    assert told.high is not None
    assert told.low < 0.0 < told.high


async def test_a_ratio_is_compared_as_k_of_n(worker: Worker) -> None:
    random = np.random.default_rng(3)
    n = random.poisson(500, 120).astype(float)
    k = np.concatenate([random.binomial(500, 0.01, 90), random.binomial(500, 0.04, 30)]).astype(float)
    told = await opinion(worker, np.column_stack([k, n])[:90], np.column_stack([k, n])[90:], "ratio")
    assert told.effect == pytest.approx(0.03, abs=0.006)
    assert told.low is not None
    assert told.low > 0.02
    assert "binomial" in told.model


async def test_a_count_is_compared_as_a_count(worker: Worker) -> None:
    random = np.random.default_rng(4)
    before, after = random.poisson(40, 90).astype(float), random.poisson(30, 30).astype(float)
    told = await opinion(worker, column(before), column(after), "count")
    assert told.effect == pytest.approx(-10.0, abs=3.0)
    assert told.high is not None
    assert told.high < -6.0
    assert "Poisson" in told.model


async def test_overdispersed_steps_widen_the_interval_and_are_noted(worker: Worker) -> None:
    random = np.random.default_rng(5)
    p = np.clip(random.normal(0.05, 0.03, 120), 0.001, 1.0)
    k = random.binomial(1000, p).astype(float)
    rows = np.column_stack([k, np.full(120, 1000.0)])
    told = await opinion(worker, rows[:90], rows[90:], "ratio")
    assert "dispersion" in told.note
    assert told.low is not None
    assert told.high is not None
    assert told.low < 0.0 < told.high


@pytest.mark.parametrize("kind", ["ratio", "count"])
async def test_no_event_before_still_gives_an_interval(worker: Worker, kind: str) -> None:
    before, after = np.zeros((60, 1)), np.full((20, 1), 3.0)
    if kind == "ratio":
        before = np.hstack([before, np.full((60, 1), 100.0)])
        after = np.hstack([after, np.full((20, 1), 100.0)])
    told = await opinion(worker, before, after, kind)
    assert told.low is not None
    assert told.low > 0.0
    assert told.p_value is not None
    assert told.p_value < 1e-6
    assert "no event" in told.note


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.full((50, 1), np.nan), np.ones((20, 1))),
        (np.empty((0, 2)), np.ones((20, 2))),
        (np.column_stack([np.zeros(50), np.zeros(50)]), np.ones((20, 2))),
        (np.column_stack([np.full(50, 9.0), np.ones(50)]), np.ones((20, 2))),
    ],
)
async def test_what_cannot_be_compared_has_no_numbers_and_says_why(
    worker: Worker, before: FloatArray, after: FloatArray
) -> None:
    told = await opinion(worker, before, after)
    assert (told.effect, told.low, told.high, told.p_value) == (None, None, None, None)
    assert told.note


@pytest.mark.parametrize("kind", ["gauge", "count", "ratio"])
@pytest.mark.parametrize("level", [0.0, 7.0])
async def test_a_constant_series_did_not_change(worker: Worker, kind: str, level: float) -> None:
    width = 2 if kind == "ratio" else 1
    rows = np.full((60, width), level)
    if width == 2:
        rows[:, 1] = 10.0
    told = await opinion(worker, rows[:40], rows[40:], kind)
    assert told.effect == pytest.approx(0.0)


async def test_missing_steps_are_left_out(worker: Worker) -> None:
    rows = np.random.default_rng(6).normal(5.0, 1.0, (100, 1))
    rows[::3] = np.nan
    assert (await opinion(worker, rows[:70], rows[70:])).effect is not None


async def test_a_killed_worker_is_replaced(worker: Worker) -> None:
    rows = np.ones((20, 1))
    await opinion(worker, rows, rows)
    process = worker._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    await opinion(worker, rows, rows)
    assert worker._process is not process


async def test_a_stopped_worker_costs_the_deadline_and_is_replaced(worker: Worker) -> None:
    rows = np.ones((20, 1))
    await opinion(worker, rows, rows)
    process = worker._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    assert await worker.second_opinion(rows, rows, 60.0, timeout_s=0.1) is None
    assert process.returncode == -signal.SIGKILL
    assert (await opinion(worker, rows, rows)).effect == 0.0


async def test_callers_wait_for_each_other_and_get_their_own_answers(worker: Worker) -> None:
    random = np.random.default_rng(7)
    rows = random.normal(0.0, 0.1, (40, 1))
    told = await asyncio.gather(*(opinion(worker, rows, rows + shift) for shift in (10.0, 20.0, 30.0)))
    assert [round(one.effect or 0.0, -1) for one in told] == [10.0, 20.0, 30.0]


async def test_after_closing_nothing_is_answered_and_no_process_is_left() -> None:
    worker = Worker()
    rows = np.ones((20, 1))
    await opinion(worker, rows, rows)
    process = worker._process
    assert process is not None
    await worker.close()
    await worker.close()
    assert process.returncode == 0
    assert await worker.second_opinion(rows, rows, 60.0, timeout_s=5.0) is None


async def test_too_many_samples_are_a_bug_of_the_caller(worker: Worker) -> None:
    with pytest.raises(ValueError, match="bytes"):
        await worker.second_opinion(np.ones((250_000, 1)), np.ones((3, 1)), 60.0, timeout_s=1.0)


async def test_the_daemon_never_imports_statsmodels() -> None:
    code = (
        "import sys, watchdog.opinion.worker, watchdog.opinion.second_opinion, watchdog.sources;"
        "import watchdog.store.samples;"
        "sys.exit(','.join(sorted({'statsmodels', 'scipy', 'pandas'} & sys.modules.keys())) or None)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    _, said = await process.communicate()
    assert (process.returncode, said) == (0, b"")


def ar(seed: int, n: int, phi: float) -> FloatArray:
    return noise(np.random.default_rng(seed), n, phi)


def meanings(told: SecondOpinion) -> dict[str, str]:
    return {test.name: test.means for test in told.diagnostics}


async def test_residuals_as_the_model_has_them_mean_nothing(worker: Worker) -> None:
    quiet = ar(21, 150, 0.0)
    told = await opinion(worker, column(quiet[:120]), column(quiet[120:] + 5.0), "gauge")
    assert meanings(told) == {"Ljung-Box": "", "Brown-Forsythe": "", "Jarque-Bera": ""}
    assert min(test.p_value for test in told.diagnostics) > 0.01


@pytest.mark.parametrize(("phi", "is_named"), [(0.9, True), (0.4, False)])
async def test_correlation_beyond_what_the_errors_allow_for_is_named(
    worker: Worker, phi: float, is_named: bool
) -> None:
    values = ar(22, 400, phi)
    told = await opinion(worker, column(values[:300]), column(values[300:]), "gauge")
    correlation = next(test for test in told.diagnostics if test.name == "Ljung-Box")
    assert correlation.value == pytest.approx(phi, abs=0.15)
    assert correlation.p_value < 0.01
    assert ("interval is too narrow" in correlation.means) == is_named


async def test_correlated_counts_are_named_because_their_errors_allow_for_none(worker: Worker) -> None:
    values = np.random.default_rng(23).poisson(np.exp(4.0 + 0.3 * ar(23, 300, 0.8))).astype(float)
    told = await opinion(worker, column(values[:250]), column(values[250:]), "count")
    assert "too narrow" in meanings(told)["Ljung-Box"]


@pytest.mark.parametrize(("factor", "word"), [(4.0, "more"), (0.2, "less")])
async def test_another_spread_after_the_deploy_is_named(worker: Worker, factor: float, word: str) -> None:
    values = ar(24, 200, 0.0)
    told = await opinion(worker, column(values[:140]), column(values[140:] * factor), "latency")
    assert f"vary {word} after" in meanings(told)["Brown-Forsythe"]


async def test_a_few_steps_far_out_are_named(worker: Worker) -> None:
    values = ar(25, 200, 0.0)
    values[[20, 90, 150]] += 12.0
    told = await opinion(worker, column(values[:120]), column(values[120:]), "gauge")
    assert "far out" in meanings(told)["Jarque-Bera"]


async def test_a_ratio_is_diagnosed_too_and_a_few_residuals_are_not(worker: Worker) -> None:
    random = np.random.default_rng(26)
    rows = np.column_stack([random.binomial(500, 0.02, 100), np.full(100, 500)]).astype(float)
    assert len((await opinion(worker, rows[:70], rows[70:], "ratio")).diagnostics) == 3
    assert (await opinion(worker, rows[:10], rows[10:18], "ratio")).diagnostics == ()
