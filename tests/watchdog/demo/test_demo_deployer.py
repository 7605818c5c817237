from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from watchdog.demo.deployer import Deployer
from watchdog.demo.model import Weather
from watchdog.demo.serve import listening, open_shop

EVENTS, ROLLBACKS = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


class Daemon:
    """Takes signed deploy events as the real one does, and keeps them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.status = 202

    def app(self) -> web.Application:
        async def take(request: web.Request) -> web.Response:
            event: Any = Webhook(EVENTS).verify(await request.read(), dict(request.headers))
            self.events.append(event)
            return web.json_response({"deploy": {"id": "d-1"}}, status=self.status)

        app = web.Application()
        app.router.add_post("/api/v1/deploys", take)
        return app


class World:
    def __init__(self) -> None:
        self.daemon = Daemon()
        self.url = ""
        self.session = aiohttp.ClientSession()

    async def rollback(
        self, body: dict[str, str], *, key: str | None = "k-1", secret: str = ROLLBACKS
    ) -> Any:
        raw, at = json.dumps(body), datetime.now(UTC)
        headers = {
            "webhook-id": "k-1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign("k-1", at, raw),
            **({"Idempotency-Key": key} if key else {}),
        }
        async with self.session.post(f"{self.url}/rollback", data=raw, headers=headers) as response:
            return response.status, await response.json()

    async def read(self, path: str) -> Any:
        async with self.session.get(f"{self.url}{path}") as response:
            return await response.json()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(made.session)
        services, _ = await open_shop(
            stack,
            {"checkout": "1", "payments": "1", "stock": "1"},
            folder=tmp_path,
            weather=Weather(),
            flaws={},
            seed=1,
        )
        deployer = Deployer(
            services=services,
            watchdog=await listening(stack, made.daemon.app()),
            event_secret=EVENTS,
            rollback_secret=ROLLBACKS,
            rollout_s=0.0,
        )
        made.url = await listening(stack, deployer.app())
        yield made


async def deploy(world: World, service: str, version: str) -> tuple[int, Any]:
    async with world.session.post(
        f"{world.url}/deploy", json={"service": service, "version": version}
    ) as response:
        return response.status, await response.json()


async def test_a_deploy_switches_the_version_and_is_reported_with_its_interval(world: World) -> None:
    status, answer = await deploy(world, "checkout", "2")
    assert status == 200
    assert answer["watchdog"] == {"deploy": {"id": "d-1"}}
    assert (await world.read("/version"))["checkout"] == "2"
    (event,) = world.daemon.events
    assert (event["service"], event["from_version"], event["version"]) == ("checkout", "1", "2")
    assert event["started_at"] <= event["finished_at"]
    assert (event["kind"], event["state"]) == ("code", "finished")


async def test_a_rollback_has_one_effect_however_often_it_is_asked_for(world: World) -> None:
    await deploy(world, "checkout", "2")
    order = {"service": "checkout", "from": "2", "to": "1"}
    first = await world.rollback(order)
    again = await world.rollback(order)
    assert first == again
    assert first[0] == 200
    assert (await world.read("/version"))["checkout"] == "1"
    assert [(e["service"], e["from"], e["to"]) for e in await world.read("/effects")] == [
        ("checkout", "2", "1")
    ]
    assert [event["kind"] for event in world.daemon.events] == ["code", "rollback"]


@pytest.mark.parametrize(
    ("order", "signed", "status"),
    [
        ({"service": "checkout", "from": "1", "to": "0"}, {"secret": EVENTS}, 401),
        ({"service": "checkout", "from": "1", "to": "0"}, {"key": None}, 400),
        ({"service": "nothing", "from": "1", "to": "0"}, {}, 404),
        ({"service": "checkout", "from": "7", "to": "0"}, {}, 409),
    ],
)
async def test_a_wrong_rollback_has_no_effect(
    world: World, order: dict[str, str], signed: dict[str, Any], status: int
) -> None:
    assert (await world.rollback(order, **signed))[0] == status
    assert (await world.read("/version"))["checkout"] == "1"
    assert await world.read("/effects") == []
    assert world.daemon.events == []


async def test_a_daemon_that_refuses_does_not_stop_the_deploy(world: World) -> None:
    world.daemon.status = 422
    status, answer = await deploy(world, "stock", "2")
    assert (status, answer["watchdog"]) == (200, None)
    assert (await world.read("/version"))["stock"] == "2"


async def test_a_deploy_of_nothing_is_refused(world: World) -> None:
    assert (await deploy(world, "web", "2"))[0] == 400
