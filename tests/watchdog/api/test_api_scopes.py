"""Every route times every kind of caller: the route table alone decides, and it is walked here."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.support.board import LOCAL_TOKEN
from tests.watchdog.api.conftest import SCOPES, Site
from watchdog.api.routes import ROUTES, Route

PATHS = {
    "/api/v1/deploys/{id}": "/api/v1/deploys/d-checkout",
    "/api/v1/watches/{id}": "/api/v1/watches/w-d-checkout",
    "/api/v1/watches/{id}/packet": "/api/v1/watches/w-d-checkout/packet",
    "/api/v1/watches/{id}/chart": "/api/v1/watches/w-d-checkout/chart",
    "/api/v1/heartbeats/{service}/{name}": "/api/v1/heartbeats/checkout/nightly",
    "/api/v1/heartbeats/{service}/{name}/{state}": "/api/v1/heartbeats/checkout/nightly/success",
    "/d/{id}": "/d/d-checkout",
    "/s/{service}": "/s/checkout",
    "/probe": "/probe?module=up&target=127.0.0.1:1",
    "/static/{name}": "/static/watchdog.css",
}
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/deploys": {"service": "checkout", "version": "9.9.9"},
    "/api/v1/heartbeats/{service}/{name}": {"state": "success"},
    "/api/v1/kill-switch": {"on": True, "because": "test"},
}


def path_of(route: Route, site: Site) -> str:
    key = site.daemon.store.action_rows[0].key
    return PATHS.get(route.path, route.path).replace("{key}", key)


async def status_of(route: Route, site: Site, token: str | None) -> int:
    """The status of one request; an event stream is left after its headers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    options: dict[str, Any] = {}
    if route.is_form:
        options["data"] = {"token": "read-token"}
        headers["Origin"] = site.url
    elif route.method == "POST":
        options["json"] = BODIES.get(route.path, {"because": "test"})
    async with site.session.request(
        route.method, site.url + path_of(route, site), headers=headers, allow_redirects=False, **options
    ) as response:
        return response.status


def expected(route: Route, scope: str | None) -> set[int]:
    """What a caller with one scope is answered: done, or why not."""
    done = {200, 202, 303} if route.is_form else {200, 202}
    if route.scope is None or (scope is not None and scope in (route.scope, "admin")):
        return done
    if scope is None:
        return {303} if route.is_page else {401}
    return {403}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("scope", [None, *SCOPES])
async def test_a_route_answers_whom_its_scope_allows_and_nobody_else(
    route: Route, scope: str | None, site: Site
) -> None:
    status = await status_of(route, site, f"{scope}-token" if scope else None)
    assert status in expected(route, scope)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_the_local_token_may_everything(route: Route, site: Site) -> None:
    assert await status_of(route, site, LOCAL_TOKEN) in {200, 202, 303}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_without_tokens_this_machine_may_read_and_only_read(route: Route, open_site: Site) -> None:
    status = await status_of(route, open_site, None)
    if route.is_form:
        # There is no token to log in with.
        assert status in {303, 401}
    elif route.method == "GET":
        assert status == 200
    else:
        assert status == 403
    assert not open_site.daemon.events
    assert not open_site.daemon.decided
    assert not open_site.daemon.beats


def test_the_table_lists_every_route_once_and_posts_are_never_for_readers() -> None:
    keys = [(route.method, route.path) for route in ROUTES]
    assert len(keys) == len(set(keys))
    for route in ROUTES:
        assert route.method == "GET" or route.is_form or route.scope not in (None, "read")


@pytest.mark.parametrize("scheme", ["", "Basic cmVhZC10b2tlbjo=", "Bearer", "Bearer ", "bearer\tread-token"])
async def test_a_broken_authorization_header_is_refused(scheme: str, site: Site) -> None:
    response = await site.ask("GET", "/api/v1/services", headers={"Authorization": scheme})
    assert response.status == 401


@pytest.mark.parametrize(
    "mutation", ["Read-token", "read-token ", "read-token\x00", "read-toke", "readtoken"]
)
async def test_a_token_must_match_to_the_last_character(mutation: str, site: Site) -> None:
    try:
        response = await site.ask("GET", "/api/v1/services", token=mutation)
    except (ValueError, aiohttp.ClientError):
        return  # The client itself refuses to send it.
    # Blanks at the end belong to the header, not to the token.
    assert response.status == (200 if mutation.strip() == "read-token" else 401)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(method: str, site: Site) -> None:
    key = site.daemon.store.action_rows[0].key
    response = await site.ask(method, f"/api/v1/actions/{key}/approve", token=LOCAL_TOKEN)
    assert response.status == 405


async def test_reading_an_approval_never_approves(site: Site) -> None:
    key = site.daemon.store.action_rows[0].key
    for doing in ("approve", "veto"):
        response = await site.ask("GET", f"/api/v1/actions/{key}/{doing}", token=LOCAL_TOKEN)
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
    assert not site.daemon.decided
