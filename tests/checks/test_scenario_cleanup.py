"""Kind scenario writes down what it creates, cleans it up again when told, and says what is left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from checks.model import Cleanup, DatabaseUnable, World
from checks.scenario import ScenarioCheck
from checks.steps.keeping import PENDING_MAX, VALUES_CHARS_MAX
from tests.checks.conftest import Serve

NOW = 1_800_000_000.0


@dataclass(slots=True)
class Kept:
    """Implements `Cleanups` in memory. log: what happened, as the shop's. breaks: methods that fail."""

    log: list[str]
    rows: dict[str, Cleanup] = field(default_factory=dict)
    breaks: set[str] = field(default_factory=set)

    async def pending(self) -> Sequence[Cleanup]:
        self._break("pending")
        return list(self.rows.values())

    async def keep(self, cleanup: Cleanup) -> None:
        self._break("keep")
        self.log.append(f"keep {cleanup.values}")
        self.rows[cleanup.run_id] = cleanup

    async def settle(self, run_id: str, left: Sequence[str], because: str) -> None:
        self._break("settle")
        self.log.append(f"settle {list(left)}")
        row = self.rows.pop(run_id, None)
        if row is not None and left:
            self.rows[run_id] = replace(row, steps=tuple(left), because=because)

    def _break(self, method: str) -> None:
        if method in self.breaks:
            raise DatabaseUnable("our store cannot be used now")


@dataclass(slots=True)
class Shop:
    """Makes carts and orders and removes them; remembers what came in."""

    log: list[str]
    requests: list[web.Request] = field(default_factory=list)
    removes: int = 204

    async def answer(self, request: web.Request) -> web.Response:
        self.log.append(f"{request.method} {request.path}")
        self.requests.append(request)
        if request.method == "DELETE":
            return web.Response(status=self.removes)
        answer = {"id": request.path.strip("/") + "-1", "token": "top-secret-token", "long": "x" * 9000}
        return web.json_response(answer, status=201)


@dataclass(slots=True)
class Place:
    """A shop, what is kept, and the world with both."""

    shop: Shop
    kept: Kept
    url: str
    world: World

    @property
    def log(self) -> list[str]:
        return self.kept.log


@pytest.fixture
async def place(world: World, serve: Serve) -> Place:
    log: list[str] = []
    shop, kept = Shop(log), Kept(log)
    url = await serve({"/{tail:.*}": shop.answer})
    return Place(shop, kept, url, replace(world, cleanups=kept, now_s=lambda: NOW))


def built(place: Place, *, extract: tuple[str, str] = ("order", "$.id"), **params: Any) -> ScenarioCheck:
    """A cart, then an order; both removed in turn."""
    steps = [
        {"post": f"{place.url}/carts", "extract": {"cart": "$.id"}},
        {"post": f"{place.url}/orders", "extract": {extract[0]: extract[1]}},
        {"get": f"{place.url}/last"},
    ]
    cleanup = [
        {"delete": f"{place.url}/orders/{{{extract[0]}}}"},
        {"delete": f"{place.url}/carts/{{cart}}"},
    ]
    return TypeAdapter(ScenarioCheck).validate_python({"steps": steps, "cleanup": cleanup, **params})


async def test_it_is_written_down_before_the_next_step_and_forgotten_when_clean(place: Place) -> None:
    result = await built(place).run(place.world)
    assert result.outcome == "pass"
    assert place.log == [
        "POST /carts",
        "keep {'cart': 'carts-1'}",
        "POST /orders",
        "keep {'cart': 'carts-1', 'order': 'orders-1'}",
        "GET /last",
        "DELETE /orders/orders-1",
        "DELETE /carts/carts-1",
        "settle []",
    ]
    assert place.kept.rows == {}
    assert result.readings["leaked_runs"] == 0.0


async def test_what_needs_no_answer_is_written_down_before_anything_is_sent(place: Place) -> None:
    check = built(place, cleanup=[{"delete": f"{place.url}/runs/{{run_id}}"}])
    assert (await check.run(place.world)).outcome == "pass"
    assert place.log[:2] == ["keep {}", "POST /carts"]
    assert place.log[-2:] == ["DELETE /runs/run1", "settle []"]


async def test_what_a_wrong_answer_created_is_written_down_too(place: Place) -> None:
    check = built(place)
    check.steps[0].expect = "status == 200"
    check = replace(check)
    place.shop.removes = 500
    assert (await check.run(place.world)).outcome == "fail"
    assert place.kept.rows["run1"].steps == (f"DELETE {place.url}/carts/{{cart}}",)


