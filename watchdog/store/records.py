"""What one transaction writes, on the connection of the write transaction: all of it, or the caller fails."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from watchdog.model import (
    Action,
    ActionState,
    Alert,
    DeployEvent,
    Heartbeat,
    Incident,
    Intake,
    Ruling,
    SwitchState,
)
from watchdog.store import audit, rows
from watchdog.store.protocol import HEARTBEATS_MAX

# The key, the body and what they are derived from never change: the same bytes go out on every attempt.
CHANGEABLE = frozenset({"attempts", "next_attempt_at", "acked_at", "deadline_at", "poll_url", "epoch"})


def write_intake(db: sqlite3.Connection, event: DeployEvent, intake: Intake, now: float) -> None:
    """The event, the canonical deploy it belongs to, and the watches and alerts that follow from it."""
    rows.upsert(db, intake.deploy)
    rows.insert(db, event, deploy_id=intake.deploy.id)
    for watch in (intake.watch, *intake.changed):
        if watch is not None:
            rows.upsert(db, watch)
    rows.insert_new(db, intake.alerts)
    what = f"deploy of {event.service} {event.to_version} {event.state}"
    audit.append(db, at=now, who=event.sender, what=what, key=intake.deploy.id)


def write_ruling(db: sqlite3.Connection, ruling: Ruling, now: float) -> None:
    """All of a ruling; raises ValueError if it holds a second action for its deploy, or NaN in the packet."""
    rows.upsert(db, ruling.watch)
    _write_decision(db, ruling, now)
    if ruling.packet is not None:
        db.execute(
            "INSERT OR REPLACE INTO evidence_packet (watch_id, at, packet) VALUES (?, ?, ?)",
            (ruling.watch.id, now, json.dumps(ruling.packet, allow_nan=False)),
        )
    if ruling.action is not None:
        _insert_action(db, ruling.action, now)
    rows.insert_new(db, ruling.alerts)
    if ruling.audit:
        audit.append(db, at=now, who="watchdog", what=ruling.audit, key=ruling.watch.id)


def write_incident(db: sqlite3.Connection, incident: Incident, alerts: Sequence[Alert], now: float) -> None:
    """The incident as it is now, and what is told of it; raises ValueError for a second open one."""
    try:
        rows.upsert(db, incident)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            raise
        raise ValueError(f"{incident.service} already has an open incident: one at a time") from error
    rows.insert_new(db, alerts)
    if alerts:
        what = f"incident {incident.state}: {incident.because}"
        audit.append(db, at=now, who="watchdog", what=what, key=incident.id)


def write_heartbeat(db: sqlite3.Connection, beat: Heartbeat) -> bool:
    """The report, and no more than HEARTBEATS_MAX of its check; False if it was there already."""
    try:
        rows.insert(db, beat)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            raise
        return False
    db.execute(
        """DELETE FROM heartbeat WHERE service = ? AND name = ? AND state <> 'awaited' AND n <= (
             SELECT n FROM heartbeat WHERE service = ? AND name = ? AND state <> 'awaited'
             ORDER BY n DESC LIMIT 1 OFFSET ?)""",
        (beat.service, beat.name, beat.service, beat.name, HEARTBEATS_MAX),
    )
    return True


def write_awaited(db: sqlite3.Connection, awaited: Sequence[Heartbeat]) -> None:
    """Wait for those checks that nobody waits for yet, and forget all others."""
    wanted = {(beat.service, beat.name): beat for beat in awaited}
    kept = set(db.execute("SELECT DISTINCT service, name FROM heartbeat").fetchall())
    for key in kept - wanted.keys():
        db.execute("DELETE FROM heartbeat WHERE service = ? AND name = ?", key)
    for key in wanted.keys() - kept:
        rows.insert(db, wanted[key])


def write_cleaned(db: sqlite3.Connection, run_id: str, left: Sequence[str], because: str) -> None:
    """What is left to be cleaned up after a run; nothing is kept if there are no steps."""
    if left:
        sql = "UPDATE pending_cleanup SET steps = ?, because = ? WHERE run_id = ?"
        db.execute(sql, (json.dumps(list(left)), because, run_id))
    else:
        db.execute("DELETE FROM pending_cleanup WHERE run_id = ?", (run_id,))


def write_annotations(db: sqlite3.Connection, watch_id: str, annotations: Mapping[str, Any]) -> None:
    """Merge into `annotations` of the stored packet; raises LookupError if there is no packet."""
    row = db.execute("SELECT packet FROM evidence_packet WHERE watch_id = ?", (watch_id,)).fetchone()
    if row is None:
        raise LookupError(f"no evidence packet of watch {watch_id}")
    packet = json.loads(row[0])
    packet["annotations"] = {**packet.get("annotations", {}), **annotations}
    db.execute(
        "UPDATE evidence_packet SET packet = ? WHERE watch_id = ?",
        (json.dumps(packet, allow_nan=False), watch_id),
    )


def write_move(
    db: sqlite3.Connection,
    key: str,
    *,
    expect: Sequence[ActionState],
    to: ActionState,
    because: str,
    who: str,
    now: float,
    changes: Mapping[str, Any],
) -> Action | None:
    """The action in its new state, with its audit row; None and nothing if it is in none of `expect`."""
    action = rows.first(db, Action, "WHERE key = ?", (key,))
    if action is None or action.state not in expect:
        return None
    moved = replace(action, state=to, because=because, **changes)
    rows.upsert(db, moved)
    if to == "intended":
        # Once for ever: budgets and cool-downs count from the moment it was to be sent.
        db.execute("UPDATE action SET intended_at = ? WHERE key = ? AND intended_at IS NULL", (now, key))
    audit.append(db, at=now, who=who, what=f"{action.state} -> {to}: {because}", key=key)
    return moved


def write_attempt(db: sqlite3.Connection, key: str, what: str, now: float) -> None:
    """One row of the attempt log of an action (its key) or an alert (its id)."""
    db.execute("INSERT INTO attempt (key, at, what) VALUES (?, ?, ?)", (key, now, what))


def write_switch(db: sqlite3.Connection, name: str, state: SwitchState, words: tuple[str, str]) -> None:
    """A switch and its audit row. words: what the row says when it goes on, and off."""
    rows.upsert(db, state, name=name)
    word = words[0] if state.is_on else words[1]
    what = f"{word}: {state.because}" if state.because else word
    audit.append(db, at=state.at, who=state.by, what=what, key=name)


def _write_decision(db: sqlite3.Connection, ruling: Ruling, now: float) -> None:
    """Add one row; a tick that still waits in the same state replaces the tick before it.

    Else a watch would leave a row for every tick of its life, all saying the same.
    """
    decision, state = ruling.decision, ruling.watch.state
    last = db.execute(
        'SELECT n, "do", watch_state FROM decision WHERE watch_id = ? ORDER BY n DESC LIMIT 1',
        (ruling.watch.id,),
    ).fetchone()
    if decision.do == "wait" and last is not None and last[1:] == ("wait", state):
        db.execute("UPDATE decision SET at = ?, because = ? WHERE n = ?", (now, decision.because, last[0]))
        return
    db.execute(
        'INSERT INTO decision (watch_id, at, "do", because, watch_state) VALUES (?, ?, ?, ?, ?)',
        (ruling.watch.id, now, decision.do, decision.because, state),
    )


def _insert_action(db: sqlite3.Connection, action: Action, now: float) -> None:
    try:
        rows.insert(db, action, intended_at=now if action.state == "intended" else None)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode not in (
            sqlite3.SQLITE_CONSTRAINT_UNIQUE,
            sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
        ):
            raise
        raise ValueError(
            f"deploy {action.deploy_id} of {action.service} already has a rollback action: "
            "one intent per deploy, for ever"
        ) from error
