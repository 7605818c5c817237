"""The schedule in fake time: spreading, folding of missed turns, overruns, grid alignment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.fake_clock import FakeClock
from watchdog.scheduling.schedule import Schedule


class Bin:
    """Records what the schedule hands out; refuses everything while full."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.taken: list[tuple[float, str]] = []
        self.is_full = False

    def put(self, name: str) -> bool:
        if self.is_full:
            return False
        self.taken.append((self.clock.wall_s(), name))
        return True

    def times(self, name: str) -> list[float]:
        return [at for at, taken in self.taken if taken == name]


@asynccontextmanager
async def running(schedule: Schedule, taken: Bin) -> AsyncIterator[None]:
    task = asyncio.ensure_future(schedule.run(taken.put))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_name_is_due_once_per_interval() -> None:
    clock = FakeClock()
    taken = Bin(clock)
    schedule = Schedule(clock)
    schedule.every("home", 10.0)
    async with running(schedule, taken):
        for _ in range(10):
            await clock.advance(10.0)
            schedule.done("home")
    assert len(taken.times("home")) == 10
    gaps = [b - a for a, b in zip(taken.times("home"), taken.times("home")[1:], strict=False)]
    assert all(abs(gap - 10.0) < 1e-6 for gap in gaps)


async def test_names_are_spread_over_the_interval() -> None:
    clock = FakeClock()
    taken = Bin(clock)
    schedule = Schedule(clock)
    for i in range(100):
        schedule.every(f"check-{i}", 60.0)
    async with running(schedule, taken):
        await clock.advance(30.0)
    # 100 phases over a minute: about half are due in the first half.
    assert 25 <= len(taken.taken) <= 75


async def test_a_slow_name_is_an_overrun_and_not_queued_twice() -> None:
    clock = FakeClock()
    taken = Bin(clock)
    schedule = Schedule(clock)
    schedule.every("slow", 1.0)
    async with running(schedule, taken):
        await clock.advance(5.5)
        assert len(taken.times("slow")) == 1
        assert schedule.overruns >= 4
        schedule.done("slow")
        await clock.advance(1.0)
    assert len(taken.times("slow")) == 2


async def test_a_full_queue_drops_and_counts() -> None:
    clock = FakeClock()
    taken = Bin(clock)
    taken.is_full = True
    schedule = Schedule(clock)
    schedule.every("home", 1.0)
    async with running(schedule, taken):
        await clock.advance(3.2)
    assert taken.taken == []
    assert schedule.drops >= 3


async def test_grid_names_follow_the_wall_clock_even_when_it_steps() -> None:
    clock = FakeClock(start_at=1_800_000_007.0)
    taken = Bin(clock)
    schedule = Schedule(clock)
    schedule.every("tick", 60.0, align_s=5.0)
    async with running(schedule, taken):
        await clock.advance(120.0)
        schedule.done("tick")
        clock.step_wall(17.0)
        for _ in range(4):
            await clock.advance(60.0)
            schedule.done("tick")
    # The turn that was already on the heap when the clock stepped is off; those after it are on the grid.
    phases = [round(at % 60.0, 3) for at in taken.times("tick")]
    assert phases[0] == 5.0
    assert phases[2:] == [5.0] * len(phases[2:])
    assert len(phases) >= 4


async def test_a_changed_interval_holds_from_now_on() -> None:
    clock = FakeClock()
    taken = Bin(clock)
    schedule = Schedule(clock)
    schedule.every("home", 60.0)
    async with running(schedule, taken):
        schedule.every("home", 1.0)
        for _ in range(5):
            await clock.advance(1.0)
            schedule.done("home")
        assert len(taken.times("home")) == 5
        schedule.every("home", 60.0)
        await clock.advance(60.0)
        schedule.done("home")
        assert len(taken.times("home")) == 6
        await clock.advance(60.0)
        assert len(taken.times("home")) == 7


async def test_a_calendar_gives_turns_and_never_two_at_once() -> None:
    clock = FakeClock()
    taken = Bin(clock)
    schedule = Schedule(clock)
    schedule.turn("nightly", taken.put)
    schedule.turn("nightly", taken.put)
    assert (len(taken.taken), schedule.overruns) == (1, 1)
    schedule.done("nightly")
    taken.is_full = True
    schedule.turn("nightly", taken.put)
    assert schedule.drops == 1
    taken.is_full = False
    schedule.turn("nightly", taken.put)
    assert len(taken.taken) == 2


async def test_a_stopped_name_is_due_by_its_calendar_alone() -> None:
    clock = FakeClock()
    taken = Bin(clock)
    schedule = Schedule(clock)
    schedule.turn("nightly", taken.put)
    schedule.done("nightly")
    schedule.every("nightly", 1.0)
    schedule.stop("nightly")
    async with running(schedule, taken):
        await clock.advance(5.0)
        assert len(taken.taken) == 1
        schedule.turn("nightly", taken.put)
    assert len(taken.taken) == 2


async def test_it_tells_how_late_the_work_behind_a_name_begins() -> None:
    clock = FakeClock()
    taken = Bin(clock)
    schedule = Schedule(clock)
    schedule.every("home", 10.0)
    async with running(schedule, taken):
        await clock.advance(10.0)
        due_at = taken.times("home")[-1]
        assert schedule.begin("home") == pytest.approx(clock.wall_s() - due_at)
        await clock.advance(3.0)
        assert schedule.begin("home") == pytest.approx(clock.wall_s() - due_at)
    assert schedule.begin("job:history") == 0.0


async def test_a_shorter_interval_ends_the_sleep_to_a_later_turn() -> None:
    clock = FakeClock()
    taken = Bin(clock)
    schedule = Schedule(clock)
    async with running(schedule, taken):
        for interval_s in (3600.0, 60.0, 5.0):
            schedule.every("home", interval_s)
            await clock.advance(0.0)
        await clock.advance(6.0)
    assert len(taken.times("home")) == 1
