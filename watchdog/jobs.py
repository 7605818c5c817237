"""The nightly jobs: drop old samples, complete the history, verify the audit chain."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from watchdog.clock import Clock
from watchdog.keeper import Keeper
from watchdog.plan import ServicePlan
from watchdog.series import HEAL_STEPS
from watchdog.store.protocol import Store
from watchdog.store.samples import SampleStore

log = logging.getLogger("watchdog.jobs")

# Name to hour and minute UTC: in the quiet hours, and away from full hours where everybody's jobs run.
TIMES: Mapping[str, tuple[int, int]] = {
    "job:retention": (2, 17),
    "job:history": (3, 7),
    "job:audit": (4, 37),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """One method for all of TIMES."""

    clock: Clock
    store: Store
    samples: SampleStore
    keeper: Keeper
    plans: Mapping[str, ServicePlan]

    async def do(self, name: str) -> None:
        """Do one job now."""
        now = self.clock.wall_s()
        match name:
            case "job:retention":
                await self.samples.expire(now)
            case "job:history":
                for plan in self.plans.values():
                    end_at = (now // plan.step_s - HEAL_STEPS - 1) * plan.step_s
                    await self.keeper.backfill(plan, end_at, now)
            case "job:audit":
                broken = await self.store.verify_audit()
                if broken is not None:
                    log.error("audit chain broken", extra={"because": broken})
            case _:
                raise AssertionError(f"no job {name}")
