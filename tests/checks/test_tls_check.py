"""Kind tls against real servers: nginx, PostgreSQL, and the four dialogues that begin in the clear."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from checks.model import World
from checks.tls import TlsCheck
from checks.wire.certificate import DAY_S, not_after_s
from tests.support.certificates import Authority, Pair
from tests.support.nginx import nginx_server
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.servers import free_port

LOCAL = ("DNS:localhost", "IP:127.0.0.1")


def built(**params: Any) -> TlsCheck:
    """As the loader builds it."""
    return TypeAdapter(TlsCheck).validate_python({"host": "127.0.0.1", **params})


@pytest.fixture(scope="module")
def pairs(authority: Authority) -> dict[str, Pair]:
    """Certificates by what is the matter with them."""
    return {
        "good": authority.issue("good.test", names=LOCAL, days=60),
        "short": authority.issue("short.test", names=LOCAL, days=5),
        "expired": authority.issue("expired.test", names=LOCAL, days=-2),
        "elsewhere": authority.issue("elsewhere.test", names=["DNS:elsewhere.test"], days=60),
    }


@pytest.fixture(scope="module")
def ports(pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """An nginx that shows each of the certificates on a port of its own."""
    ports = {name: free_port() for name in pairs}
    servers = "".join(
        f"server {{ listen 127.0.0.1:{ports[name]} ssl; ssl_protocols TLSv1.3;"
        f" ssl_certificate {pair.cert}; ssl_certificate_key {pair.key}; }}\n"
        for name, pair in pairs.items()
    )
    with nginx_server(tmp_path_factory.mktemp("nginx"), servers, port=ports["good"]):
        yield ports


async def test_what_the_server_showed_can_be_expected(
    world: World, ports: dict[str, int], authority: Authority
) -> None:
    expect = (
        'days > 30 && version == "TLSv1.3" && cipher.startsWith("TLS_") && issuer == "CN=Test root"'
        ' && subject == "O=Shop, CN=good.test" && "localhost" in names && "127.0.0.1" in names'
    )
    result = await built(port=ports["good"], ca_file=str(authority.ca), expect=expect).run(world)
    assert (result.outcome, result.because) == ("pass", "")
    assert set(result.readings) == {"dns_s", "connect_s", "tls_s", "total_s", "certificate_days"}
    assert result.readings["certificate_days"] == pytest.approx(60, abs=0.01)
    assert 0 < result.readings["connect_s"] + result.readings["tls_s"] < result.readings["total_s"]
    assert "TLSv1.3  O=Shop, CN=good.test  60 days" in result.details[0]


async def test_two_weeks_must_be_left_unless_told_otherwise(
    world: World, ports: dict[str, int], authority: Authority
) -> None:
    short = {"port": ports["short"], "ca_file": str(authority.ca)}
    result = await built(**short).run(world)
    assert result.outcome == "fail"
    assert "days > 14 is false: days = 5.0" in result.because
    # A latency of a run that failed is none; the days are what was seen.
    assert set(result.readings) == {"certificate_days"}
    assert (await built(**short, expect="days > 3.5").run(world)).outcome == "pass"


async def test_an_expired_certificate_says_since_when(
    world: World, ports: dict[str, int], authority: Authority
) -> None:
    result = await built(port=ports["expired"], ca_file=str(authority.ca)).run(world)
    since = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 2 * DAY_S))
    assert result.outcome == "fail"
    assert f"certificate expired since {since} " in result.because
    assert result.readings == {"certificate_days": pytest.approx(-2, abs=0.01)}


@pytest.mark.parametrize(
    ("pair", "params", "told"),
    [
        (
            "elsewhere",
            {},
            "certificate refused (IP address mismatch, certificate is not valid for '127.0.0.1')",
        ),
        ("good", {"server_name": "shop.test"}, "certificate is not valid for 'shop.test')"),
        (
            "good",
            {"ca_file": None},
            "certificate of an unknown issuer (unable to get local issuer certificate)",
        ),
    ],
)
async def test_an_invalid_certificate_is_the_servers_fault_and_says_why(
    world: World, ports: dict[str, int], authority: Authority, pair: str, params: dict[str, Any], told: str
) -> None:
    result = await built(**{"port": ports[pair], "ca_file": str(authority.ca), **params}).run(world)
    assert (result.outcome, result.readings) == ("fail", {})
    assert told in result.because


async def test_a_server_name_stands_for_the_host(
    world: World, ports: dict[str, int], authority: Authority
) -> None:
    there = {"port": ports["elsewhere"], "server_name": "elsewhere.test"}
    assert (await built(**there, ca_file=str(authority.ca)).run(world)).outcome == "pass"


async def test_a_chain_with_an_expired_middle_is_refused_without_a_date_of_the_leaf(
    world: World, authority: Authority, tmp_path: Path
) -> None:
    pair = authority.intermediate("old", days=-3).issue("young.test", names=LOCAL)
    async with speaking(pair, []) as port:
        result = await built(port=port, ca_file=str(authority.ca)).run(world)
    assert result.outcome == "fail"
    assert "expired" in result.because


Line = tuple[str, str]


@asynccontextmanager
async def speaking(pair: Pair, dialogue: Sequence[Line]) -> AsyncIterator[int]:
    """A server that says and hears these lines, and then, unless it was left, begins TLS.

    dialogue: what it says, and what the answer to it has to begin with, empty for none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for said, expected in dialogue:
                writer.write(said.encode())
                heard = await reader.readline() if expected else b""
                if not heard.startswith(expected.encode()):
                    writer.write(b"500 what?\r\n")
                    return
            await writer.start_tls(context)
            await reader.read()
        except OSError:
            return
        finally:
            writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


