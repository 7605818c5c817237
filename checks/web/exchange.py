"""One HTTP exchange: sent, timed by stage, bounded, and its failures told apart.

Shared by the kinds that speak HTTP, so that a refused connection means the same in each of them.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from types import SimpleNamespace

import aiohttp
from yarl import URL

from checks.blame import Problem, blame
from checks.model import Outcome, World
from checks.web.messages import Answer, Outgoing
from checks.web.route import Route
from checks.web.stages import RESOLVING, Stages
from checks.wire.kept import Broken, Kept, Peer
from checks.wire.watching import WATCHER

REDIRECTS_MAX = 5
# Answers of a proxy to CONNECT that tell of the target: it gave none (RFC 9110 sections 15.6.3 to 15.6.5).
_TARGET_SILENT = frozenset({502, 503, 504})
_PROXY_AUTHENTICATION = 407
_CLOSE = {"Connection": "close"}
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_REFUSED_BY_PROXY = "the proxy refused our request"


def cookie_jar() -> aiohttp.abc.AbstractCookieJar:
    """Where the cookies of one run are kept."""
    # unsafe: also from services that are reached by address, as pods are.
    return aiohttp.CookieJar(unsafe=True)


def shared_session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """The session of a `World`: it keeps no cookies; closes the connector, one of `checks.web.connecting`."""
    return _session(connector, is_owner=True)


def open_session(world: World) -> aiohttp.ClientSession:
    """A session over the same connections that follows no redirect to elsewhere."""
    assert world.http.connector is not None
    return _session(world.http.connector, is_owner=False, traces=[_ON_REDIRECT])


def _session(
    connector: aiohttp.BaseConnector,
    *,
    is_owner: bool,
    jar: aiohttp.abc.AbstractCookieJar | None = None,
    traces: list[aiohttp.TraceConfig] | None = None,
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=is_owner,
        cookie_jar=aiohttp.DummyCookieJar() if jar is None else jar,
        # Deadlines are the callers'.
        timeout=_NO_TIMEOUT,
        trace_configs=traces,
    )


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
    is_plain = keep_alive and sent.start and not follow_redirects and jar is None and route.is_straight()
    try:
        with world.deadlines.within(timeout_s):
            if is_plain:
                return await _over_kept(world.kept, route, sent, stages, body_bytes_max)
            async with (
                _session_for(world, route, jar, has_redirects=follow_redirects) as session,
                session.request(
                    sent.method,
                    sent.url,
                    headers={**({} if keep_alive else _CLOSE), **sent.ids, **sent.headers},
                    cookies=sent.cookies or None,
                    data=sent.body,
                    allow_redirects=follow_redirects,
                    max_redirects=REDIRECTS_MAX,
                    ssl=route.tls,
                    server_hostname=route.server_name,
                    proxy=route.proxy,
                ) as response,
            ):
                if route.proxy is not None and response.status == _PROXY_AUTHENTICATION:
                    return Problem("error", f"{sent.place}: {_REFUSED_BY_PROXY} (407)")
                return await _answer(response, stages, body_bytes_max)
    except TimeoutError:
        outcome: Outcome = "error" if stages.at == RESOLVING else "fail"
        return Problem(outcome, f"{sent.place}: no answer within {round(timeout_s, 2):g} s ({stages.at})")
    except Broken as error:
        return Problem("fail", f"{sent.place}: {error}")
    except (aiohttp.ClientError, OSError) as error:
        outcome, what = blame_exchange(error)
        return Problem(outcome, f"{sent.place}: {what}")
    finally:
        WATCHER.reset(watching)


async def _over_kept(kept: Kept, route: Route, sent: Outgoing, stages: Stages, body_bytes_max: int) -> Answer:
    url = sent.url
    is_secure = url.scheme == "https"
    peer = Peer(url.raw_host or "", url.port or 0, route.tls if is_secure else None, route.server_name)
    received = await kept.get(peer, sent.head(), stages, body_bytes_max=body_bytes_max)
    stages.answer_ended(received.body)
    return Answer(
        status=received.status,
        fields=received.fields,
        body=received.body,
        stages=stages,
        version=received.version,
        redirects=0,
        is_secure=is_secure,
    )


def _session_for(
    world: World, route: Route, jar: aiohttp.abc.AbstractCookieJar | None, *, has_redirects: bool
) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
    """`world.http`, or a session for one request that keeps cookies, is redirected or has its own way."""
    own = route.connector()
    if own is None and jar is None and not has_redirects:
        return nullcontext(world.http)
    connector = own or world.http.connector
    assert connector is not None
    return _session(
        connector, is_owner=own is not None, jar=jar, traces=[_ON_REDIRECT] if has_redirects else None
    )


async def _answer(response: aiohttp.ClientResponse, stages: Stages, body_bytes_max: int) -> Answer:
    stages.answer_began()
    body = await _read(response, body_bytes_max)
    stages.answer_ended(body)
    version = response.version or aiohttp.HttpVersion(0, 0)
    return Answer(
        status=response.status,
        fields=response.headers,
        body=body,
        stages=stages,
        version=f"{version.major}.{version.minor}",
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


_ON_REDIRECT = aiohttp.TraceConfig()
_ON_REDIRECT.on_request_redirect.append(_redirected)
