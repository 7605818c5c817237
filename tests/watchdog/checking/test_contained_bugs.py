"""What a check could not tell, hung on or broke over is missing data, never evidence against a deploy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from checks.model import CheckResult, Outcome, World
from detectors.model import SeriesSpec
from tests.support.examples import NOW
from tests.support.fake_clock import FakeClock
from tests.support.sample_plan import a_plan
from watchdog.board import LiveBoard
from watchdog.checking.run import Checker
from watchdog.keeper import Keeper
from watchdog.metrics import Metrics
from watchdog.plan import CheckPlan, SeriesPlan
from watchdog.series import SeriesBook
from watchdog.store.samples import SampleStore

PROBE = SeriesPlan(
    id="checkout/home",
    spec=SeriesSpec(name="home", kind="probe", unit="ratio", bad="up", step_s=1.0),
    check="home",
)


@dataclass
class Doing:
    """A check that does what a test says."""

    what: Callable[[], Awaitable[CheckResult]]

    async def run(self, world: World) -> CheckResult:
        return await self.what()


async def ran(what: Callable[[], Awaitable[CheckResult]]) -> CheckResult:
    plan = CheckPlan(
        service="checkout",
        name="home",
        check=Doing(what),
        every_s=1.0,
        timeout_s=0.1,
        burst_every_s=None,
        burst_for_s=0.0,
    )
    async with aiohttp.ClientSession() as session:
        return await Checker(session, {}, FakeClock(NOW)).run(plan)


async def test_a_bug_in_a_check_is_an_error_and_no_failure_of_the_service() -> None:
    async def bug() -> CheckResult:
        raise ZeroDivisionError("ours")

    assert await ran(bug) == CheckResult(outcome="error", because="bug in the check: ZeroDivisionError")


async def test_a_check_that_keeps_no_deadline_is_ended() -> None:
    async def hangs() -> CheckResult:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with asyncio.timeout(10):
        result = await ran(hangs)
    assert result.outcome == "error"
    assert "did not end within" in result.because


@pytest.mark.parametrize(
    ("outcome", "row"), [("pass", (0.0, 1.0)), ("fail", (1.0, 1.0)), ("error", (np.nan, np.nan))]
)
async def test_what_a_check_could_not_tell_is_missing(
    tmp_path: Path, outcome: Outcome, row: tuple[float, float]
) -> None:
    book, samples = SeriesBook(), SampleStore(tmp_path / "samples.db")
    plans = {"checkout": a_plan(series=(PROBE,))}
    keeper = Keeper(plans, {}, book, samples, LiveBoard(["checkout"], []), Metrics())
    keeper.add("checkout", "home", CheckResult(outcome=outcome), NOW)
    book.close_bin(PROBE.id, NOW)
    assert book.at(PROBE.id, NOW) == pytest.approx(row, nan_ok=True)
    await samples.close()
