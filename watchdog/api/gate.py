"""The one way into every handler: limits, who is asking, the route's scope, refusals, security headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from watchdog.api.answers import Problem, refusal
from watchdog.api.auth import Doorkeeper, Identity
from watchdog.api.bodies import read_body
from watchdog.api.context import BODY, BOUNDS, DOOR, IDENTITY, MESSAGE_ID
from watchdog.api.dashboard.pages import problem_page
from watchdog.api.routes import ROUTES, Route
from watchdog.store.protocol import StoreUnavailable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # same-origin, not no-referrer: with the latter browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_BY_PATH: Mapping[tuple[str, str], Route] = {(route.method, route.path): route for route in ROUTES}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer; `no-store` unless the handler allowed caching (static files only)."""
    for name, value in SECURITY_HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.pop("Server", None)


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request in, or answer why not. Refusals are JSON under /api, a page elsewhere."""
    try:
        return await _admitted(request, handler)
    except Problem as problem:
        return _refusal(request, problem)
    except StoreUnavailable:
        return _refusal(
            request,
            Problem(
                503,
                "The store cannot be used now: nothing was changed. Try again; the daemon's log says why.",
            ),
        )
    except web.HTTPNotFound:
        return _refusal(
            request, Problem(404, "There is nothing at this address. Start at / or /api/v1/services.")
        )
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return _refusal(
            request, Problem(405, f"This address answers {allowed} only.", headers={"Allow": allowed})
        )


async def _admitted(request: web.Request, handler: Handler) -> web.StreamResponse:
    bounds, door = request.app[BOUNDS], request.app[DOOR]
    sent = sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    if sent > bounds.header_bytes_max:
        raise Problem(
            431,
            f"The headers are larger than {bounds.header_bytes_max} bytes. Send fewer.",
            headers={"Connection": "close"},
        )
    route = _route(request)
    if route is None:
        return await handler(request)
    identity = await _identity(request, route, door)
    if request.method == "POST":
        door.check_origin(request, needs_proof=route.is_form or (identity is not None and identity.by_cookie))
    if route.scope is not None:
        if identity is None:
            if route.is_page:
                raise web.HTTPSeeOther("/login")
            raise Problem(
                401,
                "Say who you are: `Authorization: Bearer <token>`.",
                headers={"WWW-Authenticate": 'Bearer realm="deploy-watchdog"'},
            )
        if not identity.may(route.scope):
            raise door.forbidden(
                request, "scope", f"This needs the scope `{route.scope}`, which your token does not have."
            )
    if identity is not None:
        request[IDENTITY] = identity
    return await handler(request)


def _route(request: web.Request) -> Route | None:
    resource = request.match_info.route.resource
    return None if resource is None else _BY_PATH[(request.method, resource.canonical)]


async def _identity(request: web.Request, route: Route, door: Doorkeeper) -> Identity | None:
    if route.is_signable and "Webhook-Signature" in request.headers:
        # Over the raw bytes and before anything parses them.
        request[BODY] = await read_body(request, request.app[BOUNDS])
        identity = door.by_signature(request, request[BODY])
        request[MESSAGE_ID] = request.headers["Webhook-Id"]
        return identity
    return door.identify(request)


def _refusal(request: web.Request, problem: Problem) -> web.Response:
    is_page = "text/html" in request.headers.get("Accept", "") and not request.path.startswith("/api/")
    return problem_page(problem) if is_page else refusal(problem)
