"""Kind `websocket`: open a connection, say something, and wait for the right message."""

from __future__ import annotations

import asyncio
import json as json_module
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
from pydantic import SecretStr
from yarl import URL

from checks.blame import Problem
from checks.expressions.expression import Expression, Judgement, compiled
from checks.expressions.values import parse_json, show
from checks.model import CheckResult, Outcome, World
from checks.text import Mask, finish, sign, telling_values
from checks.web.exchange import blame_exchange, open_session
from checks.web.messages import identity
from checks.web.request import refuse_headers, secrets_of, shown_url
from checks.web.stages import RESOLVING, Stages
from checks.wire.trust import system_trust
from checks.wire.watching import WATCHER

MESSAGE_BYTES_MAX = 1_048_576
CLOSE_S = 0.5  # how long the other side may take to say goodbye
VARIABLES = {"text": "string", "json": "dyn", "total": "duration", "subprotocol": "string"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(slots=True, kw_only=True, repr=False)
class WebsocketCheck:
    """Open a WebSocket, send `send` if given, and read until a message is as expected.

    url: ws://host/path or wss://host/path. headers: values are treated as secrets. subprotocols: those
    offered, in order of preference.
    send: one message; a text as it is, anything else as JSON.
    expect: CEL over text, json (absent if the message is not JSON), total (a duration since the start) and
    subprotocol (absent if the server chose none). One that needs no message is judged when the connection
    is open; without it an open connection is enough. messages_max: how many messages may come until one is
    as expected.
    Readings: dns_s, connect_s, tls_s and certificate_days (of wss), first_message_s and total_s from the
    start; only of runs in which the connection was opened.
    """

    url: str
    headers: Mapping[str, SecretStr] = field(default_factory=dict)
    subprotocols: tuple[str, ...] = ()
    send: Any = None
    expect: str | None = None
    messages_max: int = 10
    _message: str | None = field(init=False, repr=False, compare=False)
    _expect: Expression = field(init=False, repr=False, compare=False)
    _mask: Mask = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _refuse_url(self.url)
        refuse_headers(self.headers)
        if any(name.lower() == "authorization" for name in self.headers) and URL(self.url).user is not None:
            raise ValueError("headers: Authorization and user:password in the URL exclude each other")
        for name in self.subprotocols:
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"subprotocols: {name!r} is not a token of RFC 7230, such as graphql-ws")
        if not 1 <= self.messages_max <= 1000:
            raise ValueError("messages_max: write a number from 1 to 1000")
        try:
            self._message = (
                self.send
                if self.send is None or isinstance(self.send, str)
                else json_module.dumps(self.send, allow_nan=False)
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"send: cannot be sent as JSON ({error})") from None
        self._expect = compiled("expect", "true" if self.expect is None else self.expect, VARIABLES)
        # Read now, because it takes longer than the loop should wait.
        system_trust()
        self._mask = Mask([*secrets_of(self.url, self.headers), *telling_values(self.send)])

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        visit = _Visit(Stages(world.mono_s, world.now_s))
        watching = WATCHER.set(visit.stages)
        try:
            async with open_session(world) as session:
                problem = await self._visit(session, world, visit)
        finally:
            WATCHER.reset(watching)
        place = shown_url(self.url)
        outcome: Outcome = problem.outcome if problem else "pass"
        return finish(
            outcome,
            f"{place}: {problem.because}" if problem else "",
            readings=visit.readings(),
            details=(
                f"{sign(outcome)} {place}  {visit.line()}",
                f"trace {world.run_id}",
            ),
            mask=self._mask,
        )

    async def _visit(self, session: aiohttp.ClientSession, world: World, visit: _Visit) -> Problem | None:
        """None if it went as expected; the connection is closed either way."""
        connection = None
        stages = visit.stages
        try:
            async with asyncio.timeout(world.timeout_s):
                connection = await session.ws_connect(
                    self.url,
                    headers={**identity(world.run_id), **_plain(self.headers)},
                    protocols=self.subprotocols,
                    ssl=system_trust(),
                    max_msg_size=MESSAGE_BYTES_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                )
                visit.is_open, stages.at = True, "connected, but silent"
                problem = await self._talk(connection, visit)
                stages.total_s = stages.spent_s()
                return problem
        except TimeoutError:
            outcome: Outcome = "error" if stages.at == RESOLVING else "fail"
            within = f"within {world.timeout_s:g} s"
            because = f"{visit.told}, {within}" if visit.told else f"no answer {within} ({stages.at})"
            return Problem(outcome, because)
        except aiohttp.WSServerHandshakeError as error:
            return Problem(
                "fail", f"the server did not open a WebSocket ({error.message}, status {error.status})"
            )
        except (aiohttp.ClientError, OSError) as error:
            return Problem(*blame_exchange(error))
        finally:
            if connection is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(2 * CLOSE_S):
                        await connection.close()

    async def _talk(self, connection: aiohttp.ClientWebSocketResponse, visit: _Visit) -> Problem | None:
        known = {} if connection.protocol is None else {"subprotocol": connection.protocol}
        if self._message is not None:
            await connection.send_str(self._message)
        if not self._expect.names & {"text", "json"}:
            return _problem(self._judge(known, visit))
        judgement = Judgement("true")
        for _ in range(self.messages_max):
            message = await connection.receive()
            match message.type:
                case aiohttp.WSMsgType.TEXT:
                    text = message.data
                case aiohttp.WSMsgType.BINARY:
                    text = message.data.decode("utf-8", "replace")
                case _:
                    return _ended(message, connection.close_code, visit)
            visit.take_message()
            judgement = self._judge({**known, **self._values(text)}, visit)
            if judgement.kind in ("true", "too_much"):
                return _problem(judgement)
            visit.told = f"no message as expected, the last of {visit.messages}: {judgement.because}"
        return Problem("fail", visit.told)

    def _values(self, text: str) -> dict[str, Any]:
        values: dict[str, Any] = {"text": text}
        if "json" in self._expect.names:
            with suppress(ValueError):
                values["json"] = parse_json(text.encode("utf-8", "replace"))
        return values

    def _judge(self, values: Mapping[str, Any], visit: _Visit) -> Judgement:
        return self._expect.judge({**values, "total": timedelta(seconds=visit.stages.spent_s())})


