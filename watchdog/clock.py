"""The only module that reads a clock, so that tests and backtests can hand in another one."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Time as the daemon sees it."""

    def wall_s(self) -> float:
        """Epoch seconds UTC."""
        ...

    def mono_s(self) -> float:
        """Seconds that never step back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let at least `seconds` pass on this clock; 0 or less only yields to other tasks."""
        ...


class SystemClock:
    """The machine's clock."""

    # Asked a dozen times for each run of a check.
    wall_s = staticmethod(time.time)
    mono_s = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(max(0.0, seconds))
