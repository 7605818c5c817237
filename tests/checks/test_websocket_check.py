"""Kind websocket against a real server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from pydantic import SecretStr

from checks.model import World
from checks.websocket import MESSAGE_BYTES_MAX, WebsocketCheck
from tests.checks.conftest import Serve


@pytest.fixture
async def url(serve: Serve, closes: list[int | None]) -> str:
    """A WebSocket server: `/echo`, `/ticks` (three numbered messages), `/silent`, and ill-behaved ones."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("chat", "v2"))
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
        closes.append(socket.close_code)
        return socket

    async def headers(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps({name.lower(): value for name, value in request.headers.items()}))
        await socket.receive()
        return socket

    async def ticks(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        await socket.send_bytes(b'{"n": 1}')
        await socket.send_str('{"n": 2}')
        await socket.receive()
        return socket

    async def silent(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    async def leave(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close(code=1013, message=b"try again later")
        return socket

    async def giant(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("x" * (MESSAGE_BYTES_MAX + 1))
        await socket.receive()
        return socket

    async def broken(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert request.transport is not None
        request.transport.write(b"\xff\xff\xff\xff")
        await socket.receive()
        return socket

    async def deaf(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoclose=False)
        await socket.prepare(request)
        await socket.send_str("ready")
        assert request.transport is not None
        request.transport.pause_reading()  # type: ignore[attr-defined]  # a stream has it, a transport need not
        await asyncio.Event().wait()
        return socket

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.2:1/echo?token=abcdef")

    async def unauthorized(_: web.Request) -> web.Response:
        return web.Response(status=401)

    handlers = (echo, headers, ticks, silent, leave, giant, broken, deaf, elsewhere, unauthorized)
    base = await serve({f"/{handler.__name__}": handler for handler in handlers})
    return base.replace("http://", "ws://")


@pytest.fixture
def closes() -> list[int | None]:
    """The close codes that `/echo` saw."""
    return []


async def test_an_open_connection_is_enough_without_expect(world: World, url: str) -> None:
    result = await WebsocketCheck(url=f"{url}/silent").run(world)
    assert result.outcome == "pass", result
    assert 0 < result.readings["connect_s"] <= result.readings["total_s"]
    assert "first_message_s" not in result.readings


async def test_it_says_something_and_judges_the_answer(
    world: World, url: str, closes: list[int | None]
) -> None:
    check = WebsocketCheck(
        url=f"{url}/echo",
        send={"ask": "stock"},
        expect='json.ask == "stock" && text.contains("stock") && total < duration("5s")',
    )
    result = await check.run(world)
    assert result.outcome == "pass", result
    readings = result.readings
    assert 0 < readings["connect_s"] < readings["first_message_s"] <= readings["total_s"]
    text = await WebsocketCheck(url=f"{url}/echo", send="plain", expect='text == "plain"').run(world)
    assert text.outcome == "pass"
    # The server saw a clean end both times.
    assert closes == [1000, 1000]


async def test_it_reads_on_until_a_message_is_as_expected(world: World, url: str) -> None:
    assert (await WebsocketCheck(url=f"{url}/ticks", expect="json.n == 2").run(world)).outcome == "pass"
    assert (await WebsocketCheck(url=f"{url}/ticks", expect="json.n == 1").run(world)).outcome == "pass"
    few = await WebsocketCheck(url=f"{url}/ticks", expect="json.n == 2", messages_max=2).run(world)
    assert few.outcome == "fail"
    assert few.because == (
        f"{url}/ticks: no message as expected, the last of 2: json.n == 2 is false: json.n = 1"
    )
    assert few.readings["first_message_s"] > 0


async def test_when_the_time_is_over_the_last_message_is_told(world: World, url: str) -> None:
    soon = replace(world, timeout_s=0.2)
    never = await WebsocketCheck(url=f"{url}/ticks", expect="json.n == 3").run(soon)
    assert never.because == (
        f"{url}/ticks: no message as expected, the last of 3: json.n == 3 is false: json.n = 2, within 0.2 s"
    )
    silent = await WebsocketCheck(url=f"{url}/silent", expect="json.ok").run(soon)
    assert (silent.outcome, silent.because) == (
        "fail",
        f"{url}/silent: no answer within 0.2 s (connected, but silent)",
    )


async def test_a_message_that_is_not_json_has_no_json(world: World, url: str) -> None:
    result = await WebsocketCheck(url=f"{url}/ticks", expect="json.n < 5", messages_max=1).run(world)
    assert result.because.endswith("json.n < 5: json is absent")


async def test_the_subprotocol_can_be_expected(world: World, url: str) -> None:
    expect = 'subprotocol == "v2"'
    agreed = WebsocketCheck(url=f"{url}/echo", subprotocols=("v3", "v2"), expect=expect)
    assert (await agreed.run(world)).outcome == "pass"
    none = await WebsocketCheck(url=f"{url}/echo", expect=expect).run(world)
    assert (none.outcome, none.because) == ("fail", f"{url}/echo: {expect}: subprotocol is absent")


async def test_headers_are_sent_and_stay_secret(world: World, url: str) -> None:
    secret = {"X-Token": SecretStr("open-sesame")}
    check = WebsocketCheck(
        url=f"{url}/headers?key=1", headers=secret, expect='json["x-token"] == "other"', messages_max=1
    )
    result = await check.run(world)
    assert result.because.endswith('json["x-token"] = "***"')
    assert "open-sesame" not in f"{result}{check!r}"
    seen = WebsocketCheck(url=f"{url}/headers", expect='json["x-synthetic"] == "run1"')
    assert (await seen.run(world)).outcome == "pass"


@pytest.mark.parametrize(
    ("path", "outcome", "told"),
    [
        (
            "leave",
            "fail",
            'the other side closed the connection (code 1013, "try again later") before a message',
        ),
        ("giant", "error", f"a message is longer than {MESSAGE_BYTES_MAX} bytes, which is our own limit"),
        ("unauthorized", "fail", "the server did not open a WebSocket (Invalid response status, status 401)"),
        ("elsewhere", "fail", "redirected to another host, which is not followed; check that URL itself"),
    ],
)
async def test_a_server_that_does_not_play_along(
    world: World, url: str, path: str, outcome: str, told: str
) -> None:
    result = await WebsocketCheck(url=f"{url}/{path}", expect="json.ok").run(world)
    assert (result.outcome, result.because.partition(": ")[2]) == (outcome, told)


async def test_a_broken_frame_fails(world: World, url: str) -> None:
    result = await WebsocketCheck(url=f"{url}/broken", expect="json.ok").run(world)
    assert result.outcome == "fail"
    assert "the protocol was broken" in result.because
    assert result.because.endswith("before a message")


async def test_one_that_does_not_say_goodbye_is_not_waited_for_long(world: World, url: str) -> None:
    began_s = world.mono_s()
    result = await WebsocketCheck(url=f"{url}/deaf", expect='text == "ready"').run(world)
    assert result.outcome == "pass"
    assert world.mono_s() - began_s < 2.0
    assert result.readings["total_s"] < 0.5


async def test_tls_that_is_none_fails_and_an_unknown_name_is_our_error(world: World, url: str) -> None:
    tls = await WebsocketCheck(url=f"{url.replace('ws://', 'wss://')}/echo").run(world)
    assert tls.outcome == "fail"
    assert "TLS handshake failed" in tls.because
    assert (await WebsocketCheck(url="ws://nosuch.invalid/").run(world)).outcome == "error"


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"url": "https://h/"}, "url: 'https://h/' is not a WebSocket URL"),
        ({"url": "ws:///path"}, "url: "),
        ({"url": "ws://h:99999/"}, "url: "),
        ({"url": "ws://h/", "headers": {"a b": SecretStr("x")}}, "headers: 'a b'"),
        ({"url": "ws://u:p@h/", "headers": {"Authorization": SecretStr("x")}}, "headers: Authorization"),
        ({"url": "ws://h/", "subprotocols": ("a b",)}, "subprotocols: 'a b'"),
        ({"url": "ws://h/", "send": float("nan")}, "send: cannot be sent as JSON"),
        ({"url": "ws://h/", "expect": "status == 1"}, "expect: "),
        ({"url": "ws://h/", "messages_max": 0}, "messages_max: "),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        WebsocketCheck(**params)


def test_a_bad_url_is_refused_without_its_secrets() -> None:
    with pytest.raises(ValueError, match="url: ") as refused:
        WebsocketCheck(url="http://user:open-sesame@h/?token=open-sesame")
    assert "open-sesame" not in str(refused.value)
