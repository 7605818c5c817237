"""From what a check tells to the evidence of a watch: the bench gives it the past, and lets go at its end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from checks.model import CheckResult
from tests.support.fake_clock import FakeClock
from tests.watchdog.test_readings import planned
from tests.watchdog.watching_rig import (
    HISTORY_S,
    JUDGE,
    START,
    STEP_S,
    WatchStore,
    a_keeper,
    noise,
    seen,
    watched,
)
from watchdog.judging.bench import Bench
from watchdog.keeper import Keeper, batches

STEPS = round((2 * STEP_S + JUDGE.watch_s) / STEP_S)
SERVICE = frozenset({"checkout"})


async def observe(keeper: Keeper, first: int, last: int, *, by: float = 1.0) -> None:
    """Run the check in the steps from first to last after START, and end them. by: how much slower."""
    plan = keeper.plans["checkout"]
    (batch,) = batches(keeper.plans)
    for i in range(first, last + 1):
        at = START + i * STEP_S
        told = {"total_s": by * noise("total", at)[0] / 500.0, "dns_s": noise("dns", at)[0] / 5000.0}
        keeper.add("checkout", "home", CheckResult(outcome="pass", readings=told), at - 1.0)
        await keeper.read(batch, at, at)
        await keeper.mirror(batch, at)
    assert plan.lag_s == 0.0


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_watch_judges_what_a_check_tells_with_its_past_and_lets_go_of_it(
    tmp_path: Path, is_restarted: bool
) -> None:
    plan = planned("home")
    keeper = a_keeper(tmp_path, [plan], {})
    await observe(keeper, -round(HISTORY_S / STEP_S), 0)
    if is_restarted:
        (batch,) = batches(keeper.plans)
        await keeper.mirror(batch, START, at_once=True)
        await keeper.samples.close()
        keeper = a_keeper(tmp_path, [plan], {})
        await keeper.refill(START + STEP_S)
    store = WatchStore(watched())
    clock = FakeClock(START)
    bench = Bench(keeper.plans, store.as_store(), keeper, clock)
    running = asyncio.ensure_future(bench.run())
    try:
        await clock.advance(STEP_S)
        await seen(lambda: bool(bench.of(SERVICE)), "the watch is judged")
        (seat,) = bench.of(SERVICE)
        rings = keeper.readings.open("checkout")
        assert [ring.spec.name for ring in rings] == ["home.total_s", "home.dns_s"]
        await observe(keeper, 1, STEPS, by=3.0)
        verdict = seat.tick(keeper.book, START + STEPS * STEP_S)
        assert verdict is not None
        assert verdict.state == "healthy"
        assert [said.series for said in verdict.evidence] == ["home.total_s", "home"]
        assert verdict.evidence[0].state == "suspect"
        assert verdict.evidence[0].coverage == 1.0
        assert verdict.evidence[0].calibration == "own"

        store.known_watches["w-checkout"] = replace(seat.watch, closed_at=START)
        bench.touch()
        await seen(lambda: not bench.is_watched("checkout"), "the watch is over")
        assert keeper.readings.open("checkout")[0] is not rings[0]
    finally:
        running.cancel()
        await asyncio.wait({running})
        await keeper.samples.close()
