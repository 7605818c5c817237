"""One bounded HTTP exchange with a receiver of ours: what every target and channel that speaks HTTP uses.

Nothing is followed, decompressed, retried or believed: one connection, one request, a status and at most
64 KiB of answer, or a sentence saying how far it got. Policy stays with the caller.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import SimpleNamespace

import aiohttp
from yarl import URL

ANSWER_BYTES_MAX = 64 * 1024
ANSWER_S_MAX = 5.0
_EXCERPT_CHARS = 500
_CREDENTIALS = re.compile(
    r"(?i)\b(?:whsec_|xox[a-z]-)\S+|\b(?:bearer|basic)\s+[^\s\"']+|\bv1,[A-Za-z0-9+/=]{40,}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the receiver said. body: at most ANSWER_BYTES_MAX, cut off where it was slow or longer."""

    status: int
    body: bytes
    retry_after_s: float | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """Nothing came back. may_have_arrived: request bytes had left us, so the receiver may have acted."""

    because: str
    may_have_arrived: bool


def checked_url(text: str, key: str) -> URL:
    """The URL, or ValueError naming `key`: http or https, with a host, without user name or fragment."""
    try:
        url = URL(text)
    except ValueError:
        raise ValueError(f"{key}: not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{key}: write a full URL that begins with https:// or http://")
    if url.user is not None or url.password is not None:
        raise ValueError(f"{key}: no user name or password in a URL; put them into `headers`")
    if url.fragment:
        raise ValueError(f"{key}: a receiver never sees what follows `#`; remove it")
    return url


def retry_after_s(header: str | None, now: float) -> float | None:
    """Seconds asked for by a Retry-After header (seconds or an HTTP date); None for anything else."""
    if header is None or len(header) > 64:
        return None
    text = header.strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = moment.timestamp() - now
    return max(0.0, seconds) if math.isfinite(seconds) else None


def excerpt(body: bytes, hide: Iterable[str]) -> str:
    """The first 500 characters of an answer, on one line, without `hide` and what looks like a credential.

    Hidden first and cut afterwards: a secret that lies across the border must not survive in halves.
    """
    text = body.decode("utf-8", "replace")
    for secret in sorted({s for s in hide if len(s) >= 3}, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _CREDENTIALS.sub("***", text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_EXCERPT_CHARS]


@dataclass(slots=True)
class Poster:
    """A client of one receiver. The connection is opened for each request and closed after it.

    A connection kept open may have been closed by the other side, and then a reset would leave open whether
    the request was processed: the one question that must not be muddied.
    """

    _session: aiohttp.ClientSession | None = field(init=False, repr=False, default=None)

    async def exchange(
        self,
        method: str,
        url: URL,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout_s: float,
        now: float,
    ) -> Answer | NoAnswer:
        """One request within `timeout_s` in all. Never raises for what the world does.

        now: epoch seconds, only to read a Retry-After that is a date.
        """
        progress = SimpleNamespace(has_left=False)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        try:
            async with self._open().request(
                method,
                url,
                data=body,
                headers={"Accept-Encoding": "identity", "User-Agent": "deploy-watchdog", **headers},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                trace_request_ctx=progress,
            ) as response:
                return Answer(
                    status=response.status,
                    body=await _read(response, min(deadline, loop.time() + ANSWER_S_MAX)),
                    retry_after_s=retry_after_s(response.headers.get("Retry-After"), now),
                    location=response.headers.get("Location"),
                )
        except TimeoutError:
            return NoAnswer(because=f"no answer within {timeout_s:g} s", may_have_arrived=progress.has_left)
        except (aiohttp.ClientError, OSError) as error:
            return NoAnswer(because=_described(error), may_have_arrived=progress.has_left)

    async def close(self) -> None:
        """Release the session; may be called twice, and the next exchange opens a new one."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_note_departure)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # a small compressed answer must not become a large one
                trace_configs=[trace],
            )
        return self._session


async def _note_departure(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceRequestHeadersSentParams,
) -> None:
    context.trace_request_ctx.has_left = True


async def _read(response: aiohttp.ClientResponse, deadline: float) -> bytes:
    """What arrives of the body until the deadline (loop time) or the limit; the status says the rest."""
    held = bytearray()
    try:
        async with asyncio.timeout_at(deadline):
            while len(held) < ANSWER_BYTES_MAX:
                chunk = await response.content.read(ANSWER_BYTES_MAX - len(held))
                if not chunk:
                    break
                held += chunk
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    # Not read to its end: the connection must go, or leaving the context would wait for the rest.
    response.close()
    return bytes(held)


def _described(error: aiohttp.ClientError | OSError) -> str:
    """In our own words: the texts of the library hold whole URLs, and a URL may hold a token."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if not isinstance(cause, OSError):
        return type(error).__name__
    # asyncio puts addresses where the reason belongs; resolver errors have negative numbers and good texts.
    reason = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
