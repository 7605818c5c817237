"""Receivers for Slack, PagerDuty and rollbacks: strict, recording, and as unruly as a test wants.

A receiver keeps the contract of the real service (status, body, what it refuses), records every request and
counts effects by key. `script` makes single requests go wrong, by the names in BEHAVIOURS.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import jsonschema
from aiohttp import web
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

from watchdog.signing import SigningKeys

# 20 MB of zeros, made before anybody waits for them.
_BOMB = gzip.compress(bytes(20_000_000), compresslevel=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it arrived. headers: names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body parsed."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a receiver answers when it behaves."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Receiver:
    """An HTTP server on a free loopback port.

    received: every request, in order, also those that went wrong. script: behaviours for the next requests;
    when it is empty, `always` (or the contract) holds. arrived: set and replaced at each request.
    """

    def __init__(self, *, always: str = "contract") -> None:
        self.received: list[Received] = []
        self.script: deque[str] = deque()
        self.always = always
        self.url = ""
        self._runner: web.AppRunner | None = None

    def process(self, received: Received) -> Reply:
        """Have the effect, and answer as the contract says."""
        return Reply(status=200)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen; sets `url`."""
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        bound = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{bound}"

    async def stop(self) -> None:
        """End; requests that hang are cancelled."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        received = Received(
            method=request.method,
            path=request.path_qs,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        self.received.append(received)
        name = self.script.popleft() if self.script else self.always
        return await BEHAVIOURS[name](self, request, received)


class RollbackReceiver(Receiver):
    """A deployer's rollback endpoint.

    honours_key: the same `Idempotency-Key` again has no second effect and gets the first answer.
    effects: executions by key. conflicts: keys that came again with another body. unsigned: requests whose
    signature did not hold, when `secret` is given. states: by key, what GET /rollbacks/<key> says.
    """

    def __init__(
        self,
        *,
        honours_key: bool = True,
        secret: str | None = None,
        always: str = "contract",
        status: int = 200,
    ) -> None:
        super().__init__(always=always)
        self.honours_key = honours_key
        self.keys = SigningKeys.parse([secret]) if secret else None
        self.status = status
        self.effects: Counter[str] = Counter()
        self.bodies: dict[str, bytes] = {}
        self.conflicts: list[str] = []
        self.unsigned: list[Received] = []
        self.states: dict[str, str] = {}

    def process(self, received: Received) -> Reply:
        """Execute once per key (or every time), or tell the state of a rollback."""
        if received.method == "GET":
            key = received.path.rpartition("/")[2]
            return Reply(status=200, body=json.dumps({"state": self.states.get(key, "running")}))
        key = received.headers.get("idempotency-key", "")
        if self.keys is not None:
            stamp = float(received.headers.get("webhook-timestamp", "0"))
            if self.keys.problem(received.headers, received.body, stamp) is not None:
                self.unsigned.append(received)
                return Reply(status=401, body="bad signature")
        if self.bodies.setdefault(key, received.body) != received.body:
            self.conflicts.append(key)
        if not (self.honours_key and self.effects[key]):
            self.effects[key] += 1
        location = {"Location": f"/rollbacks/{key}"} if self.status == 202 else {}
        return Reply(status=self.status, body="{}", headers=location)


class SlackReceiver(Receiver):
    """An incoming webhook: `ok` for a message that Slack would take, else its error texts."""

    def __init__(self, *, always: str = "contract") -> None:
        super().__init__(always=always)
        self.messages: list[dict[str, Any]] = []

    def process(self, received: Received) -> Reply:
        """Take the message or refuse it as Slack does."""
        try:
            message = received.json
        except ValueError:
            return Reply(status=400, body="invalid_payload")
        if not isinstance(message, dict) or not message.get("text"):
            return Reply(status=400, body="no_text")
        if problem := slack_problem(message):
            return Reply(status=400, body=f"invalid_blocks: {problem}")
        self.messages.append(message)
        return Reply(status=200, body="ok")


def slack_problem(message: Mapping[str, Any]) -> str | None:
    """Why Slack would not take the blocks: the models of slack_sdk, and the limits those leave out."""
    blocks = message.get("blocks", [])
    if len(blocks) > 50:
        return "more than 50 blocks"
    if len(message["text"]) > 40_000:
        return "text too long"
    if len(json.dumps(blocks, ensure_ascii=False)) > 13_200 + 150 * len(blocks):
        return "msg_blocks_too_long"
    try:
        for block in blocks:
            parsed = Block.parse(block)
            if parsed is None:
                return f"unknown block {block.get('type')}"
            parsed.validate_json()
            text = block.get("text", {}).get("text", "x")
            if not 0 < len(text.encode("utf-16-le")) // 2 <= 3000:
                return "section text must be 1 to 3000 characters"
    except SlackObjectFormationError as error:
        return str(error)
    return None


_LINKS = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["href"],
        "properties": {"href": {"type": "string", "pattern": "^https?://"}, "text": {"type": "string"}},
    },
}
_TIMESTAMP = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)$"}
_FLAT = {"type": "object", "additionalProperties": {"type": "string"}}
_KEY = {"type": "string", "pattern": "^[A-Za-z0-9]{32}$"}
_SUMMARY = {"type": "string", "minLength": 1, "maxLength": 1024}
PAGERDUTY_EVENT: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["routing_key", "event_action"],
    "properties": {
        "routing_key": _KEY,
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "payload": {
            "type": "object",
            "additionalProperties": False,
            "required": ["summary", "source", "severity"],
            "properties": {
                "summary": _SUMMARY,
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": _TIMESTAMP,
                "component": {"type": "string"},
                "group": {"type": "string"},
                "class": {"type": "string"},
                "custom_details": _FLAT,
            },
        },
        "links": _LINKS,
        "client": {"type": "string"},
        "client_url": {"type": "string", "pattern": "^https?://"},
    },
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}
PAGERDUTY_CHANGE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["routing_key", "payload"],
    "properties": {
        "routing_key": {"type": "string", "pattern": "^(?!R)[A-Za-z0-9]{32}$"},
        "payload": {
            "type": "object",
            "additionalProperties": False,
            "required": ["summary"],
            "properties": {
                "summary": _SUMMARY,
                "source": {"type": "string"},
                "timestamp": _TIMESTAMP,
                "custom_details": _FLAT,
            },
        },
        "links": _LINKS,
    },
}


class PagerDutyReceiver(Receiver):
    """The Events API v2. open: incidents by dedup key. stray: resolves for which no incident was open."""

    def __init__(self, *, always: str = "contract") -> None:
        super().__init__(always=always)
        self.events: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        self.open: Counter[str] = Counter()
        self.stray: list[str] = []

    def process(self, received: Received) -> Reply:
        """Accept an event that PagerDuty would accept."""
        is_change = received.path == "/v2/change/enqueue"
        if len(received.body) > 512_000:
            return Reply(status=413)
        if not is_change and received.path != "/v2/enqueue":
            return Reply(status=404)
        event = received.json
        try:
            jsonschema.validate(event, PAGERDUTY_CHANGE if is_change else PAGERDUTY_EVENT)
        except jsonschema.ValidationError as error:
            answer = {
                "status": "invalid event",
                "message": "Event object is invalid",
                "errors": [error.message],
            }
            return Reply(status=400, body=json.dumps(answer))
        if is_change:
            self.changes.append(event)
        else:
            self.events.append(event)
            key = event.get("dedup_key", "")
            if event["event_action"] == "trigger":
                self.open[key] = 1
            elif not self.open.pop(key, 0):
                self.stray.append(key)
        return Reply(status=202, body=json.dumps({"status": "success", "message": "Event processed"}))


Behaviour = Callable[[Receiver, web.Request, Received], Awaitable[web.StreamResponse]]


def _web(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, text=reply.body, headers=reply.headers)


async def _contract(receiver: Receiver, _request: web.Request, received: Received) -> web.StreamResponse:
    return _web(receiver.process(received))


def _answers(status: int, body: str = "", **headers: str) -> Behaviour:
    async def answer(_receiver: Receiver, request: web.Request, _received: Received) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        said = body.replace("<echo>", f"{dict(request.headers)} {request.path_qs}")
        return web.Response(status=status, text=said, headers=named)

    return answer


async def _reset_before(_receiver: Receiver, request: web.Request, _received: Received) -> web.StreamResponse:
    return _reset(request)


async def _reset_after(receiver: Receiver, request: web.Request, received: Received) -> web.StreamResponse:
    receiver.process(received)
    return _reset(request)


async def _partial_status(receiver: Receiver, request: web.Request, received: Received) -> web.StreamResponse:
    receiver.process(received)
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 20")
    request.transport.close()
    return web.Response()


async def _not_http(_receiver: Receiver, request: web.Request, _received: Received) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n")
    request.transport.close()
    return web.Response()


async def _huge_headers(_receiver: Receiver, request: web.Request, _received: Received) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\n" + b"X-Pad: " + b"p" * 200_000 + b"\r\n\r\n")
    request.transport.close()
    return web.Response()


async def _hangs(_receiver: Receiver, _request: web.Request, _received: Received) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def _hangs_after(receiver: Receiver, request: web.Request, received: Received) -> web.StreamResponse:
    receiver.process(received)
    return await _hangs(receiver, request, received)


async def _endless_body(receiver: Receiver, request: web.Request, received: Received) -> web.StreamResponse:
    reply = receiver.process(received)
    response = web.StreamResponse(status=reply.status)
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65_536)


async def _body_never_ends(
    receiver: Receiver, request: web.Request, received: Received
) -> web.StreamResponse:
    reply = receiver.process(received)
    response = web.StreamResponse(status=reply.status)
    await response.prepare(request)
    await response.write(reply.body.encode() or b"{}")
    return await _hangs(receiver, request, received)


async def _compressed_bomb(
    receiver: Receiver, request: web.Request, received: Received
) -> web.StreamResponse:
    reply = receiver.process(received)
    return web.Response(status=reply.status, body=_BOMB, headers={"Content-Encoding": "gzip"})


def _reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


BEHAVIOURS: dict[str, Behaviour] = {
    "contract": _contract,
    "200 html": _answers(200, "<html>sign in</html>"),
    "204": _answers(204),
    "301": _answers(301, Location="/elsewhere"),
    "302": _answers(302, Location="http://169.254.169.254/latest"),
    "307": _answers(307, Location="/elsewhere"),
    "308": _answers(308, Location="/elsewhere"),
    "400": _answers(400, "bad"),
    "400 echo": _answers(400, "you sent <echo>"),
    "401": _answers(401),
    "403": _answers(403),
    "404": _answers(404, "no such thing"),
    "408": _answers(408),
    "409": _answers(409, "an older epoch"),
    "410": _answers(410, "gone"),
    "425": _answers(425),
    "429": _answers(429),
    "429 seconds": _answers(429, Retry_After="7"),
    "429 date": _answers(429, Retry_After="Fri, 15 Jan 2027 08:00:20 GMT"),
    "429 garbage": _answers(429, Retry_After="soon; \u00b2"),
    "429 ages": _answers(429, Retry_After="1000000000"),
    "500": _answers(500, "oops"),
    "500 echo": _answers(500, "you sent <echo>"),
    "503": _answers(503, Retry_After="3"),
    "reset before": _reset_before,
    "reset after": _reset_after,
    "partial status": _partial_status,
    "not http": _not_http,
    "huge headers": _huge_headers,
    "hangs": _hangs,
    "hangs after": _hangs_after,
    "endless body": _endless_body,
    "body never ends": _body_never_ends,
    "compressed bomb": _compressed_bomb,
}


def patience_s(behaviour: str) -> float:
    """A deadline for who sends: short for an answer that never ends, else more than a busy machine needs."""
    return 1.0 if behaviour in ("hangs", "hangs after", "body never ends") else 10.0


@contextmanager
def in_thread(*receivers: Receiver) -> Iterator[None]:
    """Run receivers beside a test that is not asynchronous, or whose loop is busy watching a process."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True, name="receivers")
    thread.start()
    try:
        for receiver in receivers:
            asyncio.run_coroutine_threadsafe(receiver.start(), loop).result(10)
        yield
    finally:
        for receiver in receivers:
            asyncio.run_coroutine_threadsafe(receiver.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
