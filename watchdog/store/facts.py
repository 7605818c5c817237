"""What a decision and a deploy event may depend on, read on the connection of the write transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from watchdog.model import (
    OPEN_WATCH_STATES,
    Action,
    Deploy,
    DeployEvent,
    Facts,
    Intake,
    SwitchState,
    Watch,
)
from watchdog.store import rows

# Both spans are the protocol's.
_DEPLOYS_S = 30 * 86400.0
_REGRESSED_S = 600.0
# A storm of deploys must not make one event slow: the newest are those an event can belong to.
_DEPLOYS_MAX = 500
# Something is on its way to the receiver, or was taken by it and is not yet confirmed.
_IN_FLIGHT = ("intended", "sending", "retry_wait", "acked")

# `IN (SELECT value FROM json_each(?))` takes a list as one parameter.
_IN_LIST = "IN (SELECT value FROM json_each(?))"
# A deploy that was only announced has neither an end nor a start that somebody told.
_IS_LIVE = "NOT is_failed AND NOT (is_start_assumed AND finished_at IS NULL)"


def as_list(values: Sequence[str] | frozenset[Any]) -> str:
    """A list as one SQL parameter for json_each."""
    return json.dumps(sorted(values))


OPEN_STATES = as_list(OPEN_WATCH_STATES)


def known_deploy(db: sqlite3.Connection, event: DeployEvent) -> Intake | None:
    """What became of that event when the same sender said it before, None if it is new."""
    where = "WHERE id = (SELECT deploy_id FROM deploy_event WHERE sender = ? AND sender_id = ?)"
    deploy = rows.first(db, Deploy, where, (event.sender, event.sender_id))
    if deploy is None:
        return None
    watch = rows.first(db, Watch, "WHERE deploy_id = ?", (deploy.id,))
    return Intake(deploy=deploy, watch=watch, is_duplicate=True)


def around(
    db: sqlite3.Connection, event: DeployEvent, now: float
) -> tuple[list[Deploy], list[Watch], list[Action]]:
    """The deploys, watches and actions that `Store.take_in` hands to `settle`, newest first."""
    services = as_list([event.service, *event.depends_on])
    deploys = rows.select(
        db,
        Deploy,
        # S608: every f-string here is made of constants of this file; values are parameters.
        f"""WHERE environment = ? AND (
              (service {_IN_LIST} AND COALESCE(finished_at, started_at) > ?)
              OR id IN (SELECT deploy_id FROM watch WHERE environment = ? AND state {_IN_LIST})
            ) ORDER BY started_at DESC, rowid DESC LIMIT ?""",  # noqa: S608
        (event.environment, services, now - _DEPLOYS_S, event.environment, OPEN_STATES, _DEPLOYS_MAX),
    )
    watches = rows.select(
        db,
        Watch,
        f"WHERE deploy_id {_IN_LIST} ORDER BY opened_at DESC, rowid DESC",
        (as_list([deploy.id for deploy in deploys]),),
    )
    actions = rows.select(
        db,
        Action,
        "WHERE environment = ? AND service = ? AND created_at > ? ORDER BY created_at DESC, rowid DESC",
        (event.environment, event.service, now - _DEPLOYS_S),
    )
    return deploys, watches, actions


def of_watch(db: sqlite3.Connection, watch_id: str, *, epoch: int, now: float) -> Facts:
    """The facts of one watch. Raises LookupError if there is no such watch."""
    watch = rows.first(db, Watch, "WHERE id = ?", (watch_id,))
    if watch is None:
        raise LookupError(f"no watch {watch_id}")
    deploy = rows.first(db, Deploy, "WHERE id = ?", (watch.deploy_id,))
    if deploy is None:
        raise LookupError(f"no deploy {watch.deploy_id}")
    place = (watch.environment, watch.service)
    switch = kill_switch(db)
    return Facts(
        watch=watch,
        deploy=deploy,
        epoch=epoch,
        live_deploy_id=_one(
            db,
            f"""SELECT id FROM deploy WHERE environment = ? AND service = ? AND {_IS_LIVE}
                ORDER BY COALESCE(finished_at, started_at) DESC, rowid DESC LIMIT 1""",  # noqa: S608
            place,
        ),
        intent=rows.first(
            db, Action, "WHERE environment = ? AND service = ? AND deploy_id = ?", (*place, deploy.id)
        ),
        in_flight=_one(
            db,
            f"SELECT COUNT(*) FROM action WHERE environment = ? AND service = ? AND state {_IN_LIST}",  # noqa: S608
            (*place, as_list(_IN_FLIGHT)),
        ),
        last_rollback_at=_one(
            db, "SELECT MAX(intended_at) FROM action WHERE environment = ? AND service = ?", place
        ),
        rollbacks_last_hour=intents_since(db, now - 3600.0),
        rollbacks_last_day=intents_since(db, now - 86400.0),
        services_regressed_10_min=_one(
            db,
            """SELECT COUNT(DISTINCT watch.service) FROM decision JOIN watch ON watch.id = decision.watch_id
               WHERE decision.watch_state = 'regressed' AND decision.at > ?
               AND watch.environment = ? AND watch.service <> ?""",
            (now - _REGRESSED_S, *place),
        ),
        kill_switch=(switch.because or f"on by {switch.by}") if switch.is_on else None,
        disarmed=disarmed(db),
        to_version_state=_one(
            db,
            f"""SELECT watch.state FROM watch JOIN deploy ON deploy.id = watch.deploy_id
                WHERE deploy.environment = ? AND deploy.service = ? AND deploy.to_version = ?
                AND watch.id <> ? AND watch.state NOT {_IN_LIST}
                ORDER BY COALESCE(watch.closed_at, watch.opened_at) DESC, watch.rowid DESC LIMIT 1""",  # noqa: S608
            (*place, deploy.from_version, watch.id, OPEN_STATES),
        ),
    )


def kill_switch(db: sqlite3.Connection) -> SwitchState:
    """The stored kill switch; off if it was never touched."""
    return rows.first(db, SwitchState, "WHERE name = 'kill'") or SwitchState(is_on=False)


def disarmed(db: sqlite3.Connection) -> str | None:
    """Why actions are disarmed, or None."""
    state = rows.first(db, SwitchState, "WHERE name = 'disarmed'")
    return state.because if state is not None and state.is_on else None


def intents_since(db: sqlite3.Connection, since: float) -> int:
    """How many rollbacks became something to be sent after `since`; proposals are not among them."""
    count: int = _one(db, "SELECT COUNT(*) FROM action WHERE intended_at > ?", (since,))
    return count


def _one(db: sqlite3.Connection, sql: str, params: tuple[Any, ...]) -> Any:
    row = db.execute(sql, params).fetchone()
    return None if row is None else row[0]
