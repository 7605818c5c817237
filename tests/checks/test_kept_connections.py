"""Connections that are kept: the same answers as over aiohttp's, and none that belongs to another request."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from checks.http import HttpCheck
from checks.model import CheckResult, World
from checks.wire.kept import HEAD_BYTES_MAX, Kept

JSON = b'{"ok": 1}'
BODY_MAX = 200_000
# Answers as they stand on the wire. Each is the last of its connection.
OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 9\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n"
ANSWERS = {
    "whole": SIZED + b"\r\n" + JSON,
    "chunks": CHUNKED + b'\r\n4\r\n{"ok\r\n5;x=y\r\n": 1}\r\n0\r\n\r\n',
    "trailers": CHUNKED + b"\r\n9\r\n" + JSON + b"\r\n0\r\nX: y\r\n\r\n",
    "until the end": b"HTTP/1.0 200 OK\r\n\r\n" + JSON,
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    "empty": OK + b"Content-Length: 0\r\n\r\n",
    "not found": b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n" + JSON,
    "server error": b"HTTP/1.1 503 Down\r\nContent-Length: 9\r\nConnection: close\r\n\r\n" + JSON,
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + SIZED + b"\r\n" + JSON,
    "redirect": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 9\n\n" + JSON,
    "a header twice": SIZED + b"X: a\r\nx: b\r\n\r\n" + JSON,
    "a header not in ASCII": SIZED + b"X: caf\xe9\r\n\r\n" + JSON,
    "a charset that nobody knows": SIZED + b"Content-Type: text/plain; charset=klingon\r\n\r\n" + JSON,
    "a charset that replaces nothing": SIZED + b"Content-Type: text/plain; charset=idna\r\n\r\n" + JSON,
    "a zero byte in a header": SIZED + b"X: a\0b\r\n\r\n" + JSON,
    "two lengths": SIZED + b"Content-Length: 10\r\n\r\n" + JSON,
    "length and chunks": SIZED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no length that is a number": OK + b"Content-Length: nine\r\n\r\n" + JSON,
    "cut in the body": OK + b"Content-Length: 10\r\n\r\n" + JSON,
    "cut in a chunk": CHUNKED + b"\r\nff\r\n" + JSON,
    "cut in the headers": OK + b"Content-Le",
    "no chunk": CHUNKED + b"\r\nzz\r\n" + JSON,
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no JSON": OK + b"Content-Length: 2\r\n\r\nok",
    "too long": OK + b"Content-Length: 300000\r\n\r\n" + b" " * 300_000,
}
for _name, _encoding, _body in (
    ("gzip", "gzip", gzip.compress(JSON)),
    ("deflate", "deflate", zlib.compress(JSON)),
    ("deflate without its header", "deflate", zlib.compress(JSON, wbits=-15)),
    ("not what it is said to be", "gzip", JSON),
    ("compressed by nobody", "identity", JSON),
    ("a bomb", "gzip", gzip.compress(b" " * 50_000_000)),
):
    _said = f"Content-Encoding: {_encoding}\r\nContent-Length: {len(_body)}\r\n\r\n"
    ANSWERS[_name] = OK + _said.encode() + _body

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Wire:
    """A server that says what a test wants, connection by connection. heard: request heads, in order."""

    talks: list[Talk] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    connections: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def request(self, reader: asyncio.StreamReader) -> None:
        self.heard.append((await reader.readuntil(b"\r\n\r\n")).decode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.talks[min(self.connections, len(self.talks)) - 1](reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self.ended.set()
            writer.transport.abort()


@asynccontextmanager
async def wired(*talks: Callable[[Wire], Talk]) -> AsyncIterator[Wire]:
    """The n-th connection is served by the n-th talk, all later ones by the last."""
    wire = Wire()
    wire.talks = [talk(wire) for talk in talks]
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()


def saying(*answers: bytes) -> Callable[[Wire], Talk]:
    """One answer per request, then the end of the connection."""

    def of(wire: Wire) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for answer in answers:
                await wire.request(reader)
                writer.write(answer)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            await reader.read()

        return talk

    return of


def lasting(answer: bytes = ANSWERS["whole"]) -> Callable[[Wire], Talk]:
    """The same answer to every request."""

    def of(wire: Wire) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await wire.request(reader)
                writer.write(answer)
                await writer.drain()

        return talk

    return of


def silent(after: bytes = b"") -> Callable[[Wire], Talk]:
    """Says so much, and then nothing for ever."""

    def of(wire: Wire) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await wire.request(reader)
            writer.write(after)
            await reader.read()

        return talk

    return of


def kept(url: str, **said: Any) -> HttpCheck:
    check: HttpCheck = TypeAdapter(HttpCheck).validate_python(
        {"get": url, "keep_alive": True, "body_bytes_max": BODY_MAX, "expect": "json.ok == 1", **said}
    )
    return check


def outlined(result: CheckResult) -> tuple[str, str, set[str]]:
    """Outcome, reason without what a parser says in brackets, and names of the readings."""
    return result.outcome, result.because.partition(" (")[0], set(result.readings)


@pytest.mark.parametrize("expect", ["json.ok == 1", "status == 200", 'headers["x"] == "a, b"', 'text != ""'])
@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_is_the_same_as_over_any_other_connection(
    world: World, name: str, expect: str
) -> None:
    async with wired(saying(ANSWERS[name])) as wire:
        ours = await kept(wire.url(), expect=expect).run(world)
        # Only what may be redirected goes over aiohttp.
        theirs = await kept(wire.url(), expect=expect, follow_redirects=True).run(world)
    assert outlined(ours) == outlined(theirs)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", gzip.compress(JSON)[:-9]), ("deflate", zlib.compress(JSON)[:-5])],
    ids=["gzip", "deflate"],
)
async def test_half_of_what_was_compressed_is_not_the_body(world: World, encoding: str, body: bytes) -> None:
    said = f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    async with wired(saying(OK + said.encode() + body)) as wire:
        result = await kept(wire.url(), expect="status == 200").run(world)
    assert result.because == f"GET {wire.url()}: the body ended before it was complete"


async def test_the_request_is_the_same_as_over_any_other_connection(world: World) -> None:
    headers = {"X-Key": "k", "accept": "text/plain", "Host": "shop.example"}
    async with wired(lasting()) as wire:
        for said in ({}, {"follow_redirects": True}):
            url = f"{wire.url()}a%20b?q=1&q=%C3%A9"
            assert (await kept(url, headers=headers, **said).run(world)).outcome == "pass"
    ours, theirs = (request.split("\r\n") for request in wire.heard)
    assert ours[0] == theirs[0] == "GET /a%20b?q=1&q=%C3%A9 HTTP/1.1"
    assert {line.lower() for line in ours} == {line.lower() for line in theirs}


async def test_one_connection_serves_many_runs(world: World) -> None:
    async with wired(lasting()) as wire:
        check = kept(wire.url())
        first, *others = [await check.run(world) for _ in range(3)]
    assert wire.connections == 1
    assert {"connect_s", "first_byte_s", "total_s", "body_bytes"} == set(first.readings)
    assert all(set(other.readings) == {"first_byte_s", "total_s", "body_bytes"} for other in others)


async def test_runs_at_the_same_time_have_a_connection_each(world: World) -> None:
    async with wired(lasting()) as wire:
        check = kept(wire.url())
        for _ in range(2):
            results = await asyncio.gather(*(check.run(world) for _ in range(5)))
            assert {result.outcome for result in results} == {"pass"}
    assert wire.connections == 5


@pytest.mark.parametrize("close", [True, False])
async def test_a_connection_that_ended_meanwhile_is_no_failure(world: World, close: bool) -> None:
    async with wired(saying(*[ANSWERS["whole"]] * (1 if close else 2)), lasting()) as wire:
        check = kept(wire.url())
        for _ in range(3):
            assert (await check.run(world)).outcome == "pass"
    assert wire.connections == 2


async def test_one_that_ends_when_it_is_used_again_is_no_failure_but_a_new_one_is(world: World) -> None:
    def once_and_away(wire: Wire) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await wire.request(reader)
            writer.write(ANSWERS["whole"])
            await wire.request(reader)

        return talk

    async with wired(once_and_away, lasting()) as wire:
        check = kept(wire.url())
        assert [(await check.run(world)).outcome for _ in range(2)] == ["pass", "pass"]
        assert len(wire.heard) == 3
    async with wired(saying(b"")) as wire:
        result = await kept(wire.url()).run(world)
        assert result.because.endswith("the connection was closed before an answer")
        assert len(wire.heard) == 1


async def test_a_request_that_was_half_answered_is_not_sent_again(world: World) -> None:
    async with wired(saying(ANSWERS["whole"], ANSWERS["cut in the headers"]), lasting()) as wire:
        check = kept(wire.url())
        assert [(await check.run(world)).outcome for _ in range(2)] == ["pass", "fail"]
        assert len(wire.heard) == 2


@pytest.mark.parametrize(
    ("said", "stage"),
    [(b"", "waiting for the answer"), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "reading the body")],
)
async def test_what_is_not_answered_in_time_is_not_the_next_answer(
    world: World, said: bytes, stage: str
) -> None:
    async with wired(silent(said), lasting()) as wire:
        check = kept(wire.url())
        late = await check.run(replace(world, timeout_s=0.1))
        assert late.because == f"GET {wire.url()}: no answer within 0.1 s ({stage})"
        assert (await check.run(world)).outcome == "pass"
    assert wire.connections == 2


async def test_what_was_said_unasked_is_not_the_next_answer(world: World) -> None:
    def in_two_halves(wire: Wire) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await wire.request(reader)
            writer.write(ANSWERS["whole"] + b"HTTP/1.1 200 OK\r\nContent-Le")
            await wire.request(reader)
            writer.write(b'ngth: 9\r\n\r\n{"ok": 0}')
            await reader.read()

        return talk

    async with wired(in_two_halves, lasting()) as wire:
        check = kept(wire.url())
        assert [(await check.run(world)).outcome for _ in range(2)] == ["pass", "pass"]
    assert wire.connections == 2


async def test_too_long_a_body_is_read_no_further(world: World) -> None:
    async with wired(silent(ANSWERS["too long"][:210_000]), lasting()) as wire:
        check = kept(wire.url())
        result = await check.run(world)
        assert (result.outcome, "body_bytes" in result.readings) == ("error", False)
        await wire.ended.wait()
        assert (await check.run(world)).outcome == "pass"


async def test_a_bomb_is_unpacked_no_further_than_is_read(world: World) -> None:
    async with wired(saying(ANSWERS["a bomb"])) as wire:
        check = kept(wire.url())
        tracemalloc.start()
        try:
            result = await check.run(world)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert result.outcome == "error"
    assert peak < 5_000_000


async def test_headers_without_end_are_no_answer(world: World) -> None:
    async with wired(silent(b"HTTP/1.1 200 OK\r\n" + b"X: yyyyyyyy\r\n" * 10_000)) as wire:
        result = await kept(wire.url()).run(world)
    assert result.because.endswith(f"not an HTTP answer (its headers are longer than {HEAD_BYTES_MAX} bytes)")


async def test_what_rested_for_long_is_not_used_again(world: World) -> None:
    async with Kept(idle_s=0.0) as resting, wired(lasting()) as wire:
        check = kept(wire.url())
        for _ in range(2):
            assert (await check.run(replace(world, kept=resting))).outcome == "pass"
    assert wire.connections == 2


async def test_what_rests_for_long_is_closed(world: World) -> None:
    async with Kept(idle_s=0.02) as resting, wired(lasting()) as wire:
        check = kept(wire.url())
        assert (await check.run(replace(world, kept=resting))).outcome == "pass"
        async with asyncio.timeout(5.0):
            await wire.ended.wait()
        assert (await check.run(replace(world, kept=resting))).outcome == "pass"
    assert wire.connections == 2


async def test_a_token_goes_with_it(world: World, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t-123456")
    async with wired(lasting()) as wire:
        check = kept(wire.url(), auth={"bearer_file": str(tmp_path / "token")})
        assert [(await check.run(world)).outcome for _ in range(2)] == ["pass", "pass"]
    assert wire.connections == 1
    assert all("\r\nAuthorization: Bearer t-123456\r\n" in request for request in wire.heard)
