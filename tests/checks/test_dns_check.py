"""Kind dns against a real dnsmasq."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from checks.dns import DnsCheck
from checks.model import World
from tests.support.nameserver import name_server
from tests.support.servers import free_port

pytestmark = pytest.mark.real

LONG = "x" * 200
ZONE = f"""\
local=/example/
host-record=web.example,10.0.0.2,30
host-record=web.example,10.0.0.1,30
host-record=six.example,2001:db8::1,60
cname=www.example,web.example,20
mx-host=example,Mail.example,10
txt-record=example,"v=spf1 -all"
srv-host=_api._tcp.example,web.example,8443,1,2
txt-record=long.example,a{LONG}
txt-record=long.example,b{LONG}
txt-record=long.example,c{LONG}
"""

TRANSPORTS: tuple[Literal["udp", "tcp"], ...] = ("udp", "tcp")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address and port of a name server for `example`."""
    with name_server(tmp_path_factory.mktemp("dnsmasq"), ZONE) as address:
        yield address


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_the_records_of_a_name_sorted_with_their_ttl(world: World, server: str, transport: Any) -> None:
    expect = 'rcode == "NOERROR" && answers == ["10.0.0.1", "10.0.0.2"] && ttl == 30'
    result = await DnsCheck(name="web.example", server=server, transport=transport, expect=expect).run(world)
    assert result.outcome == "pass", result
    assert result.readings == {"total_s": result.readings["total_s"], "answers": 2.0, "ttl_s": 30.0}
    assert result.readings["total_s"] > 0
    assert result.details[1] == "     10.0.0.1  ttl 30 s"


@pytest.mark.parametrize(
    ("name", "kind", "answers"),
    [
        ("six.example", "AAAA", ["2001:db8::1"]),
        ("www.example", "A", ["10.0.0.1", "10.0.0.2"]),
        ("www.example", "CNAME", ["web.example."]),
        ("example", "MX", ["10 mail.example."]),
        ("example", "TXT", ["v=spf1 -all"]),
        ("_api._tcp.example", "SRV", ["1 2 8443 web.example."]),
        ("10.0.0.1", "PTR", ["web.example."]),
        ("2001:db8::1", "PTR", ["six.example."]),
    ],
)
async def test_each_type_is_spelled_as_in_a_zone_file(
    world: World, server: str, name: str, kind: Any, answers: list[str]
) -> None:
    check = DnsCheck(name=name, type=kind, server=server, same_as=tuple(answers))
    result = await check.run(world)
    assert result.outcome == "pass", result
    assert [line.split("  ttl")[0].strip() for line in result.details[1:]] == answers


async def test_the_ttl_is_the_smallest_on_the_way(world: World, server: str) -> None:
    result = await DnsCheck(name="www.example", server=server).run(world)
    assert result.readings["ttl_s"] == 20.0


async def test_an_answer_cut_short_is_asked_for_again_over_tcp(world: World, server: str) -> None:
    check = DnsCheck(name="long.example", type="TXT", server=server, expect="size(answers) == 3")
    assert (await check.run(world)).outcome == "pass"


async def test_ipv6_reaches_the_server(world: World, server: str) -> None:
    at = f"[::1]:{server.rpartition(':')[2]}"
    for transport in TRANSPORTS:
        result = await DnsCheck(name="web.example", server=at, transport=transport).run(world)
        assert result.outcome == "pass", result


async def test_a_name_that_is_not_there_fails_by_default_and_can_be_expected(
    world: World, server: str
) -> None:
    missing = await DnsCheck(name="gone.example", server=server).run(world)
    assert missing.outcome == "fail"
    assert missing.because == (
        f'A gone.example at {server}: rcode == "NOERROR" is false: rcode = "NXDOMAIN"; '
        "size(answers) > 0 is false: answers = []"
    )
    assert "ttl_s" not in missing.readings
    expected = DnsCheck(name="gone.example", server=server, expect='rcode == "NXDOMAIN"')
    assert (await expected.run(world)).outcome == "pass"


async def test_a_name_without_such_records_has_no_ttl_to_pass_on(world: World, server: str) -> None:
    result = await DnsCheck(name="web.example", type="AAAA", server=server, expect="ttl < 1000").run(world)
    assert (result.outcome, result.because.partition(": ")[2]) == ("fail", "ttl < 1000: ttl is absent")


