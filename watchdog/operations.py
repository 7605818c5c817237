"""What a caller may ask of the daemon: take a deploy event, approve or veto a rollback.

Every refusal is a sentence with a remedy; ValueError is a conflict with the present state, LookupError an
unknown name.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from watchdog.alerts.messages import alerts_for
from watchdog.clock import Clock
from watchdog.deploys.canonical import Rules, settle
from watchdog.model import Action, ActionState, Deploy, DeployEvent, Intake, SwitchState, Watch
from watchdog.plan import ServicePlan
from watchdog.ruling import Routes
from watchdog.store.protocol import Store

log = logging.getLogger("watchdog.operations")

# From these a veto still stops the rollback: nothing has been handed to the receiver yet.
_VETOABLE: tuple[ActionState, ...] = ("awaiting_approval", "armed", "intended")


@dataclass(slots=True, kw_only=True)
class Operations:
    """The four requests, over the store. on_change: called after anything was taken."""

    plans: Mapping[str, ServicePlan]
    store: Store
    clock: Clock
    routes: Routes
    config_digest: str
    kill_switch: Callable[[], Awaitable[SwitchState]]
    on_change: Callable[[], None]
    on_deploy: Callable[[Deploy, Watch], None]
    wake_outbox: Callable[[], None]

    async def submit(self, event: DeployEvent) -> Intake:
        """Take one deploy event; answers only when it is durable. ValueError: it cannot be taken."""
        plan = self.plans.get(event.service)
        if plan is None:
            known = ", ".join(sorted(self.plans))
            raise ValueError(f"service: `{event.service}` is not configured. Services: {known}")
        if event.environment != plan.environment:
            raise ValueError(
                f"environment: this daemon watches `{plan.environment}`, not `{event.environment}`"
            )
        event = replace(event, depends_on=event.depends_on or plan.depends_on)
        now = self.clock.wall_s()
        rules = Rules(
            rollout_max_s=plan.rollout_max_s, watch_s=plan.judge.watch_s, warm_up_s=plan.judge.warm_up_s
        )

        def decide(deploys: Sequence[Deploy], watches: Sequence[Watch], actions: Sequence[Action]) -> Intake:
            intake = settle(event, deploys, watches, actions, now=now, rules=rules)
            if intake.watch is None:
                return intake
            watch = replace(intake.watch, mode=plan.mode, config_digest=self.config_digest)
            told = alerts_for(
                "deployed",
                watch=watch,
                deploy=intake.deploy,
                channels_default=self.routes.default,
                channels_page=self.routes.page,
                public_url=self.routes.public_url,
                now=now,
            )
            return replace(intake, watch=watch, alerts=(*intake.alerts, *told))

        intake = await self.store.take_in(event, decide, now)
        log.info(
            "deploy event",
            extra={
                "deploy": intake.deploy.id,
                "service": event.service,
                "version": event.to_version,
                "state": event.state,
                "sender": event.sender,
                "duplicate": intake.is_duplicate,
                "watch": intake.watch.state if intake.watch else "none",
            },
        )
        if not intake.is_duplicate:
            if intake.watch is not None:
                self.on_deploy(intake.deploy, intake.watch)
            self.on_change()
            self.wake_outbox()
        return intake

    async def approve(self, key: str, who: str, because: str) -> Action:
        """Approve a proposed rollback: it becomes an intent and goes out."""
        action = await self._action(key)
        now = self.clock.wall_s()
        switch = await self.kill_switch()
        if switch.is_on:
            raise ValueError(f"the kill switch is on ({switch.because}): switch it off first")
        if now > action.valid_until_at:
            raise ValueError("the offer has expired: its evidence is too old to act on")
        return await self._move(
            action,
            expect=("awaiting_approval",),
            to="intended",
            because=f"approved by {who}: {because}",
            who=who,
        )

    async def veto(self, key: str, who: str, because: str) -> Action:
        """Stop a rollback that has not been sent."""
        action = await self._action(key)
        return await self._move(
            action, expect=_VETOABLE, to="vetoed", because=f"vetoed by {who}: {because}", who=who
        )

    async def _action(self, key: str) -> Action:
        action = await self.store.action(key)
        if action is None:
            raise LookupError(f"there is no action `{key}`")
        return action

    async def _move(
        self, action: Action, *, expect: Sequence[ActionState], to: ActionState, because: str, who: str
    ) -> Action:
        moved = await self.store.move_action(
            action.key,
            expect=expect,
            to=to,
            because=because,
            who=who,
            now=self.clock.wall_s(),
            changes={"epoch": self.store.epoch},
        )
        if moved is None:
            current = await self._action(action.key)
            raise ValueError(f"the action is {current.state} and can no longer be {to}")
        log.info("action", extra={"key": moved.key, "state": moved.state, "because": because})
        self.on_change()
        self.wake_outbox()
        return moved
