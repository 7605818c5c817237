"""The daemon's own pulse: lag, ages and switches as metrics, readiness, arming after a crash loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from watchdog.clock import Clock
from watchdog.housekeeping import Housekeeping
from watchdog.metrics import Metrics
from watchdog.model import SwitchState
from watchdog.outbox import Outbox
from watchdog.rollback.closing import Closing
from watchdog.scheduling.bursts import Bursts
from watchdog.scheduling.schedule import Schedule
from watchdog.store.protocol import Store, StoreDead, StoreUnavailable

log = logging.getLogger("watchdog.pulse")

_BEAT_S = 1.0
_LAG_MAX_S = 2.0
_STARTS_MAX = 3
_STABLE_S = 600.0


@dataclass(slots=True, kw_only=True)
class Pulse:
    """Beats once a second. `problems` says why the daemon is not ready; empty means ready."""

    clock: Clock
    store: Store
    schedule: Schedule
    outbox: Outbox
    closing: Closing
    housekeeping: Housekeeping
    bursts: Bursts
    metrics: Metrics
    kill_switch: Callable[[], Awaitable[SwitchState]]
    rollbacks_per_day: int
    _beat_at_s: float = 0.0
    _store_problem: str = ""
    _is_disarmed: bool = False

    def problems(self) -> list[str]:
        """Sentences saying why the daemon is not ready."""
        found = []
        if self._store_problem:
            found.append(f"the store cannot be written: {self._store_problem}")
        if not self.is_alive():
            found.append("the event loop is late")
        return found

    def is_alive(self) -> bool:
        """True while the pulse beats."""
        return self._beat_at_s == 0.0 or self.clock.mono_s() - self._beat_at_s < 10 * _BEAT_S

    async def note_start(self, now: float) -> None:
        """Count this start; several that did not end in order disarm actions until a stable run."""
        crashes = await self.store.note_start(now)
        if crashes >= _STARTS_MAX:
            because = f"the daemon crashed {crashes} times within 10 minutes"
            await self.store.disarm(because, now)
            log.error("actions disarmed", extra={"because": because})
        self._is_disarmed = await self.store.disarmed() is not None

    async def note_end(self) -> None:
        """Record that the daemon was told to end, and did."""
        await self.store.note_orderly_end(self.clock.wall_s())

    async def run(self) -> None:
        """Beat and do the chores, for ever; apart, because chores wait for the world and a beat never."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat(), name="beat")
            group.create_task(self._do_chores(), name="chores")

    async def _beat(self) -> None:
        while True:
            due_s = self.clock.mono_s() + _BEAT_S
            await self.clock.sleep(_BEAT_S)
            self._beat_at_s = self.clock.mono_s()
            lag_s = max(0.0, self._beat_at_s - due_s)
            self.metrics.loop_lag_s.set(lag_s)
            if lag_s > _LAG_MAX_S:
                log.warning("event loop was late", extra={"lag_s": round(lag_s, 3)})
            self.metrics.schedule_lateness_s.set(self.schedule.lateness_s)
            self.metrics.overruns.set(self.schedule.overruns)
            self.metrics.oldest_intent_s.set(self.outbox.oldest_intent_age_s(self.clock.wall_s()))
            self.bursts.settle(self.clock.wall_s())

    async def _do_chores(self) -> None:
        stable_at_s = self.clock.mono_s() + _STABLE_S
        while True:
            await self.clock.sleep(_BEAT_S)
            try:
                await self._look(self.clock.wall_s())
                if self._is_disarmed and self.clock.mono_s() > stable_at_s:
                    await self.store.disarm(None, self.clock.wall_s())
                    self._is_disarmed = False
                    log.info("actions armed again", extra={"because": "10 minutes of stable run"})
                self._store_problem = ""
            except StoreDead:
                raise
            except StoreUnavailable as error:
                if not self._store_problem:
                    log.error("not ready", extra={"because": str(error)})
                self._store_problem = str(error)

    async def _look(self, now: float) -> None:
        self.metrics.kill_switch.set(1 if (await self.kill_switch()).is_on else 0)
        used = await self.store.rollbacks_since(now - 86400)
        self.metrics.rollbacks_left.set(max(0, self.rollbacks_per_day - used))
        await self.closing.verify_all()
        await self.housekeeping.expire_offers()
