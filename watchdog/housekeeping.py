"""Ends what nobody else will end: expired offers, and what belongs to services no longer configured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from watchdog.alerts.messages import Routes, alerts_for
from watchdog.clock import Clock
from watchdog.model import Action, ActionState, Decision, Facts, Ruling
from watchdog.plan import ServicePlan
from watchdog.store.protocol import Store

log = logging.getLogger("watchdog.housekeeping")

# Nothing of these has been sent, so withdrawing them is certain.
_UNSENT: tuple[ActionState, ...] = ("awaiting_approval", "armed", "intended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Housekeeping:
    """Small durable moves that are due by time or by configuration, never by a verdict."""

    plans: Mapping[str, ServicePlan]
    store: Store
    clock: Clock
    routes: Routes
    wake_outbox: Callable[[], None]

    async def expire_offers(self) -> None:
        """End every proposal whose evidence is too old to act on, and say so."""
        now = self.clock.wall_s()
        for action in await self.store.actions(states=("awaiting_approval",)):
            if now > action.valid_until_at:
                await self._expire(action, "nobody approved it while its evidence was fresh", now)

    async def retire_services(self) -> None:
        """Cancel the open watches and withdraw the unsent rollbacks of services no longer configured.

        Closes the incidents of services that nobody judges between deploys any more, too.
        """
        now = self.clock.wall_s()
        because = "the service is no longer configured"
        for action in await self.store.actions(states=_UNSENT):
            if action.service not in self.plans:
                await self._expire(action, because, now)
        for watch in await self.store.watches(is_open=True, limit=1000):
            if watch.service not in self.plans:
                await self.store.transact(watch.id, lambda facts: _cancelled(facts, because, now), now)
                log.info("watch cancelled", extra={"watch": watch.id, "because": because})
        for incident in await self.store.incidents(is_open=True, limit=1000):
            plan = self.plans.get(incident.service)
            if plan is None or not plan.always_on.is_enabled or not plan.series:
                ended = "no longer judged between deploys"
                closed = replace(incident, state="accepted", because=ended, closed_at=now)
                await self.store.put_incident(closed, (), now)
                log.info("incident closed", extra={"incident": incident.id, "because": ended})

    async def _expire(self, action: Action, because: str, now: float) -> None:
        watch = await self.store.watch(action.watch_id)
        deploy = await self.store.deploy(action.deploy_id)
        if watch is None or deploy is None:
            raise AssertionError(f"action {action.key} has no watch or no deploy")
        alerts = alerts_for(
            "expired",
            watch=watch,
            deploy=deploy,
            action=action,
            routes=self.routes,
            now=now,
            because=because,
        )
        moved = await self.store.move_action(
            action.key,
            expect=(action.state,),
            to="expired",
            because=because,
            who="watchdog",
            now=now,
            alerts=alerts,
        )
        if moved is not None:
            log.info("action", extra={"key": moved.key, "state": moved.state, "because": because})
            self.wake_outbox()


def _cancelled(facts: Facts, because: str, now: float) -> Ruling:
    watch = replace(facts.watch, state="cancelled", because=because, closed_at=now)
    return Ruling(decision=Decision(do="close", because=because), watch=watch, audit=f"cancelled: {because}")
