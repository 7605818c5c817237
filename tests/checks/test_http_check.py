"""Kind http against real servers."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import SecretStr, TypeAdapter, ValidationError

from checks.http import HttpCheck
from checks.model import World
from checks.web.connecting import shared_connector
from checks.web.exchange import shared_session
from tests.checks.conftest import Serve
from tests.support.servers import free_port


def built(**params: Any) -> HttpCheck:
    """As the loader builds it."""
    return TypeAdapter(HttpCheck).validate_python(params)


async def order(request: web.Request) -> web.Response:
    return web.json_response({"state": "paid", "seen": dict(request.headers)}, headers={"X-Shop": "1"})


async def test_status_headers_json_and_times_can_be_expected(world: World, serve: Serve) -> None:
    url = await serve({"/order": order})
    expect = 'status == 200 && json.state == "paid" && headers["x-shop"] == "1" && total < duration("5s")'
    result = await built(get=f"{url}/order", expect=expect).run(world)
    assert (result.outcome, result.because) == ("pass", "")
    assert set(result.readings) == {"connect_s", "first_byte_s", "total_s", "body_bytes"}
    assert (
        0 < result.readings["connect_s"] <= result.readings["first_byte_s"] <= result.readings["total_s"] < 5
    )


async def test_a_resolved_name_has_a_dns_reading(world: World, serve: Serve) -> None:
    url = (await serve({"/order": order})).replace("127.0.0.1", "localhost")
    result = await built(get=f"{url}/order").run(world)
    assert result.outcome == "pass"
    assert result.readings["dns_s"] > 0


async def test_a_false_assertion_says_which_value(world: World, serve: Serve) -> None:
    url = await serve({"/order": order})
    result = await built(get=f"{url}/order?token=hush-hush", expect='json.state == "open"').run(world)
    assert result.outcome == "fail"
    assert result.because == f'GET {url}/order: json.state == "open" is false: json.state = "paid"'


async def test_a_server_error_fails_by_default_and_a_redirect_is_not_followed(
    world: World, serve: Serve
) -> None:
    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=502)

    async def moved(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/broken"})

    url = await serve({"/broken": broken, "/moved": moved})
    assert (await built(get=f"{url}/broken").run(world)).because.endswith(
        "status < 400 is false: status = 502"
    )
    assert (await built(get=f"{url}/moved", expect="status == 302").run(world)).outcome == "pass"
    followed = built(get=f"{url}/moved", follow_redirects=True, expect="status == 502")
    assert (await followed.run(world)).outcome == "pass"


async def test_a_redirect_never_carries_headers_to_another_host(world: World, serve: Serve) -> None:
    seen: list[str] = []

    async def other(request: web.Request) -> web.Response:
        seen.append(request.headers.get("X-Api-Key", ""))
        return web.Response()

    target = await serve({"/other": other})

    async def moved(_: web.Request) -> web.Response:
        return web.Response(
            status=307, headers={"Location": target.replace("127.0.0.1", "localhost") + "/other"}
        )

    url = await serve({"/moved": moved})
    check = built(get=f"{url}/moved", headers={"X-Api-Key": "k-123456"}, follow_redirects=True)
    result = await check.run(world)
    assert (result.outcome, seen) == ("fail", [])
    assert "another host" in result.because


async def test_the_service_can_tell_synthetic_traffic(world: World, serve: Serve) -> None:
    seen: dict[str, str] = {}

    async def keep(request: web.Request) -> web.Response:
        seen.update(request.headers)
        return web.Response()

    url = await serve({"/": keep})
    run_id = "0af7651916cd43dd8448eb211c80319c"
    result = await built(get=f"{url}/").run(replace(world, run_id=run_id))
    assert "deploy-watchdog" in seen["User-Agent"]
    # W3C Trace Context (2021) section 3.2.
    assert re.fullmatch(f"00-{run_id}-[0-9a-f]{{16}}-01", seen["traceparent"])
    assert seen["X-Synthetic"] == run_id
    assert f"trace {run_id}" in result.details


async def test_every_run_connects_anew(world: World, serve: Serve) -> None:
    # A kept connection would stay with the old instance while a roll-out replaces it.
    peers: set[object] = set()

    async def keep(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response()

    check = built(get=f"{await serve({'/': keep})}/")
    for _ in range(3):
        assert "connect_s" in (await check.run(world)).readings
    assert len(peers) == 3


async def test_bodies_are_sent_as_written(world: World, serve: Serve) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.json_response({"type": request.content_type, "body": await request.text()})

    url = await serve({"/": echo})
    expect = 'json.type == "application/json" && json.body == "{\\"sku\\": \\"T-run1\\", \\"n\\": [1, true]}"'
    assert (
        await built(post=f"{url}/", json={"sku": "T-{run_id}", "n": [1, True]}, expect=expect).run(world)
    ).outcome == "pass"
    assert (
        await built(put=f"{url}/", body="query {me}", expect='json.body == "query {me}"').run(world)
    ).outcome == "pass"


async def test_no_secret_comes_out_even_when_the_service_echoes_it(world: World, serve: Serve) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.json_response({"auth": request.headers["Authorization"], "body": await request.text()})

    url = await serve({"/": echo})
    hidden = {
        "headers": {"X-Key": "sesame-open", "Authorization": "Bearer abc-def-123"},
        "json": {"password": "hunter-two"},
    }
    expect = 'json.auth == "x" || json.body == "y"'
    for at, params in (
        (f"{url}/?api_key=query-secret", hidden),
        (url.replace("//", "//user:pa55word@") + "/", {}),
    ):
        check = built(post=at, expect=expect, **params)
        result = await check.run(world)
        assert result.outcome == "fail"
        assert ("***" in result.because) == bool(params)
        for secret in ("sesame-open", "abc-def-123", "hunter-two", "query-secret", "pa55word"):
            assert secret not in f"{result}{check!r}"


async def test_an_unparsable_body_fails_only_if_json_is_expected(world: World, serve: Serve) -> None:
    async def html(_: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="application/json")

    url = await serve({"/": html})
    assert (await built(get=f"{url}/").run(world)).outcome == "pass"
    result = await built(get=f"{url}/", expect="json.a == 1 || true").run(world)
    assert result.outcome == "fail"
    assert "not JSON" in result.because


# What another prober's evaluator answers on each of these is wrong; here the whole way from the wire.
@pytest.mark.parametrize(
    ("expect", "body", "outcome"),
    [
        ("json.error_count < 5", '{"oops":true}', "fail"),
        ("json.error_count < 5", "<html>502</html>", "fail"),
        ("json.rate <= 0.05", '{"rate":0.9}', "fail"),
        ("json.rate < 0.95", '{"rate":0.10}', "pass"),
        ("json.total == 24.90", '{"total":24.90}', "pass"),
        ("json.balance != 0", '{"oops":1}', "fail"),
        ("json.id == 9007199254740993", '{"id":9007199254740993}', "pass"),
    ],
)
async def test_the_seven_wrong_answers_of_a_peer_are_right(
    world: World, serve: Serve, expect: str, body: str, outcome: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    result = await built(get=f"{await serve({'/': answer})}/", expect=expect).run(world)
    assert result.outcome == outcome


async def test_a_body_beyond_the_bound_is_not_judged(world: World, serve: Serve) -> None:
    async def big(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 200_000)

    url = await serve({"/": big})
    bounded = {"get": f"{url}/", "body_bytes_max": 1000}
    passed = await built(**bounded).run(world)
    assert passed.outcome == "pass"
    assert "total_s" not in passed.readings
    assert (await built(**bounded, expect='text == "x"').run(world)).outcome == "error"


async def test_whose_fault_a_failed_connection_is(world: World) -> None:
    refused = await built(get=f"http://127.0.0.1:{free_port()}/").run(world)
    assert (refused.outcome, refused.readings) == ("fail", {})
    assert "connection refused" in refused.because
    unresolved = await built(get="http://nosuch.invalid/").run(world)
    assert unresolved.outcome == "error"
    assert "cannot resolve" in unresolved.because


async def test_a_timeout_says_at_which_stage(world: World, serve: Serve) -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    url = await serve({"/": silent})
    result = await built(get=f"{url}/").run(replace(world, timeout_s=0.2))
    assert result.outcome == "fail"
    assert result.because == f"GET {url}/: no answer within 0.2 s (waiting for the answer)"


class SilentResolver(AbstractResolver):
    """A name server that never answers."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        await asyncio.Event().wait()
        return []

    async def close(self) -> None:
        return