async def test_a_cleanup_that_failed_is_done_again_under_the_same_run(place: Place) -> None:
    """The second try comes from another process, which knows only what was written down."""
    place.shop.removes = 503
    check = built(place)
    first = await check.run(place.world)
    assert first.outcome == "fail"
    (left,) = place.kept.rows.values()
    assert left.steps == (f"DELETE {place.url}/orders/{{order}}", f"DELETE {place.url}/carts/{{cart}}")
    assert "status < 400" in left.because
    assert left.values == {"order": "orders-1", "cart": "carts-1"}

    place.shop.removes = 204
    place.log.clear()
    again = await built(place).clean(place.world, left)
    assert (again.outcome, again.because) == ("pass", "")
    assert place.log == ["DELETE /orders/orders-1", "DELETE /carts/carts-1", "settle []"]
    assert place.kept.rows == {}
    for request in place.shop.requests:
        assert request.headers["User-Agent"] == "deploy-watchdog (synthetic check)"
        assert request.headers["X-Synthetic"] == "run1"
        assert request.headers["traceparent"].split("-")[:2] == ["00", "run1"]
    spans = {(r.method, r.path): r.headers["traceparent"].split("-")[2] for r in place.shop.requests}
    assert len(set(spans.values())) == 5


async def test_only_what_is_left_is_done_again(place: Place) -> None:
    check = built(place)
    order, cart = (step.place for step in check.cleanup)
    place.kept.rows["run1"] = Cleanup(run_id="run1", steps=(cart,), values={"cart": "c"}, since_at=NOW)
    place.shop.removes = 500
    failed = await check.clean(place.world, place.kept.rows["run1"])
    assert failed.outcome == "fail"
    assert (place.log[0], place.kept.rows["run1"].steps) == ("DELETE /carts/c", (cart,))
    assert order not in str(place.log)


async def test_steps_alike_are_told_apart(place: Place) -> None:
    cleanup = [{"delete": f"{place.url}/x?which={n}"} for n in (1, 2)]
    place.shop.removes = 500
    await built(place, cleanup=cleanup).run(place.world)
    assert place.kept.rows["run1"].steps == (f"DELETE {place.url}/x", f"DELETE {place.url}/x (2)")


async def test_a_secret_is_never_written_down_and_what_needs_it_is_said(place: Place) -> None:
    params = {
        "cleanup": [
            {"delete": f"{place.url}/a/{{cart}}"},
            {"delete": f"{place.url}/b/{{cart}}", "headers": {"Authorization": "Bearer {token}"}},
        ]
    }
    place.shop.removes = 500
    check = built(place, extract=("token", "$.token"), **params)
    await check.run(place.world)
    (left,) = place.kept.rows.values()
    assert len(left.steps) == 2
    assert left.values == {"cart": "carts-1"}
    assert "top-secret-token" not in f"{place.log}{left}"
    # In its own run the token was known.
    assert place.shop.requests[-1].headers["Authorization"] == "Bearer top-secret-token"

    place.shop.removes = 204
    again = await check.clean(place.world, left)
    assert again.because == (
        f"cleanup DELETE {place.url}/b/{{cart}}: {{token}} was a secret, and is not kept; "
        "give the step an auth of its own"
    )
    assert place.kept.rows["run1"].steps == (f"DELETE {place.url}/b/{{cart}}",)


@pytest.mark.parametrize(
    "extract",
    [
        {"door": "$.access_token"},
        {"door": "$['session']['token']"},
        {"door": "header:Set-Cookie"},
        {"door": 'regex:"token": "([^"]+)"'},
        {"password": "$.id"},
    ],
)
def test_a_secret_is_known_by_its_name_or_place(extract: dict[str, str]) -> None:
    steps = [{"get": "http://h/", "extract": extract}]
    check = TypeAdapter(ScenarioCheck).validate_python({"steps": steps})
    assert check.steps[0].is_secret(*extract)


async def test_what_a_cleanup_finds_out_is_used_by_its_next_step_and_found_out_again(place: Place) -> None:
    """Named by a reference of ours: the id is asked for at cleanup, also when only the last step failed."""
    cleanup = [
        {"get": f"{place.url}/of/{{run_id}}", "extract": {"found": "$.id"}},
        {"delete": f"{place.url}/other"},
        {"delete": f"{place.url}/orders/{{found}}"},
    ]
    check = built(place, cleanup=cleanup)
    place.shop.removes = 500
    await check.run(place.world)
    places = tuple(step.place for step in check.cleanup)
    assert place.kept.rows["run1"].steps == places
    assert place.kept.rows["run1"].values == {}
    assert place.log[-3:-1] == ["DELETE /other", "DELETE /orders/of/run1-1"]
    place.kept.rows["run1"] = replace(place.kept.rows["run1"], steps=(places[0], places[2]))
    place.log.clear()
    await check.clean(place.world, place.kept.rows["run1"])
    assert place.kept.rows["run1"].steps == (places[0], places[2])
    place.shop.removes = 204
    assert (await check.clean(place.world, place.kept.rows["run1"])).outcome == "pass"
    assert place.kept.rows == {}


async def test_what_is_written_of_a_failure_holds_no_secret(place: Place) -> None:
    cleanup = [
        {
            "post": f"{place.url}/cancel/{{cart}}",
            "headers": {"Authorization": "Bearer {token}"},
            "expect": 'json.token == "x"',
        }
    ]
    check = built(place, extract=("token", "$.token"), cleanup=cleanup)
    result = await check.run(place.world)
    assert result.outcome == "fail"
    assert 'json.token = "***"' in place.kept.rows["run1"].because
    assert "top-secret" not in f"{result}{place.kept.rows}"


