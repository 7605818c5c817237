"""One look at everything: what the list of services, the live events and the Now page all show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from watchdog.api.encode import action_json, deploy_json, switch_json, watch_json
from watchdog.api.protocol import Ports
from watchdog.model import (
    ENDED_ACTION_STATES,
    OPEN_WATCH_STATES,
    Action,
    ActionState,
    Deploy,
    SwitchState,
    Watch,
    WatchState,
)

Group = Literal["needs_you", "unsure", "watching", "fine"]
GROUPS: tuple[Group, ...] = ("needs_you", "watching", "unsure", "fine")
# The newest watch of each service is looked for among this many, so that one look stays a bounded query.
RECENT_MAX = 1000
STATES_SENT: frozenset[ActionState] = frozenset(
    {"intended", "sending", "acked", "retry_wait", "unknown", "refused", "confirmed", "unconfirmed"}
)
_NEEDS_A_PERSON: frozenset[ActionState] = frozenset(
    {"awaiting_approval", "unknown", "refused", "expired", "unconfirmed"}
)
_UNSURE: frozenset[WatchState] = frozenset({"blind", "inconclusive", "missed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """One service now. watch, deploy: the newest; action: the rollback of that deploy, if there is one.

    because: one sentence on where it stands. problems: sentences on what cannot be seen.
    always_on: one on the judging between deploys.
    """

    name: str
    mode: str
    group: Group
    because: str
    watch: Watch | None
    deploy: Deploy | None
    action: Action | None
    blind_since: float | None
    problems: tuple[str, ...]
    checks: Mapping[str, Mapping[str, Any]]
    always_on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything now. services: as configured; rollbacks_today: sent in the last day."""

    at: float
    services: tuple[ServiceView, ...]
    open_watches: tuple[Watch, ...]
    actions: tuple[Action, ...]
    switch: SwitchState
    sources: Mapping[str, str]
    rollbacks_today: int

    def in_group(self, group: Group) -> list[ServiceView]:
        """The services of one group, newest watch first: trouble is not sorted by name."""
        found = [view for view in self.services if view.group == group]
        return sorted(found, key=lambda view: -(view.watch.opened_at if view.watch else 0.0))


def group_of(
    watch: Watch | None, action: Action | None, blind_since: float | None, is_failing: bool
) -> Group:
    """Who should look at a service: a person now, nobody yet, nobody can tell, or nobody.

    A regressed deploy stays with a person until its rollback is on its way or confirmed: nothing
    else would end it.
    """
    if action is not None and action.state in _NEEDS_A_PERSON:
        return "needs_you"
    if action is not None and action.state not in ENDED_ACTION_STATES:
        return "watching"
    is_back = action is not None and action.state == "confirmed"
    if watch is not None and watch.state == "regressed" and not is_back:
        return "needs_you"
    if blind_since is not None:
        return "unsure"
    if watch is not None and watch.state in OPEN_WATCH_STATES:
        return "watching"
    if is_failing or (watch is not None and watch.state in _UNSURE):
        return "unsure"
    return "fine"


async def look(ports: Ports) -> Picture:
    """Read the picture: four bounded queries and the board."""
    settings, store, board = ports.settings, ports.store, ports.board
    now = ports.clock.wall_s()
    open_watches = await store.watches(is_open=True, limit=RECENT_MAX)
    watches = {watch.id: watch for watch in (*open_watches, *await store.watches(limit=RECENT_MAX))}
    deploys = {deploy.id: deploy for deploy in await store.deploys(limit=RECENT_MAX)}
    actions = await store.actions(limit=RECENT_MAX)
    action_of = {(action.service, action.deploy_id): action for action in reversed(actions)}
    newest: dict[str, Watch] = {}
    for watch in sorted(watches.values(), key=lambda watch: watch.opened_at):
        newest[watch.service] = watch
    notes = board.service_notes()
    views = []
    for name, service in settings.services.items():
        latest = newest.get(name)
        note = notes.get(name, {})
        checks: Mapping[str, Mapping[str, Any]] = note.get("checks") or {}
        problems = tuple(str(problem) for problem in note.get("problems") or ())
        failing = [check for check, result in checks.items() if result.get("outcome") == "fail"]
        action = action_of.get((name, latest.deploy_id)) if latest else None
        blind_since = note.get("blind_since")
        deploy = deploys.get(latest.deploy_id) if latest else None
        if latest is not None and deploy is None:
            deploy = await store.deploy(latest.deploy_id)
        views.append(
            ServiceView(
                name=name,
                mode=service.mode or settings.defaults.mode,
                group=group_of(latest, action, blind_since, bool(failing)),
                because=_because(latest, action, failing, checks),
                watch=latest,
                deploy=deploy,
                action=action,
                blind_since=blind_since,
                problems=problems,
                checks=checks,
                always_on=str(note.get("always_on") or ""),
            )
        )
    return Picture(
        at=now,
        services=tuple(views),
        open_watches=tuple(open_watches),
        actions=tuple(actions),
        switch=await ports.kill_switch(),
        sources=board.source_notes(),
        rollbacks_today=rollbacks_today(actions, now),
    )


def rollbacks_today(actions: Sequence[Action], now: float) -> int:
    """Rollbacks sent or about to be sent in the last 24 hours."""
    return sum(action.state in STATES_SENT and action.created_at > now - 86400.0 for action in actions)


def service_json(view: ServiceView) -> dict[str, Any]:
    """One service of `/api/v1/services` and of the live events."""
    return {
        "service": view.name,
        "mode": view.mode,
        "group": view.group,
        "because": view.because,
        "watch": watch_json(view.watch),
        "deploy": deploy_json(view.deploy) if view.deploy else None,
        "action": action_json(view.action) if view.action else None,
        "blind_since": view.blind_since,
        "problems": list(view.problems),
        "always_on": view.always_on,
        "checks": {name: dict(result) for name, result in view.checks.items()},
    }


def picture_json(picture: Picture) -> dict[str, Any]:
    """The compact state of one live event: enough to know what to ask for next."""
    return {
        "at": picture.at,
        "kill_switch": switch_json(picture.switch),
        "groups": {group: len(picture.in_group(group)) for group in GROUPS},
        "rollbacks_today": picture.rollbacks_today,
        "services": [
            {
                "service": view.name,
                "group": view.group,
                "state": view.watch.state if view.watch else None,
                "deploy_id": view.watch.deploy_id if view.watch else None,
                "version": view.deploy.to_version if view.deploy else None,
                "blind_since": view.blind_since,
            }
            for view in picture.services
        ],
        "watches": [
            {
                "id": watch.id,
                "service": watch.service,
                "deploy_id": watch.deploy_id,
                "state": watch.state,
                "because": watch.because,
                "ends_at": watch.ends_at,
            }
            for watch in picture.open_watches
        ],
        "actions": [
            {
                "key": action.key,
                "service": action.service,
                "deploy_id": action.deploy_id,
                "state": action.state,
            }
            for action in picture.actions[:50]
        ],
    }


def _because(
    watch: Watch | None,
    action: Action | None,
    failing: Sequence[str],
    checks: Mapping[str, Mapping[str, Any]],
) -> str:
    if watch is not None and (watch.state in OPEN_WATCH_STATES or watch.state != "healthy" or not failing):
        return watch.because
    if failing:
        said = str(checks[failing[0]].get("because") or "")
        more = f" and {len(failing) - 1} more" if len(failing) > 1 else ""
        return f"check {failing[0]} fails{more}" + (f": {said}" if said else "")
    return "no deploy seen yet"