@dataclass(slots=True)
class _Visit:
    """How far one run came. told: what to say of the messages so far that were not as expected."""

    stages: Stages
    is_open: bool = False
    messages: int = 0
    first_message_s: float | None = None
    told: str = ""

    def take_message(self) -> None:
        """Count a message."""
        self.messages += 1
        if self.first_message_s is None:
            self.first_message_s = self.stages.spent_s()

    def readings(self) -> dict[str, float]:
        """The stages that happened, if a connection came about."""
        if not self.is_open:
            return {}
        first = {} if self.first_message_s is None else {"first_message_s": self.first_message_s}
        return {**self.stages.readings(), **first}

    def line(self) -> str:
        """The stages and the number of messages, for people."""
        return f"{self.stages.line()}  messages {self.messages}".strip()


def _refuse_url(url: str) -> None:
    try:
        is_complete = re.match(r"wss?://[^/?#]+", url) is not None and URL(url).host is not None
    except ValueError:
        is_complete = False
    if not is_complete:
        raise ValueError(f"url: {shown_url(url)!r} is not a WebSocket URL; write wss://host/path")


def _plain(headers: Mapping[str, SecretStr]) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in headers.items()}


def _problem(judgement: Judgement) -> Problem | None:
    if judgement.kind == "true":
        return None
    return Problem(judgement.outcome, judgement.because)


def _ended(message: aiohttp.WSMessage, close_code: int | None, visit: _Visit) -> Problem:
    """Why no further message comes: the other side closed, broke the protocol, or said too much."""
    if close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG and message.type is aiohttp.WSMsgType.ERROR:
        return Problem("error", f"a message is longer than {MESSAGE_BYTES_MAX} bytes, which is our own limit")
    if message.type is aiohttp.WSMsgType.ERROR:
        what = f"the protocol was broken ({message.data})"
    else:
        reason = f", {show(message.extra)}" if message.extra else ""
        what = f"the other side closed the connection (code {close_code}{reason})"
    return Problem("fail", f"{what} {f'after: {visit.told}' if visit.told else 'before a message'}")
