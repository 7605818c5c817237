"""Kind http saying who it is: by password, token file, and the client credentials grant."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from checks.http import HttpCheck
from checks.model import World
from tests.checks.conftest import Serve
from tests.support.servers import free_port


def built(**params: Any) -> HttpCheck:
    """As the loader builds it."""
    return TypeAdapter(HttpCheck).validate_python(params)


async def echo(request: web.Request) -> web.Response:
    return web.json_response({"said": request.headers.get("Authorization", "nothing")})


async def test_a_password_is_sent_and_never_told(world: World, serve: Serve) -> None:
    url = await serve({"/": echo})
    basic = {"username": "jürgen", "password": "hunter:two"}
    said = aiohttp.encode_basic_auth("jürgen", "hunter:two")
    check = built(get=f"{url}/", auth={"basic": basic}, expect=f'json.said == "{said}"')
    assert (await check.run(world)).outcome == "pass"
    result = await built(get=f"{url}/", auth={"basic": basic}, expect='json.said == ""').run(world)
    assert result.outcome == "fail"
    assert said.split()[1] not in f"{result}{check!r}"
    assert "hunter" not in f"{result}{check!r}"


async def test_a_token_file_is_read_at_each_run(world: World, serve: Serve, tmp_path: Path) -> None:
    url, file = await serve({"/": echo}), tmp_path / "token"
    file.write_text("first-token\n")
    check = built(get=f"{url}/", auth={"bearer_file": str(file)}, expect='json.said == "Bearer second-token"')
    told = await check.run(world)
    assert (told.outcome, 'json.said = "Bearer ***"' in told.because) == ("fail", True)
    file.write_text("second-token\n")
    assert (await check.run(world)).outcome == "pass"
    file.write_text("two words")
    broken = await check.run(world)
    assert broken.outcome == "error"
    assert broken.because == f"GET {url}/: auth.bearer_file: {file} does not hold one token and nothing else"
    file.unlink()
    assert (await check.run(world)).outcome == "error"


@dataclass(slots=True)
class Issuer:
    """A token endpoint that counts, and a service that accepts the newest token only."""

    lives_s: Any = 3600
    status: int = 200
    answer: dict[str, Any] = field(default_factory=dict)
    issued: list[str] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    is_strict: bool = False
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def token(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        self.asked.append({**{k: str(v) for k, v in form.items()}, "by": request.headers["Authorization"]})
        if self.status != 200:
            return web.json_response({"error": "invalid_client"}, status=self.status)
        self.issued.append(f"token-{next(self._numbers)}-abcdef")
        told = {"access_token": self.issued[-1], "token_type": "Bearer", "expires_in": self.lives_s}
        return web.json_response({**told, **self.answer})

    async def service(self, request: web.Request) -> web.Response:
        said = request.headers.get("Authorization", "")
        is_good = bool(self.issued) and said == f"Bearer {self.issued[-1]}" and not self.is_strict
        return web.json_response({"said": said}, status=200 if is_good else 401)

    def revoke(self) -> None:
        """What was issued is no longer accepted."""
        self.issued.append("revoked")


Asking = Callable[..., HttpCheck]


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def asking(issuer: Issuer, serve: Serve) -> Asking:
    """Builds a check of the service that gets its token from the issuer."""
    url = await serve({"/token": issuer.token, "/": issuer.service})

    def check(**oauth2: Any) -> HttpCheck:
        granted = {"token_url": f"{url}/token", "client_id": "dog", "client_secret": "bone secret", **oauth2}
        return built(get=f"{url}/", auth={"oauth2": granted})

    return check


async def test_a_token_is_asked_for_once_and_kept(world: World, issuer: Issuer, asking: Asking) -> None:
    check = asking(scopes=["orders:read", "openid"])
    for _ in range(3):
        assert (await check.run(world)).outcome == "pass"
    # Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
    by = aiohttp.encode_basic_auth("dog", "bone+secret")
    assert issuer.asked == [{"grant_type": "client_credentials", "scope": "orders:read openid", "by": by}]


async def test_a_token_is_renewed_shortly_before_it_expires(
    world: World, issuer: Issuer, asking: Asking
) -> None:
    passed_s = 0.0
    later = replace(world, mono_s=lambda: world.mono_s() + passed_s)
    check = asking()
    await check.run(later)
    passed_s = 3500.0
    await check.run(later)
    assert len(issuer.issued) == 1
    passed_s = 3550.0
    assert (await check.run(later)).outcome == "pass"
    assert len(issuer.issued) == 2


@pytest.mark.parametrize(("lives_s", "n_issued"), [(0, 3), ("3600", 1), (None, 0)])
async def test_how_long_a_token_lives_may_be_text_and_must_be_a_number(
    world: World, issuer: Issuer, asking: Asking, lives_s: Any, n_issued: int
) -> None:
    issuer.lives_s = lives_s
    check = asking()
    outcomes = {(await check.run(world)).outcome for _ in range(3)}
    assert outcomes == ({"pass"} if n_issued else {"error"})
    assert len(issuer.issued) == (n_issued or 3)


async def test_a_refused_token_is_replaced_once(world: World, issuer: Issuer, asking: Asking) -> None:
    check = asking()
    await check.run(world)
    issuer.revoke()
    assert (await check.run(world)).outcome == "pass"
    issuer.is_strict = True
    refused = await check.run(world)
    assert (refused.outcome, "status = 401" in refused.because) == ("fail", True)
    # One more for the kept one; then the new one was refused and there is nothing left to try.
    assert len(issuer.asked) == 3
    assert (await check.run(world)).outcome == "fail"
    assert len(issuer.asked) == 4


async def test_a_new_token_that_is_refused_is_not_replaced(
    world: World, issuer: Issuer, asking: Asking
) -> None:
    issuer.is_strict = True
    assert (await asking().run(world)).outcome == "fail"
    assert len(issuer.asked) == 1


async def test_no_token_comes_out(world: World, issuer: Issuer, asking: Asking) -> None:
    check = replace(asking(), expect='json.said == ""')
    await check.run(world)
    issuer.revoke()
    result = await check.run(world)
    assert 'json.said = "Bearer ***"' in result.because
    assert "bone" not in f"{check!r}{check.auth!r}"


@pytest.mark.parametrize(
    ("status", "answer", "told"),
    [
        (401, {}, "status 401, invalid_client"),
        (200, {"access_token": ""}, "the answer holds no access_token"),
        (200, {"access_token": "a\nb"}, "the answer holds no access_token"),
        (200, {"token_type": "mac"}, "token_type is not bearer"),
        (200, {"padding": "x" * 70_000}, "the answer is longer than 65536 bytes"),
    ],
)
async def test_an_issuer_that_gives_no_token_says_nothing_of_the_service(
    world: World, issuer: Issuer, asking: Asking, status: int, answer: dict[str, Any], told: str
) -> None:
    issuer.status, issuer.answer = status, answer
    check = asking()
    assert check.auth is not None
    assert check.auth.oauth2 is not None
    result = await check.run(world)
    assert (result.outcome, result.readings) == ("error", {})
    assert result.because == f"{check.place}: no token from {check.auth.oauth2.token_url}: {told}"


async def test_an_issuer_that_is_not_there_is_an_error(world: World, asking: Asking) -> None:
    gone = await asking(token_url=f"http://127.0.0.1:{free_port()}/token").run(world)
    assert (gone.outcome, "connection refused" in gone.because) == ("error", True)


Params = dict[str, Any]
GRANT: Params = {"token_url": "https://idp/token", "client_id": "c", "client_secret": "s"}


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        ({}, "basic: write exactly one of basic, bearer_file, oauth2; found none"),
        ({"bearer_file": "/t", "oauth2": GRANT}, "oauth2: write exactly one of"),
        ({"bearer_file": "/none/token"}, "bearer_file: /none/token cannot be read"),
        ({"bearer_file": "\0"}, "is not a path"),
        ({"basic": {"username": "a:b", "password": "p"}}, "username: write a name without a colon"),
        ({"oauth2": {**GRANT, "token_url": "/token"}}, "token_url: not the URL of a token endpoint"),
        ({"oauth2": {**GRANT, "token_url": "https://u:p@h/"}}, "token_url: not the URL"),
        ({"oauth2": {**GRANT, "token_url": "https://[::1/"}}, "token_url: not the URL"),
        ({"oauth2": {**GRANT, "client_id": ""}}, "client_id: write the name"),
        ({"oauth2": {**GRANT, "scopes": ["a b"]}}, "scopes: write each scope as one word"),
    ],
)
def test_bad_configuration_names_its_key(auth: Params, told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        built(get="https://h/", auth=auth)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"get": "http://u:p@h/"}, "auth: excludes user:password in the URL"),
        ({"get": "http://h/", "headers": {"authorization": "x"}}, "auth: excludes a header Authorization"),
    ],
)
def test_there_is_one_way_to_say_who_we_are(params: Params, told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        built(**params, auth={"basic": {"username": "a", "password": "b"}})
    assert told in str(caught.value)
