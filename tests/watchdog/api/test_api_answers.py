"""What the JSON routes say: contents, refusals with place and remedy, and nothing that leaks."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.board import LOCAL_TOKEN, NOW, FakeStore
from tests.watchdog.api.conftest import Site
from watchdog.api.answers import SCHEMA, dumps, plain
from watchdog.store.protocol import StoreUnavailable

LEAKS = re.compile(
    r"Traceback|File \"|\.py\b|site-packages|/work|/usr/|/home|SELECT |INSERT |sqlite|aiohttp|python"
    r"|0x[0-9a-f]{6}",
    re.IGNORECASE,
)


async def read(site: Site, path: str, status: int = 200) -> dict[str, Any]:
    response = await site.ask("GET", path, token="read-token")
    assert response.status == status, await response.text()
    assert response.content_type == "application/json"
    found: dict[str, Any] = await response.json()
    assert found["schema"] == SCHEMA
    return found


async def send(site: Site, path: str, body: object, status: int, **headers: str) -> dict[str, Any]:
    response = await site.ask("POST", path, json=body, token=LOCAL_TOKEN, headers=headers)
    found: dict[str, Any] = await response.json()
    assert response.status == status, found
    assert found["schema"] == SCHEMA
    return found


async def test_services_say_where_each_one_stands(site: Site) -> None:
    reading = {"name": "home.total_s", "kind": "latency", "unit": "s", "bad": "up", "acts": False}
    site.daemon.board.told_readings["checkout"] = [reading]
    found = {view["service"]: view for view in (await read(site, "/api/v1/services"))["services"]}
    assert {name: view["group"] for name, view in found.items()} == {
        "checkout": "needs_you",
        "search": "watching",
        "stock": "watching",
        "ledger": "watching",
        "mail": "unsure",
        "web": "unsure",
        "payments": "fine",
        "prices": "fine",
        "catalog": "fine",
        "gateway": "fine",
        "reports": "fine",
    }
    assert found["checkout"]["action"]["state"] == "awaiting_approval"
    assert "body" not in found["checkout"]["action"]
    assert (found["checkout"]["readings"], found["search"]["readings"]) == ([reading], [])


async def test_watches_are_narrowed_by_service_and_state(site: Site) -> None:
    watches = (await read(site, "/api/v1/watches?service=checkout&open=false"))["watches"]
    assert [watch["id"] for watch in watches] == ["w-d-checkout", "w-d-checkout-0"]
    watches = (await read(site, "/api/v1/watches?open=true&limit=2"))["watches"]
    assert len(watches) == 2
    assert all(watch["closed_at"] is None for watch in watches)


@pytest.mark.parametrize(
    ("query", "at"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e3", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=%D9%A3", "limit"),
        ("open=maybe", "open"),
        ("open=True", "open"),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused_at_its_key(query: str, at: str, site: Site) -> None:
    assert (await read(site, f"/api/v1/watches?{query}", 400))["at"] == at


async def test_a_deploy_comes_with_its_watch_verdict_and_actions(site: Site) -> None:
    found = await read(site, "/api/v1/deploys/d-checkout")
    assert found["deploy"]["to_version"] == "4.12.0"
    assert found["watch"]["state"] == "regressed"
    assert found["verdict"]["because"] == found["watch"]["because"]
    assert [action["state"] for action in found["actions"]] == ["awaiting_approval"]


async def test_the_live_packet_wins_over_the_stored_one(site: Site) -> None:
    live = {"verdict": {"state": "suspect", "because": "live"}, "evidence": [], "series": []}
    site.daemon.board.packets["w-d-checkout"] = live
    assert (await read(site, "/api/v1/watches/w-d-checkout/packet"))["packet"] == live


async def test_a_watch_comes_with_its_decisions(site: Site) -> None:
    found = await read(site, "/api/v1/watches/w-d-checkout")
    assert found["decisions"][-1]["do"] == "propose"
    assert found["evidence"][0]["state"] == "worse"


async def test_an_action_comes_with_its_attempts(site: Site) -> None:
    key = site.daemon.store.action_rows[2].key
    found = (await read(site, f"/api/v1/actions/{key}"))["action"]
    assert found["attempt_log"] == [{"at": NOW - 54.0, "what": "sent to deployer: 202 accepted in 41 ms"}]
    assert found["body_bytes"] == 22


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/deploys/none",
        "/api/v1/watches/none",
        "/api/v1/watches/none/packet",
        "/api/v1/watches/w-d-search/packet",
        "/api/v1/watches/w-d-search/chart",
        "/api/v1/actions/none",
        "/api/v1/nothing",
        "/static/..%2f..%2fserver.py",
        "/static/nothing.js",
    ],
)
async def test_what_is_not_there_is_404_with_a_way_on(path: str, site: Site) -> None:
    found = await read(site, path, 404)
    assert re.search(r"[.:] [A-Z].+\.$", found["error"]), found["error"]


async def test_health_says_only_sentences(site: Site) -> None:
    site.daemon.not_ready = ["The store is not open yet."]
    site.daemon.is_alive = False
    assert (await read(site, "/readyz", 503))["because"] == ["The store is not open yet."]
    assert (await read(site, "/livez", 503))["alive"] is False


async def test_a_deploy_event_is_taken_in(site: Site) -> None:
    found = await send(
        site,
        "/api/v1/deploys",
        {"service": "checkout", "version": "4.13.0", "id": "run-77"},
        202,
    )
    assert found["duplicate"] is False
    assert found["deploy"]["to_version"] == "4.13.0"
    assert found["watch"]["state"] == "observing"
    event = site.daemon.events[0]
    assert (event.sender, event.environment, event.received_at) == ("local", "prod", NOW)


async def test_the_same_event_again_is_a_duplicate(site: Site) -> None:
    body = {"service": "checkout", "version": "4.13.0"}
    for status in (202, 200, 200):
        await send(site, "/api/v1/deploys", body, status, **{"Idempotency-Key": "key-1"})
    await send(site, "/api/v1/deploys", body, 202, **{"Idempotency-Key": "key-2"})


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"version": "1"}, "service"),
        ({"service": "checkout"}, "version"),
        ({"service": "nobody", "version": "1"}, "service"),
        ({"service": "checkout", "version": "1\r\nX-Evil: 1"}, "version"),
        ({"service": "checkout", "version": "1", "rollback_url": "http://evil.example"}, "rollback_url"),
        ({"service": "checkout", "version": "1", "target": "mine"}, "target"),
        ({"service": "checkout", "version": "1", "link": "javascript:alert(1)"}, "link"),
    ],
)
async def test_an_event_that_cannot_be_is_refused_at_its_key(
    body: dict[str, Any], at: str, site: Site
) -> None:
    found = await send(site, "/api/v1/deploys", body, 422)
    assert found["at"] == at
    assert not site.daemon.events


async def test_approve_and_veto_reach_the_daemon_once(site: Site) -> None:
    key = site.daemon.store.action_rows[0].key
    body = {"because": "looked at it", "evidence_digest": "d" * 64}
    found = await send(site, f"/api/v1/actions/{key}/approve", body, 200)
    assert found["action"]["state"] == "intended"
    assert site.daemon.decided == [("intended", key, "local", "looked at it")]
    found = await send(site, f"/api/v1/actions/{key}/veto", {}, 409)
    assert "intended" in found["error"]


async def test_an_approval_is_bound_to_the_evidence_that_was_seen(site: Site) -> None:
    key = site.daemon.store.action_rows[0].key
    body = {"because": "ok", "evidence_digest": "e" * 64}
    found = await send(site, f"/api/v1/actions/{key}/approve", body, 409)
    assert found["at"] == "evidence_digest"
    assert not site.daemon.decided


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"because": 7}, "because"),
        ({"because": "two\nlines"}, "because"),
        ({"because": "x" * 501}, "because"),
        ({"becuase": "typo"}, "becuase"),
    ],
)
async def test_a_reason_must_be_one_line(body: dict[str, Any], at: str, site: Site) -> None:
    key = site.daemon.store.action_rows[0].key
    assert (await send(site, f"/api/v1/actions/{key}/veto", body, 422))["at"] == at
    assert not site.daemon.decided


async def test_the_kill_switch_is_set_and_read(site: Site) -> None:
    found = await send(site, "/api/v1/kill-switch", {"on": True, "because": "drill"}, 200)
    switch = {"is_on": True, "by": "local", "at": NOW, "because": "drill"}
    assert found["kill_switch"] == switch
    assert (await read(site, "/api/v1/kill-switch"))["kill_switch"] == switch
    assert (await send(site, "/api/v1/kill-switch", {"on": "yes"}, 422))["at"] == "on"


class BrokenStore(FakeStore):
    """A store whose disk is full; what it says must not reach callers."""

    async def watches(self, **options: Any) -> list[Any]:
        raise StoreUnavailable("/var/lib/watchdog/state.db: SELECT failed: disk full")


async def test_a_store_that_cannot_answer_is_503_without_its_details(site: Site) -> None:
    site.daemon.store.__class__ = BrokenStore
    found = await read(site, "/api/v1/services", 503)
    assert not LEAKS.search(found["error"])


FUZZ = [
    "/%00",
    "/api/v1/watches/%ff%fe",
    "/api/v1/watches/" + "a" * 3000,
    "/api/v1/deploys/'; DROP TABLE deploy;--",
    "/d/<script>alert(1)</script>",
    "/s/..%2f..%2fetc%2fpasswd",
    "/api/v1/actions?limit=%00",
    "//evil.example/",
    "/api/v1/watches?service=%27%22%3Cb%3E",
]


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize("path", FUZZ)
async def test_answers_to_nonsense_leak_nothing(path: str, accept: str, site: Site) -> None:
    response = await site.ask("GET", path, token="read-token", headers={"Accept": accept})
    text = await response.text()
    assert response.status < 500
    assert not LEAKS.search(text.replace("/api/v1", ""))
    assert "<script>alert" not in text
    assert "Server" not in response.headers


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'"x"', b"{", b"\x00", b"\xff", b'{"service":{"$ne":1}}', b'{"service":1e999}'],
)
async def test_nonsense_bodies_are_refused_in_one_sentence(body: bytes, site: Site) -> None:
    response = await site.ask("POST", "/api/v1/deploys", data=body, token=LOCAL_TOKEN)
    found = await response.json()
    assert response.status in (400, 422)
    assert found["error"]
    assert not LEAKS.search(found["error"])


def test_json_is_strict_whatever_a_packet_holds() -> None:
    value = {"a": float("nan"), "b": [float("inf"), 1.5], "c": (1, None), "d": {"e": -float("inf")}}
    assert json.loads(dumps(value), parse_constant=pytest.fail) == {
        "schema": SCHEMA,
        "a": None,
        "b": [None, 1.5],
        "c": [1, None],
        "d": {"e": None},
    }
    assert plain("NaN") == "NaN"
