"""GET over connections that are kept: HTTP/1.1 with nothing but what a probe needs, read by llhttp's parser.

A probe of this kind is what a daemon does a thousand times a second, and a client for all of HTTP takes
three times as long for it (docs/decisions/0013-kept-connections.md). Bodies to send, redirects, cookies,
proxies and new connections are aiohttp's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import zlib
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import NamedTuple, Protocol, Self

import aiohappyeyeballs
import httptools
from multidict import CIMultiDict

from checks.wire.watching import Watcher

IDLE_S = 15.0  # a connection that rested for longer may be dead without anybody having said so
HEAD_BYTES_MAX = 65_536
_SECOND_ADDRESS_AFTER_S = 0.25  # RFC 8305 section 5
_SWITCHING = 101
_NO_ANSWER = "the connection was closed before an answer"
_CUT = "the body ended before it was complete"


class Broken(Exception):
    """No answer came, or not the whole of it; the text is a phrase that says so."""


class Peer(NamedTuple):
    """Whom a connection leads to, and as whom. tls: None = plain. server_name: in its certificate."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    server_name: str | None


class Received(NamedTuple):
    """An answer. body: decompressed; None when it was longer than allowed. version: of HTTP, as 1.1."""

    status: int
    fields: CIMultiDict[str]
    body: bytes | None
    version: str


class Listener(Watcher, Protocol):
    """Who waits for the answer."""

    def answer_began(self) -> None:
        """Called when status and headers are there."""
        ...


class Kept:
    """The connections that rest, `idle_s` at most; closed at the end of `async with`. For one event loop."""

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._resting: dict[Peer, deque[tuple[float, _Connection]]] = defaultdict(deque)
        self._sweep: asyncio.TimerHandle | None = None

    async def get(self, peer: Peer, head: bytes, listener: Listener, *, body_bytes_max: int) -> Received:
        """Send `head`, which ends with an empty line, and read the answer.

        A server may close a connection just when it is used again: then the request, which changes nothing,
        is sent once more over a new one. Raises Broken or OSError. Has no deadline: the caller cancels.
        """
        connection = self._take(peer)
        if connection is not None:
            try:
                return await self._ask(peer, connection, head, listener, body_bytes_max)
            except (Broken, OSError):
                if connection.has_heard:
                    raise
        connection = await _connected(peer, listener)
        return await self._ask(peer, connection, head, listener, body_bytes_max)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        for resting in self._resting.values():
            for _, connection in resting:
                connection.close()
        self._resting.clear()
        # The sockets close when the loop turns.
        await asyncio.sleep(0)

    async def _ask(
        self, peer: Peer, connection: _Connection, head: bytes, listener: Listener, body_bytes_max: int
    ) -> Received:
        try:
            received = await connection.ask(head, listener.answer_began, body_bytes_max)
        except BaseException:
            # Cancelled too: the rest of this answer must not become the beginning of the next.
            connection.close()
            raise
        if connection.is_reusable():
            self._rest(peer, connection)
        else:
            connection.close()
        return received

    def _take(self, peer: Peer) -> _Connection | None:
        resting = self._resting.get(peer)
        while resting:
            # The newest: those that are not needed any more grow old and are closed.
            since_s, connection = resting.pop()
            if connection.is_open and monotonic() - since_s <= self._idle_s:
                return connection
            connection.close()
        return None

    def _rest(self, peer: Peer, connection: _Connection) -> None:
        self._resting[peer].append((monotonic(), connection))
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._idle_s, self._close_old)

    def _close_old(self) -> None:
        self._sweep = None
        oldest_s = monotonic() - self._idle_s
        for peer, resting in list(self._resting.items()):
            while resting and (resting[0][0] <= oldest_s or not resting[0][1].is_open):
                resting.popleft()[1].close()
            if not resting:
                del self._resting[peer]
        if self._resting:
            self._sweep = asyncio.get_running_loop().call_later(self._idle_s, self._close_old)


async def _connected(peer: Peer, listener: Listener) -> _Connection:
    loop = asyncio.get_running_loop()
    listener.connection_began()
    is_name = not _is_address(peer.host)
    if is_name:
        listener.name_began()
    found = await loop.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    if is_name:
        listener.name_ended()
    opened = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=_SECOND_ADDRESS_AFTER_S)
    try:
        _, connection = await loop.create_connection(
            _Connection,
            sock=opened,
            ssl=peer.tls,
            server_hostname=(peer.server_name or peer.host) if peer.tls else None,
        )
    except BaseException:
        opened.close()
        raise
    listener.connection_ended()
    return connection