SMTP = [
    ("220-mail.test\r\n220 ESMTP\r\n", "EHLO [127.0.0.1]"),
    ("250-mail.test\r\n250-PIPELINING\r\n250-StartTLS\r\n250 HELP\r\n", "STARTTLS"),
    ("220 go ahead\r\n", ""),
]
DIALOGUES = {
    "smtp": SMTP,
    "imap": [("* OK ready\r\n", "a1 STARTTLS"), ("* CAPABILITY IMAP4rev1\r\na1 OK begin\r\n", "")],
    "pop3": [("+OK ready\r\n", "STLS"), ("+OK begin\r\n", "")],
    "ftp": [("220-files\r\n of ours\r\n220 ready\r\n", "AUTH TLS"), ("234 go ahead\r\n", "")],
}


@pytest.mark.parametrize("starttls", sorted(DIALOGUES))
async def test_tls_begins_after_the_right_words(
    world: World, authority: Authority, pairs: dict[str, Pair], starttls: str
) -> None:
    async with speaking(pairs["good"], DIALOGUES[starttls]) as port:
        check = built(port=port, starttls=starttls, ca_file=str(authority.ca))
        result = await check.run(world)
    assert (result.outcome, result.because) == ("pass", "")
    assert result.readings["certificate_days"] == pytest.approx(60, abs=0.01)


@pytest.mark.parametrize(
    ("starttls", "dialogue", "told"),
    [
        (
            "smtp",
            [("220 hello\r\n", "EHLO"), ("250 HELP\r\n", "nothing")],
            "the server does not offer STARTTLS",
        ),
        ("smtp", [("554 go away\r\n", "nothing")], 'expected "220", it said "554 go away"'),
        ("smtp", [(f"220{'-' * 70_000}", "nothing")], "the server sent a line without end"),
        ("smtp", [("220-and so on\r\n" * 200, "nothing")], 'expected "250"'),
        (
            "imap",
            [("* OK\r\n", "a1"), ("a1 BAD unknown\r\n", "nothing")],
            'expected "a1 OK", it said "a1 BAD',
        ),
        ("pop3", [("+OK\r\n", "STLS"), ("-ERR no\r\n", "nothing")], 'expected "+OK", it said "-ERR no"'),
        ("ftp", [("220 ready\r\n", "AUTH"), ("502 no\r\n", "nothing")], 'expected "234", it said "502 no"'),
        ("postgres", [("N", "nothing")], "the server does not offer TLS"),
        ("postgres", [("E", "nothing")], 'expected "S", it said "E"'),
    ],
)
async def test_a_server_that_does_not_offer_tls_says_what_it_said(
    world: World, pairs: dict[str, Pair], starttls: str, dialogue: list[Line], told: str
) -> None:
    async with speaking(pairs["good"], dialogue) as port:
        result = await built(port=port, starttls=starttls).run(replace(world, timeout_s=2.0))
    assert (result.outcome, result.readings) == ("fail", {})
    assert told in result.because


@pytest.fixture(scope="module")
def postgres_with_tls(
    pairs: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("postgres"), tls=pairs["good"]) as server:
        yield server


async def test_postgres_is_asked_in_its_own_words(
    world: World, authority: Authority, postgres_with_tls: PostgresServer
) -> None:
    check = built(
        host="localhost",
        port=postgres_with_tls.port,
        starttls="postgres",
        ca_file=str(authority.ca),
        expect='subject == "O=Shop, CN=good.test"',
    )
    result = await check.run(world)
    assert (result.outcome, result.because) == ("pass", "")


async def test_silence_is_a_failure_with_its_stage(world: World) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for starttls, stage in ((None, "in the TLS handshake"), ("imap", "connected, before TLS in imap")):
            result = await built(port=port, starttls=starttls).run(replace(world, timeout_s=0.2))
            assert (result.outcome, result.because) == (
                "fail",
                f"127.0.0.1:{port}: no answer within 0.2 s ({stage})",
            )


async def test_an_unknown_name_is_ours(world: World) -> None:
    assert (await built(host="nosuch.invalid").run(world)).outcome == "error"


async def test_an_authority_file_that_went_away_is_ours(
    world: World, authority: Authority, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    shutil.copy(authority.ca, file)
    check = built(port=free_port(), ca_file=str(file))
    file.unlink()
    result = await check.run(world)
    assert (result.outcome, "ca_file: " in result.because) == ("error", True)


@pytest.mark.parametrize("days", [20.0, 365 * 40.0])
def test_the_end_of_a_certificate_is_read_in_both_spellings(authority: Authority, days: float) -> None:
    pair = authority.issue("dated", days=days)
    der = ssl.PEM_cert_to_DER_cert(pair.cert.read_text())
    assert not_after_s(der) == pytest.approx(time.time() + days * DAY_S, abs=60)


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x02\x30\x00", b"\x30\x82\xff\xff\x00", b"<html>"])
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|not enough values|not a certificate"):
        not_after_s(der)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"port": 0}, "port: 0 is not a port"),
        ({"host": "https://h"}, "host: 'https://h' is not a host name"),
        ({"starttls": "ldap"}, "starttls"),
        ({"expect": "days > "}, "expect: "),
        ({"expect": "subject > 14"}, "expect: "),
        ({"ca_file": "/none/ca"}, "ca_file: /none/ca cannot be read"),
        ({"server_name": ""}, "server_name: '' is not a host name"),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        built(**params)
    assert told in str(caught.value)
