"""Sends what has been recorded: rollbacks to their targets, alerts to their channels.

Two queues that know nothing of each other, so that a dead pager cannot hold up a rollback, nor the reverse.
What is due is read from the store each time: there is no list in memory that could differ from it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from watchdog.alerts.messages import Routes
from watchdog.alerts.protocol import Channel
from watchdog.alerts.sending import AlertSender
from watchdog.clock import Clock
from watchdog.model import Action, SwitchState
from watchdog.retrying import until_stored
from watchdog.rollback.protocol import Target
from watchdog.rollback.sending import RollbackSender
from watchdog.store.protocol import Store, StoreDead, StoreUnavailable

log = logging.getLogger("watchdog.outbox")

# Between two looks at the store when nobody calls `wake` and nothing is known to fall due earlier.
_LOOK_EVERY_S = 1.0
_LOOK_AGAIN_S = 0.01


class _Sender(Protocol):
    next_at: float | None

    async def recover(self) -> None: ...

    async def due(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]: ...


@dataclass(slots=True, kw_only=True)
class Outbox:
    """Both queues, and the tasks that work on them.

    kill_switch: asked before every rollback is sent; while it is on (or actions are disarmed) none is.
    running_version: of a service, None when there is no signal or it cannot be read. confirm_within_s: how
    long an acknowledged rollback may take to be confirmed. routes: of the alerts that sending itself gives
    rise to. rollback_timeout_s: of one attempt at most, whatever the
    target is configured with. per_target: rollbacks at one target at a time.
    end_s: how long an attempt that is on the wire may still take when the daemon ends.
    """

    store: Store
    clock: Clock
    targets: Mapping[str, Target]
    channels: Mapping[str, Channel]
    kill_switch: Callable[[], Awaitable[SwitchState]]
    running_version: Callable[[str], Awaitable[str | None]]
    confirm_within_s: Callable[[Action], float]
    routes: Routes
    rollback_timeout_s: float = 60.0
    alert_timeout_s: float = 10.0
    per_target: int = 4
    end_s: float = 2.0

    rollbacks: RollbackSender = field(init=False)
    alerts: AlertSender = field(init=False)
    _rollbacks_wanted: asyncio.Event = field(init=False, repr=False, default_factory=asyncio.Event)
    _alerts_wanted: asyncio.Event = field(init=False, repr=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Build the two queues."""
        self.rollbacks = RollbackSender(
            store=self.store,
            clock=self.clock,
            targets=self.targets,
            kill_switch=self.kill_switch,
            running_version=self.running_version,
            confirm_within_s=self.confirm_within_s,
            routes=self.routes,
            timeout_s=self.rollback_timeout_s,
            per_target=self.per_target,
        )
        self.alerts = AlertSender(
            store=self.store, clock=self.clock, channels=self.channels, timeout_s=self.alert_timeout_s
        )

    @property
    def sent(self) -> int:
        """Rollbacks acknowledged and alerts delivered since the start."""
        return self.rollbacks.sent + self.alerts.sent

    @property
    def dropped(self) -> int:
        """Rollbacks and alerts that ended without having been taken, since the start."""
        return self.rollbacks.dropped + self.alerts.dropped

    @property
    def held(self) -> int:
        """Rollbacks that the kill switch holds back now."""
        return self.rollbacks.held

    def oldest_intent_age_s(self, now: float) -> float:
        """Age of the oldest rollback not acknowledged yet, as of the last look; 0 if there is none."""
        oldest_at = self.rollbacks.oldest_intent_at
        return 0.0 if oldest_at is None else max(0.0, now - oldest_at)

    def wake(self) -> None:
        """Say that something new is in the store."""
        self._rollbacks_wanted.set()
        self._alerts_wanted.set()

    async def recover(self) -> None:
        """Decide about what a crash left half done; `run` begins with it, and twice does no harm."""
        await until_stored(self.rollbacks.recover, self.clock)

    async def run(self) -> None:
        """Send until cancelled. On cancellation nothing new starts and what is on the wire gets `end_s`."""
        await self.recover()
        async with asyncio.TaskGroup() as queues:
            queues.create_task(self._work(self.rollbacks, self._rollbacks_wanted), name="outbox rollbacks")
            queues.create_task(self._work(self.alerts, self._alerts_wanted), name="outbox alerts")

    async def _work(self, sender: _Sender, wanted: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as lanes:
            running: set[asyncio.Task[None]] = set()
            try:
                while True:
                    wanted.clear()
                    for name, work in await self._due(sender):
                        task = lanes.create_task(_awaited(work), name=name)
                        running.add(task)
                        task.add_done_callback(running.discard)
                        # An end may be a beginning: the next of the same service, the alert of an outcome.
                        task.add_done_callback(lambda _: self.wake())
                    due_in_s = (sender.next_at or math.inf) - self.clock.wall_s()
                    await self._rest(wanted, min(_LOOK_EVERY_S, max(due_in_s, _LOOK_AGAIN_S)))
            finally:
                if running:
                    await asyncio.wait(running, timeout=self.end_s)

    async def _due(self, sender: _Sender) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        try:
            return await sender.due()
        except StoreDead:
            raise
        except StoreUnavailable as error:
            log.warning("nothing can be sent", extra={"because": str(error)})
            return []

    async def _rest(self, wanted: asyncio.Event, seconds: float) -> None:
        """Until somebody calls `wake`, or it is time to look by ourselves."""
        sleepers = {
            asyncio.ensure_future(wanted.wait()),
            asyncio.ensure_future(self.clock.sleep(seconds)),
        }
        try:
            await asyncio.wait(sleepers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for sleeper in sleepers:
                sleeper.cancel()


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()
