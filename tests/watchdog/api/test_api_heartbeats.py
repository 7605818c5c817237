"""How a job reports: with a body, with nothing but an address, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from checks.model import Beat
from tests.watchdog.api.conftest import Site

PATH = "/api/v1/heartbeats/checkout/nightly"


async def told(site: Site, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    options = {} if body is None else {"json": body}
    response = await site.ask("POST", path, token="deploy-token", **options)
    return response.status, await response.json()


async def test_a_report_is_taken_with_its_time_and_told_twice_it_is_a_duplicate(site: Site) -> None:
    body = {"state": "success", "run": "42", "exit": 0}
    now = site.daemon.clock.now
    assert await told(site, PATH, body) == (
        202,
        {"schema": "deploy-watchdog/v1", "state": "success", "at": now, "duplicate": False},
    )
    status, answer = await told(site, PATH, body)
    assert (status, answer["duplicate"]) == (200, True)
    assert site.daemon.beats == [Beat(state="success", at=now, run="42", exit_code=0)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/start", ("start", "", None)),
        ("/success", ("success", "", None)),
        ("/fail", ("fail", "", None)),
        ("/fail?exit=3&run=42", ("fail", "42", 3)),
    ],
)
async def test_an_address_is_enough(site: Site, path: str, expected: tuple[str, str, int | None]) -> None:
    assert (await told(site, PATH + path))[0] == 202
    (beat,) = site.daemon.beats
    assert (beat.state, beat.run, beat.exit_code) == expected


@pytest.mark.parametrize(
    ("path", "body", "status", "at", "said"),
    [
        ("", {}, 422, "state", "start, success or fail"),
        ("", {"state": "awaited"}, 422, "state", "start, success or fail"),
        ("", {"state": "success", "run": 5}, 422, "run", "one line"),
        ("", {"state": "success", "run": "a\nb"}, 422, "run", "one line"),
        ("", {"state": "success", "run": "x" * 201}, 422, "run", "200 characters"),
        ("", {"state": "fail", "exit": 256}, 422, "exit", "0 to 255"),
        ("", {"state": "fail", "exit": True}, 422, "exit", "0 to 255"),
        ("", {"state": "success", "exit": 1}, 422, "exit", "Report fail"),
        ("", {"state": "start", "exit": 0}, 422, "exit", "no exit code yet"),
        ("", {"state": "success", "duration": 5}, 422, "duration", "not known"),
        ("/done", None, 422, "state", "start, success or fail"),
        ("/fail?exit=x", None, 422, "exit", "0 to 255"),
        ("/fail?code=3", None, 422, "code", "not known"),
        ("x/success", None, 404, "name", "They are: checkout/nightly."),
    ],
)
async def test_what_is_refused(
    site: Site, path: str, body: dict[str, Any] | None, status: int, at: str, said: str
) -> None:
    found, answer = await told(site, PATH + path, body)
    assert (found, answer["at"]) == (status, at)
    assert said in answer["error"]
    assert not site.daemon.beats


async def test_a_browser_session_does_not_report(site: Site) -> None:
    response = await site.ask("POST", "/login", data={"token": "deploy-token"}, headers={"Origin": site.url})
    headers = {"Cookie": response.headers["Set-Cookie"].split(";")[0], "Origin": site.url}
    refused = await site.ask("POST", f"{PATH}/success", headers=headers)
    assert refused.status == 403
    assert not site.daemon.beats


async def test_asking_for_the_address_reports_nothing(site: Site) -> None:
    response = await site.ask("GET", f"{PATH}/success", token="deploy-token")
    assert response.status == 405
    assert not site.daemon.beats
