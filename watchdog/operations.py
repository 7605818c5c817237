"""What a caller may ask of the daemon: take a deploy event, approve or veto a rollback.

Every refusal is a sentence with a remedy; ValueError is a conflict with the present state, LookupError an
unknown name.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from watchdog.alerts.messages import Routes, alerts_for
from watchdog.clock import Clock
from watchdog.deploys.canonical import Rules, settle
from watchdog.model import Action, ActionState, Alert, Deploy, DeployEvent, Intake, SwitchState, Watch
from watchdog.plan import ServicePlan
from watchdog.store.protocol import Store

log = logging.getLogger("watchdog.operations")

# From these a veto still stops the rollback: nothing has been handed to the receiver yet.
_VETOABLE: tuple[ActionState, ...] = ("awaiting_approval", "armed", "intended")
# Why it is too late, in words for a person who has just asked.
_TOO_LATE: Mapping[ActionState, str] = {
    "vetoed": "was vetoed",
    "intended": "was approved already and is about to be sent",
    "sending": "was approved already and is being sent",
    "retry_wait": "was sent already and is tried again",
    "acked": "was sent already and accepted",
    "confirmed": "was sent already, and the service has recovered",
    "unconfirmed": "was sent already, but the service has not recovered",
    "unknown": "was sent already, and whether it was taken is not known",
    "refused": "was sent already, and the target refused it",
    "expired": "has expired",
}


@dataclass(slots=True, kw_only=True)
class Operations:
    """The requests, over the store. on_change: called after anything was taken."""

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
                routes=self.routes,
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
        if action.state == "awaiting_approval":
            switch = await self.kill_switch()
            if switch.is_on:
                raise ValueError(f"The kill switch is on ({switch.because}): switch it off first.")
            if now >= action.valid_until_at:
                raise ValueError(
                    "The offer has expired: its evidence is too old to act on. "
                    "Roll back with your deployer if it is still needed."
                )
        return await self._move(
            action, expect=("awaiting_approval",), to="intended", doing="approved", who=who, because=because
        )

    async def veto(self, key: str, who: str, because: str) -> Action:
        """Stop a rollback that has not been sent."""
        action = await self._action(key)
        return await self._move(
            action, expect=_VETOABLE, to="vetoed", doing="vetoed", who=who, because=because
        )

    async def _action(self, key: str) -> Action:
        action = await self.store.action(key)
        if action is None:
            raise LookupError(f"there is no action `{key}`")
        return action

    async def _move(
        self,
        action: Action,
        *,
        expect: Sequence[ActionState],
        to: ActionState,
        doing: str,
        who: str,
        because: str,
    ) -> Action:
        because = f"{doing} by {who}" + (f": {because}" if because else "")
        alerts = await self._vetoed(action, because) if to == "vetoed" else ()
        moved = await self.store.move_action(
            action.key,
            expect=expect,
            to=to,
            because=because,
            who=who,
            now=self.clock.wall_s(),
            changes={"epoch": self.store.epoch},
            alerts=alerts,
        )
        if moved is None:
            current = await self._action(action.key)
            said = _TOO_LATE.get(current.state, f"is {current.state}")
            raise ValueError(f"This rollback {said} ({current.because}), so it cannot be {doing} any more.")
        log.info("action", extra={"key": moved.key, "state": moved.state, "because": because})
        self.on_change()
        self.wake_outbox()
        return moved

    async def _vetoed(self, action: Action, because: str) -> tuple[Alert, ...]:
        """Whoever was asked to approve it hears that nobody needs to any more."""
        watch = await self.store.watch(action.watch_id)
        deploy = await self.store.deploy(action.deploy_id)
        if watch is None or deploy is None:
            raise AssertionError(f"action {action.key} has no watch or no deploy")
        return alerts_for(
            "vetoed",
            watch=watch,
            deploy=deploy,
            action=action,
            routes=self.routes,
            now=self.clock.wall_s(),
            because=because,
        )
