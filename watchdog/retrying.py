"""Trying again: how long to wait for the next attempt, and how to get an outcome into the store."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from watchdog.clock import Clock
from watchdog.store.protocol import StoreDead, StoreUnavailable

T = TypeVar("T")
DELAY_MIN_S = 1.0
DELAY_MAX_S = 300.0
_STORE_PAUSE_S = 1.0
log = logging.getLogger("watchdog.retrying")


def delay_s(key: str, attempt: int, asked_s: float | None = None) -> float:
    """Seconds from attempt `attempt` (1 = the first) to the next: 1 s doubling to 5 min, and up to 25 % more.

    The jitter comes from `key` and `attempt`, not from a random generator. asked_s: the receiver's
    Retry-After; it lengthens the wait up to the same 5 minutes, and is never a reason to come back earlier.
    """
    # 2 ** 9 is beyond the cap; a larger exponent would only overflow.
    growing = DELAY_MIN_S * float(2 ** min(max(attempt, 1) - 1, 9))
    wanted: float = min(DELAY_MAX_S, max(growing, asked_s or 0.0))
    digest = hashlib.sha256(f"{key}\0{attempt}".encode()).digest()
    return wanted * (1.0 + 0.25 * digest[0] / 255)


async def until_stored(write: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """Write what has already happened, as often as it takes: forgetting it could mean doing it twice.

    Raises StoreDead at once: then only the next start can tell what is durable.
    """
    while True:
        try:
            return await write()
        except StoreDead:
            raise
        except StoreUnavailable as error:
            log.warning("outcome not stored yet", extra={"because": str(error)})
            await clock.sleep(_STORE_PAUSE_S)
