"""Kind http: what it can send, and that no answer fills the memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any

import pytest
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from checks.http import HttpCheck
from checks.model import World
from checks.scenario import ScenarioCheck
from tests.checks.conftest import Serve

MEBIBYTE = 1_048_576


def built(**params: Any) -> HttpCheck:
    """As the loader builds it."""
    return TypeAdapter(HttpCheck).validate_python(params)


async def echo(request: web.Request) -> web.Response:
    return web.json_response(
        {"type": request.content_type, "body": await request.text(), "cookies": dict(request.cookies)}
    )


async def test_a_form_is_sent_as_a_browser_does(world: World, serve: Serve) -> None:
    url = await serve({"/": echo})
    expect = 'json.type == "application/x-www-form-urlencoded" && json.body == "sku=T-run1&q=a+%26+%C3%A9"'
    form = {"sku": "T-{run_id}", "q": "a & é"}
    result = await built(post=f"{url}/", form=form, expect=expect).run(world)
    assert (result.outcome, result.because) == ("pass", "")


async def test_cookies_are_sent_and_never_told(world: World, serve: Serve) -> None:
    url = await serve({"/": echo})
    cookies = {"sid": "cookie-secret", "theme": "dark"}
    expect = 'json.cookies.sid == "cookie-secret" && json.cookies.theme == "dark"'
    check = built(get=f"{url}/", cookies=cookies, expect=expect)
    assert (await check.run(world)).outcome == "pass"
    told = await built(get=f"{url}/", cookies=cookies, expect='json.cookies.sid == ""').run(world)
    assert (told.outcome, 'json.cookies.sid = "***"' in told.because) == ("fail", True)
    assert "cookie-secret" not in f"{told}{check!r}"


async def test_cookies_of_a_step_stand_beside_those_that_were_kept(world: World, serve: Serve) -> None:
    async def enter(_: web.Request) -> web.Response:
        response = web.json_response({"id": "c;7", "good": "c7"})
        response.set_cookie("kept", "yes")
        return response

    url = await serve({"/": echo, "/enter": enter})
    first = {"get": f"{url}/enter", "extract": {"bad": "$.id", "good": "$.good"}}
    expect = 'json.cookies == {"kept": "yes", "cart": "c7"}'
    for value, told in (("{good}", ""), ("{bad}", "the value for cookie cart cannot be sent as one")):
        second = {"get": f"{url}/", "cookies": {"cart": value}, "expect": expect}
        result = await TypeAdapter(ScenarioCheck).validate_python({"steps": [first, second]}).run(world)
        assert told in result.because
        assert result.outcome == ("fail" if told else "pass")


QUERY = "query Stock($sku: ID!) { item(sku: $sku) {id} }"


def operation(url: str, **params: Any) -> HttpCheck:
    graphql = {"query": QUERY, "variables": {"sku": "T-{run_id}", "n": 1}}
    return built(**{"post": f"{url}/", "graphql": graphql, **params})


async def test_an_operation_is_posted_with_its_variables(world: World, serve: Serve) -> None:
    seen: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(await request.json())
        return web.json_response({"data": {"item": {"id": "7"}}})

    result = await operation(await serve({"/": answer}), expect='json.data.item.id == "7"').run(world)
    assert (result.outcome, result.because) == ("pass", "")
    assert seen == [{"query": QUERY, "variables": {"sku": "T-run1", "n": 1}}]


@pytest.mark.parametrize(
    ("answer", "expect", "outcome", "told"),
    [
        (
            '{"errors": [{"message": "no such item"}]}',
            "",
            "fail",
            'GraphQL errors, the first: "no such item"',
        ),
        ('{"errors": ["odd"]}', "", "fail", 'the first: "odd"'),
        ('{"errors": null, "data": {}}', "", "pass", ""),
        ('{"data": {}}', "", "pass", ""),
        ("<html>", "", "fail", "the body is not JSON"),
        ('{"errors": [{"message": "x"}]}', 'json.errors[0].message == "x"', "pass", ""),
        ('{"errors": [{"message": "x"}]}', 'status == 200 && "errors" in json', "pass", ""),
        ('{"errors": [{"message": "x"}]}', "has(json.errors) && size(json.errors) == 1", "pass", ""),
    ],
)
async def test_an_answer_with_errors_fails_unless_they_are_spoken_of(
    world: World, serve: Serve, answer: str, expect: str, outcome: str, told: str
) -> None:
    async def reply(_: web.Request) -> web.Response:
        return web.Response(text=answer, content_type="application/json")

    url = await serve({"/": reply})
    result = await operation(url, **({"expect": expect} if expect else {})).run(world)
    assert result.outcome == outcome
    assert told in result.because


async def test_an_operation_whose_answer_is_too_long_cannot_be_told(world: World, serve: Serve) -> None:
    async def reply(_: web.Request) -> web.Response:
        return web.json_response({"data": "x" * 1000})

    result = await operation(await serve({"/": reply}), body_bytes_max=100).run(world)
    assert result.outcome == "error"
    assert "body_bytes_max" in result.because


async def test_an_operation_may_be_a_step(world: World, serve: Serve) -> None:
    async def reply(request: web.Request) -> web.Response:
        sku = (await request.json())["variables"]["sku"]
        return web.json_response({"data": {"sku": sku}} if sku == "T-1" else {"errors": [{"message": sku}]})

    url = await serve({"/": reply})
    first = {"post": f"{url}/", "graphql": {"query": QUERY, "variables": {"sku": "T-1"}}}
    second = {"post": f"{url}/", "graphql": {"query": QUERY, "variables": {"sku": "{sku}"}}}
    steps = [{**first, "extract": {"sku": "$.data.sku"}}, second]
    result = await TypeAdapter(ScenarioCheck).validate_python({"steps": steps}).run(world)
    assert (result.outcome, result.because) == ("pass", "")
    steps[1] = {"post": f"{url}/", "graphql": {"query": QUERY, "variables": {"sku": "T-2"}}}
    result = await TypeAdapter(ScenarioCheck).validate_python({"steps": steps}).run(world)
    assert result.because.endswith('the answer holds GraphQL errors, the first: "T-2"')


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_is_not_unpacked(world: World, serve: Serve, coding: str) -> None:
    # 30 MiB of blanks in 30 KiB.
    packed = gzip.compress(b" " * (30 * MEBIBYTE), 9)
    if coding == "deflate":
        packed = b"\x78\x9c" + packed[10:-8]

    async def bomb(_: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": coding})

    check = built(get=f"{await serve({'/': bomb})}/", expect='text == ""')
    tracemalloc.start()
    try:
        result = await check.run(world)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (result.outcome, "body_bytes_max" in result.because) == ("error", True)
    assert peak_bytes < 12 * MEBIBYTE


async def test_a_packed_answer_is_judged_unpacked(world: World, serve: Serve) -> None:
    document = json.dumps({"state": "paid", "padding": " " * 10_000}).encode()

    async def packed(request: web.Request) -> web.Response:
        assert "gzip" in request.headers["Accept-Encoding"]
        return web.Response(body=gzip.compress(document), headers={"Content-Encoding": "gzip"})

    result = await built(get=f"{await serve({'/': packed})}/", expect='json.state == "paid"').run(world)
    assert (result.outcome, result.readings["body_bytes"]) == ("pass", len(document))


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"post": "http://h/", "form": {}, "json": {}}, "form: write only one of json, body, form, graphql"),
        ({"get": "http://h/", "graphql": {"query": "{a}"}}, "graphql: is posted; write the URL under post"),
        ({"post": "http://h/", "graphql": {"query": " "}}, "query: write a GraphQL document"),
        (
            {"post": "http://h/", "graphql": {"query": "{a}", "variables": {"n": float("inf")}}},
            "variables: cannot be sent as JSON",
        ),
        ({"get": "http://h/", "cookies": {"a b": "x"}}, "cookies: 'a b' or its value"),
        ({"get": "http://h/", "cookies": {"a": "x;y"}}, "cookies: 'a' or its value"),
        (
            {"get": "http://h/", "cookies": {"a": "x"}, "headers": {"cookie": "b"}},
            "cookies: excludes a header",
        ),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        built(**params)
    assert told in str(caught.value)