async def test_a_document_that_holds_a_secret_is_not_written_down(place: Place) -> None:
    cleanup = [{"post": f"{place.url}/cancel", "json": "{whole}"}]
    check = built(place, extract=("whole", "$"), cleanup=cleanup)
    check.cleanup[0].expect = "false"
    await replace(check).run(place.world)
    assert place.kept.rows["run1"].values == {}


async def test_a_step_that_is_gone_from_the_configuration_stays_pending(place: Place) -> None:
    row = Cleanup(run_id="run1", steps=("DELETE http://old/{x}",), values={"x": 1}, since_at=NOW)
    place.kept.rows["run1"] = row
    result = await built(place).clean(place.world, row)
    assert (result.outcome, result.because) == (
        "fail",
        "cleanup DELETE http://old/{x}: is not configured any more",
    )
    assert place.kept.rows["run1"].steps == row.steps


async def test_nothing_is_created_that_could_not_be_written_down(place: Place) -> None:
    place.kept.breaks = {"pending"}
    unread = await built(place).run(place.world)
    assert unread.outcome == "error"
    assert unread.because.startswith("not begun: what is left to be cleaned up cannot be read (our store")
    assert place.log == []

    place.kept.breaks = {"keep"}
    unkept = await built(place).run(place.world)
    assert (unkept.outcome, "cannot be written down (our store" in unkept.because) == ("error", True)
    # No second step, and the first is cleaned up by the run itself.
    assert place.log == ["POST /carts", "DELETE /carts/carts-1", "settle []"]


async def test_a_store_that_cannot_note_the_end_has_it_done_again(place: Place) -> None:
    place.kept.breaks = {"settle"}
    result = await built(place).run(place.world)
    assert result.outcome == "pass"
    assert (
        "skip noting what was cleaned up (our store cannot be used now): it is done again" in result.details
    )
    assert place.kept.rows.keys() == {"run1"}


async def test_a_store_that_hangs_does_not_hold_the_run(place: Place) -> None:
    class Hanging(Kept):
        async def pending(self) -> Sequence[Cleanup]:
            await asyncio.Event().wait()
            return []

    result = await built(place).run(replace(place.world, cleanups=Hanging([]), timeout_s=0.05))
    assert result.outcome == "error"
    assert "our store did not answer in time" in result.because


async def test_values_too_long_to_be_kept_stop_the_run(place: Place) -> None:
    result = await built(place, extract=("order", "$.long")).run(place.world)
    assert (result.outcome, result.because) == (
        "error",
        f"the values for cleanup are longer than {VALUES_CHARS_MAX} characters",
    )


def leftover(n: int, age_s: float) -> Cleanup:
    steps = ("DELETE http://h/orders/{order}",)
    return Cleanup(
        run_id=f"old-{n}", steps=steps, values={"order": f"o-{n}"}, since_at=NOW - age_s, because="status 500"
    )


async def test_what_is_left_for_too_long_is_told_as_a_leak_and_the_probe_goes_on(place: Place) -> None:
    place.kept.rows = {
        row.run_id: row for row in (leftover(1, 90_000.0), leftover(2, 3601.0), leftover(3, 5.0))
    }
    result = await built(place).run(place.world)
    assert result.outcome == "pass"
    assert result.readings["leaked_runs"] == 2.0
    assert result.details[:2] == (
        'LEAK run old-1, 25.0 h ago: DELETE http://h/orders/{order} (order = "o-1"): status 500',
        'LEAK run old-2, 60 min ago: DELETE http://h/orders/{order} (order = "o-2"): status 500',
    )
    sooner = await built(place, leak_after_s=1.0).run(place.world)
    assert sooner.readings["leaked_runs"] == 3.0


async def test_with_too_many_left_nothing_more_is_created(place: Place) -> None:
    place.kept.rows = {row.run_id: row for row in (leftover(n, 5.0) for n in range(PENDING_MAX))}
    result = await built(place).run(place.world)
    assert (result.outcome, result.because) == (
        "error",
        f"not begun: {PENDING_MAX} earlier runs are not cleaned up yet (status 500)",
    )
    assert place.log == []
    place.kept.rows.popitem()
    assert (await built(place).run(place.world)).outcome == "pass"


async def test_a_scenario_that_cleans_nothing_up_asks_no_store(place: Place) -> None:
    place.kept.breaks = {"pending", "keep", "settle"}
    result = await built(place, cleanup=[]).run(place.world)
    assert result.outcome == "pass"
    assert "leaked_runs" not in result.readings


def test_a_limit_of_nothing_is_refused(place: Place) -> None:
    with pytest.raises(ValidationError, match="leak_after: write a duration above 0"):
        built(place, leak_after_s=0.0)
