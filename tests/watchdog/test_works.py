"""The work behind due names: what hangs holds nobody up, and everything has a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from watchdog.metrics import Metrics
from watchdog.works import CHECKS_AT_ONCE, Works


@dataclass(slots=True)
class Town:
    """Checks of which those named `slow/...` wait for the door. late_s: how late each begins."""

    late_s: float = 0.0
    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    door: asyncio.Event = field(default_factory=asyncio.Event)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, name: str) -> float:
        self.begun.append(name)
        self.moved.set()
        return self.late_s

    async def observe(self, name: str) -> None:
        if name.startswith("slow/"):
            await self.door.wait()

    def done(self, name: str) -> None:
        self.ended.append(name)
        self.moved.set()

    async def until(self, names: list[str], *, n: int) -> None:
        async with asyncio.timeout(5.0):
            while len(names) < n:
                self.moved.clear()
                await self.moved.wait()


async def nothing(name: str) -> None:
    """Neither ticks nor jobs are put here."""


@asynccontextmanager
async def working(town: Town) -> AsyncIterator[tuple[Works, Metrics]]:
    metrics = Metrics()
    works = Works(metrics, town.observe, nothing, nothing, town.begin, town.done)
    running = asyncio.ensure_future(works.run())
    try:
        yield works, metrics
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_checks_that_hang_hold_nobody_up() -> None:
    town = Town()
    async with working(town) as (works, _):
        assert all(works.put(f"slow/{n}") for n in range(CHECKS_AT_ONCE - 1))
        assert works.put("shop/home")
        await town.until(town.ended, n=1)
    assert town.ended[0] == "shop/home"


async def test_beyond_the_limit_a_check_waits_for_one_that_ends() -> None:
    town = Town()
    async with working(town) as (works, _):
        assert all(works.put(f"slow/{n}") for n in range(CHECKS_AT_ONCE))
        assert works.put("shop/home")
        await town.until(town.begun, n=CHECKS_AT_ONCE)
        assert "shop/home" not in town.begun
        town.door.set()
        await town.until(town.ended, n=CHECKS_AT_ONCE + 1)
    assert "shop/home" in town.ended


async def test_how_late_checks_begin_is_a_metric() -> None:
    town = Town(late_s=0.03)
    async with working(town) as (works, metrics):
        works.put("shop/home")
        await town.until(town.ended, n=1)
    name = "watchdog_check_start_lateness_seconds_bucket"
    counts = [metrics.registry.get_sample_value(name, {"le": bound}) for bound in ("0.02", "0.05")]
    assert counts == [0.0, 1.0]
