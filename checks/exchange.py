"""One HTTP exchange: sent, timed by stage, bounded, and its failures told apart.

Shared by the kinds that speak HTTP, so that a refused connection means the same in each of them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from checks.blame import Problem, blame
from checks.model import Outcome, World

USER_AGENT = "deploy-watchdog (synthetic check)"
CHUNK_BYTES = 65_536
REDIRECTS_MAX = 5
RESOLVING = "resolving the name"  # the one stage whose slowness is ours
VARIABLES: Mapping[str, str] = {
    "status": "int",
    "headers": "map<string,string>",
    "text": "string",
    "json": "dyn",
    "dns": "duration",
    "connect": "duration",
    "first_byte": "duration",
    "total": "duration",
}


@dataclass(slots=True)
class Stages:
    """How long each stage took, in seconds; filled while the exchange goes on.

    dns_s and connect_s are None where the stage did not happen (a cached name, a reused connection).
    connect_s includes the TLS handshake, which aiohttp does not report apart. first_byte_s and total_s
    count from the start.
    """

    mono_s: Callable[[], float]
    at: str = "connecting"
    dns_s: float | None = None
    connect_s: float | None = None
    first_byte_s: float | None = None
    total_s: float | None = None
    body_bytes: int | None = None
    began_s: dict[str, float] = field(default_factory=dict)

    def begin(self, stage: str) -> None:
        """Note when a stage began."""
        self.began_s[stage] = self.mono_s()

    def readings(self, prefix: str = "") -> dict[str, float]:
        """The stages that happened, named with their unit."""
        names = ("dns_s", "connect_s", "first_byte_s", "total_s", "body_bytes")
        return {prefix + name: float(value) for name in names if (value := getattr(self, name)) is not None}

    def line(self) -> str:
        """`dns 2 connect 3 first byte 120 total 131 ms`, of what happened."""
        named = {
            "dns": self.dns_s,
            "connect": self.connect_s,
            "first byte": self.first_byte_s,
            "total": self.total_s,
        }
        parts = [f"{name} {value * 1000:.0f}" for name, value in named.items() if value is not None]
        return " ".join(parts) + " ms" if parts else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response that was read to its end; body is None when it was longer than allowed."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    charset: str
    stages: Stages

    def text(self) -> str:
        """The body as text; bytes that do not belong to the charset become U+FFFD."""
        try:
            return (self.body or b"").decode(self.charset, "replace")
        except LookupError:
            return (self.body or b"").decode("utf-8", "replace")

    def values(self) -> dict[str, Any]:
        """The CEL variables that every answer has; a stage that did not happen took no time."""
        stages = self.stages
        return {
            "status": self.status,
            "headers": self.headers,
            "dns": timedelta(seconds=stages.dns_s or 0.0),
            "connect": timedelta(seconds=stages.connect_s or 0.0),
            "first_byte": timedelta(seconds=stages.first_byte_s or 0.0),
            "total": timedelta(seconds=stages.total_s or 0.0),
        }


def open_session(world: World, *, keeps_cookies: bool, stages: Stages | None = None) -> aiohttp.ClientSession:
    """A session for one run over the connector of `world.http`: its own cookies, its own stage timings.

    stages: filled by every request, where the caller cannot name them with the request.
    """
    return aiohttp.ClientSession(
        connector=world.http.connector,
        connector_owner=False,
        # unsafe: also from services that are reached by address, as pods are.
        cookie_jar=aiohttp.CookieJar(unsafe=True) if keeps_cookies else aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        trace_configs=[_TRACE if stages is None else _trace_config(lambda **_: _context(stages))],
    )


def identity(run_id: str, step: str = "") -> dict[str, str]:
    """The headers by which a service knows synthetic traffic and links it to its own traces."""
    span_id = hashlib.sha256(f"{run_id}/{step}".encode()).hexdigest()[:16]
    traceparent = f"00-{trace_id(run_id)}-{span_id}-01"
    return {"User-Agent": USER_AGENT, "X-Synthetic": run_id, "traceparent": traceparent}


def trace_id(run_id: str) -> str:
    """W3C trace id of a run: 32 hex digits."""
    return hashlib.sha256(run_id.encode()).hexdigest()[32:]


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    *,
    place: str,
    headers: Mapping[str, str],
    body: bytes | None,
    body_bytes_max: int,
    follow_redirects: bool,
    stages: Stages,
    timeout_s: float,
) -> Answer | Problem:
    """Send one request and read the whole answer, both within `timeout_s`.

    A new connection each time: a kept one would stay with the old instance while a roll-out replaces it.
    place: names the request in messages. Returns a Problem for everything the world does: `fail` is the
    target's doing, `error` ours.
    """
    try:
        async with asyncio.timeout(timeout_s):
            stages.begin("total")
            async with session.request(
                method,
                url,
                headers={"Connection": "close", **headers},
                data=body,
                allow_redirects=follow_redirects,
                max_redirects=REDIRECTS_MAX,
                trace_request_ctx=stages,
            ) as response:
                stages.first_byte_s = stages.mono_s() - stages.began_s["total"]
                stages.at = "reading the body"
                content = await _read(response, body_bytes_max)
                stages.total_s = stages.mono_s() - stages.began_s["total"] if content is not None else None
                stages.body_bytes = None if content is None else len(content)
                return Answer(
                    status=response.status,
                    headers=_headers(response),
                    body=content,
                    charset=response.charset or "utf-8",
                    stages=stages,
                )
    except TimeoutError:
        outcome: Outcome = "error" if stages.at == RESOLVING else "fail"
        return Problem(outcome, f"{place}: no answer within {timeout_s:g} s ({stages.at})")
    except (aiohttp.ClientError, OSError) as error:
        outcome, what = blame_exchange(error)
        return Problem(outcome, f"{place}: {what}")


async def _read(response: aiohttp.ClientResponse, body_bytes_max: int) -> bytes | None:
    content = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        content += chunk
        if len(content) > body_bytes_max:
            response.close()
            return None
    return bytes(content)


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        lower = name.lower()
        headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
    return headers


def blame_exchange(error: Exception) -> tuple[Outcome, str]:
    """Whose doing a failed exchange is, and one phrase for it that holds no URL."""
    match error:
        case aiohttp.ClientConnectorCertificateError() if isinstance(error.certificate_error, OSError):
            return blame(error.certificate_error)
        case aiohttp.ServerDisconnectedError():
            return "fail", "the connection was closed before an answer"
        case aiohttp.TooManyRedirects():
            return "fail", f"more than {len(error.history)} redirects"
        case _LeftHost():
            return "fail", "redirected to another host, which is not followed; check that URL itself"
        case aiohttp.RedirectClientError():
            return "fail", "redirected to something that is not an http URL"
        case aiohttp.ClientPayloadError():
            return "fail", "the body ended before it was complete"
        case aiohttp.ClientResponseError():
            return "fail", f"not an HTTP answer ({error.message})"
        case aiohttp.ClientConnectorError():
            return blame(error.os_error)
        case OSError():
            return blame(error)
    return "fail", f"{type(error).__name__}"


class _LeftHost(aiohttp.ClientError):
    """A redirect to another host: following it would carry secret headers there."""


async def _redirected(_: object, __: SimpleNamespace, redirect: aiohttp.TraceRequestRedirectParams) -> None:
    try:
        target = redirect.url.join(URL(redirect.response.headers.get("Location", "")))
    except ValueError:
        raise _LeftHost from None
    if target.host != redirect.url.host:
        raise _LeftHost


async def _dns_began(_: object, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.at = RESOLVING
    context.trace_request_ctx.begin("dns")


async def _dns_ended(_: object, context: SimpleNamespace, __: object) -> None:
    stages: Stages = context.trace_request_ctx
    stages.at = "connecting"
    stages.dns_s = (stages.dns_s or 0.0) + stages.mono_s() - stages.began_s["dns"]


async def _connect_began(_: object, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.begin("connect")


async def _connect_ended(_: object, context: SimpleNamespace, __: object) -> None:
    # aiohttp's connection stage contains the resolution of the name.
    stages: Stages = context.trace_request_ctx
    stages.at = "waiting for the answer"
    resolving_s = (stages.dns_s or 0.0) if stages.connect_s is None else 0.0
    connected_s = stages.mono_s() - stages.began_s["connect"] - resolving_s
    stages.connect_s = (stages.connect_s or 0.0) + max(0.0, connected_s)


def _context(trace_request_ctx: Stages) -> SimpleNamespace:
    return SimpleNamespace(trace_request_ctx=trace_request_ctx)


def _trace_config(context: Callable[..., SimpleNamespace] = _context) -> aiohttp.TraceConfig:
    # Typed as a class by aiohttp, but only called.
    config = aiohttp.TraceConfig(context)  # type: ignore[arg-type]
    config.on_dns_resolvehost_start.append(_dns_began)
    config.on_dns_resolvehost_end.append(_dns_ended)
    config.on_connection_create_start.append(_connect_began)
    config.on_connection_create_end.append(_connect_ended)
    config.on_request_redirect.append(_redirected)
    return config


_TRACE = _trace_config()
