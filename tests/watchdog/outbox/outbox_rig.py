"""An outbox over a store in memory, a clock that waits, and receivers that do what a test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from tests.support.examples import INTENT, NOW
from tests.support.fake_clock import FakeClock
from tests.support.memory_store import MemoryStore
from watchdog.alerts.messages import Routes
from watchdog.model import Action, Alert, Progress, Sent, SwitchState
from watchdog.outbox import Outbox
from watchdog.rollback.protocol import Order

OFF, ON = SwitchState(is_on=False), SwitchState(is_on=True, by="dana", because="freeze")
OK = Sent(outcome="done", because="answered 200")
VERSION_BEFORE = "4.12.0"
GOAL = replace(INTENT, state="intended", created_at=NOW, valid_until_at=NOW + 900, body=b'{"to":"4.11.3"}')


def intent(service: str = "checkout", n: int = 1, target: str = "deployer") -> Action:
    """A rollback that is to be sent."""
    return replace(
        GOAL, key=f"{service}-{n}".ljust(64, "0"), service=service, target=target, created_at=NOW + n / 1000
    )


@dataclass
class ScriptedTarget:
    """answers: for the next sends, then `always`. effects: executions by key; a repeated key is honoured."""

    idempotent: bool = True
    always: Sent = OK
    answers: list[Sent | BaseException] = field(default_factory=list)
    progresses: list[Progress] = field(default_factory=list)
    sent: list[Action] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)
    before: Callable[[str], None] = lambda _: None
    gate: asyncio.Event | None = None
    at: Callable[[], float] = lambda: 0.0
    times: list[float] = field(default_factory=list)

    def render(self, order: Order) -> bytes:
        return order.key.encode()

    async def send(self, action: Action, *, now: float, timeout_s: float) -> Sent:
        self.before("send")
        self.sent.append(action)
        self.times.append(now)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else self.always
        if isinstance(answer, BaseException):
            raise answer
        if answer.outcome in ("done", "accepted", "unknown") and not (
            self.idempotent and self.effects[action.key]
        ):
            self.effects[action.key] += 1
        self.before("answer")
        return answer

    async def progress(self, action: Action, *, now: float, timeout_s: float) -> Progress:
        self.times.append(now)
        return self.progresses.pop(0) if self.progresses else "running"

    async def close(self) -> None:
        return


@dataclass
class ScriptedChannel:
    """answers: for the next sends, then `always`. taken: alerts that were accepted."""

    always: Sent = OK
    answers: list[Sent | BaseException] = field(default_factory=list)
    tried: list[Alert] = field(default_factory=list)
    taken: list[Alert] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    before: Callable[[str], None] = lambda _: None
    gate: asyncio.Event | None = None

    async def send(self, alert: Alert, *, now: float, timeout_s: float) -> Sent:
        self.before("alert")
        self.tried.append(alert)
        self.times.append(now)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else self.always
        if isinstance(answer, BaseException):
            raise answer
        if answer.outcome == "done":
            self.taken.append(alert)
        self.before("alert answer")
        return answer

    async def close(self) -> None:
        return


class Rig:
    """One world; `running` starts an outbox in it, as often as a test likes."""

    def __init__(self, *, idempotent: bool = True) -> None:
        self.clock = FakeClock(NOW)
        self.store = MemoryStore()
        self.target = ScriptedTarget(idempotent=idempotent)
        self.targets: dict[str, ScriptedTarget] = {"deployer": self.target}
        self.team, self.on_call = ScriptedChannel(), ScriptedChannel()
        self.channels: dict[str, ScriptedChannel] = {"team": self.team, "on-call": self.on_call}
        self.switch: Callable[[], SwitchState] = lambda: OFF
        self.version: Callable[[str], Awaitable[str | None]] = self._version
        self.running_version: str | None = VERSION_BEFORE

    def put(self, *actions: Action) -> None:
        for action in actions:
            self.store.rows[action.key] = action

    @property
    def action(self) -> Action:
        """The only action there is."""
        (action,) = self.store.rows.values()
        return action

    @property
    def state(self) -> str:
        """The state of the only action there is."""
        return self.action.state

    def told(self, channel: str = "team") -> list[str]:
        """Kinds of alerts written for that channel, in order."""
        return [a.kind for a in self.store.outbox.values() if a.channel == channel]

    def outbox(self) -> Outbox:
        return Outbox(
            store=self.store.as_store(),
            clock=self.clock,
            targets=self.targets,
            channels=self.channels,
            kill_switch=self._switch,
            running_version=self.version,
            confirm_within_s=lambda action: 600.0,
            routes=Routes(default=("team",), page=("on-call",), public_url=None),
            rollback_timeout_s=0.5,
            alert_timeout_s=0.5,
            end_s=0.2,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Outbox]:
        """An outbox that runs; ended in order at the end of the block, or its failure raised."""
        outbox = self.outbox()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(outbox.run())
            await self.clock.advance(0)
            yield outbox
            task.cancel()

    async def _switch(self) -> SwitchState:
        return self.switch()

    async def _version(self, service: str) -> str | None:
        return self.running_version
