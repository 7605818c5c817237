"""A clock that moves only when everything waits for it."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class FakeClock:
    """Implements `watchdog.clock.Clock`. `advance` wakes sleepers in the order of their due times."""

    def __init__(self, start_at: float = 1_800_000_000.0) -> None:
        self._wall_s = start_at
        self._mono_s = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._turns = itertools.count()

    def wall_s(self) -> float:
        """Epoch seconds of the fake."""
        return self._wall_s

    def mono_s(self) -> float:
        """Monotonic seconds of the fake."""
        return self._mono_s

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has passed this point."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._mono_s + max(0.0, seconds), next(self._turns), waiter))
        await waiter

    async def advance(self, seconds: float) -> None:
        """Move time forward, letting everything that wakes on the way run before going on."""
        end_s = self._mono_s + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            due_s, _, waiter = heapq.heappop(self._sleepers)
            self._move_to(due_s)
            if not waiter.done():
                waiter.set_result(None)
            await self._settle()
        self._move_to(end_s)
        await self._settle()

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock alone, as NTP or an operator would."""
        self._wall_s += seconds

    def _move_to(self, mono_s: float) -> None:
        self._wall_s += max(0.0, mono_s - self._mono_s)
        self._mono_s = max(self._mono_s, mono_s)

    async def _settle(self) -> None:
        # Enough turns of the loop for a chain of wake-ups to reach its next wait.
        for _ in range(20):
            await asyncio.sleep(0)
