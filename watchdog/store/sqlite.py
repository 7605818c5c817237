"""The Store in one SQLite file, for one process: see docs/decisions/0005-storage.md.

Writes go to the one writer thread (`writer.py`), reads to one reading connection in its own thread; both
see every answered write.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

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
from watchdog.store import audit, facts, files, records, rows
from watchdog.store.protocol import StoreUnavailable
from watchdog.store.writer import GroupWriter, unavailable

T = TypeVar("T")

# Pages of lists; more is asked for in no place.
LIMIT_MAX = 10_000
# A crash loop is looked for in 10 minutes; older starts only take room.
_STARTS_S = 30 * 86400.0
_CRASHES_S = 600.0
_ALERT_STATES = frozenset({"pending", "sent", "failed"})


@dataclass(slots=True)
class _Opened:
    lock: int
    epoch: int
    writer: GroupWriter
    reader: ThreadPoolExecutor
    reading: sqlite3.Connection


@dataclass(slots=True)
class SqliteStore:
    """Implements `watchdog.store.protocol.Store` on the file `path` (and its -wal, -shm and .lock)."""

    path: Path
    _opened: _Opened | None = field(init=False, default=None, repr=False)
    _start: int | None = field(init=False, default=None, repr=False)

    @property
    def epoch(self) -> int:
        """Number of opens of this file so far. Raises StoreUnavailable while it is not open."""
        return self._open_parts().epoch

    async def open(self, now: float) -> None:
        """Take the lock, check the file or make it, count the epoch; raises StoreUnavailable."""
        if self._opened is None:
            self._opened = await asyncio.to_thread(_open, self.path)

    async def close(self) -> None:
        """Finish what waits, fold the log into the file, release the lock."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.writer.end()
            await asyncio.to_thread(_close, opened)

    async def take_in(
        self,
        event: DeployEvent,
        settle: Callable[[Sequence[Deploy], Sequence[Watch], Sequence[Action]], Intake],
        now: float,
    ) -> Intake:
        """Record one deploy event; what `settle` raises is raised here and nothing is changed."""

        def job(db: sqlite3.Connection) -> Intake:
            known = facts.known_deploy(db, event)
            if known is not None:
                return known
            intake = settle(*facts.around(db, event, now))
            records.write_intake(db, event, intake, now)
            return intake

        return await self._write(job)

    async def deploy(self, deploy_id: str) -> Deploy | None:
        """The canonical deploy of that id."""
        return await self._read(lambda db: rows.first(db, Deploy, "WHERE id = ?", (deploy_id,)))

    async def deploys(self, *, service: str | None = None, limit: int = 100) -> list[Deploy]:
        """Newest first by started_at."""
        where = "WHERE service = COALESCE(?, service) ORDER BY started_at DESC, rowid DESC LIMIT ?"
        return await self._read(lambda db: rows.select(db, Deploy, where, (service, _bounded(limit))))

    async def watch(self, watch_id: str) -> Watch | None:
        """The watch of that id, open or closed."""
        return await self._read(lambda db: rows.first(db, Watch, "WHERE id = ?", (watch_id,)))

    async def watches(
        self, *, service: str | None = None, is_open: bool | None = None, limit: int = 100
    ) -> list[Watch]:
        """Newest first by opened_at; is_open None means both."""
        where = """WHERE service = COALESCE(?, service)
                   AND (? IS NULL OR (state IN (SELECT value FROM json_each(?))) = ?)
                   ORDER BY opened_at DESC, rowid DESC LIMIT ?"""
        params = (service, is_open, facts.OPEN_STATES, is_open, _bounded(limit))
        return await self._read(lambda db: rows.select(db, Watch, where, params))

    async def packet(self, watch_id: str) -> Mapping[str, Any] | None:
        """The newest evidence packet of that watch."""

        def job(db: sqlite3.Connection) -> str | None:
            row = db.execute("SELECT packet FROM evidence_packet WHERE watch_id = ?", (watch_id,)).fetchone()
            return None if row is None else row[0]

        stored = await self._read(job)
        return None if stored is None else json.loads(stored)

    async def annotate(self, watch_id: str, annotations: Mapping[str, Any]) -> None:
        """Add to `annotations` of the stored packet; raises LookupError if there is none."""
        await self._write(lambda db: records.write_annotations(db, watch_id, annotations))

    async def decisions(self, watch_id: str) -> list[tuple[float, str, str]]:
        """(at, do, because), oldest first; a run of `wait` in one state is one row, the newest."""
        sql = 'SELECT at, "do", because FROM decision WHERE watch_id = ? ORDER BY n'
        return await self._read(lambda db: db.execute(sql, (watch_id,)).fetchall())

    async def transact(self, watch_id: str, decide: Callable[[Facts], Ruling], now: float) -> Ruling:
        """Read the facts, decide, write the ruling; raises LookupError for an unknown watch."""
        epoch = self.epoch

        def job(db: sqlite3.Connection) -> Ruling:
            ruling = decide(facts.of_watch(db, watch_id, epoch=epoch, now=now))
            if ruling.watch.id != watch_id:
                raise ValueError(f"the ruling is of watch {ruling.watch.id}, the facts were of {watch_id}")
            records.write_ruling(db, ruling, now)
            return ruling

        return await self._write(job)

    async def action(self, key: str) -> Action | None:
        """The action with that key."""
        return await self._read(lambda db: rows.first(db, Action, "WHERE key = ?", (key,)))

    async def actions(
        self, *, service: str | None = None, states: Sequence[ActionState] | None = None, limit: int = 100
    ) -> list[Action]:
        """Newest first by created_at."""
        listed = None if states is None else facts.as_list(states)
        where = """WHERE service = COALESCE(?, service)
                   AND (? IS NULL OR state IN (SELECT value FROM json_each(?)))
                   ORDER BY created_at DESC, rowid DESC LIMIT ?"""
        params = (service, listed, listed, _bounded(limit))
        return await self._read(lambda db: rows.select(db, Action, where, params))

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
        """Move an action if it is in one of `expect`; raises ValueError for a field that never changes."""
        fixed = sorted((changes or {}).keys() - records.CHANGEABLE)
        if fixed:
            raise ValueError(f"{fixed[0]}: not a field that a move may change")

        def job(db: sqlite3.Connection) -> Action | None:
            moved = records.write_move(
                db, key, expect=expect, to=to, because=because, who=who, now=now, changes=changes or {}
            )
            if moved is not None:
                if attempt is not None:
                    records.write_attempt(db, key, attempt, now)
                rows.insert_new(db, alerts)
            return moved

        return await self._write(job)

    async def attempts(self, key: str) -> list[tuple[float, str]]:
        """(at, what happened) of that action, or of the alert with that id; oldest first."""
        sql = "SELECT at, what FROM attempt WHERE key = ? ORDER BY n"
        return await self._read(lambda db: db.execute(sql, (key,)).fetchall())

    async def add_alerts(self, alerts: Sequence[Alert]) -> None:
        """Append to the outbox; an id that is there already is left alone."""
        await self._write(lambda db: rows.insert_new(db, alerts))

    async def due_alerts(self, now: float, limit: int = 100) -> list[Alert]:
        """Pending and due, oldest first; none while an older one of its channel and dedup_key is pending."""
        where = """WHERE state = 'pending' AND COALESCE(next_attempt_at, 0) <= ?
                   AND NOT EXISTS (
                     SELECT 1 FROM alert_outbox AS older
                     WHERE older.state = 'pending' AND older.channel = alert_outbox.channel
                     AND older.dedup_key = alert_outbox.dedup_key AND older.n < alert_outbox.n
                   ) ORDER BY n LIMIT ?"""
        return await self._read(lambda db: rows.select(db, Alert, where, (now, _bounded(limit))))

    async def alerts(self, *, limit: int = 100) -> list[Alert]:
        """Newest first."""
        return await self._read(
            lambda db: rows.select(db, Alert, "ORDER BY n DESC LIMIT ?", (_bounded(limit),))
        )

    async def settle_alert(
        self, alert_id: str, *, state: str, because: str, next_attempt_at: float | None, now: float
    ) -> None:
        """Record an attempt; raises ValueError for an unknown state, LookupError for an unknown alert."""
        if state not in _ALERT_STATES:
            raise ValueError(f"{state!r} is no state of an alert: one of {', '.join(sorted(_ALERT_STATES))}")

        def job(db: sqlite3.Connection) -> None:
            sql = """UPDATE alert_outbox SET state = ?, next_attempt_at = ?, attempts = attempts + 1
                     WHERE id = ?"""
            if db.execute(sql, (state, next_attempt_at, alert_id)).rowcount == 0:
                raise LookupError(f"no alert {alert_id}")
            records.write_attempt(db, alert_id, f"{state}: {because}", now)

        await self._write(job)

    async def put_incident(self, incident: Incident, alerts: Sequence[Alert], now: float) -> None:
        """Insert or replace it with its alerts; raises ValueError for a second open one of its kind."""
        await self._write(lambda db: records.write_incident(db, incident, alerts, now))

    async def incidents(
        self,
        *,
        service: str | None = None,
        is_open: bool | None = None,
        of_checks: bool = False,
        limit: int = 100,
    ) -> list[Incident]:
        """Newest first by opened_at; is_open None means both. of_checks: those of checks, else of series."""
        where = """WHERE service = COALESCE(?, service) AND (? IS NULL OR (closed_at IS NULL) = ?)
                   AND (check_name <> '') = ?
                   ORDER BY opened_at DESC, rowid DESC LIMIT ?"""
        params = (service, is_open, is_open, of_checks, _bounded(limit))
        return await self._read(lambda db: rows.select(db, Incident, where, params))

    async def hear(self, beat: Heartbeat) -> bool:
        """Keep a report; False if the same state of the same named run was kept before."""
        return await self._write(lambda db: records.write_heartbeat(db, beat))

    async def heartbeats(self, service: str, name: str) -> list[Heartbeat]:
        """Everything kept for that check, in the order in which it was heard."""
        return await self._read(lambda db: rows.heartbeats(db, service, name))

    async def await_heartbeats(self, awaited: Sequence[Heartbeat]) -> None:
        """Wait for these checks from now on, if nobody does yet; forget what is kept for any other."""
        await self._write(lambda db: records.write_awaited(db, awaited))

    async def keep_cleanup(self, cleanup: PendingCleanup) -> None:
        """Insert it, or replace what is kept of the same run."""
        await self._write(lambda db: rows.upsert(db, cleanup))

    async def settle_cleanup(self, run_id: str, left: Sequence[str], because: str) -> None:
        """Keep only these of its steps, and why they are left; forget it if there are none."""
        await self._write(lambda db: records.write_cleaned(db, run_id, left, because))

    async def cleanups(self, service: str | None = None, name: str | None = None) -> list[PendingCleanup]:
        """What is to be cleaned up, of all checks or of one, oldest first."""
        return await self._read(lambda db: rows.cleanups(db, service, name))

    async def kill_switch(self) -> SwitchState:
        """The stored kill switch."""
        return await self._read(facts.kill_switch)

    async def set_kill_switch(self, state: SwitchState) -> None:
        """Store it, with an audit row."""
        await self._write(
            lambda db: records.write_switch(db, "kill", state, ("kill switch on", "kill switch off"))
        )

    async def disarmed(self) -> str | None:
        """Why actions are disarmed, None while they are armed."""
        return await self._read(facts.disarmed)

    async def disarm(self, because: str | None, now: float) -> None:
        """Disarm actions, or arm them again with None."""
        state = SwitchState(is_on=because is not None, by="watchdog", at=now, because=because or "")
        await self._write(lambda db: records.write_switch(db, "disarmed", state, ("disarmed", "armed")))

    async def rollbacks_since(self, since: float) -> int:
        """How many rollbacks became intents after `since`, of all services."""
        return await self._read(lambda db: facts.intents_since(db, since))

    async def note(self, who: str, what: str, key: str, now: float) -> None:
        """Append one audit row."""
        await self._write(lambda db: audit.append(db, at=now, who=who, what=what, key=key))

    async def audit(self, *, limit: int = 100) -> list[AuditRow]:
        """Newest first."""
        return await self._read(lambda db: audit.newest(db, _bounded(limit)))

    async def verify_audit(self) -> str | None:
        """None if the whole chain holds, else a sentence naming the first row that does not."""
        return await self._read(audit.broken)

    async def note_start(self, now: float) -> int:
        """How many earlier starts of the last 10 minutes did not end in order; records this one."""

        def job(db: sqlite3.Connection) -> tuple[int | None, int]:
            db.execute("DELETE FROM start WHERE at < ?", (now - _STARTS_S,))
            sql = "SELECT COUNT(*) FROM start WHERE at >= ? AND ended_at IS NULL"
            crashes: int = db.execute(sql, (now - _CRASHES_S,)).fetchone()[0]
            return db.execute("INSERT INTO start (at) VALUES (?)", (now,)).lastrowid, crashes

        self._start, crashes = await self._write(job)
        return crashes

    async def note_orderly_end(self, now: float) -> None:
        """Record that this process, which called `note_start`, ended in order."""
        sql, params = "UPDATE start SET ended_at = ? WHERE n = ?", (now, self._start)
        await self._write(lambda db: db.execute(sql, params) and None)

    async def _write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._open_parts().writer.submit(job))

    async def _read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        opened = self._open_parts()
        try:
            return await asyncio.get_running_loop().run_in_executor(opened.reader, job, opened.reading)
        except sqlite3.Error as error:
            raise unavailable(error, "reading") or error from error

    def _open_parts(self) -> _Opened:
        if self._opened is None:
            raise StoreUnavailable(f"{self.path}: the store is not open")
        return self._opened


def _open(path: Path) -> _Opened:
    lock = files.lock(path)
    try:
        db = files.open_checked(path)
        try:
            epoch: int = db.execute("UPDATE schema_version SET epoch = epoch + 1 RETURNING epoch").fetchone()[
                0
            ]
            reading = files.connect(path)
            reading.execute("PRAGMA query_only = ON")
        except BaseException:
            db.close()
            raise
    except sqlite3.Error as error:
        os.close(lock)
        raise unavailable(error, f"{path}: opening") or error from error
    except BaseException:
        os.close(lock)
        raise
    reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-reader")
    return _Opened(lock=lock, epoch=epoch, writer=GroupWriter(db), reader=reader, reading=reading)


def _close(opened: _Opened) -> None:
    opened.writer.join()
    opened.reader.shutdown()
    opened.reading.close()
    # The last connection to close folds the log into the file and removes it.
    opened.writer.db.close()
    os.close(opened.lock)


def _bounded(limit: int) -> int:
    return max(0, min(limit, LIMIT_MAX))
