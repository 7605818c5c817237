"""What every kind promises, whatever the other side does: a result, in time, and no socket left open.

A new kind is covered by one line in FACTORIES.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter

from checks import CHECKS
from checks.databases.mysql import Mysql
from checks.databases.postgres import Postgres
from checks.model import Check, CheckResult, Database, World, deadline_s
from checks.text import BECAUSE_CHARS_MAX, DETAIL_CHARS_MAX, DETAILS_MAX
from tests.support.servers import free_port

TIMEOUT_S = 0.4
QUERY = "select 1 as key"
# A plugin of the Monitoring Plugins that gives up before its run is over.
PLUGIN = """
import socket, sys
try:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 0.1) as peer:
        peer.sendall(b"PING")
        said = peer.recv(4)
except OSError as error:
    print(str(error).lower())
    sys.exit(2)
sys.exit(0 if said == b"PONG" else 2)
"""

# Kind -> its configuration, such that it needs a right answer from that loopback port to pass. A second word
# tells several configurations of a kind apart.
FACTORIES: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "http": lambda port: {"get": f"http://127.0.0.1:{port}/", "expect": "json.ok"},
    "http kept": lambda port: {
        "get": f"http://127.0.0.1:{port}/",
        "expect": "json.ok",
        "keep_alive": True,
    },
    "http kept tls": lambda port: {
        "get": f"https://127.0.0.1:{port}/",
        "expect": "json.ok",
        "keep_alive": True,
    },
    "scenario": lambda port: {
        "steps": [{"get": f"http://127.0.0.1:{port}/", "expect": "json.ok"}],
        "cleanup": [{"delete": f"http://127.0.0.1:{port}/"}],
        "cleanup_timeout_s": TIMEOUT_S,
    },
    "scenario sql": lambda _: {
        "steps": [{"sql": QUERY, "database": "peer", "expect": "row.key == 1"}],
    },
    "scenario redis": lambda port: {
        "steps": [
            {
                "redis": ["PING"],
                "url": f"redis://127.0.0.1:{port}/0",
                "until": 'value == "PONG"',
                "within": "100ms",
            }
        ],
    },
    "tcp": lambda port: {"host": "127.0.0.1", "port": port, "send": "PING", "expect": "PONG"},
    "tls": lambda port: {"host": "127.0.0.1", "port": port},
    "dns": lambda port: {"name": "a.example", "server": f"127.0.0.1:{port}", "transport": "tcp"},
    "grpc": lambda port: {"host": "127.0.0.1", "port": port},
    "websocket": lambda port: {"url": f"ws://127.0.0.1:{port}/", "expect": "json.ok"},
    "redis": lambda port: {"url": f"redis://127.0.0.1:{port}/0", "command": ["PING"]},
    "command": lambda port: {"argv": [sys.executable, "-I", "-S", "-c", PLUGIN, str(port)]},
    "sql": lambda _: {"database": "peer", "query": QUERY, "expect": "size(rows) == 1"},
    "reconcile": lambda _: {
        "left": {"database": "peer", "query": QUERY},
        "right": {"database": "peer", "query": QUERY},
        "settle_s": 0.1,
    },
    "replay": lambda _: {
        "database": "peer",
        "sample": "select 1 as aggregate where 1 > :since",
        "events": "select 1 as aggregate, 1 as seq where 1 in (:aggregates)",
        "reducer": {"sql": "select aggregate, seq from :events e"},
        "projection": {
            "database": "peer",
            "query": "select 1 as aggregate, 1 as seq where 1 in (:aggregates)",
        },
        "settle_s": 0.1,
    },
    "schema": lambda _: {"database": "peer"},
    "freshness": lambda _: {"database": "peer", "table": "t", "column": "at", "max_age_s": 60.0},
    "volume": lambda _: {
        "database": "peer",
        "table": "t",
        "column": "at",
        "window_s": 60.0,
        "at_least": 1,
    },
    "rows": lambda _: {"database": "peer", "table": "t", "not_null": ["id"]},
    "lag": lambda _: {"database": "peer", "table": "t", "column": "at", "max_lag_s": 60.0},
    "replication": lambda _: {"database": "peer", "max_lag_s": 60.0},
    "ledger": lambda _: {"database": "peer", "table": "t", "transaction": "tx", "amount": "amount"},
}

# Kind of database server -> one at that loopback port.
PEERS: Mapping[str, Callable[[int], Database]] = {
    "mysql": lambda port: Mysql(dsn=SecretStr(f"mysql://u@127.0.0.1:{port}/d")),
    "postgres": lambda port: Postgres(dsn=SecretStr(f"postgresql://u@127.0.0.1:{port}/d")),
}

# The gRPC library gives up connecting only when the time is over, also after it was cancelled.
LINGERING_S = {"grpc": 0.8}

# Kinds that ask nobody: what they wait for comes to us.
WITHOUT_PEER = frozenset({"heartbeat"})

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.transport.abort()


async def close_at_once(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    return


async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def giant(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"[" * 65_536)
        await writer.drain()


async def endless_header(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not writer.is_closing():
        writer.write(b"a" * 65_536)
        await writer.drain()


async def speak_ssh(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\x00\xff\xfe")
    await writer.drain()


async def cut_short(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"ok": true}')
    await writer.drain()


FAULTS: Mapping[str, Talk] = {
    talk.__name__: talk
    for talk in (hang, reset, close_at_once, drip, giant, endless_header, speak_ssh, cut_short)
}


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A port where `talk` answers, and an event that is set when somebody connects."""
    met = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.set()
        try:
            await talk(reader, writer)
        except ConnectionError:
            return
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], met
    finally:
        server.close()


