"""Who is asking, and may they: tokens, sessions, the loopback rule, and a brake on guessing.

Deny by default: `Doorkeeper.identify` answers None for everybody it cannot name. Scopes are checked against
the route table by `watchdog.api.gate`, so no handler decides about access.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web
from prometheus_client import Counter

from config.schema import Scope
from watchdog.api.answers import Problem
from watchdog.api.protocol import Ports
from watchdog.signing import SigningKeys

ALL_SCOPES: frozenset[Scope] = frozenset({"read", "deploy", "approve", "admin"})
SESSION_COOKIE = "watchdog_session"
SESSION_S = 12 * 3600.0
SESSIONS_MAX = 1000
# Guessing is hopeless against 256 random bits, not against a token somebody chose: 20 a minute per peer.
FAILURES_PER_MINUTE_MAX = 20
PEERS_MAX = 10_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller we can name. by_cookie: a browser session, so POSTs must prove that they are same-origin."""

    name: str
    scopes: frozenset[Scope]
    by_cookie: bool = False

    def may(self, scope: Scope) -> bool:
        """True if the scope was given; `admin` implies every other."""
        return scope in self.scopes or "admin" in self.scopes


def digest(token: str) -> str:
    """What is kept of a token: `sha256:<hex>`, the form of `api.tokens.<name>.hash`."""
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def is_loopback(address: str | None) -> bool:
    """True for 127.0.0.0/8 and ::1, also as an IPv4-mapped address."""
    try:
        found = ipaddress.ip_address((address or "").split("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def is_local_request(request: web.Request) -> bool:
    """True if this machine itself is asking, by a name that only means this machine.

    The Host header is looked at because of DNS rebinding: a page of a foreign site can resolve its own name
    to 127.0.0.1, but its requests then carry that name. A request that says it was forwarded is not local.
    """
    if any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")):
        return False
    host = urlsplit(f"//{request.host}").hostname or ""
    return is_loopback(request.remote) and (host == "localhost" or is_loopback(host))


class Doorkeeper:
    """Names callers and counts the failures to. Holds sessions in memory: a restart logs everybody out.

    Raises ValueError at construction for a webhook secret that cannot be one.
    """

    def __init__(self, ports: Ports) -> None:
        secrets_given = ports.settings.api.webhook_secrets
        self._keys = SigningKeys.parse(secrets_given) if secrets_given else None
        self._clock = ports.clock
        self._tokens = ports.settings.api.tokens
        self._local_hash = digest(ports.local_token)
        self._public = urlsplit(ports.settings.public_url or "")
        self._sessions: OrderedDict[str, tuple[Identity, float]] = OrderedDict()
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._counter = Counter(
            "watchdog_api_auth_failures",
            "Requests refused because of who asked",
            ["reason"],
            registry=ports.registry,
        )

    def identify(self, request: web.Request) -> Identity | None:
        """The caller by bearer token, session cookie or loopback rule; None when there is nothing to go by.

        Raises Problem 401 for a credential that is wrong and 429 once a peer gave too many of them.
        """
        header = request.headers.get("Authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer":
                raise self.failed(request, "scheme", "Authorization must be `Bearer <token>`.")
            return self.by_token(request, token.strip())
        session = self._session(request)
        if session is not None:
            return session
        if not self._tokens and is_local_request(request):
            return Identity("loopback", frozenset({"read"}))
        return None

    def by_token(self, request: web.Request, token: str) -> Identity:
        """The owner of a token. Raises Problem 401 or 429.

        The local token is 256 random bits made by us: it is looked at even when a peer is braked, so that
        nobody on the same machine can lock the operator out.
        """
        given = digest(token)
        if hmac.compare_digest(given.encode(), self._local_hash.encode()):
            return Identity("local", ALL_SCOPES)
        self.brake(request)
        found: Identity | None = None
        for name, kept in self._tokens.items():
            # Every token is compared, so that time does not tell which name came close.
            if hmac.compare_digest(given.encode(), kept.hash.lower().encode("utf-8", "replace")):
                found = Identity(name, kept.scopes)
        if found is None:
            raise self.failed(
                request, "token", "This token is not known. Check it, or make one with `token`."
            )
        return found

    def by_signature(self, request: web.Request, body: bytes) -> Identity:
        """The sender of a Standard Webhooks message, verified over its raw bytes; Problem 401 or 429."""
        self.brake(request)
        if self._keys is None:
            raise self.failed(request, "signature", "No webhook secret is configured (api.webhook_secrets).")
        problem = self._keys.problem(request.headers, body, self._clock.wall_s())
        if problem is not None:
            raise self.failed(request, "signature", f"The signature was refused: {problem}.")
        return Identity("webhook", frozenset({"deploy"}))

    def brake(self, request: web.Request) -> None:
        """Raise Problem 429 while this peer has failed too often within the last minute."""
        started, count = self._failures.get(self._peer(request), (0.0, 0))
        left = started + 60.0 - self._clock.mono_s()
        if count >= FAILURES_PER_MINUTE_MAX and left > 0:
            self._count(request, "braked")
            raise Problem(
                429,
                f"Too many wrong credentials from your address. Try again in {left:.0f} s.",
                headers={"Retry-After": f"{max(1, round(left))}"},
            )

    def failed(self, request: web.Request, reason: str, error: str) -> Problem:
        """Count and log one wrong credential; the Problem 401 to raise."""
        self._count(request, reason)
        peer, now = self._peer(request), self._clock.mono_s()
        started, count = self._failures.pop(peer, (now, 0))
        self._failures[peer] = (now, 1) if now - started >= 60.0 else (started, count + 1)
        while len(self._failures) > PEERS_MAX:
            self._failures.popitem(last=False)
        return Problem(401, error, headers={"WWW-Authenticate": 'Bearer realm="deploy-watchdog"'})

    def forbidden(self, request: web.Request, reason: str, error: str) -> Problem:
        """Count and log one attempt to do what the caller may not; the Problem 403 to raise."""
        self._count(request, reason)
        return Problem(403, error)

    def open_session(self, identity: Identity) -> str:
        """A new session's id, to be set as a cookie; only its hash is kept."""
        session = secrets.token_urlsafe(32)
        kept = Identity(identity.name, identity.scopes, by_cookie=True)
        self._sessions[digest(session)] = (kept, self._clock.mono_s() + SESSION_S)
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return session

    def close_session(self, request: web.Request) -> None:
        """Forget the session of the request's cookie, if any."""
        self._sessions.pop(digest(request.cookies.get(SESSION_COOKIE, "")), None)

    def check_origin(self, request: web.Request, *, needs_proof: bool) -> None:
        """Refuse a POST that a page of another site caused (Problem 403).

        needs_proof: the caller is a browser's cookie, so the browser must say where the request comes from.
        """
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        is_ours = origin is not None and self._is_ours(request, origin)
        if (
            (origin is not None and not is_ours)
            or site in ("cross-site", "same-site")
            or (needs_proof and not is_ours and site != "same-origin")
        ):
            raise self.forbidden(
                request, "origin", "This request comes from another site. Use the dashboard's own pages."
            )

    def is_secure(self, request: web.Request) -> bool:
        """True if the browser reached us by https, here or at a proxy in front of us."""
        return request.secure or (self._public.scheme == "https" and request.host == self._public.netloc)

    def _is_ours(self, request: web.Request, origin: str) -> bool:
        given = urlsplit(origin)
        if given.scheme not in ("http", "https"):
            return False
        return given.netloc == request.host or (given.scheme, given.netloc) == self._public[:2]

    def _session(self, request: web.Request) -> Identity | None:
        key = digest(request.cookies.get(SESSION_COOKIE, ""))
        identity, ends = self._sessions.get(key, (None, 0.0))
        if identity is not None and self._clock.mono_s() >= ends:
            del self._sessions[key]
            return None
        return identity

    def _peer(self, request: web.Request) -> str:
        return request.remote or "unknown"

    def _count(self, request: web.Request, reason: str) -> None:
        self._counter.labels(reason).inc()
        # %r keeps one event on one line whatever the path holds.
        log.warning(
            "refused=%s peer=%s method=%s path=%r", reason, self._peer(request), request.method, request.path
        )
