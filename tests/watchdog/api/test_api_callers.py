"""Who is asking: the loopback rule, sessions, cross-site requests, the brake on guessing, signatures."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import pytest

from tests.support.board import LOCAL_TOKEN, NOW, FakeDaemon, fill
from tests.watchdog.api.conftest import Site, site_of, token_settings
from watchdog.api.auth import FAILURES_PER_MINUTE_MAX, is_loopback
from watchdog.api.server import refuse_open_door
from watchdog.signing import SigningKeys

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()


@pytest.mark.parametrize("host", ["evil.example", "watchdog.evil.example:8099", "127.0.0.1.evil.example"])
async def test_a_foreign_host_name_that_resolves_to_us_reads_nothing(host: str, open_site: Site) -> None:
    response = await open_site.ask("GET", "/api/v1/services", headers={"Host": host})
    assert response.status == 401


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8099", "127.3.2.1"])
async def test_a_name_of_this_machine_reads_without_a_token(host: str, open_site: Site) -> None:
    response = await open_site.ask("GET", "/api/v1/services", headers={"Host": host})
    assert response.status == 200


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
async def test_what_a_proxy_passed_on_is_not_local(name: str, open_site: Site) -> None:
    response = await open_site.ask("GET", "/api/v1/services", headers={name: "203.0.113.7"})
    assert response.status == 401


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),  # noqa: S104  # an address to refuse
        ("10.0.0.1", False),
        ("::", False),
        ("", False),
        (None, False),
        ("localhost.evil.example", False),
    ],
)
def test_loopback_addresses_are_known(address: str | None, is_ours: bool) -> None:
    assert is_loopback(address) is is_ours


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "watchdog.example"])  # noqa: S104  # to be refused
def test_it_does_not_listen_beyond_loopback_without_a_token(host: str) -> None:
    with pytest.raises(ValueError, match=r"api\.listen: .* `deploy-watchdog token`"):
        refuse_open_door(host, FakeDaemon().ports())
    refuse_open_door(host, FakeDaemon(token_settings()).ports())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_it_listens_on_loopback_without_a_token(host: str) -> None:
    refuse_open_door(host, FakeDaemon().ports())


async def test_only_health_is_public(site: Site) -> None:
    for path in ("/metrics", "/api/v1/services", "/api/v1/audit", "/docs", "/debug", "/openapi.json"):
        assert (await site.ask("GET", path)).status in (401, 404)
    assert (await site.ask("GET", "/livez")).status == 200
    assert (await site.ask("GET", "/readyz")).status == 200


async def log_in(site: Site, scope: str = "read", **headers: str) -> Any:
    return await site.ask(
        "POST", "/login", data={"token": f"{scope}-token"}, headers=headers or {"Origin": site.url}
    )


async def test_a_browser_logs_in_reads_and_logs_out(site: Site) -> None:
    assert (await site.ask("GET", "/")).headers["Location"] == "/login"
    response = await log_in(site)
    assert response.status == 303
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie  # Plain http on loopback: a Secure cookie would never come back.
    assert "read-token" not in cookie
    session = {"Cookie": cookie.split(";")[0]}
    assert (await site.ask("GET", "/", headers=session)).status == 200
    assert (await site.ask("GET", "/api/v1/services", headers=session)).status == 200
    await site.ask("POST", "/logout", headers={**session, "Origin": site.url})
    assert (await site.ask("GET", "/api/v1/services", headers=session)).status == 401


async def test_a_session_ends_by_itself(site: Site) -> None:
    session = {"Cookie": (await log_in(site)).headers["Set-Cookie"].split(";")[0]}
    site.daemon.clock.mono += 12 * 3600 + 1
    assert (await site.ask("GET", "/api/v1/services", headers=session)).status == 401


async def test_behind_https_the_cookie_is_secure() -> None:
    settings = {**token_settings(), "public_url": "https://watchdog.shop.example"}
    async with site_of(FakeDaemon(settings)) as site:
        response = await log_in(site, Host="watchdog.shop.example", Origin="https://watchdog.shop.example")
        assert response.status == 303
        assert "Secure" in response.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"X-Nothing": "said"},
    ],
)
async def test_a_login_from_another_site_is_refused(headers: dict[str, str], site: Site) -> None:
    assert (await log_in(site, **headers)).status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "SELF", "Content-Type": "application/json"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}, 200),
        ({"Content-Type": "application/json"}, 403),
        ({"Origin": "https://evil.example", "Content-Type": "application/json"}, 403),
        ({"Origin": "SELF", "Content-Type": "text/plain"}, 403),
        ({"Origin": "SELF", "Content-Type": "application/x-www-form-urlencoded"}, 403),
    ],
)
async def test_a_session_acts_only_from_our_own_pages(
    headers: dict[str, str], status: int, site: Site
) -> None:
    cookie = (await log_in(site, "admin")).headers["Set-Cookie"].split(";")[0]
    sent = {name: value.replace("SELF", site.url) for name, value in headers.items()}
    response = await site.ask(
        "POST", "/api/v1/kill-switch", data=b'{"on": true}', headers={**sent, "Cookie": cookie}
    )
    assert response.status == status
    assert site.daemon.switch.is_on is (status == 200)


async def test_a_token_from_a_foreign_page_is_refused_too(site: Site) -> None:
    response = await site.ask(
        "POST",
        "/api/v1/kill-switch",
        json={"on": True},
        token=LOCAL_TOKEN,
        headers={"Origin": "https://evil.example"},
    )
    assert response.status == 403


async def test_a_hundred_bad_tokens_are_a_hundred_events_and_a_brake(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="watchdog.api.auth"):
        statuses = [(await site.ask("GET", "/api/v1/services", token=f"bad-{n}")).status for n in range(100)]
    assert statuses == [401] * FAILURES_PER_MINUTE_MAX + [429] * (100 - FAILURES_PER_MINUTE_MAX)
    assert len(caplog.records) == 100
    assert all("\n" not in record.getMessage() for record in caplog.records)
    # A configured token may be one that somebody chose: it waits like everybody's.
    assert (await site.ask("GET", "/api/v1/services", token="read-token")).status == 429
    # The operator on the machine is never locked out.
    assert (await site.ask("GET", "/api/v1/services", token=LOCAL_TOKEN)).status == 200
    metrics = await (await site.ask("GET", "/metrics", token=LOCAL_TOKEN)).text()
    assert f'watchdog_api_auth_failures_total{{reason="token"}} {FAILURES_PER_MINUTE_MAX:.1f}' in metrics
    site.daemon.clock.mono += 61
    assert (await site.ask("GET", "/api/v1/services", token="read-token")).status == 200


async def test_a_line_break_in_the_path_stays_on_one_log_line(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="watchdog.api.auth"):
        await site.ask("GET", "/api/v1/deploys/a%0d%0aforged=line%1b[31m%e2%80%ae", token="bad")
    message = caplog.records[0].getMessage()
    assert message.isprintable()
    assert "forged=line" in message


def signed(
    body: bytes, *, at: float = NOW, message_id: str = "msg-1", secret: str = SECRET
) -> dict[str, str]:
    return dict(SigningKeys.parse([secret]).headers(message_id=message_id, at=at, body=body))


EVENT = json.dumps({"service": "checkout", "version": "4.13.0", "author": "dänä"}).encode()


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (signed(EVENT), EVENT, 202),
        (signed(EVENT, secret=OTHER_SECRET), EVENT, 202),
        (signed(EVENT, at=NOW - 299), EVENT, 202),
        (signed(EVENT, at=NOW - 301), EVENT, 401),
        (signed(EVENT, at=NOW + 301), EVENT, 401),
        (signed(EVENT), json.dumps(json.loads(EVENT), indent=1).encode(), 401),
        (signed(EVENT), EVENT + b" ", 401),
        ({**signed(EVENT), "webhook-id": "msg-2"}, EVENT, 401),
        ({**signed(EVENT), "webhook-timestamp": "yesterday"}, EVENT, 401),
        ({**signed(EVENT), "webhook-signature": "v1,AAAA"}, EVENT, 401),
        ({**signed(EVENT), "webhook-signature": "v1,not base64"}, EVENT, 401),
        ({**signed(EVENT), "webhook-signature": "v1a," + "A" * 88}, EVENT, 401),
        ({**signed(EVENT), "webhook-signature": ""}, EVENT, 401),
        (signed(EVENT, secret="whsec_" + base64.b64encode(b"x" * 32).decode()), EVENT, 401),
        ({}, EVENT, 401),
    ],
)
async def test_a_signed_event_is_taken_only_as_it_was_signed(
    headers: dict[str, str], body: bytes, status: int
) -> None:
    settings = {"api": {**token_settings()["api"], "webhook_secrets": [SECRET, OTHER_SECRET]}}
    async with site_of(FakeDaemon(settings)) as site:
        response = await site.ask("POST", "/api/v1/deploys", data=body, headers=headers)
        assert response.status == status
        assert len(site.daemon.events) == (status == 202)


async def test_a_replayed_request_is_a_duplicate_and_no_second_watch() -> None:
    async with site_of(FakeDaemon({"api": {"webhook_secrets": [SECRET]}})) as site:
        answers = [
            await site.ask("POST", "/api/v1/deploys", data=EVENT, headers=signed(EVENT)) for _ in range(3)
        ]
        assert [answer.status for answer in answers] == [202, 200, 200]
        assert [(await answer.json())["duplicate"] for answer in answers] == [False, True, True]
        assert len(site.daemon.events) == 1
        assert site.daemon.events[0].sender == "webhook"
        assert site.daemon.events[0].sender_id == "msg-1"


async def test_without_a_secret_no_signature_is_good_enough(site: Site) -> None:
    response = await site.ask("POST", "/api/v1/deploys", data=EVENT, headers=signed(EVENT))
    assert response.status == 401
    assert "webhook_secrets" in (await response.json())["error"]


async def test_a_signature_opens_one_route_only() -> None:
    async with site_of(
        fill(FakeDaemon({"api": {**token_settings()["api"], "webhook_secrets": [SECRET]}}))
    ) as site:
        body = b'{"on": true}'
        response = await site.ask("POST", "/api/v1/kill-switch", data=body, headers=signed(body))
        assert response.status == 401


def test_a_secret_that_cannot_be_one_is_refused_at_start_without_showing_it() -> None:
    from watchdog.api.server import make_app

    with pytest.raises(ValueError, match="whsec_") as caught:
        make_app(FakeDaemon({"api": {"webhook_secrets": ["hunter2-hunter2"]}}).ports())
    assert "hunter2" not in str(caught.value)