def built(kind: str, port: int, world: World, peer: str = "postgres") -> tuple[Check, World]:
    """A check of the kind that looks at the port, and the world it runs in."""
    check: Check = TypeAdapter(CHECKS[kind.partition(" ")[0]]).validate_python(FACTORIES[kind](port))
    return check, replace(world, databases={"peer": PEERS[peer](port)}, timeout_s=TIMEOUT_S)


def sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        # The folder listing is itself an open file that is gone a moment later.
        with suppress(FileNotFoundError):
            count += str(link.readlink()).startswith("socket:")
    return count


async def no_more_than(count: int) -> None:
    """Closing takes a few turns of the loop; fails if it never comes to that."""
    for _ in range(200):
        if sockets() <= count:
            return
        await asyncio.sleep(0.005)
    pytest.fail(f"{sockets()} sockets open, {count} before")


async def cancelled_half_way(run: Coroutine[Any, Any, CheckResult], met: asyncio.Event) -> None:
    """Cancel when the other side is met; a function of its own, because a task keeps what it had opened."""
    running = asyncio.ensure_future(run)
    done, _ = await asyncio.wait({running, asyncio.ensure_future(met.wait())}, return_when="FIRST_COMPLETED")
    running.cancel()
    began = time.monotonic()
    await asyncio.wait({running}, timeout=5.0)
    assert running.cancelled() or running in done
    # What a scenario still may do is clean up, within its own limit.
    assert time.monotonic() - began < TIMEOUT_S + 1.0


def sound(result: CheckResult) -> None:
    """Holds for every result."""
    assert bool(result.because) == (result.outcome != "pass")
    assert len(result.because) <= BECAUSE_CHARS_MAX
    assert len(result.details) <= DETAILS_MAX
    assert all(len(line) <= DETAIL_CHARS_MAX and "\n" not in line for line in result.details)
    assert all(math.isfinite(value) for value in result.readings.values())


def test_every_kind_is_covered() -> None:
    assert {kind.partition(" ")[0] for kind in FACTORIES} | WITHOUT_PEER == CHECKS.keys()
    assert not FACTORIES.keys() & WITHOUT_PEER


@pytest.mark.parametrize("kind", sorted(FACTORIES))
@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_a_faulty_peer_gives_a_result_in_time(world: World, kind: str, fault: str) -> None:
    before = sockets()
    async with listening(FAULTS[fault]) as (port, _):
        check, seen = built(kind, port, world)
        began = time.monotonic()
        result = await check.run(seen)
        assert time.monotonic() - began < deadline_s(check, TIMEOUT_S)
    sound(result)
    # Too long a body is the one thing that is our own limit.
    is_ours = fault == "giant" and kind in ("http", "http kept", "scenario")
    assert result.outcome == ("error" if is_ours else "fail"), result
    await no_more_than(before)


@pytest.mark.parametrize("peer", sorted(PEERS))
@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_a_faulty_database_server_gives_a_result_in_time(world: World, peer: str, fault: str) -> None:
    before = sockets()
    async with listening(FAULTS[fault]) as (port, _):
        check, seen = built("sql", port, world, peer)
        result = await check.run(seen)
    sound(result)
    assert result.outcome == "fail", result
    await no_more_than(before)


@pytest.mark.parametrize("peer", sorted(PEERS))
async def test_a_query_cancelled_while_connecting_leaves_no_socket(world: World, peer: str) -> None:
    before = sockets()
    async with listening(hang) as (port, met):
        check, seen = built("sql", port, world, peer)
        running = asyncio.ensure_future(check.run(replace(seen, timeout_s=30.0)))
        await met.wait()
        running.cancel()
        await asyncio.wait({running}, timeout=5.0)
        assert running.cancelled()
    await no_more_than(before)


@pytest.mark.parametrize("kind", sorted(FACTORIES))
async def test_a_refused_connection_is_a_failure(world: World, kind: str) -> None:
    check, seen = built(kind, free_port(), world)
    result = await check.run(seen)
    sound(result)
    assert result.outcome == "fail"
    assert "connection refused" in result.because
    assert not {name for name in result.readings if name.endswith("_s")}


@pytest.mark.parametrize("kind", sorted(FACTORIES))
@pytest.mark.parametrize("fault", ["hang", "drip", "giant"])
async def test_a_cancelled_run_ends_soon_and_leaves_no_socket(world: World, kind: str, fault: str) -> None:
    before = sockets()
    async with listening(FAULTS[fault]) as (port, met):
        check, seen = built(kind, port, world)
        seen = replace(seen, timeout_s=LINGERING_S.get(kind, 30.0))
        await cancelled_half_way(check.run(seen), met)
    await no_more_than(before)


@pytest.mark.parametrize("kind", sorted(CHECKS))
def test_the_configuration_has_a_schema_and_no_runtime_state_in_it(kind: str) -> None:
    schema = TypeAdapter(CHECKS[kind]).json_schema()
    assert set(schema["properties"]) == {f.name for f in fields(CHECKS[kind]) if f.init}
    assert not [name for name in schema["properties"] if name.startswith("_")]
