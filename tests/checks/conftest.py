"""The world of a check under test: real sockets, real clock, and nothing left open afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from checks.model import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A World on the real loop with short timeouts; `dataclasses.replace` makes variants."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(use_dns_cache=False)) as http:
        yield World(
            http=http,
            databases={},
            now_s=time.time,
            mono_s=time.monotonic,
            sleep=asyncio.sleep,
            run_id="run-1",
            timeout_s=5.0,
        )
