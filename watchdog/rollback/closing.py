"""Closes the loop of every acknowledged rollback: is the version back, have the series recovered?"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.model import History, SeriesSpec
from detectors.packet import decode_array
from detectors.recovery import Recovery, recovered
from watchdog.alerts.messages import Routes, alerts_for
from watchdog.clock import Clock
from watchdog.model import Action
from watchdog.plan import ServicePlan
from watchdog.rollback.verify import verify
from watchdog.series import SeriesBook
from watchdog.store.protocol import Store

log = logging.getLogger("watchdog.rollback.closing")


@dataclass(slots=True, kw_only=True)
class Closing:
    """Verifies acked rollbacks. running_version: what a service's version signal says, None if unknown."""

    plans: Mapping[str, ServicePlan]
    store: Store
    clock: Clock
    book: SeriesBook
    running_version: Callable[[str], Awaitable[str | None]]
    routes: Routes
    lag_s: float
    wake_outbox: Callable[[], None]

    async def verify_all(self) -> None:
        """Look at every acked rollback once."""
        for action in await self.store.actions(states=("acked",)):
            if action.service in self.plans:
                await self._verify(action, self.plans[action.service])

    async def _verify(self, action: Action, plan: ServicePlan) -> None:
        packet = await self.store.packet(action.watch_id)
        recoveries = _recoveries(packet or {}, action, plan, self.book, self.clock.wall_s() - self.lag_s)
        now = self.clock.wall_s()
        seen = verify(
            action,
            running_version=await self.running_version(action.service),
            has_version_signal=plan.version is not None,
            recoveries=recoveries,
            now=now,
        )
        if seen.state == "wait":
            return
        watch = await self.store.watch(action.watch_id)
        deploy = await self.store.deploy(action.deploy_id)
        assert watch is not None
        assert deploy is not None
        moved = await self.store.move_action(
            action.key,
            expect=("acked",),
            to=seen.state,
            because=seen.because,
            who="watchdog",
            now=now,
            alerts=alerts_for(
                "recovered" if seen.state == "confirmed" else "unconfirmed",
                watch=watch,
                deploy=deploy,
                action=action,
                routes=self.routes,
                now=now,
                because=seen.because,
            ),
        )
        if moved is not None:
            log.info(
                "action",
                extra={
                    "key": moved.key,
                    "service": moved.service,
                    "state": moved.state,
                    "because": seen.because,
                },
            )
            self.wake_outbox()


def _recoveries(
    packet: Mapping[str, Any], action: Action, plan: ServicePlan, book: SeriesBook, seen_to: float
) -> Sequence[Recovery]:
    """One recovery per series that was worse, on the steps that began after the rollback was acknowledged."""
    worse = {item["series"]: item for item in packet.get("evidence", ()) if item["state"] == "worse"}
    first_at = math.ceil((action.acked_at or action.created_at) / plan.step_s) * plan.step_s + plan.step_s
    last_at = math.floor(seen_to / plan.step_s) * plan.step_s
    recoveries = []
    for series in packet.get("series", ()):
        spec = SeriesSpec(**series["spec"])
        if spec.name not in worse:
            continue
        history = History(
            spec=spec, values=decode_array(series["history"]), end_at=series["history"]["end_at"]
        )
        after = (
            book.read(f"{plan.name}/{spec.name}", first_at, last_at)
            if last_at >= first_at
            else np.empty((0, spec.width))
        )
        told = worse[spec.name]
        recoveries.append(recovered(spec, history, after, lost=told["effect"], bound=told.get("bound")))
    return recoveries
