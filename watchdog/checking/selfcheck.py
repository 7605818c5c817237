"""Am I the sick one? Whether this machine's own network is down, asked when a check has failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from checks.model import CheckResult
from checks.text import finish
from watchdog.clock import Clock

_TIMEOUT_S = 2.0
# Many checks fail at once when the network goes: they share one answer.
_FRESH_S = 5.0


@dataclass(slots=True)
class SelfCheck:
    """targets: `host:port` each; the network is down when none of them takes a connection."""

    targets: Sequence[str]
    clock: Clock
    _down: bool = field(init=False, default=False)
    _asked_s: float = field(init=False, default=float("-inf"))
    _lock: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)

    async def doubted(self, result: CheckResult) -> CheckResult:
        """The result, or `error` instead of a `fail` that our own network explains."""
        if result.outcome != "fail" or not self.targets or not await self._is_down():
            return result
        names = ", ".join(self.targets)
        because = f"our own network seems down ({names}: no connection); it saw: {result.because}"
        return finish("error", because, readings={}, details=result.details)

    async def _is_down(self) -> bool:
        async with self._lock:
            if self.clock.mono_s() - self._asked_s > _FRESH_S:
                reached = await asyncio.gather(*map(_is_reached, self.targets))
                self._down, self._asked_s = not any(reached), self.clock.mono_s()
            return self._down


async def _is_reached(target: str) -> bool:
    host, _, port = target.rpartition(":")
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.transport.abort()
        return True
    return False