def _is_address(host: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False


class _Connection(asyncio.Protocol):
    """One answer at a time. has_heard: something of the newest one came."""

    def __init__(self) -> None:
        self.is_open = True
        self.has_heard = False
        self._transport: asyncio.Transport | None = None
        self._coming: _Coming | None = None

    async def ask(self, head: bytes, began: Callable[[], None], body_bytes_max: int) -> Received:
        """The answer to one request. Raises Broken or OSError."""
        self.has_heard = False
        if self._transport is None or not self.is_open:
            raise Broken(_NO_ANSWER)
        self._coming = _Coming(began, body_bytes_max)
        self._transport.write(head)
        return await self._coming.received

    def is_reusable(self) -> bool:
        """True if another request may be sent after the newest answer."""
        return self.is_open and self._coming is not None and self._coming.may_another_follow

    def close(self) -> None:
        """Close at once; may be called twice."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.is_open = False
        if self._coming is not None:
            self._coming.end(error)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._coming is None or self._coming.received.done():
            # What nobody asked for belongs to no answer.
            self.close()
            return
        self.has_heard = True
        self._coming.feed(data)


class _Coming:
    """One answer while it arrives. may_another_follow: it has ended where another may begin.

    The methods `on_...` are called by `httptools.HttpResponseParser`.
    """

    def __init__(self, began: Callable[[], None], body_bytes_max: int) -> None:
        self.received: asyncio.Future[Received] = asyncio.get_running_loop().create_future()
        self._began = began
        self._body_bytes_max = body_bytes_max
        self._parser = httptools.HttpResponseParser(self)
        # As lenient as aiohttp, so that an answer is the same whichever way it came.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._head_bytes = self._status = 0
        self._fields: CIMultiDict[str] = CIMultiDict()
        self._body = bytearray()
        self._inflate: _Inflate | None = None
        self.may_another_follow = False

    def feed(self, data: bytes) -> None:
        """Take what came."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.may_another_follow = False
        except httptools.HttpParserError as error:
            self._fail(f"not an HTTP answer ({error})")
        if not self._status:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._fail(f"not an HTTP answer (its headers are longer than {HEAD_BYTES_MAX} bytes)")

    def end(self, error: Exception | None) -> None:
        """Take that the connection ended."""
        if error is not None and not self.received.done():
            self.received.set_exception(error)
        elif not self._status:
            self._fail(_NO_ANSWER)
        elif "Content-Length" in self._fields or "Transfer-Encoding" in self._fields:
            self._fail(_CUT)
        else:
            # Without either header it is the end of the connection that ends the body (RFC 9112 section 6.3).
            self._finish()

    def on_message_begin(self) -> None:
        """Begin; a second answer to one request would be taken for the answer to the next."""
        self.may_another_follow = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those after the body are nobody's."""
        if b"\0" in value:
            # Lenient as it is, the parser takes what RFC 9110 section 5.5 does not.
            self._fail("not an HTTP answer (a zero byte in a header)")
        if not self._status:
            self._fields.add(
                name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
            )

    def on_headers_complete(self) -> None:
        """Take the status, unless more is to come before the answer (RFC 9110 section 15.2)."""
        status = self._parser.get_status_code()
        if status < 200 and status != _SWITCHING:
            self._fields.clear()
        elif not self._status:
            self._status = status
            self._inflate = _inflate(self._fields.get("Content-Encoding", ""))
            self._began()

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        if self.received.done():
            return
        if self._inflate is not None:
            try:
                part = self._inflate.part(part, self._body_bytes_max + 1 - len(self._body))
            except zlib.error:
                self._fail(_CUT)
                return
        self._body += part
        if len(self._body) > self._body_bytes_max:
            self._set(None)

    def on_message_complete(self) -> None:
        """End the answer."""
        if self._status:
            # Only now: the parser has forgotten it afterwards.
            self.may_another_follow = self._parser.should_keep_alive()
            self._finish()

    def _finish(self) -> None:
        if self._inflate is not None and self._inflate.is_incomplete:
            self._fail(_CUT)
        else:
            self._set(bytes(self._body))

    def _set(self, body: bytes | None) -> None:
        if not self.received.done():
            version = self._parser.get_http_version()
            self.received.set_result(Received(self._status, self._fields, body, version))

    def _fail(self, phrase: str) -> None:
        if not self.received.done():
            self.received.set_exception(Broken(phrase))


class _Inflate:
    """Decompresses a body, never more than is asked for."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._stream: zlib._Decompress | None = None

    @property
    def is_incomplete(self) -> bool:
        """True in the middle of what was compressed; nothing at all is complete."""
        return self._stream is not None and not self._stream.eof

    def part(self, data: bytes, bytes_max: int) -> bytes:
        """Raises zlib.error for what was not compressed that way."""
        if self._stream is None:
            # Some servers send `deflate` without the header that RFC 9110 section 8.4.1.2 wants.
            is_bare = self._bits == zlib.MAX_WBITS and data[0] & 0x0F != zlib.DEFLATED
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS if is_bare else self._bits)
        return self._stream.decompress(data, bytes_max)


def _inflate(encoding: str) -> _Inflate | None:
    match encoding.strip().lower():
        case "gzip" | "x-gzip":
            return _Inflate(zlib.MAX_WBITS | 16)
        case "deflate":
            return _Inflate(zlib.MAX_WBITS)
    return None
