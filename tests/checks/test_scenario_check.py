"""Kind scenario: what a customer does, against a real shop that keeps count."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from checks.model import World, deadline_s
from checks.scenario import ScenarioCheck
from tests.checks.conftest import Serve


def built(**params: Any) -> ScenarioCheck:
    """As the loader builds it."""
    return TypeAdapter(ScenarioCheck).validate_python(params)


@dataclass(slots=True)
class Shop:
    """Carts that are paid and orders that are deleted; remembers what came in."""

    calls: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=lambda: ["paid"])
    clean_status: int = 204
    pay_hangs: asyncio.Event = field(default_factory=asyncio.Event)
    is_slow: bool = False

    async def cart(self, request: web.Request) -> web.Response:
        self.calls.append(f"cart {await request.text()}")
        response = web.json_response({"id": "c/1 é", "token": "top-secret-token"}, status=201)
        response.set_cookie("sid", "cookie-1")
        return response

    async def pay(self, request: web.Request) -> web.Response:
        self.calls.append(f"pay {request.match_info['cart']} {request.cookies.get('sid')}")
        if self.is_slow:
            self.pay_hangs.set()
            await asyncio.sleep(30)
        return web.json_response({"order_id": 17, "state": self.states[0]}, headers={"X-Order": "17"})

    async def order(self, request: web.Request) -> web.Response:
        if request.method == "DELETE":
            self.calls.append(f"delete {request.match_info['order']}")
            return web.Response(status=self.clean_status)
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return web.json_response({"state": state, "id": int(request.match_info["order"])})


@pytest.fixture
async def shop(serve: Serve) -> tuple[Shop, str]:
    shop = Shop()
    routes = {"/carts": shop.cart, "/carts/{cart}/pay": shop.pay, "/orders/{order}": shop.order}
    return shop, await serve(routes)


def place_an_order(url: str, **pay: Any) -> dict[str, Any]:
    return {
        "steps": [
            {
                "post": f"{url}/carts",
                "json": {"sku": "T"},
                "expect": "status == 201",
                "extract": {"cart": "$.id"},
            },
            {
                "post": f"{url}/carts/{{cart}}/pay",
                "expect": 'json.state == "paid"',
                "extract": {"order": "$.order_id"},
                **pay,
            },
        ],
        "cleanup": [{"delete": f"{url}/orders/{{order}}"}],
    }


async def test_steps_hand_on_values_and_cookies_and_clean_up(world: World, shop: tuple[Shop, str]) -> None:
    counter, url = shop
    result = await built(**place_an_order(url)).run(world)
    assert (result.outcome, result.because) == ("pass", "")
    assert counter.calls == ['cart {"sku": "T"}', "pay c/1 é cookie-1", "delete 17"]
    assert set(result.readings) == {"step1_s", "step2_s", "order", "total_s"}
    assert result.details[0].startswith(f" ok  1 POST {url}/carts  201")
    assert result.details[0].endswith('cart = "c/1 é"')
    assert result.details[2].startswith(f" ok  cleanup DELETE {url}/orders/{{order}}  204")


async def test_a_failed_step_stops_the_walk_and_still_cleans_up(world: World, shop: tuple[Shop, str]) -> None:
    counter, url = shop
    counter.states = ["pending"]
    result = await built(**place_an_order(url)).run(world)
    assert result.outcome == "fail"
    assert result.because == (
        f'2 POST {url}/carts/{{cart}}/pay: json.state == "paid" is false: json.state = "pending"'
    )
    assert counter.calls[-1] == "delete 17"
    assert set(result.readings) == {"step1_s", "order"}


async def test_every_number_that_is_extracted_is_a_reading(world: World, serve: Serve) -> None:
    told = '{"price": 12.5, "items": 3, "paid": true, "state": "new", "token": 123456, "far": 1%s}' % (
        "0" * 400
    )

    async def order(request: web.Request) -> web.Response:
        return web.Response(text=told, content_type="application/json")

    url = await serve({"/": order})
    names = ("price", "items", "paid", "state", "token", "far")
    step = {"get": f"{url}/", "extract": {name: f"$.{name}" for name in names}}
    result = await built(steps=[step]).run(world)
    assert result.outcome == "pass"
    assert {name: result.readings[name] for name in names if name in result.readings} == {
        "price": 12.5,
        "items": 3.0,
    }


async def test_cleanup_without_its_value_is_skipped_and_said(world: World, shop: tuple[Shop, str]) -> None:
    counter, url = shop
    params = place_an_order(url)
    params["steps"][0]["expect"] = "status == 200"
    result = await built(**params).run(world)
    assert result.outcome == "fail"
    assert [call.split()[0] for call in counter.calls] == ["cart"]
    assert f"skip cleanup DELETE {url}/orders/{{order}}: {{order}} was never extracted" in result.details


async def test_cleanup_runs_when_the_run_is_cancelled_even_twice(
    world: World, shop: tuple[Shop, str]
) -> None:
    counter, url = shop
    counter.is_slow = True
    params = place_an_order(url)
    params["cleanup"] = [{"delete": f"{url}/orders/99"}]
    running = asyncio.ensure_future(built(**params).run(world))
    await counter.pay_hangs.wait()
    running.cancel()
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert counter.calls[-1] == "delete 99"


async def test_a_cleanup_that_hangs_ends_at_its_own_limit(world: World, serve: Serve) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async def fine(_: web.Request) -> web.Response:
        return web.Response()

    url = await serve({"/": fine, "/hang": hang})
    check = built(steps=[{"get": f"{url}/"}], cleanup=[{"delete": f"{url}/hang"}], cleanup_timeout_s=0.2)
    result = await check.run(world)
    assert (result.outcome, result.because) == ("fail", "cleanup not finished within 0.2 s")
    assert deadline_s(check, 10.0) == pytest.approx(11.2)


async def test_a_cleanup_that_is_refused_fails_and_one_that_finds_nothing_is_clean(
    world: World, shop: tuple[Shop, str]
) -> None:
    counter, url = shop
    counter.clean_status = 500
    refused = await built(**place_an_order(url)).run(world)
    assert refused.outcome == "fail"
    assert "cleanup DELETE" in refused.because
    counter.clean_status = 404
    assert (await built(**place_an_order(url)).run(world)).outcome == "pass"


async def test_a_step_waits_until_and_is_judged_once(world: World, shop: tuple[Shop, str]) -> None:
    counter, url = shop
    counter.states = ["new", "new", "shipped"]
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    step = {"get": f"{url}/orders/17", "until": 'json.state != "new"', "expect": 'json.state == "shipped"'}
    result = await built(steps=[step]).run(replace(world, sleep=sleep))
    assert (result.outcome, len(slept)) == ("pass", 2)
    assert 0.0 < result.readings["step1_delay_s"] < result.readings["step1_s"]
    counter.states = ["new"]
    never = await built(steps=[{**step, "within": "300ms"}]).run(world)
    assert never.outcome == "fail"
    assert never.because.endswith('json.state != "new" is false: json.state = "new" (for 0.3 s)')


async def test_extracted_values_are_variables_and_keep_their_type(
    world: World, shop: tuple[Shop, str]
) -> None:
    _, url = shop
    params = place_an_order(url)
    params["steps"].append({"get": f"{url}/orders/{{order}}", "expect": "json.id == order"})
    assert (await built(**params).run(world)).outcome == "pass"
    params["steps"].append(
        {"post": f"{url}/carts", "json": {"n": "{order}", "s": "o-{order}"}, "expect": "status == 201"}
    )
    assert (await built(**params).run(world)).outcome == "pass"
    assert '{"n": 17, "s": "o-17"}' in shop[0].calls[-2]


@pytest.mark.parametrize(
    ("where", "value"), [("header:X-Order", "17"), ('regex:"state": "(\\w+)"', "paid"), ("$['order_id']", 17)]
)
async def test_values_come_from_json_headers_and_text(
    world: World, shop: tuple[Shop, str], where: str, value: object
) -> None:
    _, url = shop
    params = place_an_order(url, extract={"order": "$.order_id", "found": where})
    params["steps"][1]["expect"] = "status == 200"
    params["steps"].append({"get": f"{url}/orders/1", "expect": f"found == {value!r}"})
    result = await built(**params).run(world)
    assert (result.outcome, result.because) == ("pass", "")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"id": ".."}', "cannot stand in a URL"),
        (b'{"id": ""}', "cannot stand in a URL"),
        (b"{}", "cannot extract id: $.id is absent"),
        (b"<html>", "the body is not JSON"),
    ],
)
async def test_a_value_that_would_change_the_request_is_refused(
    world: World, serve: Serve, body: bytes, told: str
) -> None:
    calls: list[str] = []

    async def make(request: web.Request) -> web.Response:
        calls.append(request.method)
        return web.Response(body=body)

    url = await serve({"/{tail:.*}": make})
    steps = [{"post": f"{url}/orders", "extract": {"id": "$.id"}}, {"put": f"{url}/orders/{{id}}"}]
    result = await built(steps=steps, cleanup=[{"delete": f"{url}/orders/{{id}}"}]).run(world)
    assert result.outcome == "fail"
    assert told in result.because
    assert calls == ["POST"]


async def test_an_extracted_secret_is_sent_but_never_shown(world: World, serve: Serve) -> None:
    seen: list[str] = []

    async def login(_: web.Request) -> web.Response:
        return web.json_response({"token": "top-secret-token"})

    async def echo(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.json_response({"seen": request.headers["Authorization"]})

    url = await serve({"/login": login, "/me": echo})
    steps = [
        {"post": f"{url}/login", "extract": {"token": "$.token"}},
        {"get": f"{url}/me", "headers": {"Authorization": "Bearer {token}"}, "expect": 'json.seen == "x"'},
    ]
    result = await built(steps=steps).run(world)
    assert seen == ["Bearer top-secret-token"]
    assert result.outcome == "fail"
    assert "top-secret" not in str(result)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"steps": []}, "steps: write 1 to 20"),
        ({"steps": [{"get": "http://h/{x}"}]}, "steps[0]: {x} is not extracted by an earlier step"),
        ({"steps": [{"get": "http://h/"}], "cleanup": [{"delete": "http://h/{x}"}]}, "cleanup[0]: {x}"),
        ({"steps": [{"get": "http://h/", "expect": "cart == 1"}]}, "steps[0].expect: cart == 1: undeclared"),
        ({"steps": [{"get": "http://h/", "until": "status = 1"}]}, "steps[0].until: status = 1: `=` is not"),
        (
            {"steps": [{"get": "http://h/", "extract": {"status": "$.a"}}]},
            "steps[0].extract: status is a name of ours",
        ),
        ({"steps": [{"get": "http://h/", "extract": {"A b": "$.a"}}]}, "extract: 'A b' is not a name"),
        ({"steps": [{"get": "http://h/", "extract": {"a": "$..["}}]}, "extract: a: $..[ is not a JSONPath"),
        ({"steps": [{"get": "http://h/", "extract": {"a": "id"}}]}, "extract: a: write $.json.path"),
        ({"steps": [{"get": "http://h/", "extract": {"a": "regex:(a+)+"}}]}, "can take for ever"),
        ({"steps": [{"get": "http://h/", "extract": {"a": "regex:a"}}]}, "exactly one group"),
        ({"steps": [{"get": "http://h/", "within": 5}]}, "5 is not a duration"),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        built(**params)
    assert told in str(caught.value)