async def test_a_name_server_that_does_not_answer_is_ours(world: World) -> None:
    async with shared_session(shared_connector(SilentResolver())) as http:
        result = await built(get="http://shop.example/").run(replace(world, http=http, timeout_s=0.2))
    assert (result.outcome, result.because) == (
        "error",
        "GET http://shop.example/: no answer within 0.2 s (resolving the name)",
    )


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({}, "get: write exactly one of"),
        ({"get": "http://h/", "post": "http://h/"}, "post: write exactly one of"),
        ({"get": "/path"}, "get: '/path' is not a URL"),
        ({"get": "http://{host}/"}, "host cannot hold a placeholder"),
        ({"get": "http://h/{order}"}, "use kind scenario"),
        (
            {"get": "http://h/", "expect": "status = 3"},
            "expect: status = 3: `=` is not an operator, at column 8",
        ),
        ({"get": "http://h/", "headers": {"a b": "x"}}, "headers: 'a b'"),
        ({"get": "http://h/", "headers": {"a": "x\r\nb: c"}}, "headers: 'a'"),
        (
            {"post": "http://h/", "json": {}, "body": "x"},
            "body: write only one of json, body, form, graphql; found json and body",
        ),
        ({"post": "http://h/", "json": {"a": float("nan")}}, "json: cannot be sent"),
        ({"get": "http://h/", "body_bytes_max": 0}, "body_bytes_max:"),
        ({"get": "http://[::1/"}, "get:"),
        ({"get": "http://u:p@h/", "headers": {"authorization": "x"}}, "exclude each other"),
        ({"post": "http://h/", "keep_alive": True}, "keep_alive: a POST cannot be repeated"),
        ({"get": "http://h/", "keep_alive": True, "unix_socket": "/run/x.sock"}, "keep_alive: excludes"),
        ({"get": "http://h/", "keep_alive": True, "resolve": "10.0.0.1"}, "keep_alive: excludes"),
        (
            {"get": "https://h/", "keep_alive": True, "expect": "certificate_days > 1"},
            "keep_alive: a kept connection shows no certificate",
        ),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        built(**params)
    assert told in str(caught.value)


