"""Server-sent events: pushed when something changed, at most one a second, bounded in number."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.support.board import FakeDaemon, fill
from tests.watchdog.api.conftest import Site, site_of
from watchdog.api import live


@asynccontextmanager
async def stream(site: Site) -> AsyncIterator[aiohttp.ClientResponse]:
    async with site.session.get(f"{site.url}/api/v1/events") as response:
        yield response


async def event(response: aiohttp.ClientResponse, name: str = "state") -> dict[str, Any]:
    """The data of the next event of that name."""
    seen = ""
    async with asyncio.timeout(10):
        async for raw in response.content:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                seen = line.removeprefix("event: ")
            elif line.startswith("data: ") and seen == name:
                found: dict[str, Any] = json.loads(line.removeprefix("data: "))
                return found
    raise AssertionError("the stream ended")


async def test_a_stream_starts_with_the_state_and_tells_each_change(open_site: Site) -> None:
    async with stream(open_site) as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        first = await event(response)
        assert first["schema"] == "deploy-watchdog/v1"
        assert first["groups"] == {"needs_you": 1, "watching": 3, "unsure": 2, "fine": 5}
        assert {watch["service"] for watch in first["watches"]} == {"search", "stock", "mail"}
        assert first["actions"][0]["state"] == "awaiting_approval"
        open_site.daemon.store.watch_rows.clear()
        await open_site.daemon.board.move()
        second = await event(response)
        assert second["number"] == first["number"] + 1
        assert second["watches"] == []


async def test_many_changes_are_one_event_a_second(open_site: Site) -> None:
    async with stream(open_site) as response:
        await event(response)
        started = asyncio.get_running_loop().time()
        for _ in range(50):
            await open_site.daemon.board.move()
        assert (await event(response))["number"] == 51
        assert asyncio.get_running_loop().time() - started >= 0.9 * live.EVENT_EVERY_S


async def test_streams_are_limited_and_given_back(open_site: Site) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        held = [await session.get(f"{open_site.url}/api/v1/events") for _ in range(live.STREAMS_MAX)]
        refused = await open_site.ask("GET", "/api/v1/events")
        assert refused.status == 503
        assert "Retry-After" in refused.headers
        for response in held:
            response.close()
    async with asyncio.timeout(5):
        status = 503
        while status != 200:
            # The server notices that a caller left when it writes to it next.
            await open_site.daemon.board.move()
            async with stream(open_site) as response:
                status = response.status


async def test_the_server_ends_at_once_although_streams_are_open() -> None:
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session:
        async with site_of(fill(FakeDaemon())) as site:
            response = await session.get(f"{site.url}/api/v1/events")
            await event(response)
            started = loop.time()
        assert loop.time() - started < 2.0
        response.close()


async def test_a_stream_needs_the_scope_read(site: Site) -> None:
    assert (await site.ask("GET", "/api/v1/events")).status == 401
    assert (await site.ask("GET", "/api/v1/events", token="deploy-token")).status == 403


async def test_a_quiet_stream_says_that_it_is_still_there(open_site: Site) -> None:
    pump = live.Streams(open_site.daemon.ports())
    written: list[bytes] = []

    class Wire:
        """Where a stream is written; ends it after the first heartbeat."""

        async def write(self, data: bytes) -> None:
            written.append(data)
            if data.startswith(b"event: beat"):
                raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await pump._pump(Wire(), heartbeat_s=0.01, every_s=0.0)  # type: ignore[arg-type]
    assert written[-1].startswith(b"event: beat")
