"""How a request says who sends it: a password, a token from a file, or one from a token endpoint."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import aiohttp
from pydantic import SecretStr
from yarl import URL

from checks.blame import Problem
from checks.expressions.values import parse_json
from checks.model import World
from checks.web.exchange import exchange
from checks.web.messages import Answer, Outgoing, identity
from checks.web.route import Route
from checks.wire.trust import Tls, system_trust

TOKEN_BYTES_MAX = 65_536
# A token is renewed so long before it expires, that it is still good when the request arrives: a share of
# its life for those that live shorter than ten minutes.
EARLY_S, EARLY_SHARE = 60.0, 0.1
# What may stand in an Authorization header after `Bearer ` (RFC 6750 section 2.1), without its grammar.
_PRINTABLE = frozenset(map(chr, range(0x21, 0x7F)))


class NoCredentials(Exception):
    """Why the request cannot say who sends it: nothing is known of its target."""


@dataclass(slots=True, kw_only=True)
class Basic:
    """HTTP Basic authentication (RFC 7617). username: without a colon."""

    username: str
    password: SecretStr

    def __post_init__(self) -> None:
        if not self.username or ":" in self.username:
            raise ValueError("username: write a name without a colon")

    def header(self) -> str:
        """The value of `Authorization`."""
        return aiohttp.encode_basic_auth(self.username, self.password.get_secret_value())


@dataclass(slots=True, kw_only=True)
class OAuth2:
    """The client credentials grant (RFC 6749 section 4.4); a token is kept until shortly before it expires.

    token_url: where tokens come from; reached directly, whatever way the request itself takes. client_id,
    client_secret: sent by HTTP Basic. scopes: what is asked for. tls: how the token endpoint is verified.
    """

    token_url: str
    client_id: str
    client_secret: SecretStr
    scopes: tuple[str, ...] = ()
    tls: Tls | None = None
    _token: str | None = field(init=False, repr=False, compare=False, default=None)
    _good_until_s: float = field(init=False, repr=False, compare=False, default=0.0)
    _was_kept: bool = field(init=False, repr=False, compare=False, default=False)

    def __post_init__(self) -> None:
        try:
            url = URL(self.token_url)
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.host or url.user or url.fragment:
            raise ValueError("token_url: not the URL of a token endpoint; write https://host/path")
        if not self.client_id:
            raise ValueError("client_id: write the name under which the watchdog is registered")
        if any(not scope or set(scope) - _PRINTABLE for scope in self.scopes):
            raise ValueError("scopes: write each scope as one word")
        if self.tls is None:
            system_trust()

    async def token(self, world: World, *, timeout_s: float) -> str:
        """The kept token, or a new one; raises NoCredentials."""
        self._was_kept = self._token is not None and world.mono_s() < self._good_until_s
        if self._token is not None and self._was_kept:
            return self._token
        place = f"no token from {self.token_url.partition('?')[0]}"
        try:
            trust = system_trust() if self.tls is None else await self.tls.context()
        except ValueError as error:
            raise NoCredentials(f"{place}: tls.{error}") from None
        server_name = self.tls.server_name if self.tls else None
        answer = await exchange(
            world,
            Route(tls=trust, server_name=server_name),
            None,
            self._asking(world, place),
            body_bytes_max=TOKEN_BYTES_MAX,
            follow_redirects=False,
            timeout_s=timeout_s,
        )
        if isinstance(answer, Problem):
            raise NoCredentials(answer.because)
        try:
            self._token, lives_s = _granted(answer)
        except ValueError as error:
            raise NoCredentials(f"{place}: {error}") from None
        self._good_until_s = world.mono_s() + lives_s - min(EARLY_S, EARLY_SHARE * lives_s)
        return self._token

    def renew(self) -> bool:
        """Forget the token; false if it was new, for then another one would be refused as well."""
        self._token = None
        return self._was_kept

    def _asking(self, world: World, place: str) -> Outgoing:
        # RFC 6749 section 2.3.1 has both parts form-encoded before they are joined.
        client, secret = quote_plus(self.client_id), quote_plus(self.client_secret.get_secret_value())
        asked = {"grant_type": "client_credentials"}
        if self.scopes:
            asked["scope"] = " ".join(self.scopes)
        return Outgoing(
            method="POST",
            url=URL(self.token_url),
            place=place,
            headers={
                **identity(world.run_id, "token"),
                "Authorization": aiohttp.encode_basic_auth(client, secret),
                "Accept": "application/json",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            body=urlencode(asked).encode(),
        )


@dataclass(slots=True, kw_only=True, repr=False)
class Auth:
    """How the request says who sends it: exactly one of these.

    basic: a name and a password. bearer_file: path of a file that holds a token, read again at each run.
    oauth2: a token from a token endpoint; after a 401 a kept one is replaced, once.
    """

    basic: Basic | None = None
    bearer_file: str | None = None
    oauth2: OAuth2 | None = None
    # The last two tokens: a service may echo the one that was just replaced.
    _tokens: deque[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._tokens = deque(maxlen=2)
        ways = {"basic": self.basic, "bearer_file": self.bearer_file, "oauth2": self.oauth2}
        written = [key for key, value in ways.items() if value is not None]
        if len(written) != 1:
            found = " and ".join(written) or "none"
            raise ValueError(
                f"{(written or ['basic'])[-1]}: write exactly one of {', '.join(ways)}; found {found}"
            )
        if self.bearer_file is not None:
            _token_in(self.bearer_file)

    async def header(self, world: World, *, timeout_s: float) -> str:
        """The value of `Authorization`; raises NoCredentials."""
        if self.basic is not None:
            return self.basic.header()
        if self.oauth2 is not None:
            token = await self.oauth2.token(world, timeout_s=timeout_s)
        else:
            assert self.bearer_file is not None
            try:
                token = await asyncio.to_thread(_token_in, self.bearer_file)
            except ValueError as error:
                raise NoCredentials(f"auth.{error}") from None
        if token not in self._tokens:
            self._tokens.append(token)
        return f"Bearer {token}"

    def renew(self) -> bool:
        """After a 401: true if asking for the header again brings another one."""
        return self.oauth2 is not None and self.oauth2.renew()

    def secrets(self) -> list[str]:
        """Everything that must not come out in text, the tokens of the last runs included."""
        hidden = [*self._tokens]
        if self.basic is not None:
            hidden += [self.basic.password.get_secret_value(), self.basic.header()]
        if self.oauth2 is not None:
            hidden.append(self.oauth2.client_secret.get_secret_value())
        return hidden


def _token_in(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(TOKEN_BYTES_MAX + 1)
    except OSError as error:
        raise ValueError(f"bearer_file: {path} cannot be read ({error.strerror})") from None
    except ValueError:
        raise ValueError(f"bearer_file: {path!r} is not a path") from None
    token = content.decode("ascii", "replace").strip()
    if not _can_be_sent(token):
        raise ValueError(f"bearer_file: {path} does not hold one token and nothing else")
    return token


def _granted(answer: Answer) -> tuple[str, float]:
    """The token and the seconds it lives; raises ValueError for any other answer.

    Source: RFC 6749 sections 5.1 and 5.2. Without `expires_in` a token is good until it is refused.
    """
    if answer.body is None:
        raise ValueError(f"the answer is longer than {TOKEN_BYTES_MAX} bytes")
    try:
        document: Any = parse_json(answer.body)
    except ValueError:
        document = None
    document = document if isinstance(document, dict) else {}
    if answer.status != 200:
        code = document.get("error")
        raise ValueError(f"status {answer.status}" + (f", {code}" if isinstance(code, str) else ""))
    token, kind = document.get("access_token"), document.get("token_type")
    if not isinstance(token, str) or not _can_be_sent(token):
        raise ValueError("the answer holds no access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ValueError("token_type is not bearer")
    try:
        # Some servers write the number as text.
        return token, float(document.get("expires_in", "inf"))
    except (TypeError, ValueError):
        raise ValueError("expires_in is not a number") from None


def _can_be_sent(token: str) -> bool:
    return 0 < len(token) <= TOKEN_BYTES_MAX and not set(token) - _PRINTABLE
