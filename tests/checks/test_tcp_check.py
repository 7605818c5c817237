"""Kind tcp against real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from checks.model import World
from checks.tcp import TcpCheck
from tests.support.servers import free_port


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that greets, and answers PING in two pieces."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        if await reader.read(4) == b"PING":
            writer.write(b"PO")
            await writer.drain()
            writer.write(b"NG\r\n")
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_port_that_accepts_passes(world: World, port: int) -> None:
    result = await TcpCheck(host="127.0.0.1", port=port).run(world)
    assert result.outcome == "pass"
    assert 0 < result.readings["connect_s"] <= result.readings["total_s"]


async def test_a_name_with_several_addresses_passes_if_one_of_them_does(world: World, port: int) -> None:
    # localhost is ::1 and 127.0.0.1 on most machines, and the server listens on the second only.
    result = await TcpCheck(host="localhost", port=port, expect="220").run(world)
    assert result.outcome == "pass"
    assert set(result.readings) == {"dns_s", "connect_s", "total_s"}


async def test_it_can_be_expected_to_say_something(world: World, port: int) -> None:
    assert (await TcpCheck(host="127.0.0.1", port=port, expect="220").run(world)).outcome == "pass"
    assert (
        await TcpCheck(host="127.0.0.1", port=port, send="PING", expect="PONG").run(world)
    ).outcome == "pass"
    wrong = await TcpCheck(host="127.0.0.1", port=port, send="QUIT", expect="PONG").run(world)
    assert wrong.outcome == "fail"
    assert wrong.because == f'127.0.0.1:{port}: expected "PONG", it said "220 hello\\r\\n"'
    assert wrong.readings == {}


async def test_silence_is_a_failure_with_its_stage(world: World, port: int) -> None:
    result = await TcpCheck(host="127.0.0.1", port=port, expect="PONG").run(replace(world, timeout_s=0.2))
    assert (result.outcome, result.because) == (
        "fail",
        f"127.0.0.1:{port}: no answer within 0.2 s (connected, but silent)",
    )


async def test_it_listens_to_no_more_than_its_bound(world: World) -> None:
    async def chatter(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"x" * 4096)
            await writer.drain()

    async with await asyncio.start_server(chatter, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await TcpCheck(host="127.0.0.1", port=port, expect="PONG").run(world)
    assert result.outcome == "fail"
    assert 'expected "PONG", it said "xxx' in result.because


async def test_refused_is_the_targets_and_an_unknown_name_is_ours(world: World) -> None:
    refused = await TcpCheck(host="127.0.0.1", port=free_port()).run(world)
    assert refused.outcome == "fail"
    assert "connection refused" in refused.because
    assert (await TcpCheck(host="nosuch.invalid", port=80).run(world)).outcome == "error"


async def test_tls_that_is_none_fails(world: World, port: int) -> None:
    result = await TcpCheck(host="127.0.0.1", port=port, tls=True).run(world)
    assert result.outcome == "fail"
    assert "TLS handshake failed" in result.because


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"host": "h", "port": 0}, "port:"),
        ({"host": "http://h", "port": 80}, "host:"),
        ({"host": "h:80", "port": 80}, "host:"),
        ({"host": "h", "port": 80, "expect": ""}, "expect:"),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TcpCheck(**params)  # type: ignore[arg-type]  # the wrong values are the point
