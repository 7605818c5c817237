"""Approving, vetoing and withdrawing a rollback: what is too old, too late or stopped is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from detectors.model import SeriesSpec
from tests.support.examples import DEPLOY, EVENT, INTENT, NOW, WATCH
from tests.support.fake_clock import FakeClock
from tests.support.sample_plan import a_plan
from watchdog.alerts.messages import Routes
from watchdog.housekeeping import Housekeeping
from watchdog.model import (
    Action,
    ActionState,
    Decision,
    Deploy,
    Incident,
    Intake,
    Ruling,
    SwitchState,
    Watch,
)
from watchdog.operations import Operations
from watchdog.plan import SeriesPlan, ServicePlan
from watchdog.store.sqlite import SqliteStore

OFFER = replace(INTENT, state="awaiting_approval", created_at=NOW, valid_until_at=NOW + 900)
ROUTES = Routes(default=("team",), page=("on-call",), public_url=None)


@asynccontextmanager
async def holding(folder: Path, action: Action) -> AsyncIterator[SqliteStore]:
    """A store with one watch and its rollback."""
    store = SqliteStore(folder / "state.db")
    await store.open(NOW)

    def settle(_: Sequence[Deploy], __: Sequence[Watch], ___: Sequence[Action]) -> Intake:
        return Intake(deploy=DEPLOY, watch=WATCH, is_duplicate=False)

    await store.take_in(EVENT, settle, NOW)
    ruling = Ruling(decision=Decision(do="propose", because="it regressed"), watch=WATCH, action=action)
    await store.transact(WATCH.id, lambda _: ruling, NOW)
    try:
        yield store
    finally:
        await store.close()


def operations(store: SqliteStore, clock: FakeClock, switch: SwitchState) -> Operations:
    async def kill_switch() -> SwitchState:
        return switch

    return Operations(
        plans={"checkout": a_plan()},
        store=store,
        clock=clock,
        routes=ROUTES,
        config_digest="",
        kill_switch=kill_switch,
        on_change=lambda: None,
        on_deploy=lambda deploy, watch: None,
        wake_outbox=lambda: None,
    )


def housekeeping(store: SqliteStore, clock: FakeClock, plans: dict[str, ServicePlan]) -> Housekeeping:
    return Housekeeping(plans=plans, store=store, clock=clock, routes=ROUTES, wake_outbox=lambda: None)


async def state_of(store: SqliteStore) -> ActionState:
    action = await store.action(OFFER.key)
    assert action is not None
    return action.state


OFF, ON = SwitchState(is_on=False), SwitchState(is_on=True, by="dana", because="freeze")


async def test_an_offer_is_approved_once(tmp_path: Path) -> None:
    async with holding(tmp_path, OFFER) as store:
        asked = operations(store, FakeClock(NOW + 60), OFF)
        assert (await asked.approve(OFFER.key, "dana", "seen")).state == "intended"
        with pytest.raises(ValueError, match="cannot be approved"):
            await asked.approve(OFFER.key, "robin", "seen too")


async def test_an_offer_whose_evidence_is_old_is_not_approved(tmp_path: Path) -> None:
    async with holding(tmp_path, OFFER) as store:
        with pytest.raises(ValueError, match="expired"):
            await operations(store, FakeClock(NOW + 901), OFF).approve(OFFER.key, "dana", "late")
        assert await state_of(store) == "awaiting_approval"


async def test_nothing_is_approved_while_the_kill_switch_is_on(tmp_path: Path) -> None:
    async with holding(tmp_path, OFFER) as store:
        with pytest.raises(ValueError, match="kill switch is on"):
            await operations(store, FakeClock(NOW + 60), ON).approve(OFFER.key, "dana", "now")
        assert await state_of(store) == "awaiting_approval"


@pytest.mark.parametrize("state", ["sending", "retry_wait", "acked", "unknown", "confirmed", "vetoed"])
async def test_a_veto_never_claims_to_have_stopped_what_was_sent(tmp_path: Path, state: ActionState) -> None:
    async with holding(tmp_path, replace(OFFER, state=state)) as store:
        with pytest.raises(ValueError, match="vetoed"):
            await operations(store, FakeClock(NOW + 60), OFF).veto(OFFER.key, "dana", "no")
        assert await state_of(store) == state


async def test_an_offer_nobody_took_ends_when_its_evidence_is_old(tmp_path: Path) -> None:
    async with holding(tmp_path, OFFER) as store:
        clock = FakeClock(NOW + 899)
        house = housekeeping(store, clock, {"checkout": a_plan()})
        await house.expire_offers()
        assert await state_of(store) == "awaiting_approval"
        await clock.advance(2)
        await house.expire_offers()
        assert await state_of(store) == "expired"
        assert "expired" in {alert.kind for alert in await store.alerts()}


@pytest.mark.parametrize("state", ["awaiting_approval", "armed", "intended"])
async def test_a_rollback_of_a_service_no_longer_configured_is_withdrawn(
    tmp_path: Path, state: ActionState
) -> None:
    async with holding(tmp_path, replace(OFFER, state=state)) as store:
        await housekeeping(store, FakeClock(NOW + 1), {"checkout": a_plan()}).retire_services()
        assert await state_of(store) == state
        await housekeeping(store, FakeClock(NOW + 1), {}).retire_services()
        assert await state_of(store) == "expired"
        (watch,) = await store.watches()
        assert watch.state == "cancelled"


@pytest.mark.parametrize(("plans", "is_ended"), [("same", False), ("off", True), ("gone", True)])
async def test_an_incident_that_nobody_judges_any_more_is_closed(
    tmp_path: Path, plans: str, is_ended: bool
) -> None:
    spec = SeriesSpec(name="errors", kind="ratio", unit="ratio", bad="up", step_s=1.0)
    plan = a_plan(series=(SeriesPlan(id="checkout/errors", spec=spec),))
    off = replace(plan, always_on=replace(plan.always_on, is_enabled=False))
    known = {"same": {"checkout": plan}, "off": {"checkout": off}, "gone": {}}[plans]
    incident = Incident(
        id="i1",
        environment="prod",
        service="checkout",
        state="raised",
        because="Errors rose",
        series={},
        opened_at=NOW,
        onset_at=NOW,
    )
    async with holding(tmp_path, OFFER) as store:
        await store.put_incident(incident, (), NOW)
        await housekeeping(store, FakeClock(NOW + 1), known).retire_services()
        (kept,) = await store.incidents()
        assert (kept.closed_at is not None) == is_ended
