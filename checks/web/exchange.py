"""One HTTP exchange: sent, timed by stage, bounded, and its failures told apart.

Shared by the kinds that speak HTTP, so that a refused connection means the same in each of them.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import ssl
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from checks.blame import Problem, blame
from checks.model import Outcome, World
from checks.web.route import Route
from checks.wire.certificate import days_left, first_expiry_s
from checks.wire.handshake import WATCHER

USER_AGENT = "deploy-watchdog (synthetic check)"
REDIRECTS_MAX = 5
RESOLVING = "resolving the name"  # the one stage whose slowness is ours
VARIABLES: Mapping[str, str] = {
    "status": "int",
    "headers": "map<string,string>",
    "text": "string",
    "json": "dyn",
    "dns": "duration",
    "connect": "duration",
    "tls": "duration",
    "first_byte": "duration",
    "total": "duration",
    # Of no declared type, so that it compares with 14 as with 14.5.
    "certificate_days": "dyn",
}
_DURATIONS = frozenset(name for name, kind in VARIABLES.items() if kind == "duration")
# Answers of a proxy to CONNECT that tell of the target: it gave none (RFC 9110 sections 15.6.3 to 15.6.5).
_TARGET_SILENT = frozenset({502, 503, 504})
_PROXY_AUTHENTICATION = 407
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_REFUSED_BY_PROXY = "the proxy refused our request"


@dataclass(slots=True)
class Stages:
    """How long each stage took, in seconds; filled while the exchange goes on.

    dns_s, connect_s and tls_s are None where the stage did not happen (a cached name, an address, plain
    http). connect_s is the TCP connection alone, with a proxy until it has opened the tunnel. first_byte_s
    and total_s count from the start. certificate_days: to the first expiry in the presented chain, at
    certificate_end_s (epoch). tls_version: as `TLSv1.3`, empty without TLS.
    """

    mono_s: Callable[[], float]
    now_s: Callable[[], float]
    at: str = "connecting"
    dns_s: float | None = None
    connect_s: float | None = None
    tls_s: float | None = None
    first_byte_s: float | None = None
    total_s: float | None = None
    body_bytes: int | None = None
    certificate_days: float | None = None
    certificate_end_s: float | None = None
    tls_version: str = ""
    began_s: dict[str, float] = field(default_factory=dict)

    def begin(self, stage: str) -> None:
        """Note when a stage began."""
        self.began_s[stage] = self.mono_s()

    def since(self, stage: str) -> float:
        """Seconds since it began."""
        return self.mono_s() - self.began_s[stage]

    def handshake_began(self) -> None:
        """See `Watcher`."""
        self.at = "in the TLS handshake"
        self.begin("tls")

    def handshake_ended(self, tls: ssl.SSLObject) -> None:
        """See `Watcher`."""
        self.at = "connecting"
        self.tls_s = (self.tls_s or 0.0) + self.since("tls")
        self.tls_version = tls.version() or ""
        self.certificate_end_s = first_expiry_s(tls)
        self.certificate_days = days_left(self.certificate_end_s, self.now_s())

    def before_connection_s(self) -> float:
        """What of the time of a connection, as aiohttp reports it, belongs to other stages."""
        return (self.dns_s or 0.0) + (self.tls_s or 0.0)

    def readings(self) -> dict[str, float]:
        """The stages that happened, named with their unit."""
        names = ("dns_s", "connect_s", "tls_s", "first_byte_s", "total_s", "body_bytes", "certificate_days")
        return {name: float(value) for name in names if (value := getattr(self, name)) is not None}

    def line(self) -> str:
        """`dns 2 connect 3 first byte 120 total 131 ms`, of what happened."""
        named = {
            "dns": self.dns_s,
            "connect": self.connect_s,
            "tls": self.tls_s,
            "first byte": self.first_byte_s,
            "total": self.total_s,
        }
        parts = [f"{name} {value * 1000:.0f}" for name, value in named.items() if value is not None]
        return " ".join(parts) + " ms" if parts else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response that was read to its end; body is None when it was longer than allowed.

    version: of HTTP, as 1.1. redirects: how many were followed. is_secure: the last answer came over TLS.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    charset: str
    stages: Stages
    version: float
    redirects: int
    is_secure: bool

    def text(self) -> str:
        """The body as text; bytes that do not belong to the charset become U+FFFD."""
        try:
            return (self.body or b"").decode(self.charset, "replace")
        except LookupError:
            return (self.body or b"").decode("utf-8", "replace")

    def values(self, names: AbstractSet[str]) -> dict[str, Any]:
        """The CEL variables of the answer itself; of the durations only those of `names`.

        A stage that did not happen took no time. Without TLS there is no certificate, so `certificate_days`
        is absent.
        """
        values: dict[str, Any] = {"status": self.status, "headers": self.headers}
        for name in names & _DURATIONS:
            values[name] = timedelta(seconds=getattr(self.stages, f"{name}_s") or 0.0)
        if self.stages.certificate_days is not None:
            values["certificate_days"] = self.stages.certificate_days
        return values


def cookie_jar() -> aiohttp.abc.AbstractCookieJar:
    """Where the cookies of one run are kept."""
    # unsafe: also from services that are reached by address, as pods are.
    return aiohttp.CookieJar(unsafe=True)


def shared_session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """The session of a `World`: it times every exchange and keeps no cookies; closes the connector."""
    return _session(connector, _TRACE, is_owner=True)


def open_session(world: World, stages: Stages) -> aiohttp.ClientSession:
    """A session over the connector of `world.http` for one connection, which fills `stages`."""
    assert world.http.connector is not None
    return _session(world.http.connector, _trace_config(has_names=True, stages=stages), is_owner=False)


def _session(
    connector: aiohttp.BaseConnector,
    trace: aiohttp.TraceConfig,
    *,
    is_owner: bool,
    jar: aiohttp.abc.AbstractCookieJar | None = None,
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=is_owner,
        cookie_jar=aiohttp.DummyCookieJar() if jar is None else jar,
        # Deadlines are the callers'.
        timeout=_NO_TIMEOUT,
        trace_configs=[trace],
    )


def identity(run_id: str, step: str = "") -> dict[str, str]:
    """The headers by which a service knows synthetic traffic and links it to its own traces."""
    span_id = hashlib.sha256(f"{run_id}/{step}".encode()).hexdigest()[:16]
    traceparent = f"00-{trace_id(run_id)}-{span_id}-01"
    return {"User-Agent": USER_AGENT, "X-Synthetic": run_id, "traceparent": traceparent}


@functools.lru_cache(maxsize=1024)
def trace_id(run_id: str) -> str:
    """W3C trace id of a run: 32 hex digits."""
    return hashlib.sha256(run_id.encode()).hexdigest()[32:]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Outgoing:
    """One request as it is sent. place: names it in messages."""

    method: str
    url: URL
    place: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


async def exchange(
    world: World,
    route: Route,
    jar: aiohttp.abc.AbstractCookieJar | None,
    sent: Outgoing,
    *,
    body_bytes_max: int,
    follow_redirects: bool,
    timeout_s: float,
    keep_alive: bool = False,
) -> Answer | Problem:
    """Send one request and read the whole answer, both within `timeout_s`.

    A new connection each time, unless `keep_alive` and the last one is still open: a kept one would stay with
    the old instance while a roll-out replaces it. jar: keeps cookies, None = nobody does.
    Returns a Problem for everything the world does: `fail` is the target's doing, `error` ours.
    """
    stages = Stages(world.mono_s, world.now_s)
    watching = WATCHER.set(stages)
    try:
        async with asyncio.timeout(timeout_s), _session_for(world, route, jar) as session:
            stages.begin("total")
            async with session.request(
                sent.method,
                sent.url,
                headers=sent.headers if keep_alive else {"Connection": "close", **sent.headers},
                cookies=sent.cookies or None,
                data=sent.body,
                allow_redirects=follow_redirects,
                max_redirects=REDIRECTS_MAX,
                ssl=route.tls,
                server_hostname=route.server_name,
                proxy=route.proxy,
                trace_request_ctx=stages,
            ) as response:
                if route.proxy is not None and response.status == _PROXY_AUTHENTICATION:
                    return Problem("error", f"{sent.place}: {_REFUSED_BY_PROXY} (407)")
                return await _answer(response, stages, body_bytes_max)
    except TimeoutError:
        outcome: Outcome = "error" if stages.at == RESOLVING else "fail"
        return Problem(outcome, f"{sent.place}: no answer within {round(timeout_s, 2):g} s ({stages.at})")
    except (aiohttp.ClientError, OSError) as error:
        outcome, what = blame_exchange(error)
        return Problem(outcome, f"{sent.place}: {what}")
    finally:
        WATCHER.reset(watching)


def _session_for(
    world: World, route: Route, jar: aiohttp.abc.AbstractCookieJar | None
) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
    """`world.http`, or a session for one request where it keeps cookies or the route needs a connector."""
    own = route.connector()
    # A session of anybody else would not stop a redirect that leaves the host.
    if own is None and jar is None and _TRACE in world.http.trace_configs:
        return nullcontext(world.http)
    connector = own or world.http.connector
    assert connector is not None
    trace = _TRACE if route.resolve is None else _TRACE_WITHOUT_NAMES
    return _session(connector, trace, is_owner=own is not None, jar=jar)


async def _answer(response: aiohttp.ClientResponse, stages: Stages, body_bytes_max: int) -> Answer:
    stages.first_byte_s = stages.since("total")
    stages.at = "reading the body"
    content = await _read(response, body_bytes_max)
    stages.total_s = stages.since("total") if content is not None else None
    stages.body_bytes = None if content is None else len(content)
    return Answer(
        status=response.status,
        headers=_headers(response),
        body=content,
        charset=response.charset or "utf-8",
        stages=stages,
        version=float(f"{response.version.major}.{response.version.minor}") if response.version else 0.0,
        redirects=len(response.history),
        is_secure=response.url.scheme == "https",
    )


async def _read(response: aiohttp.ClientResponse, body_bytes_max: int) -> bytes | None:
    content = bytearray()
    while chunk := await response.content.readany():
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
            return "fail", f"redirected {error}, which is not followed; check that URL itself"
        case aiohttp.RedirectClientError():
            return "fail", "redirected to something that is not an http URL"
        case aiohttp.ClientPayloadError():
            return "fail", "the body ended before it was complete"
        case aiohttp.ClientHttpProxyError() if error.status in _TARGET_SILENT:
            return "fail", f"the proxy got no connection to the target ({error.status})"
        case aiohttp.ClientHttpProxyError():
            return "error", f"{_REFUSED_BY_PROXY} ({error.status})"
        case aiohttp.ClientResponseError():
            return "fail", f"not an HTTP answer ({error.message})"
        case aiohttp.ClientProxyConnectionError():
            return "error", f"the proxy cannot be reached: {blame(error.os_error)[1]}"
        case aiohttp.ClientConnectorError():
            return blame(error.os_error)
        case OSError():
            return blame(error)
    return "fail", f"{type(error).__name__}"


class _LeftHost(aiohttp.ClientError):
    """A redirect that would carry secret headers to another host, or in the clear."""


async def _redirected(_: object, __: SimpleNamespace, redirect: aiohttp.TraceRequestRedirectParams) -> None:
    try:
        target = redirect.url.join(URL(redirect.response.headers.get("Location", "")))
    except ValueError:
        raise _LeftHost("to what is no URL") from None
    if target.host != redirect.url.host:
        raise _LeftHost("to another host")
    if redirect.url.scheme == "https" and target.scheme == "http":
        raise _LeftHost("from https to http")


async def _dns_began(_: object, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.at = RESOLVING
    context.trace_request_ctx.begin("dns")


async def _dns_ended(_: object, context: SimpleNamespace, __: object) -> None:
    stages: Stages = context.trace_request_ctx
    stages.at = "connecting"
    stages.dns_s = (stages.dns_s or 0.0) + stages.since("dns")


async def _connect_began(_: object, context: SimpleNamespace, __: object) -> None:
    stages: Stages = context.trace_request_ctx
    stages.began_s["connect"] = stages.mono_s() - stages.before_connection_s()


async def _connect_ended(_: object, context: SimpleNamespace, __: object) -> None:
    # aiohttp's connection stage contains the resolution of the name and the handshake.
    stages: Stages = context.trace_request_ctx
    stages.at = "waiting for the answer"
    connected_s = stages.since("connect") - stages.before_connection_s()
    stages.connect_s = (stages.connect_s or 0.0) + max(0.0, connected_s)


def _trace_config(*, has_names: bool, stages: Stages | None = None) -> aiohttp.TraceConfig:
    """stages: of everything in the session, where a request cannot be given its own."""

    def fixed(**_: object) -> SimpleNamespace:
        return SimpleNamespace(trace_request_ctx=stages)

    # Typed as a class by aiohttp, but only called.
    config = aiohttp.TraceConfig() if stages is None else aiohttp.TraceConfig(fixed)  # type: ignore[arg-type]
    if has_names:
        config.on_dns_resolvehost_start.append(_dns_began)
        config.on_dns_resolvehost_end.append(_dns_ended)
    config.on_connection_create_start.append(_connect_began)
    config.on_connection_create_end.append(_connect_ended)
    config.on_request_redirect.append(_redirected)
    return config


_TRACE = _trace_config(has_names=True)
_TRACE_WITHOUT_NAMES = _trace_config(has_names=False)
