"""The world of a check under test: real sockets, a real clock, real databases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from checks.databases import DATABASES
from checks.model import World
from checks.web.connecting import shared_connector
from checks.web.exchange import shared_session
from checks.wire.kept import Kept
from tests.support.certificates import Authority
from tests.support.databases import AnyDatabase, server_database, sqlite_database

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A World on the real loop; `dataclasses.replace` makes variants (databases, timeout_s, sleep)."""
    async with shared_session(shared_connector(use_dns_cache=False)) as http, Kept() as kept:
        yield World(
            http=http,
            databases={},
            now_s=time.time,
            mono_s=time.monotonic,
            sleep=asyncio.sleep,
            run_id="run1",
            timeout_s=5.0,
            kept=kept,
        )


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve({"/path": handler})` starts an HTTP server and gives its URL; any method is routed."""
    runners: list[web.AppRunner] = []

    async def start(routes: dict[str, Handler]) -> str:
        app = web.Application()
        for path, handler in routes.items():
            app.router.add_route("*", path, handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that nobody trusts but who is told to."""
    return Authority.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture(params=sorted(DATABASES))
def any_database(request: pytest.FixtureRequest, tmp_path: Path) -> AnyDatabase:
    """A new empty database, once of every kind."""
    if request.param == "sqlite":
        return sqlite_database(tmp_path)
    return server_database(request.getfixturevalue({"mysql": "mariadb"}.get(request.param, request.param)))
