"""Kind http over TLS, through a proxy, a socket and to a chosen address, against a real nginx."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import TypeAdapter, ValidationError

from checks.http import HttpCheck
from checks.model import World
from checks.scenario import ScenarioCheck
from tests.support.certificates import Authority, Pair
from tests.support.nginx import nginx_server
from tests.support.servers import free_port

SHOP_DAYS, MIDDLE_DAYS = 90.0, 20.0
ANSWER = """return 200 '{"host": "$http_host", "dn": "$ssl_client_s_dn", "server": "$server_port"}';"""


def built(**params: Any) -> HttpCheck:
    """As the loader builds it."""
    return TypeAdapter(HttpCheck).validate_python(params)


@dataclass(frozen=True, slots=True)
class Shop:
    """An nginx: `url` by TLS with a chain of two, `strict_url` asks for a certificate, `socket` is plain."""

    port: int
    strict_port: int
    socket: str
    ca: str

    @property
    def url(self) -> str:
        return f"https://shop.test:{self.port}/"

    def to(self, **params: Any) -> HttpCheck:
        """A check of the shop, whose name resolves to nothing."""
        tls = {"ca_file": self.ca, **params.pop("tls", {})}
        return built(**{"get": self.url, "resolve": "127.0.0.1", "tls": tls, **params})


@pytest.fixture(scope="module")
def shop(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    pair = authority.intermediate("middle", days=MIDDLE_DAYS).issue(
        "shop.test", names=["DNS:shop.test"], days=SHOP_DAYS
    )
    folder = tmp_path_factory.mktemp("nginx")
    shop = Shop(free_port(), free_port(), str(folder / "shop.sock"), str(authority.ca))
    tls = f"ssl_certificate {pair.cert}; ssl_certificate_key {pair.key};"
    servers = f"""
        server {{ listen 127.0.0.1:{shop.port} ssl; {tls} location / {{ {ANSWER} }}
                  location /away {{ return 302 http://$http_host/; }} }}
        server {{ listen 127.0.0.1:{shop.strict_port} ssl; {tls}
                  ssl_client_certificate {authority.ca}; ssl_verify_client on; location / {{ {ANSWER} }} }}
        server {{ listen unix:{shop.socket}; location / {{ {ANSWER} }} }}
    """
    with nginx_server(folder, servers, port=shop.port):
        yield shop


async def test_every_stage_of_a_verified_connection_is_timed(world: World, shop: Shop) -> None:
    expect = f'json.host == "shop.test:{shop.port}" && tls > duration("0s") && certificate_days > 14'
    result = await shop.to(expect=expect).run(world)
    assert (result.outcome, result.because) == ("pass", "")
    seen = dict(result.readings)
    days = seen.pop("certificate_days")
    # Python hands out the presented chain since 3.13; before, the shop's own certificate counts alone.
    assert days == pytest.approx(MIDDLE_DAYS if sys.version_info >= (3, 13) else SHOP_DAYS, abs=0.01)
    assert set(seen) == {"connect_s", "tls_s", "first_byte_s", "total_s", "body_bytes"}
    assert seen["connect_s"] > 0
    assert seen["tls_s"] > 0
    assert seen["connect_s"] + seen["tls_s"] < seen["first_byte_s"] <= seen["total_s"]
    assert " tls " in result.details[0]


async def test_a_certificate_that_expires_soon_fails_with_its_days(world: World, shop: Shop) -> None:
    result = await shop.to(expect="certificate_days > 365").run(world)
    assert result.outcome == "fail"
    assert "certificate_days > 365 is false: certificate_days = " in result.because


async def test_without_tls_there_is_no_certificate_to_expect_anything_of(world: World, shop: Shop) -> None:
    result = await built(
        get="http://shop.test/", unix_socket=shop.socket, expect="certificate_days > 14"
    ).run(world)
    assert (result.outcome, "tls_s" in result.readings) == ("fail", False)
    assert result.because.endswith("certificate_days is absent")


async def test_whose_fault_a_certificate_is(world: World, shop: Shop) -> None:
    stranger = await built(get=shop.url, resolve="127.0.0.1").run(world)
    assert stranger.outcome == "error"
    assert "not trusted here" in stranger.because
    renamed = await shop.to(tls={"server_name": "other.test"}).run(world)
    assert renamed.outcome == "fail"
    assert "other.test" in renamed.because
    assert renamed.readings == {}


async def test_a_server_name_stands_for_the_host(world: World, shop: Shop) -> None:
    check = shop.to(get=f"https://127.0.0.1:{shop.port}/", resolve=None, tls={"server_name": "shop.test"})
    assert (await check.run(world)).outcome == "pass"


async def test_a_redirect_into_the_clear_is_not_followed(world: World, shop: Shop) -> None:
    result = await shop.to(get=f"{shop.url}away", follow_redirects=True).run(world)
    assert (result.outcome, result.because) == (
        "fail",
        f"GET {shop.url}away: redirected from https to http, which is not followed; check that URL itself",
    )


def into(folder: Path, pair: Pair) -> dict[str, str]:
    """The pair's files replaced, as a secret that is mounted is: by a rename."""
    for name, source in (("our.pem", pair.cert), ("our.key", pair.key)):
        (folder / "new").write_bytes(source.read_bytes())
        (folder / "new").rename(folder / name)
    return {"cert_file": str(folder / "our.pem"), "key_file": str(folder / "our.key")}


async def test_our_own_certificate_is_shown_and_read_again_when_it_is_replaced(
    world: World, shop: Shop, authority: Authority, tmp_path: Path
) -> None:
    url = f"https://shop.test:{shop.strict_port}/"
    refused = await shop.to(get=url).run(world)
    assert (refused.outcome, "status = 400" in refused.because) == ("fail", True)
    ours = into(tmp_path, authority.issue("watchdog-1"))
    check = shop.to(get=url, tls=ours, expect='json.dn == "CN=watchdog-1,O=Shop"')
    assert (await check.run(world)).outcome == "pass"
    into(tmp_path, authority.issue("watchdog-2"))
    assert 'json.dn = "CN=watchdog-2,O=Shop"' in (await check.run(world)).because
    (tmp_path / "our.key").unlink()
    gone = await check.run(world)
    assert gone.outcome == "error"
    assert (
        gone.because
        == f"GET {url}: tls.key_file: {tmp_path}/our.key cannot be read (No such file or directory)"
    )


async def test_a_socket_stands_for_the_host(world: World, shop: Shop, tmp_path: Path) -> None:
    result = await built(
        get="http://shop.test/", unix_socket=shop.socket, expect='json.host == "shop.test"'
    ).run(world)
    assert (result.outcome, result.because) == ("pass", "")
    assert set(result.readings) == {"connect_s", "first_byte_s", "total_s", "body_bytes"}
    missing = await built(get="http://shop.test/", unix_socket=str(tmp_path / "none")).run(world)
    assert (missing.outcome, missing.because) == ("fail", "GET http://shop.test/: there is no such socket")


async def test_each_step_of_a_scenario_may_go_its_own_way(world: World, shop: Shop) -> None:
    steps = [
        {"get": shop.url, "resolve": "127.0.0.1", "tls": {"ca_file": shop.ca}, "extract": {"at": "$.server"}},
        {"get": "http://shop.test/{at}", "unix_socket": shop.socket, "expect": "json.host == 'shop.test'"},
    ]
    result = await TypeAdapter(ScenarioCheck).validate_python({"steps": steps}).run(world)
    assert (result.outcome, result.because) == ("pass", "")


@dataclass(slots=True)
class Proxy:
    """A proxy that opens tunnels by CONNECT for who knows the password. status: what it answers instead."""

    port: int = 0
    status: int = 200
    asked: list[str] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.partition("\r\n")[0])
        known = aiohttp.encode_basic_auth("watchdog", "let-me-out")
        status = self.status if f"Proxy-Authorization: {known}" in head else 407
        writer.write(f"HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n".encode())
        if status == 200:
            port = int(self.asked[-1].split()[1].rpartition(":")[2])
            target = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.TaskGroup() as group:
                group.create_task(pour(reader, target[1]))
                group.create_task(pour(target[0], writer))
        writer.close()

    @property
    def url(self) -> str:
        return f"http://watchdog:let-me-out@127.0.0.1:{self.port}"


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything from one side to the other, and the end of it."""
    try:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    async with await asyncio.start_server(proxy.talk, "127.0.0.1", 0) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy


async def test_a_proxy_opens_the_way_and_the_host_is_still_verified(
    world: World, shop: Shop, proxy: Proxy
) -> None:
    result = await shop.to(resolve=None, proxy=proxy.url).run(world)
    assert (result.outcome, result.because) == ("pass", "")
    assert proxy.asked == [f"CONNECT shop.test:{shop.port} HTTP/1.1"]
    assert {"connect_s", "tls_s", "certificate_days"} <= result.readings.keys()
    untrusted = await built(get=shop.url, proxy=proxy.url).run(world)
    assert "not trusted here" in untrusted.because


@pytest.mark.parametrize(
    ("status", "outcome", "told"),
    [
        (502, "fail", "the proxy got no connection to the target (502)"),
        (403, "error", "the proxy refused our request (403)"),
    ],
)
async def test_whose_fault_the_answer_of_a_proxy_is(
    world: World, shop: Shop, proxy: Proxy, status: int, outcome: str, told: str
) -> None:
    proxy.status = status
    result = await shop.to(resolve=None, proxy=proxy.url).run(world)
    assert (result.outcome, result.because) == (outcome, f"GET {shop.url}: {told}")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_does_not_know_us_is_ours(world: World, proxy: Proxy, scheme: str) -> None:
    check = built(get=f"{scheme}://shop.test/", proxy=proxy.url.replace("let-me-out", "wrong-word"))
    result = await check.run(world)
    assert (result.outcome, result.because) == (
        "error",
        f"GET {scheme}://shop.test/: the proxy refused our request (407)",
    )
    assert "wrong-word" not in f"{result}{check!r}"


async def test_a_proxy_that_is_not_there_is_ours(world: World) -> None:
    result = await built(get="http://shop.test/", proxy=f"http://127.0.0.1:{free_port()}").run(world)
    assert (result.outcome, result.because) == (
        "error",
        "GET http://shop.test/: the proxy cannot be reached: connection refused",
    )


async def test_a_handshake_that_does_not_end_is_named_as_the_stage(world: World) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await built(get=f"https://127.0.0.1:{port}/").run(replace(world, timeout_s=0.2))
    assert result.because.endswith("no answer within 0.2 s (in the TLS handshake)")


SECURE = {"get": "https://h/"}


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({**SECURE, "tls": {"cert_file": "/c"}}, "key_file: write cert_file and key_file together"),
        ({**SECURE, "tls": {"key_file": "/k"}}, "cert_file: write cert_file and key_file together"),
        ({**SECURE, "tls": {"ca_file": "/none/ca"}}, "ca_file: /none/ca cannot be read"),
        ({**SECURE, "tls": {"ca_file": "\0"}}, "ca_file: \0 cannot be read (not a path)"),
        ({**SECURE, "tls": {"server_name": "h:1"}}, "server_name: 'h:1' is not a host name"),
        ({"get": "http://h/", "tls": {}}, "tls: the URL is plain http"),
        ({**SECURE, "proxy": "socks5://h:1"}, "proxy: not the URL of an HTTP proxy"),
        ({**SECURE, "proxy": "http://[::1"}, "proxy: not the URL of an HTTP proxy"),
        ({**SECURE, "proxy": "http://h:1", "resolve": "::1"}, "resolve: write only one of"),
        ({**SECURE, "resolve": "localhost"}, "resolve: 'localhost' is not an IP address"),
        ({"get": "http://10.0.0.1/", "resolve": "::1"}, "resolve: the URL already holds an address"),
        ({**SECURE, "unix_socket": "/s"}, "unix_socket: takes plain http"),
        ({"get": "http://h/", "unix_socket": "app.sock"}, "unix_socket: write the whole path"),
    ],
)
def test_bad_configuration_names_its_key(params: Mapping[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        built(**params)
    assert told in str(caught.value)


def test_files_are_read_with_the_configuration(authority: Authority, tmp_path: Path) -> None:
    mine, other = authority.issue("mine"), authority.issue("other")
    with pytest.raises(ValidationError, match=r"cert_file: .* and its key without a pass phrase"):
        built(**SECURE, tls={"cert_file": str(mine.cert), "key_file": str(other.key)})
    empty = tmp_path / "empty.pem"
    empty.touch()
    with pytest.raises(ValidationError, match=r"ca_file: .* holds no certificate in PEM"):
        built(**SECURE, tls={"ca_file": str(empty)})


def test_a_key_with_a_pass_phrase_is_refused_instead_of_asked_for(authority: Authority) -> None:
    mine = authority.issue("locked", pass_phrase="open-sesame")
    with pytest.raises(ValidationError, match="without a pass phrase"):
        built(**SECURE, tls={"cert_file": str(mine.cert), "key_file": str(mine.key)})


async def test_a_verified_connection_is_kept_as_well(world: World, shop: Shop) -> None:
    tls = {"server_name": "shop.test"}
    url = f"https://127.0.0.1:{shop.port}/"
    check = shop.to(get=url, resolve=None, tls=tls, keep_alive=True, expect="status == 200")
    first, second = await check.run(world), await check.run(world)
    assert (first.outcome, second.outcome) == ("pass", "pass")
    assert {"connect_s", "tls_s", "certificate_days"} <= set(first.readings)
    assert not {"connect_s", "tls_s", "dns_s"} & set(second.readings)


async def test_a_kept_connection_is_verified(world: World, shop: Shop) -> None:
    url, name = f"https://127.0.0.1:{shop.port}/", {"server_name": "other.test"}
    renamed = await shop.to(get=url, resolve=None, tls=name, keep_alive=True).run(world)
    assert (renamed.outcome, "certificate" in renamed.because) == ("fail", True)
    unknown = await built(get=url, keep_alive=True).run(world)
    assert (unknown.outcome, "certificate" in unknown.because) == ("error", True)
