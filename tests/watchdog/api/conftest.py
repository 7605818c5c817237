"""A served fake daemon on a real loopback socket, and a client for it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.support.board import LOCAL_TOKEN, FakeDaemon, fill
from watchdog.api.bodies import Bounds
from watchdog.api.server import serve

SCOPES = ("read", "deploy", "approve", "admin")


def token_settings() -> dict[str, Any]:
    """One token per scope: `<scope>-token`."""
    return {
        "api": {
            "tokens": {
                scope: {
                    "hash": "sha256:" + hashlib.sha256(f"{scope}-token".encode()).hexdigest(),
                    "scopes": [scope],
                }
                for scope in SCOPES
            }
        }
    }


@dataclass(slots=True)
class Site:
    """A running API and how to ask it."""

    daemon: FakeDaemon
    url: str
    port: int
    session: aiohttp.ClientSession

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> aiohttp.ClientResponse:
        """One request, its body read; redirects are not followed."""
        sent = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        response = await self.session.request(
            method, self.url + path, headers=sent, allow_redirects=False, **options
        )
        await response.read()
        return response


@asynccontextmanager
async def site_of(daemon: FakeDaemon, bounds: Bounds | None = None) -> AsyncIterator[Site]:
    """Serve a daemon on a free loopback port."""
    async with (
        serve(daemon.ports(), host="127.0.0.1", port=0, bounds=bounds) as port,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        yield Site(daemon, f"http://127.0.0.1:{port}", port, session)


@pytest.fixture
async def open_site() -> AsyncIterator[Site]:
    """No tokens configured: reading over loopback is free."""
    async with site_of(fill(FakeDaemon())) as site:
        yield site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """One token per scope."""
    async with site_of(fill(FakeDaemon(token_settings()))) as site:
        yield site


@pytest.fixture
def local_token() -> str:
    """The token with every scope."""
    return LOCAL_TOKEN
