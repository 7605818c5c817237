"""A failure while nothing at all can be reached says nothing of the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from checks.model import CheckResult
from checks.tcp import TcpCheck
from tests.support.fake_clock import FakeClock
from tests.support.servers import free_port
from watchdog.checking.run import Checker
from watchdog.checking.selfcheck import SelfCheck
from watchdog.plan import CheckPlan


@asynccontextmanager
async def gateway(port: int) -> AsyncIterator[asyncio.Queue[None]]:
    """Something that is always there, and an entry for each time it was asked."""
    asked: asyncio.Queue[None] = asyncio.Queue()

    async def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait(None)
        writer.transport.abort()

    server = await asyncio.start_server(meet, "127.0.0.1", port)
    try:
        yield asked
    finally:
        server.close()
        await server.wait_closed()


def plan_of(port: int) -> CheckPlan:
    return CheckPlan(
        service="shop",
        name="port",
        check=TcpCheck(host="127.0.0.1", port=port),
        every_s=60.0,
        timeout_s=2.0,
        burst_every_s=None,
        burst_for_s=0.0,
    )


async def test_a_failure_is_an_error_only_while_no_target_can_be_reached() -> None:
    clock, port, other = FakeClock(), free_port(), free_port()
    targets = [f"127.0.0.1:{other}", f"127.0.0.1:{port}"]
    async with aiohttp.ClientSession() as session:
        checker = Checker(session, {}, clock, self_check=SelfCheck(targets, clock))
        broken = plan_of(free_port())
        async with gateway(port):
            result = await checker.run(broken)
            assert (result.outcome, "connection refused" in result.because) == ("fail", True)
        # The answer of a moment ago still holds; then it is asked again.
        assert (await checker.run(broken)).outcome == "fail"
        await clock.advance(6.0)
        result = await checker.run(broken)
        assert result.outcome == "error"
        assert result.because.startswith(
            f"our own network seems down ({', '.join(targets)}: no connection); it saw: 127.0.0.1:"
        )
        assert result.because.endswith("connection refused")
        assert result.details[0].startswith("FAIL TCP 127.0.0.1:")
        async with gateway(port):
            await clock.advance(6.0)
            assert (await checker.run(broken)).outcome == "fail"


async def test_many_failures_ask_once_and_what_passes_asks_nobody() -> None:
    clock, port = FakeClock(), free_port()
    failed = CheckResult(outcome="fail", because="the site is gone")
    async with gateway(port) as asked:
        self_check = SelfCheck([f"127.0.0.1:{port}"], clock)
        passed = CheckResult(outcome="pass", readings={"total_s": 0.1})
        assert await self_check.doubted(passed) is passed
        error = CheckResult(outcome="error", because="no permission")
        assert await self_check.doubted(error) is error
        assert asked.empty()
        results = await asyncio.gather(*(self_check.doubted(failed) for _ in range(50)))
        assert all(result is failed for result in results)
        await asked.get()
        assert asked.empty()


async def test_without_targets_nothing_is_doubted() -> None:
    failed = CheckResult(outcome="fail", because="the site is gone")
    assert await SelfCheck([], FakeClock()).doubted(failed) is failed
