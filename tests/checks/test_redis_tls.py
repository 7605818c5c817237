"""Kind redis over TLS against a real redis-server, with certificates of an authority of our own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from checks.model import CheckResult, World
from checks.redis import RedisCheck
from tests.support.certificates import Authority, Pair
from tests.support.redis import redis_by_tls

pytestmark = pytest.mark.real


@dataclass(frozen=True, slots=True)
class Servers:
    """Ports of servers that show a good certificate, ask for one, show an expired one, and another's."""

    good: int
    strict: int
    expired: int
    other: int
    ca: Path
    stranger: Path
    client: Pair
    forged: Pair


@pytest.fixture(scope="module")
def servers(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    stranger = Authority.create(tmp_path_factory.mktemp("stranger"))
    here = ["IP:127.0.0.1"]
    good = authority.issue("redis", names=here)
    shown = {
        "good": good,
        "strict": good,
        "expired": authority.issue("expired", names=here, days=-1),
        "other": authority.issue("other", names=["DNS:other.test"]),
    }
    with ExitStack() as stack:
        ports = {
            name: stack.enter_context(
                redis_by_tls(
                    tmp_path_factory.mktemp(name), pair, authority.ca, asks_for_certificate=name == "strict"
                )
            )
            for name, pair in shown.items()
        }
        yield Servers(
            **ports,
            ca=authority.ca,
            stranger=stranger.ca,
            client=authority.issue("watchdog"),
            forged=stranger.issue("watchdog"),
        )


async def ping(world: World, port: int, ca: Path | None, client: Pair | None = None) -> CheckResult:
    options = {} if ca is None else {"ssl_ca_certs": ca}
    if client is not None:
        options |= {"ssl_certfile": client.cert, "ssl_keyfile": client.key}
    query = "&".join(f"{key}={quote(str(file))}" for key, file in options.items())
    url = SecretStr(f"rediss://127.0.0.1:{port}/0?{query}")
    return await RedisCheck(url=url, command=("PING",), expect='value == "PONG"').run(world)


async def test_a_server_whose_authority_is_known(world: World, servers: Servers) -> None:
    result = await ping(world, servers.good, servers.ca)
    assert (result.outcome, result.because) == ("pass", "")


async def test_a_server_that_asks_who_we_are(world: World, servers: Servers) -> None:
    assert (await ping(world, servers.strict, servers.ca, servers.client)).outcome == "pass"


@pytest.mark.parametrize("own", [None, "forged"])
async def test_a_certificate_of_ours_that_is_not_taken(
    world: World, servers: Servers, own: str | None
) -> None:
    # By TLS 1.3 the server refuses after the handshake and resets; that is all that can be seen from here.
    result = await ping(world, servers.strict, servers.ca, getattr(servers, own) if own else None)
    assert result.outcome == "fail"


@pytest.mark.parametrize("ca", [None, "stranger"])
async def test_an_authority_that_we_do_not_know_is_our_error(
    world: World, servers: Servers, ca: str | None
) -> None:
    result = await ping(world, servers.good, getattr(servers, ca) if ca else None)
    assert result.outcome == "error"
    assert "certificate not trusted here" in result.because


async def test_an_expired_certificate_is_theirs(world: World, servers: Servers) -> None:
    result = await ping(world, servers.expired, servers.ca)
    assert (result.outcome, result.because) == (
        "fail",
        "PING: certificate refused (certificate has expired)",
    )


async def test_a_certificate_of_another_name_is_theirs(world: World, servers: Servers) -> None:
    result = await ping(world, servers.other, servers.ca)
    assert result.outcome == "fail"
    assert "IP address mismatch" in result.because
