"""One daemon's way from a regressed verdict to an acknowledged rollback, killed at a numbered step.

Run in a process of its own by `test_kill.py`; at step 0 it is never killed. The parts are the product's own;
only the wrappers here know about killing.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from config.schema import VersionSignal
from detectors.model import Verdict
from tests.support.examples import NOW
from tests.support.sample_plan import a_plan
from watchdog.alerts.channels.slack import SlackChannel
from watchdog.alerts.messages import Routes
from watchdog.clock import SystemClock
from watchdog.deploys.canonical import settle
from watchdog.deploys.rules import Rules
from watchdog.model import Action, DeployEvent, Facts, Progress, Ruling, Sent, SwitchState
from watchdog.outbox import Outbox
from watchdog.rollback.protocol import Order
from watchdog.rollback.targets.webhook import WebhookTarget
from watchdog.ruling import rule
from watchdog.store.sqlite import SqliteStore

ROUTES = Routes(default=("team",), page=(), public_url=None)
RULES = Rules(rollout_max_s=300.0, watch_s=2700.0)


class Killer:
    """Counts the steps, writes each down, and kills the process at the one asked for."""

    def __init__(self, log: Path, kill_at: int) -> None:
        self.log = log
        self.kill_at = kill_at
        self.count = 0

    def step(self, name: str) -> None:
        self.count += 1
        with self.log.open("a") as file:
            file.write(f"{self.count} {name}\n")
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


class KilledStore(SqliteStore):
    """The product's store, with a step before and after every write that the chain makes."""

    killer: Killer

    async def transact(self, *args: Any, **kwargs: Any) -> Ruling:
        self.killer.step("before verdict and intent")
        ruling = await super().transact(*args, **kwargs)
        self.killer.step("after verdict and intent")
        return ruling

    async def move_action(self, *args: Any, **kwargs: Any) -> Action | None:
        self.killer.step(f"before action is {kwargs['to']}")
        moved = await super().move_action(*args, **kwargs)
        self.killer.step(f"after action is {kwargs['to']}")
        return moved

    async def settle_alert(self, *args: Any, **kwargs: Any) -> None:
        self.killer.step("before alert is settled")
        await super().settle_alert(*args, **kwargs)
        self.killer.step("after alert is settled")


class KilledTarget:
    """The product's webhook target, with a step before and after the request."""

    def __init__(self, target: WebhookTarget, killer: Killer) -> None:
        self.target = target
        self.killer = killer
        self.idempotent = target.idempotent

    def render(self, order: Order) -> bytes:
        return self.target.render(order)

    async def send(self, action: Action, *, now: float, timeout_s: float) -> Sent:
        self.killer.step("before the request")
        sent = await self.target.send(action, now=now, timeout_s=timeout_s)
        self.killer.step("after the request")
        return sent

    async def progress(self, action: Action, *, now: float, timeout_s: float) -> Progress:
        return await self.target.progress(action, now=now, timeout_s=timeout_s)

    async def close(self) -> None:
        await self.target.close()


def run(state_dir: Path, rollback: str, slack: str, idempotent: bool, kill_at: int) -> None:
    """The whole way in this process."""
    asyncio.run(_chain(state_dir, rollback, slack, idempotent, kill_at))


async def _chain(state_dir: Path, rollback: str, slack: str, idempotent: bool, kill_at: int) -> None:
    """Decide, send, and end when nothing is left to send."""
    clock = SystemClock()
    killer = Killer(state_dir.parent / "steps", kill_at)
    store = KilledStore(state_dir / "state.db")
    store.killer = killer
    target = KilledTarget(WebhookTarget(url=f"{rollback}/rollback", idempotent=idempotent), killer)
    channel = SlackChannel(webhook=SecretStr(f"{slack}/services/x"))
    await store.open(clock.wall_s())
    plan = a_plan(mode="auto", version=VersionSignal(http=f"{rollback}/version"))
    # The version to go back to was watched and found healthy before.
    for version, state in (("4.11.3", "healthy"), ("4.12.0", "regressed")):
        now = clock.wall_s()
        event = DeployEvent(
            sender="test",
            sender_id=version,
            received_at=now,
            environment="prod",
            service="checkout",
            to_version=version,
            from_version="4.11.2" if version == "4.11.3" else "4.11.3",
            state="finished",
            started_at=now - 20,
            finished_at=now - 10,
        )
        intake = await store.take_in(
            event, lambda d, w, a, e=event, n=now: settle(e, d, w, a, now=n, rules=RULES), now
        )
        assert intake.watch is not None
        verdict = Verdict(state=state, reason="evidence", because=f"{version} is {state}.", at=now)

        def decide(facts: Facts, verdict: Verdict = verdict, now: float = now) -> Ruling:
            return rule(
                verdict,
                facts,
                plan=plan,
                target=target,
                routes=ROUTES,
                packet={"at": NOW},
                history_s=30 * 86400.0,
                are_controls_blind=False,
                is_over=True,
                is_blind_for_long=False,
                now=now,
            )

        await store.transact(intake.watch.id, decide, now)

    async def off() -> SwitchState:
        return SwitchState(is_on=False)

    async def running(service: str) -> str | None:
        return "4.12.0"

    outbox = Outbox(
        store=store,
        clock=clock,
        targets={"deployer": target},
        channels={"team": channel},
        kill_switch=off,
        running_version=running,
        confirm_within_s=lambda action: 60.0,
        routes=ROUTES,
    )
    sending = asyncio.create_task(outbox.run())
    while True:
        actions = await store.actions(service="checkout")
        pending = [alert for alert in await store.alerts() if alert.state == "pending"]
        is_settled = all(action.state in ("acked", "unknown", "refused", "expired") for action in actions)
        if actions and is_settled and not pending:
            break
        await asyncio.sleep(0.02)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await target.close()
    await channel.close()
    await store.close()