async def test_the_set_is_compared_without_order_and_differences_are_named(world: World, server: str) -> None:
    same = DnsCheck(name="web.example", server=server, same_as=("10.0.0.2", "10.0.0.1"))
    assert (await same.run(world)).outcome == "pass"
    other = DnsCheck(name="web.example", server=server, same_as=("10.0.0.1", "10.0.0.9"))
    result = await other.run(world)
    assert result.outcome == "fail"
    assert result.because == (
        f"A web.example at {server}: answers differ from same_as: missing [10.0.0.9], not expected [10.0.0.2]"
    )
    # As people write them: without the last dot, in any case.
    mail = DnsCheck(name="example", type="MX", server=server, same_as=("10 MAIL.example",))
    assert (await mail.run(world)).outcome == "pass"


async def test_a_named_server_that_is_not_there_fails(world: World) -> None:
    for transport in TRANSPORTS:
        at = f"127.0.0.1:{free_port()}"
        result = await DnsCheck(name="web.example", server=at, transport=transport).run(world)
        assert (result.outcome, result.because) == ("fail", f"A web.example at {at}: connection refused")
        assert result.readings == {}


class Answering(asyncio.DatagramProtocol):
    """Answers every question with `reply(question)`; None is silence."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if (answer := self.reply(data)) is not None:
            self.transport.sendto(answer, addr)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (lambda _: None, "no answer within 0.2 s"),
        (lambda _: b"\x00", "not a DNS answer (ShortHeader)"),
        (lambda question: question[:2] + b"\x84\x00" + question[4:-1], "not a DNS answer (FormError)"),
        (lambda question: question, "not a DNS answer (BadResponse)"),
        # The answer section holds an address of the root, which nobody asked for.
        (
            lambda question: (
                question[:2]
                + b"\x84\x00\x00\x01\x00\x01\0\0\0\0"
                + question[12:]
                + b"\x00\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x00\x00\x01"
            ),
            "size(answers) > 0 is false: answers = []",
        ),
    ],
)
async def test_silence_and_garbage_over_udp_fail(world: World, reply: Any, told: str) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Answering(reply), ("127.0.0.1", 0))
    with closing(transport):
        at = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
        result = await DnsCheck(name="web.example", server=at).run(replace(world, timeout_s=0.2))
    assert (result.outcome, result.because) == ("fail", f"A web.example at {at}: {told}")


@pytest.mark.parametrize(
    ("resolv_conf", "told"),
    [
        # Loopback addresses of our own that nothing listens at.
        (
            "nameserver 127.83.7.1\nnameserver 127.83.7.2\n",
            (
                "the resolvers of this machine do not answer "
                "(127.83.7.1: connection refused; 127.83.7.2: connection refused)"
            ),
        ),
        (None, "the resolvers of this machine do not answer (none)"),
    ],
)
async def test_our_own_resolvers_not_answering_is_our_error(
    world: World, tmp_path: Path, resolv_conf: str | None, told: str
) -> None:
    check = DnsCheck(name="web.example", transport="tcp")
    check._resolv_conf = str(tmp_path / "resolv.conf")
    if resolv_conf is not None:
        (tmp_path / "resolv.conf").write_text(resolv_conf)
    result = await check.run(world)
    assert (result.outcome, result.because) == ("error", f"A web.example: {told}")


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"name": ""}, "name: '' is not a domain name"),
        ({"name": "a..b"}, "name: 'a..b' is not a domain name"),
        ({"name": "x" * 70}, "name: .* is not a domain name"),
        ({"name": "10.0.0.1"}, "an address can be asked for with type PTR"),
        ({"name": "a", "server": "ns1.example"}, "server: 'ns1.example' is not an address"),
        ({"name": "a", "server": "127.0.0.1:0"}, "server: "),
        ({"name": "a", "server": "127.0.0.1:dns"}, "server: "),
        ({"name": "a", "expect": "rcode"}, "expect: rcode: gives"),
        ({"name": "a", "same_as": ()}, "same_as: an empty set"),
        ({"name": "a", "same_as": ("web.example",)}, "same_as: 'web.example' is not a record of type A"),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        DnsCheck(**params)
