"""The outbox over the real store and real sockets: from intent to page, and through a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.support.examples import DEPLOY, EVENT, INTENT, WATCH
from tests.support.receivers import PagerDutyReceiver, RollbackReceiver, SlackReceiver
from tests.watchdog.rollback.test_target_conformance import ORDER, SECRET
from watchdog.alerts.channels.pagerduty import PagerDutyChannel
from watchdog.alerts.channels.slack import SlackChannel
from watchdog.alerts.messages import Routes
from watchdog.clock import SystemClock
from watchdog.model import Action, Decision, Intake, Ruling, SwitchState
from watchdog.outbox import Outbox
from watchdog.rollback.targets.webhook import WebhookTarget
from watchdog.store.sqlite import SqliteStore

KEY = INTENT.key


class World:
    """Receivers, and everything an outbox needs to reach them."""

    def __init__(self, path: Path, deployer: RollbackReceiver) -> None:
        self.path = path
        self.deployer = deployer
        self.slack, self.pagerduty = SlackReceiver(), PagerDutyReceiver()
        self.idempotent = deployer.honours_key

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[SqliteStore]:
        """The store and a running outbox, both ended at the end."""
        store = SqliteStore(self.path)
        clock = SystemClock()
        await store.open(clock.wall_s())
        target = WebhookTarget(
            url=f"{self.deployer.url}/rollback", secret=SecretStr(SECRET), idempotent=self.idempotent
        )
        slack = SlackChannel(webhook=SecretStr(f"{self.slack.url}/services/T/B/X"))
        pagerduty = PagerDutyChannel(routing_key=SecretStr("0" * 32), url=self.pagerduty.url)

        async def switch() -> SwitchState:
            return SwitchState(is_on=False)

        async def version(service: str) -> str | None:
            return "4.12.0"

        outbox = Outbox(
            store=store,
            clock=clock,
            targets={"deployer": target},
            channels={"team": slack, "on-call": pagerduty},
            kill_switch=switch,
            running_version=version,
            confirm_within_s=lambda action: 60.0,
            routes=Routes(default=("team",), page=("on-call",), public_url=None),
            end_s=0.1,
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(outbox.run())
            try:
                yield store
            finally:
                task.cancel()
                await asyncio.wait({task})
                for plugin in (target, slack, pagerduty):
                    await plugin.close()
                await store.close()

    async def put_intent(self, store: SqliteStore) -> None:
        """A deploy, its watch and the intent to roll it back, as the pipeline writes them."""
        now = SystemClock().wall_s()
        body = WebhookTarget(url="http://h").render(ORDER)
        event = replace(EVENT, received_at=now)
        intent = replace(
            INTENT, state="intended", created_at=now, valid_until_at=now + 60, body=body, epoch=store.epoch
        )
        await store.take_in(event, lambda *_: Intake(deploy=DEPLOY, watch=WATCH, is_duplicate=False), now)
        await store.transact(
            WATCH.id,
            lambda facts: Ruling(
                decision=Decision(do="roll_back", because="failed payments rose"),
                watch=facts.watch,
                action=intent,
            ),
            now,
        )


async def seen(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        # The store works in a thread and the receivers in sockets: there is nothing to be notified by.
        while not await look():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def in_state(store: SqliteStore, state: str) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        action: Action | None = await store.action(KEY)
        return action is not None and action.state == state

    return look


@pytest.fixture
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    deployer = RollbackReceiver(secret=SECRET, honours_key=getattr(request, "param", True))
    world = World(tmp_path / "state.db", deployer)
    async with deployer, world.slack, world.pagerduty:
        yield world


async def test_from_intent_to_acknowledgement_and_message(world: World) -> None:
    async with world.daemon() as store:
        await world.put_intent(store)
        await seen(in_state(store, "acked"))

        async def told() -> bool:
            return bool(world.slack.messages)

        await seen(told)
        assert await store.verify_audit() is None
        assert len(await store.attempts(KEY)) == 2
    assert world.deployer.effects == {KEY: 1}
    assert world.deployer.unsigned == []
    assert "rolling back 4.12.0" in world.slack.messages[0]["text"]
    assert world.pagerduty.events == []


async def test_a_lost_answer_then_an_error_then_success(world: World) -> None:
    world.deployer.script.extend(["reset after", "500"])
    async with world.daemon() as store:
        await world.put_intent(store)
        await seen(in_state(store, "acked"))
    assert world.deployer.effects == {KEY: 1}
    assert len({r.body for r in world.deployer.received}) == 1
    assert [r.headers["x-watchdog-attempt"] for r in world.deployer.received] == ["1", "2", "3"]
    assert world.deployer.conflicts == []


@pytest.mark.parametrize("world", [False], indirect=True)
async def test_not_idempotent_and_a_lost_answer_pages(world: World) -> None:
    world.deployer.script.append("reset after")
    async with world.daemon() as store:
        await world.put_intent(store)
        await seen(in_state(store, "unknown"))

        async def paged() -> bool:
            return bool(world.pagerduty.events)

        await seen(paged)
    assert len(world.deployer.received) == 1
    assert "cannot be told whether it was taken" in world.pagerduty.events[0]["payload"]["summary"]


@pytest.mark.parametrize(("world", "state"), [(True, "acked"), (False, "unknown")], indirect=["world"])
async def test_a_restart_in_the_middle_of_a_send(world: World, state: str) -> None:
    world.deployer.script.append("hangs after")
    async with world.daemon() as store:
        await world.put_intent(store)
        await seen(in_state(store, "sending"))

        async def arrived() -> bool:
            return bool(world.deployer.received)

        await seen(arrived)
    async with world.daemon() as store:
        await seen(in_state(store, state))
        assert store.epoch == 2
    epochs = [r.headers["x-watchdog-epoch"] for r in world.deployer.received]
    assert epochs == (["1", "2"] if state == "acked" else ["1"])
    assert len({r.body for r in world.deployer.received}) == 1
    assert world.deployer.effects == {KEY: 1}
