"""What the store tests put in: small whole deploys, watches, rulings, actions and alerts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from watchdog.model import (
    Action,
    ActionState,
    Alert,
    Decision,
    DecisionDo,
    Deploy,
    DeployEvent,
    Facts,
    Intake,
    Ruling,
    Watch,
    WatchState,
    action_key,
)
from watchdog.store.protocol import Store
from watchdog.store.sqlite import SqliteStore

NOW = 1_780_000_000.0

# Every implementation of Store: its name to what makes one on a folder; PostgreSQL joins here.
STORES: Mapping[str, Callable[[Path], Store]] = {"sqlite": lambda folder: SqliteStore(folder / "state.db")}


def event(number: int = 1, **changes: Any) -> DeployEvent:
    made = DeployEvent(
        sender="ci",
        sender_id=f"event-{number}",
        received_at=NOW,
        environment="prod",
        service="checkout",
        to_version=f"4.9.{number}",
        state="finished",
        started_at=NOW - 60.0,
        finished_at=NOW,
        rollback_safe=True,
        depends_on=("payments",),
        author="änne",
    )
    return replace(made, **changes)


def deploy_of(told: DeployEvent, deploy_id: str) -> Deploy:
    return Deploy(
        id=deploy_id,
        environment=told.environment,
        service=told.service,
        kind=told.kind,
        to_version=told.to_version,
        from_version=told.from_version or "4.9.0",
        started_at=told.started_at or NOW,
        finished_at=told.finished_at,
        rollback_safe=told.rollback_safe,
        depends_on=told.depends_on,
        author=told.author,
    )


def watch_of(deploy: Deploy, **changes: Any) -> Watch:
    made = Watch(
        id=f"w{deploy.id}",
        environment=deploy.environment,
        service=deploy.service,
        deploy_id=deploy.id,
        suspect_ids=(deploy.id,),
        state="announced",
        because="told",
        mode="auto",
        opened_at=NOW,
        observe_at=NOW,
        ends_at=NOW + 2700.0,
    )
    return replace(made, **changes)


def settle_as(deploy: Deploy, watch: Watch | None, alerts: Sequence[Alert] = ()) -> Callable[..., Intake]:
    return lambda deploys, watches, actions: Intake(
        deploy=deploy, watch=watch, is_duplicate=False, alerts=tuple(alerts)
    )


async def with_watch(store: Store, number: int = 1, **changes: Any) -> Watch:
    """A store that has taken in deploy `d<number>` and opened its watch."""
    told = event(number, **changes)
    deploy = deploy_of(told, f"d{number}")
    watch = watch_of(deploy)
    await store.take_in(told, settle_as(deploy, watch), NOW)
    return watch


def action_of(facts: Facts, state: ActionState = "intended", **changes: Any) -> Action:
    made = Action(
        key=action_key(facts.watch.environment, facts.watch.service, facts.deploy.id, "1"),
        environment=facts.watch.environment,
        service=facts.watch.service,
        deploy_id=facts.deploy.id,
        watch_id=facts.watch.id,
        step="1",
        target="deployer",
        from_version=facts.deploy.to_version,
        to_version=facts.deploy.from_version or "",
        body=b'{"to": "4.9.0"}\x00\xff',
        state=state,
        because="errors rose",
        created_at=NOW,
        valid_until_at=NOW + 900.0,
        epoch=facts.epoch,
    )
    return replace(made, **changes)


def alert(number: int, **changes: Any) -> Alert:
    made = Alert(
        id=f"alert-{number}",
        channel="team",
        event="trigger",
        kind="regressed",
        severity="critical",
        dedup_key="checkout|prod|d1",
        environment="prod",
        service="checkout",
        deploy_id="d1",
        text=f"alert {number}",
        fields={"what": "errors 3 %", "since": "14:02"},
        link=None,
        created_at=NOW + number,
        page=True,
    )
    return replace(made, **changes)


def ruling(
    facts: Facts,
    state: WatchState = "observing",
    do: DecisionDo = "wait",
    because: str = "watching",
    **more: Any,
) -> Ruling:
    return Ruling(decision=Decision(do=do, because=because), watch=replace(facts.watch, state=state), **more)


def roll_back(facts: Facts, alerts: Sequence[Alert] = ()) -> Ruling:
    return ruling(
        facts,
        "regressed",
        "roll_back",
        "errors rose",
        action=action_of(facts),
        alerts=tuple(alerts),
        audit="rolling back",
        packet={"version": 1, "series": {"errors": [0.5, None]}},
    )
