"""The Store protocol: everything that must survive a crash, behind one small interface.

Every method is one transaction. `decide`-like callables run inside the write transaction and must be
pure and fast: they see what is committed and nothing can come between their answer and its being durable.
`sqlite.py` implements it; `tests/watchdog/store/test_store_conformance.py` holds every implementation to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from watchdog.model import (
    Action,
    ActionState,
    Alert,
    AuditRow,
    Deploy,
    DeployEvent,
    Facts,
    Heartbeat,
    Incident,
    Intake,
    PendingCleanup,
    Ruling,
    SwitchState,
    Watch,
)

# Of one check: a hundred runs that begin and end, and room for those that are tried again.
HEARTBEATS_MAX = 500


class StoreUnavailable(Exception):
    """The store cannot take a write now (disk full, read-only): nothing was changed, nothing may be sent."""


class StoreDead(StoreUnavailable):
    """The disk failed under the store (fsync error, corruption): end the process, nothing is to be retried.

    What was answered before is durable; whether the failed write is cannot be known before the next start.
    """


class Store(Protocol):
    """Durable state. Raises StoreUnavailable from any method that writes; a corrupt file at `open`."""

    @property
    def epoch(self) -> int:
        """Number of times the store was opened for writing; grows by one at each `open`."""
        ...

    async def open(self, now: float) -> None:
        """Open, check integrity, migrate.

        Raises StoreUnavailable with the remedy: another process holds it, or the file is damaged, foreign
        or of a newer version.
        """
        ...

    async def close(self) -> None:
        """Flush and release; may be called twice."""
        ...

    # Deploys and watches

    async def take_in(
        self,
        event: DeployEvent,
        settle: Callable[[Sequence[Deploy], Sequence[Watch], Sequence[Action]], Intake],
        now: float,
    ) -> Intake:
        """Record one deploy event.

        A (sender, sender_id) seen before returns the stored deploy and watch with is_duplicate and does not
        call `settle`. Else `settle` gets, newest first, the environment's deploys of the last 30 days of
        this service and of the services it depends on, with every deploy whose watch is open; the watches
        of all of these, open or closed; and the service's rollback actions of the last 30 days. The deploy,
        watch, changed watches and alerts it returns are inserted or replace those of the same id.
        """
        ...

    async def deploy(self, deploy_id: str) -> Deploy | None:
        """The canonical deploy of that id."""
        ...

    async def deploys(self, *, service: str | None = None, limit: int = 100) -> list[Deploy]:
        """Newest first by started_at."""
        ...

    async def watch(self, watch_id: str) -> Watch | None:
        """The watch of that id, open or closed."""
        ...

    async def watches(
        self, *, service: str | None = None, is_open: bool | None = None, limit: int = 100
    ) -> list[Watch]:
        """Newest first by opened_at; is_open None means both."""
        ...

    async def packet(self, watch_id: str) -> Mapping[str, Any] | None:
        """The newest evidence packet of that watch."""
        ...

    async def annotate(self, watch_id: str, annotations: Mapping[str, Any]) -> None:
        """Add to `annotations` of the stored packet; what the verdict rests on stays as it was."""
        ...

    async def decisions(self, watch_id: str) -> list[tuple[float, str, str]]:
        """(at, do, because) of that watch, oldest first."""
        ...

    # The decision

    async def transact(self, watch_id: str, decide: Callable[[Facts], Ruling], now: float) -> Ruling:
        """Read the facts of that watch, decide, and write all of the ruling, in one durable transaction.

        A second action for the same (environment, service, deploy) is refused by a UNIQUE constraint and
        raises ValueError: policy must have seen `facts.intent`.
        """
        ...

    # Actions

    async def action(self, key: str) -> Action | None:
        """The action with that key."""
        ...

    async def actions(
        self, *, service: str | None = None, states: Sequence[ActionState] | None = None, limit: int = 100
    ) -> list[Action]:
        """Newest first by created_at."""
        ...

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
        """Move an action if it is in one of `expect`, else return None and change nothing.

        changes: other fields of Action to set (attempts, next_attempt_at, acked_at, deadline_at, poll_url,
        epoch). attempt: if given, one row of the attempt log. Writes one audit row and the alerts with it.
        """
        ...

    async def attempts(self, key: str) -> list[tuple[float, str]]:
        """(at, what happened) of that action, oldest first."""
        ...

    # Alerts

    async def add_alerts(self, alerts: Sequence[Alert]) -> None:
        """Append to the outbox; an id that is there already is left alone."""
        ...

    async def due_alerts(self, now: float, limit: int = 100) -> list[Alert]:
        """Pending alerts whose next attempt is due, oldest first.

        None while an older one of its channel and dedup_key is pending: no resolve overtakes its trigger.
        """
        ...

    async def alerts(self, *, limit: int = 100) -> list[Alert]:
        """Newest first."""
        ...

    async def settle_alert(
        self, alert_id: str, *, state: str, because: str, next_attempt_at: float | None, now: float
    ) -> None:
        """Record an attempt: state `sent`, `failed` or still `pending` with the next attempt's time."""
        ...

    # Between deploys

    async def put_incident(self, incident: Incident, alerts: Sequence[Alert], now: float) -> None:
        """Insert or replace it, with its alerts and an audit row where there are alerts, in one transaction.

        A second open incident of its series, or of its check, is refused with ValueError.
        """
        ...

    async def incidents(
        self,
        *,
        service: str | None = None,
        is_open: bool | None = None,
        of_checks: bool = False,
        limit: int = 100,
    ) -> list[Incident]:
        """Newest first by opened_at; is_open None means both. of_checks: those of checks, else of series."""
        ...

    # Heartbeats

    async def hear(self, beat: Heartbeat) -> bool:
        """Keep a report; False if the same state of the same named run was kept before.

        Of each check the newest HEARTBEATS_MAX are kept, and always its `awaited`.
        """
        ...

    async def heartbeats(self, service: str, name: str) -> list[Heartbeat]:
        """Everything kept for that check, in the order in which it was heard."""
        ...

    async def await_heartbeats(self, awaited: Sequence[Heartbeat]) -> None:
        """Wait for these checks from now on, if nobody does yet; forget what is kept for any other."""
        ...

    # Cleanups

    async def keep_cleanup(self, cleanup: PendingCleanup) -> None:
        """Insert it, or replace what is kept of the same run."""
        ...

    async def settle_cleanup(self, run_id: str, left: Sequence[str], because: str) -> None:
        """Keep only these of its steps, and why they are left; forget it if there are none."""
        ...

    async def cleanups(self, service: str | None = None, name: str | None = None) -> list[PendingCleanup]:
        """What is to be cleaned up, of all checks or of one, oldest first."""
        ...

    # Switches and the log

    async def kill_switch(self) -> SwitchState:
        """The stored kill switch; `rollback/killswitch.py` also looks at the file and the environment."""
        ...

    async def set_kill_switch(self, state: SwitchState) -> None:
        """Store it, with an audit row."""
        ...

    async def disarmed(self) -> str | None:
        """Why actions are disarmed, None while they are armed."""
        ...

    async def disarm(self, because: str | None, now: float) -> None:
        """Disarm actions (crash loop) or arm them again with None."""
        ...

    async def rollbacks_since(self, since: float) -> int:
        """How many rollbacks became intents after `since`, of all services: what the limits count."""
        ...

    async def note(self, who: str, what: str, key: str, now: float) -> None:
        """Append one audit row."""
        ...

    async def audit(self, *, limit: int = 100) -> list[AuditRow]:
        """Newest first."""
        ...

    async def verify_audit(self) -> str | None:
        """None if the whole chain holds, else a sentence naming the first row that does not."""
        ...

    async def note_start(self, now: float) -> int:
        """Record that the process started; how many starts in the last 10 minutes did not end in order."""
        ...

    async def note_orderly_end(self, now: float) -> None:
        """Record that the process that called `note_start` last ended in order."""
        ...
