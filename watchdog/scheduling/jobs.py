"""The nightly jobs: drop old samples, complete the history, verify the audit chain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from config.cron import Cron
from watchdog.clock import Clock
from watchdog.keeper import Keeper
from watchdog.plan import ServicePlan
from watchdog.store.protocol import Store
from watchdog.store.samples import SampleStore

log = logging.getLogger("watchdog.scheduling.jobs")

# In the quiet hours, and away from full hours where everybody's jobs run.
TIMES: Mapping[str, tuple[Cron, str]] = {
    "job:retention": (Cron("17 2 * * *"), "UTC"),
    "job:history": (Cron("7 3 * * *"), "UTC"),
    "job:audit": (Cron("37 4 * * *"), "UTC"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """One method for all of TIMES."""

    clock: Clock
    store: Store
    samples: SampleStore
    keeper: Keeper
    plans: Mapping[str, ServicePlan]
    # A user's Prometheus is not asked for everything at once.
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))

    async def do(self, name: str) -> None:
        """Do one job now."""
        now = self.clock.wall_s()
        match name:
            case "job:retention":
                await self.samples.expire(now)
                await self.samples.trim(list(self.keeper.readings.kept(now)))
            case "job:history":
                await asyncio.gather(*(self._complete(plan, now) for plan in self.plans.values()))
                log.info("history complete", extra={"services": len(self.plans)})
            case "job:audit":
                broken = await self.store.verify_audit()
                if broken is not None:
                    log.error("audit chain broken", extra={"because": broken})
            case _:
                raise AssertionError(f"no job {name}")

    async def _complete(self, plan: ServicePlan, now: float) -> None:
        async with self._slots:
            await self.keeper.backfill(plan, plan.history_grid(plan.settled_at(now)), now)
