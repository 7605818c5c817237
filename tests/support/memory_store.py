"""The part of the store that sending uses, in memory, so that a crash can be put between any two steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from tests.support.examples import DEPLOY, WATCH
from watchdog.model import Action, ActionState, Alert, Deploy, Watch
from watchdog.store.protocol import Store


class MemoryStore:
    """What is in it is durable: it outlives the outbox that a test ends or crashes.

    before, after: called with a name at each write, before and after it has happened; they may raise.
    reading: called when actions or watches are read; it may raise.
    moves: every move that happened, as (key, from, to). epoch: as if it were opened once more by `reopen`.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Action] = {}
        self.outbox: dict[str, Alert] = {}
        self.moves: list[tuple[str, str, str]] = []
        self.log: list[tuple[str, str]] = []
        self.epoch = 1
        self.known_deploys: list[Deploy] = [DEPLOY]
        self.known_watches: dict[str, Watch] = {WATCH.id: WATCH}
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None
        self.reading: Callable[[], None] = lambda: None

    def as_store(self) -> Store:
        """This store where a whole one is asked for."""
        return cast("Store", self)

    def reopen(self) -> None:
        """As a restart does."""
        self.epoch += 1

    async def deploy(self, deploy_id: str) -> Deploy | None:
        return next((d for d in self.known_deploys if d.id == deploy_id), None)

    async def deploys(self, *, service: str | None = None, limit: int = 100) -> list[Deploy]:
        found = [d for d in self.known_deploys if service in (None, d.service)]
        return sorted(found, key=lambda d: -d.started_at)[:limit]

    async def watch(self, watch_id: str) -> Watch | None:
        self.reading()
        return self.known_watches.get(watch_id)

    async def decisions(self, watch_id: str) -> list[tuple[float, str, str]]:
        return [(0.0, "wait", "watching"), (1.0, "roll_back", f"failed payments rose ({watch_id})")]

    async def action(self, key: str) -> Action | None:
        return self.rows.get(key)

    async def actions(
        self, *, service: str | None = None, states: Sequence[ActionState] | None = None, limit: int = 100
    ) -> list[Action]:
        self.reading()
        found = [
            a
            for a in self.rows.values()
            if service in (None, a.service) and (states is None or a.state in states)
        ]
        return sorted(found, key=lambda a: -a.created_at)[:limit]

    async def move_action(
        self,
        key: str,
        *,
        expect: Sequence[ActionState],
        to: ActionState,
        because: str,
        who: str,
        now: float,
        changes: Mapping[str, Any] | None = None,
        alerts: Sequence[Alert] = (),
        attempt: str | None = None,
    ) -> Action | None:
        name = f"move to {to}"
        self.before(name)
        action = self.rows.get(key)
        if action is None or action.state not in expect:
            return None
        self.moves.append((key, action.state, to))
        self.rows[key] = replace(action, state=to, because=because, **(changes or {}))
        if attempt is not None:
            self.log.append((key, attempt))
        for alert in alerts:
            self.outbox.setdefault(alert.id, alert)
        self.after(name)
        return self.rows[key]

    async def add_alerts(self, alerts: Sequence[Alert]) -> None:
        self.before("add alerts")
        for alert in alerts:
            self.outbox.setdefault(alert.id, alert)
        self.after("add alerts")

    async def due_alerts(self, now: float, limit: int = 100) -> list[Alert]:
        due: list[Alert] = []
        waiting: set[tuple[str, str]] = set()
        for alert in self.outbox.values():
            if alert.state == "pending" and (alert.channel, alert.dedup_key) not in waiting:
                waiting.add((alert.channel, alert.dedup_key))
                due += [alert] if (alert.next_attempt_at or 0.0) <= now else []
        return due[:limit]

    async def settle_alert(
        self, alert_id: str, *, state: str, because: str, next_attempt_at: float | None, now: float
    ) -> None:
        name = f"settle {state}"
        self.before(name)
        alert = self.outbox[alert_id]
        self.outbox[alert_id] = replace(
            alert,
            state=cast("Literal['pending', 'sent', 'failed']", state),
            next_attempt_at=next_attempt_at,
            attempts=alert.attempts + 1,
        )
        self.log.append((alert_id, f"{state}: {because}"))
        self.after(name)