async def test_a_connection_is_new_each_time_unless_it_may_be_kept(world: World, serve: Serve) -> None:
    ports: list[int] = []

    async def home(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return web.Response()

    url = await serve({"/": home})
    for keep_alive in (False, True):
        check = built(get=url, keep_alive=keep_alive)
        results = [await check.run(world) for _ in range(3)]
        assert [result.outcome for result in results] == ["pass"] * 3
        is_connected = ["connect_s" in result.readings for result in results]
        assert is_connected == [True, not keep_alive, not keep_alive]
    assert len(set(ports[:3])) == 3
    assert len(set(ports[3:])) == 1


async def test_a_kept_connection_that_the_server_ended_is_no_failure(world: World) -> None:
    connections = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        # It says nothing of closing and closes when the next request comes.
        await reader.read(1)
        writer.transport.abort()

    async with await asyncio.start_server(once, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        check = built(get=f"http://127.0.0.1:{port}/", keep_alive=True)
        results = [await check.run(world) for _ in range(3)]
    assert [(result.outcome, result.because) for result in results] == [("pass", "")] * 3
    assert connections == 3


def test_header_values_are_secrets() -> None:
    assert isinstance(built(get="http://h/", headers={"X-Key": "abc"}).headers["X-Key"], SecretStr)
