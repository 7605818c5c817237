"""What one caller may cost: sizes, depths, times and connections, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import io
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.board import LOCAL_TOKEN, FakeDaemon
from tests.watchdog.api.conftest import Site, site_of
from watchdog.api.answers import Problem
from watchdog.api.bodies import Bounds, depth, read_object

EVENT = b'{"service": "checkout", "version": "1"}'
MIB = 1024 * 1024


async def post(site: Site, body: bytes, **headers: str) -> int:
    response = await site.ask(
        "POST", "/api/v1/deploys", data=io.BytesIO(body), token=LOCAL_TOKEN, headers=headers
    )
    return response.status


async def test_a_body_over_the_limit_is_refused(open_site: Site) -> None:
    assert await post(open_site, EVENT + b" " * (MIB - len(EVENT))) == 202
    assert await post(open_site, EVENT + b" " * (MIB - len(EVENT) + 1)) == 413


async def test_a_chunked_body_over_the_limit_is_refused(open_site: Site) -> None:
    async def chunks():
        for _ in range(40):
            yield b" " * 65536

    try:
        response = await open_site.ask("POST", "/api/v1/deploys", data=chunks(), token=LOCAL_TOKEN)
    except ConnectionError:
        return  # Refused before everything was sent.
    assert response.status == 413


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_bomb_is_refused_after_decompression(encoding: str, open_site: Site) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    bomb = pack(b" " * (50 * MIB), 9)
    assert len(bomb) < MIB
    assert await post(open_site, bomb, **{"Content-Encoding": encoding}) == 413


async def test_an_honest_compressed_body_is_read(open_site: Site) -> None:
    assert await post(open_site, gzip.compress(EVENT), **{"Content-Encoding": "gzip"}) == 202


async def test_a_body_that_is_not_what_it_says_is_refused(open_site: Site) -> None:
    assert await post(open_site, EVENT, **{"Content-Encoding": "gzip"}) == 400


async def test_deep_json_is_refused_before_it_is_parsed(open_site: Site) -> None:
    assert await post(open_site, b'{"service":' * 65 + b"1" + b"}" * 65) == 400
    assert await post(open_site, b"[" * 500_000) == 400
    # 64 levels are parsed, and then refused for what they say.
    assert await post(open_site, b'{"service":' * 64 + b"1" + b"}" * 64) == 422


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=20))
@settings(max_examples=60)
def test_depth_counts_what_is_nested_and_nothing_inside_strings(value: object) -> None:
    import json

    def nested(found: object) -> int:
        return 1 + max(map(nested, found), default=0) if isinstance(found, list) else 0

    assert depth(json.dumps(value)) == nested(value)
    assert depth(json.dumps(value, ensure_ascii=False)) == nested(value)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "must be a JSON object"),
        (b"\xff{}", "not UTF-8"),
        (b'{"a": NaN}', "not a number"),
        (b'{"a": -Infinity}', "not a number"),
        (b'{"a": 1, "a": 2}', "given twice"),
        (b'{"b": {"a": 1, "a": 2}}', "given twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too many digits"),
    ],
)
def test_what_is_no_json_object_is_one_clear_error(body: bytes, says: str) -> None:
    with pytest.raises(Problem, match=says) as caught:
        read_object(body, Bounds())
    assert caught.value.status == 400


async def raw(port: int, *pieces: bytes, wait_s: float = 5.0) -> bytes:
    """Send pieces and read until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(wait_s):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


GET = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"


async def test_headers_beyond_the_limits_are_refused(open_site: Site) -> None:
    close = b"Connection: close\r\n\r\n"
    many = b"".join(b"X-%d: 1\r\n" % n for n in range(150))
    assert b" 400 " in (await raw(open_site.port, GET + many + close))[:16]
    wide = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 4000) for n in range(5))
    assert (await raw(open_site.port, GET + wide + close)).startswith(b"HTTP/1.1 431")
    one = b"X-Long: " + b"a" * 20_000 + b"\r\n"
    assert b" 400 " in (await raw(open_site.port, GET + one + close))[:16]
    assert (await raw(open_site.port, GET + close)).startswith(b"HTTP/1.1 200")


async def test_who_never_finishes_the_headers_is_closed() -> None:
    async with site_of(FakeDaemon(), Bounds(header_s=0.3)) as site:
        assert await raw(site.port, GET + b"X-Slow: ") == b""
        assert await raw(site.port) == b""
        # On a connection that was good once, too: the first answer, then the end.
        answered = await raw(site.port, GET + b"\r\n", b"GET /livez HT")
        assert answered.count(b"HTTP/1.1 200") == 1


async def test_who_never_finishes_the_body_is_answered_and_closed() -> None:
    async with site_of(FakeDaemon(), Bounds(body_s=0.3)) as site:
        head = (
            b"POST /api/v1/deploys HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n"
            b"Authorization: Bearer " + LOCAL_TOKEN.encode() + b"\r\n\r\n"
        )
        assert (await raw(site.port, head, b'{"service":', wait_s=15.0)).startswith(b"HTTP/1.1 408")


async def test_slow_clients_cannot_take_all_connections() -> None:
    async with site_of(FakeDaemon(), Bounds(connections_max=20, header_s=0.5)) as site:
        held = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(20)]
        for _, writer in held:
            writer.write(GET)
            await writer.drain()
        refused = await raw(site.port, GET)
        assert refused.startswith(b"HTTP/1.1 503")
        async with asyncio.timeout(5):
            for reader, writer in held:
                assert await reader.read() == b""
                writer.close()
        assert (await raw(site.port, GET + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")


def test_the_limits_are_those_of_the_security_checklist() -> None:
    bounds = Bounds()
    assert (bounds.body_bytes_max, bounds.header_bytes_max, bounds.headers_max) == (MIB, 16384, 100)
    assert (bounds.header_s, bounds.body_s) == (10.0, 30.0)
    assert (bounds.connections_max, bounds.json_depth_max) == (500, 64)
