"""Kind `dns`: one question to one name server, its answer judged as resolvers would take it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.inet
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.reversename
from dns.rdtypes.txtbase import TXTBase

from checks.blame import Problem, blame
from checks.expressions.expression import Expression, compiled
from checks.expressions.values import SHOWN_CHARS_MAX, show
from checks.model import CheckResult, Outcome, World
from checks.text import finish, sign

PORT = 53
EXPECT = 'rcode == "NOERROR" && size(answers) > 0'
VARIABLES = {"rcode": "string", "answers": "list<string>", "ttl": "int", "total": "duration"}

Type = Literal["A", "AAAA", "CNAME", "MX", "TXT", "NS", "SRV", "PTR", "SOA", "CAA"]
Server = tuple[str, int]


@dataclass(slots=True, kw_only=True)
class DnsCheck:
    """Ask for the records of a name, once, and expect something of the answer.

    name: the name in full; for PTR also an address. type: of the records.
    server: address[:port] ([address]:port for IPv6) of the name server to ask; one that does not answer is a
    failure. Without it those of this machine are asked in turn; if none answers, that is an `error`.
    transport: `udp` asks again over TCP where the answer was cut short, as every resolver does.
    expect: CEL over rcode (`NOERROR`, `NXDOMAIN`, ...), answers (records of that type in the spelling of a
    zone file, sorted, names ending in a dot; a TXT record is its text without quotes), ttl (the smallest on
    the way to the answers, in seconds; absent without answers) and total (a duration).
    same_as: the records that must be there, no more and no fewer, in any order.
    Readings: total_s, ttl_s, answers (how many); of answers that came.
    """

    name: str
    type: Type = "A"
    server: str | None = None
    transport: Literal["udp", "tcp"] = "udp"
    expect: str = EXPECT
    same_as: tuple[str, ...] | None = None
    _question: dns.name.Name = field(init=False, repr=False, compare=False)
    _server: Server | None = field(init=False, repr=False, compare=False)
    _expect: Expression = field(init=False, repr=False, compare=False)
    _same_as: frozenset[str] | None = field(init=False, repr=False, compare=False)
    _resolv_conf: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._question = _question(self.name, self.type)
        self._server = None if self.server is None else _address(self.server)
        self._resolv_conf = "/etc/resolv.conf"
        self._expect = compiled("expect", self.expect, VARIABLES)
        self._same_as = None
        if self.same_as is not None:
            if not self.same_as:
                raise ValueError("same_as: an empty set; leave it out and expect size(answers) == 0")
            self._same_as = frozenset(_record(text, self.type) for text in self.same_as)

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        began_s = world.mono_s()
        reply = await self._reply(world)
        total_s = world.mono_s() - began_s
        place = f"{self.type} {self.name}" + (f" at {self.server}" if self.server else "")
        if isinstance(reply, Problem):
            because = f"{place}: {reply.because}"
            details = (f"{sign(reply.outcome)} DNS {because}",)
            return finish(reply.outcome, because, readings={}, details=details)
        rcode = dns.rcode.to_text(reply.rcode())
        try:
            answers, ttl_s = _answers(reply)
        except dns.exception.DNSException as error:
            because = f"{place}: the answer does not belong to the question ({type(error).__name__})"
            return finish("fail", because, readings={}, details=(f"{sign('fail')} DNS {because}",))
        problem = self._judge(rcode, answers, ttl_s, total_s)
        outcome: Outcome = problem.outcome if problem else "pass"
        return finish(
            outcome,
            f"{place}: {problem.because}" if problem else "",
            readings={
                "total_s": total_s,
                "answers": float(len(answers)),
                **({} if ttl_s is None else {"ttl_s": float(ttl_s)}),
            },
            details=(
                f"{sign(outcome)} DNS {place}  {rcode}  total {total_s * 1000:.0f} ms",
                *(f"     {answer}  ttl {ttl_s} s" for answer in answers),
            ),
        )

    async def _reply(self, world: World) -> dns.message.Message | Problem:
        """What the name server says. Of our own resolvers each gets an equal part of the time."""
        if self._server is not None:
            return await self._ask(self._server, world.timeout_s)
        servers = _system_servers(self._resolv_conf)
        told = []
        for server in servers:
            reply = await self._ask(server, world.timeout_s / len(servers))
            if not isinstance(reply, Problem):
                return reply
            told.append(f"{server[0]}: {reply.because}")
        return Problem("error", f"the resolvers of this machine do not answer ({'; '.join(told) or 'none'})")

    async def _ask(self, server: Server, timeout_s: float) -> dns.message.Message | Problem:
        address, port = server
        query = dns.message.make_query(self._question, self.type)
        try:
            async with asyncio.timeout(timeout_s):
                if self.transport == "tcp":
                    return await dns.asyncquery.tcp(query, address, port=port)
                async with await _datagram_socket(server) as udp_sock:
                    reply, _ = await dns.asyncquery.udp_with_fallback(
                        query, address, port=port, ignore_unexpected=True, udp_sock=udp_sock
                    )
                    return reply
        except TimeoutError:
            return Problem("fail", f"no answer within {timeout_s:g} s")
        except EOFError:
            return Problem("fail", "the connection was closed before an answer")
        except OSError as error:
            return Problem(*blame(error))
        except dns.exception.DNSException as error:
            return Problem("fail", f"not a DNS answer ({type(error).__name__})")

    def _judge(self, rcode: str, answers: Sequence[str], ttl_s: int | None, total_s: float) -> Problem | None:
        values: dict[str, Any] = {
            "rcode": rcode,
            "answers": list(answers),
            "total": timedelta(seconds=total_s),
            **({} if ttl_s is None else {"ttl": ttl_s}),
        }
        judgement = self._expect.judge(values, _shown)
        if judgement.kind != "true":
            return Problem(judgement.outcome, judgement.because)
        if self._same_as is None or self._same_as == frozenset(answers):
            return None
        missing = sorted(self._same_as - frozenset(answers))
        surplus = sorted(frozenset(answers) - self._same_as)
        parts = [
            f"{word} {_shown(records)}"
            for word, records in (("missing", missing), ("not expected", surplus))
            if records
        ]
        return Problem("fail", f"answers differ from same_as: {', '.join(parts)}")


async def _datagram_socket(server: Server) -> Any:
    """Connected, so that a port where nobody listens is told at once and not by silence."""
    family = dns.inet.af_for_address(server[0])
    backend: Any = dns.asyncbackend.get_default_backend()
    return await backend.make_socket(family, socket.SOCK_DGRAM, destination=server)


def _question(name: str, kind: Type) -> dns.name.Name:
    if kind == "PTR" and dns.inet.is_address(name):
        return dns.reversename.from_address(name)
    try:
        question = dns.name.from_text(name)
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"name: {name!r} is not a domain name ({error})") from None
    if not name or dns.inet.is_address(name):
        raise ValueError(f"name: {name!r} is not a domain name; an address can be asked for with type PTR")
    return question


def _address(server: str) -> Server:
    host, separator, port = server.rpartition(":")
    if dns.inet.is_address(server) or not separator:
        host, port = server, str(PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not dns.inet.is_address(host) or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError(
            f"server: {server!r} is not an address; write 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53"
        )
    return host, int(port)


def _record(text: str, kind: Type) -> str:
    """One record of `same_as` as it is spelled among the answers."""
    if kind == "TXT":
        return text
    try:
        return _spelled(
            dns.rdata.from_text(dns.rdataclass.IN, kind, text, origin=dns.name.root, relativize=False)
        )
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"same_as: {text!r} is not a record of type {kind} ({error})") from None


def _spelled(record: dns.rdata.Rdata) -> str:
    """In the spelling of a zone file, names in lower case, because servers may echo them in any."""
    if isinstance(record, TXTBase):
        return b"".join(record.strings).decode("utf-8", "replace")
    text = record.to_text()
    return text if record.rdtype == dns.rdatatype.CAA else text.lower()


def _answers(reply: dns.message.Message) -> tuple[list[str], int | None]:
    """The records asked for, found along the chain of CNAMEs, and the smallest TTL on the way.

    Raises DNSException for a section that does not lead from the question to its answers.
    """
    if not reply.answer or not isinstance(reply, dns.message.QueryMessage):
        return [], None
    chain = reply.resolve_chaining()
    if chain.answer is None:
        return [], None
    return sorted(_spelled(record) for record in chain.answer), chain.minimum_ttl


def _system_servers(resolv_conf: str) -> list[Server]:
    """The name servers of this machine, in the order of its configuration."""
    try:
        resolver = dns.resolver.Resolver(filename=resolv_conf)
    except dns.resolver.NoResolverConfiguration:
        return []
    return [(str(server), PORT) for server in resolver.nameservers]


def _shown(value: Any) -> str:
    """Lists of records are worth more than their length."""
    if not isinstance(value, list):
        return show(value)
    text = f"[{', '.join(value)}]"
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…"
