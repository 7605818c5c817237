"""How one HTTP request is written in configuration, and how it is judged."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from aiohttp.abc import AbstractCookieJar
from pydantic import SecretStr
from yarl import URL

from checks.blame import Problem
from checks.expressions.expression import Expression, problem_of
from checks.expressions.values import parse_json, show
from checks.model import World
from checks.text import is_telling, telling_values
from checks.web.auth import Auth, NoCredentials
from checks.web.exchange import exchange
from checks.web.messages import Answer, Outgoing, identity, start_of
from checks.web.route import Route, refuse_route
from checks.wire.trust import Tls, system_trust

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
BODY_BYTES_MAX = 1_048_576
EXPECT = "status < 400"
PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE_BREAK = re.compile(r"[\r\n\0]")
# What a cookie's value may hold (RFC 6265 section 4.1.1).
_COOKIE_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
_BODIES = ("json", "body", "form", "graphql")
# Headers whose values are common knowledge and would only garble messages if they were masked.
_OPEN_HEADERS = frozenset(
    {"accept", "accept-encoding", "accept-language", "cache-control", "content-type", "host", "user-agent"}
)

Values = Mapping[str, Any]


class Unfillable(Exception):
    """An extracted value cannot stand where its placeholder stands."""


@dataclass(slots=True, kw_only=True)
class Graphql:
    """One GraphQL operation. query: its text, sent as it is; what changes belongs into variables.

    variables: JSON, placeholders filled in.
    """

    query: str
    variables: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.query.strip():
            raise ValueError("query: write a GraphQL document")
        _refuse_unless_json("variables", self.variables)


class _Filled(NamedTuple):
    """A request without placeholders."""

    url: URL
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    body: bytes | None
    start: str


# URL and body may hold secrets, so the repr tells nothing.
@dataclass(slots=True, kw_only=True, repr=False)
class Request:
    """One request: exactly one method key with its URL, and what the answer must be.

    headers: values are treated as secrets. cookies: sent beside those that a scenario keeps; values are
    treated as secrets. json: sent as JSON; body: sent as it is; form: sent as an HTML form is (urlencoded);
    graphql: posted as JSON; an answer that holds `errors` fails unless expect speaks of json.errors.
    expect: CEL over status, headers (lower case), text, json, dns, connect, tls, first_byte, total
    (durations), certificate_days (a number; absent without TLS).
    body_bytes_max: a longer answer, decompressed, is read no further, and only status and headers can be
    judged. follow_redirects: at most 5, never to another host, never from https to http.
    proxy: `http://user:password@host:port` of an HTTP proxy; excludes unix_socket and resolve.
    unix_socket: path of a socket to connect to instead of the host; excludes proxy and resolve.
    resolve: address to connect to instead of those the host's name has; excludes proxy and unix_socket.
    tls: how an https host is verified, and our own certificate. auth: how the request says who sends it.
    """

    get: str | None = None
    post: str | None = None
    put: str | None = None
    patch: str | None = None
    delete: str | None = None
    head: str | None = None
    options: str | None = None
    headers: Mapping[str, SecretStr] = field(default_factory=dict)
    cookies: Mapping[str, SecretStr] = field(default_factory=dict)
    json: Any = None
    body: str | None = None
    form: Mapping[str, str] | None = None
    graphql: Graphql | None = None
    expect: str = EXPECT
    body_bytes_max: int = BODY_BYTES_MAX
    follow_redirects: bool = False
    proxy: SecretStr | None = None
    unix_socket: str | None = None
    resolve: str | None = None
    tls: Tls | None = None
    auth: Auth | None = None
    method: str = field(init=False, repr=False)
    url: str = field(init=False, repr=False)
    # Method and URL as written, placeholders included, without credentials and query.
    place: str = field(init=False, repr=False)
    # What is sent, where there is no placeholder to be filled in.
    _whole: _Filled | None = field(init=False, repr=False, compare=False)
    _route: Route = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        written = [name for name in METHODS if getattr(self, name) is not None]
        if len(written) != 1:
            found = " and ".join(written) or "none"
            raise ValueError(
                f"{(written or ['get'])[-1]}: write exactly one of {', '.join(METHODS)}; found {found}"
            )
        self.method, self.url = written[0].upper(), getattr(self, written[0])
        refuse_url(written[0], self.url)
        self.place = f"{self.method} {shown_url(self.url)}"
        self._refuse_body()
        if self.body_bytes_max < 1:
            raise ValueError("body_bytes_max: write a number of bytes above 0")
        self._refuse_headers()
        refuse_route(
            self.url,
            proxy=self.proxy.get_secret_value() if self.proxy else None,
            unix_socket=self.unix_socket,
            resolve=self.resolve,
        )
        if self.tls is not None and self.url.startswith("http:") and not self.follow_redirects:
            raise ValueError("tls: the URL is plain http; write https")
        self._route = Route(
            # Read now, because it takes longer than the loop should wait.
            tls=system_trust() if self.tls is None else self.tls.current,
            server_name=None if self.tls is None else self.tls.server_name,
            proxy=None if self.proxy is None else URL(self.proxy.get_secret_value()),
            unix_socket=self.unix_socket,
            resolve=self.resolve,
        )
        self._whole = None if self.placeholders() else self._filled({})

    def _refuse_body(self) -> None:
        written = [name for name in _BODIES if getattr(self, name) is not None]
        if len(written) > 1:
            raise ValueError(
                f"{written[-1]}: write only one of {', '.join(_BODIES)}; found {' and '.join(written)}"
            )
        if self.graphql is not None and self.method != "POST":
            raise ValueError("graphql: is posted; write the URL under post")
        _refuse_unless_json("json", self.json)

    def _refuse_headers(self) -> None:
        names = {name.lower() for name in self.headers}
        if re.match(r"\w+://[^/?#]*@", self.url):
            if "authorization" in names:
                raise ValueError("headers: Authorization and user:password in the URL exclude each other")
            if self.auth is not None:
                raise ValueError("auth: excludes user:password in the URL")
        if self.auth is not None and "authorization" in names:
            raise ValueError("auth: excludes a header Authorization")
        if self.cookies and "cookie" in names:
            raise ValueError("cookies: excludes a header Cookie")
        refuse_headers(self.headers)
        for name, value in self.cookies.items():
            if not _HEADER_NAME.fullmatch(name) or not _COOKIE_VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"cookies: {name!r} or its value cannot be sent as a cookie")

    def secrets(self) -> list[str]:
        """Everything in this request that must not come out in text, tokens of the last runs included."""
        found = secrets_of(PLACEHOLDER.sub("", self.url), self.headers)
        found += [value.get_secret_value() for value in self.cookies.values()]
        found += telling_values([self.json, self.form, self._variables()])
        if self.proxy is not None:
            found.append(URL(self.proxy.get_secret_value()).password or "")
        if self.auth is not None:
            found += self.auth.secrets()
        return [PLACEHOLDER.sub("", secret) for secret in found]

    def placeholders(self, *, in_body: bool = True) -> set[str]:
        """Every `{name}` in URL, headers and cookies, and in what is sent as a body if `in_body`."""
        secrets = [*self.headers.values(), *self.cookies.values()]
        texts = [self.url, *(value.get_secret_value() for value in secrets)]
        if in_body:
            texts += [self.body or "", *_texts([self.json, self.form, self._variables()])]
        return {name for text in texts for name in PLACEHOLDER.findall(text)}

    def filled_url(self, values: Values) -> URL:
        """The URL with every `{name}` replaced by the value, quoted so that it stays one path segment.

        Raises Unfillable for an empty value or a dot segment: `DELETE /orders/` or `DELETE /orders/..`
        would be another request than the one that was written.
        """

        def quoted(name: str) -> str:
            text = as_text(values[name])
            if text in ("", ".", ".."):
                raise Unfillable(f"{{{name}}} is {text!r}, which cannot stand in a URL")
            return quote(text, safe="")

        return URL(fill(self.url, values, quoted))

    def filled_headers(self, values: Values) -> dict[str, str]:
        """The headers with placeholders replaced; raises Unfillable for a value with a line break."""
        filled = {}
        for name, secret in self.headers.items():
            filled[name] = fill(secret.get_secret_value(), values)
            if _LINE_BREAK.search(filled[name]):
                raise Unfillable(f"the value for header {name} holds a line break")
        names = {name.lower() for name in filled}
        if "content-type" not in names and (content_type := self._content_type()):
            filled["Content-Type"] = content_type
        return filled

    def filled_cookies(self, values: Values) -> dict[str, str]:
        """The cookies with placeholders replaced; raises Unfillable for a value that no cookie can have."""
        filled = {name: fill(secret.get_secret_value(), values) for name, secret in self.cookies.items()}
        for name, value in filled.items():
            if not _COOKIE_VALUE.fullmatch(value):
                raise Unfillable(f"the value for cookie {name} cannot be sent as one")
        return filled

    def filled_body(self, values: Values) -> bytes | None:
        """The bytes to send. In JSON a text that is one placeholder becomes the value with its own type."""
        if self.json is not None:
            return json_module.dumps(_fill_json(self.json, values)).encode()
        if self.graphql is not None:
            variables = _fill_json(self.graphql.variables, values)
            return json_module.dumps({"query": self.graphql.query, "variables": variables}).encode()
        if self.form is not None:
            return urlencode(_fill_json(self.form, values)).encode()
        if self.body is not None:
            return fill(self.body, values).encode()
        return None

    async def send(
        self,
        world: World,
        values: Values,
        jar: AbstractCookieJar | None,
        *,
        timeout_s: float,
        step: str = "",
        keep_alive: bool = False,
    ) -> Answer | Problem:
        """Fill the placeholders and exchange, again with a new token where a kept one is refused.

        jar: the cookies of this run, None = nobody keeps any. step: names the request in messages, and tells
        the spans of one trace apart. keep_alive: over a connection that was kept, and keep it.
        """
        until_s = world.mono_s() + timeout_s
        try:
            filled = self._whole or self._filled(values)
        except Unfillable as error:
            return Problem("fail", f"{step or self.place}: {error}")
        sent = Outgoing(
            method=self.method,
            url=filled.url,
            place=step or self.place,
            headers=filled.headers,
            cookies=filled.cookies,
            body=filled.body,
            ids=identity(world.run_id, step),
            start=filled.start,
        )
        answer = await self._send_once(world, sent, jar, until_s, keep_alive)
        is_refused = isinstance(answer, Answer) and answer.status == 401
        if is_refused and self.auth is not None and self.auth.renew():
            return await self._send_once(world, sent, jar, until_s, keep_alive)
        return answer

    def _filled(self, values: Values) -> _Filled:
        url, headers = self.filled_url(values), self.filled_headers(values)
        cookies, body = self.filled_cookies(values), self.filled_body(values)
        is_bare = self.method == "GET" and body is None and not cookies
        return _Filled(url, headers, cookies, body, start_of(url, headers) if is_bare else "")

    def judge(self, answer: Answer, expect: Expression, extra: Values, place: str) -> Problem | None:
        """None if the answer is as expected. extra: variables beside those of the answer."""
        problem = judge(answer, expect, extra, place)
        if problem is not None or self.graphql is None or expect.mentions("json", "errors"):
            return problem
        return _refused_operation(answer, place)

    async def _send_once(
        self, world: World, sent: Outgoing, jar: AbstractCookieJar | None, until_s: float, keep_alive: bool
    ) -> Answer | Problem:
        route = self._route
        if self.tls is not None:
            try:
                route = replace(route, tls=await self.tls.context())
            except ValueError as error:
                return Problem("error", f"{sent.place}: tls.{error}")
        if self.auth is not None:
            try:
                header = await self.auth.header(world, timeout_s=until_s - world.mono_s())
            except NoCredentials as error:
                return Problem("error", f"{sent.place}: {error}")
            sent = sent._replace(ids={**sent.ids, "Authorization": header})
        return await exchange(
            world,
            route,
            jar,
            sent,
            body_bytes_max=self.body_bytes_max,
            follow_redirects=self.follow_redirects,
            timeout_s=until_s - world.mono_s(),
            keep_alive=keep_alive,
        )

    def _variables(self) -> Values | None:
        return None if self.graphql is None else self.graphql.variables

    def _content_type(self) -> str:
        if self.form is not None:
            return "application/x-www-form-urlencoded"
        if self.body is not None:
            return "text/plain; charset=utf-8"
        return "" if self.json is None and self.graphql is None else "application/json"


def refuse_url(key: str, url: str) -> None:
    """ValueError for what is not an absolute http or https URL, or has a placeholder in its host."""
    parts = re.match(r"https?://[^/?#]+", url)
    if parts is None:
        raise ValueError(f"{key}: {url.partition('?')[0]!r} is not a URL; write https://host/path")
    if PLACEHOLDER.search(parts[0]):
        # Else an answer could send the next request, with our headers, to a host of its choice.
        raise ValueError(f"{key}: the host cannot hold a placeholder; write it out")
    try:
        URL(PLACEHOLDER.sub("x", url))
    except ValueError as error:
        raise ValueError(f"{key}: not a URL ({error}); write https://host/path") from None


def _refuse_unless_json(key: str, document: Any) -> None:
    try:
        json_module.dumps(document, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}: cannot be sent as JSON ({error})") from None


def refuse_headers(headers: Mapping[str, SecretStr]) -> None:
    """ValueError for a name or a value that cannot be sent as an HTTP header."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or _LINE_BREAK.search(value.get_secret_value()):
            raise ValueError(f"headers: {name!r} or its value cannot be sent as an HTTP header")


def shown_url(url: str) -> str:
    """The URL without credentials, query and fragment."""
    return re.sub("//[^/@]*@", "//", url.partition("?")[0].partition("#")[0])


def secrets_of(url: str, headers: Mapping[str, SecretStr]) -> list[str]:
    """What in a URL and in headers must not come out in text."""
    parts = URL(url)
    hidden = [
        value.get_secret_value() for name, value in headers.items() if name.lower() not in _OPEN_HEADERS
    ]
    query = [value for name, value in parts.query.items() if is_telling(name)]
    return [*hidden, *query, parts.password or ""]


def judge(answer: Answer, expect: Expression, extra: Values, place: str) -> Problem | None:
    """None if the answer is as expected. extra: variables beside those of the answer."""
    values = {**answer.values(expect.names), **extra}
    if answer.body is None and expect.names & {"json", "text", "total"}:
        return Problem(
            "error", f"{place}: the body is longer than body_bytes_max; raise it or expect on status"
        )
    if "text" in expect.names:
        values["text"] = answer.text()
    if "json" in expect.names:
        try:
            values["json"] = parse_json(answer.body or b"")
        except ValueError as error:
            return Problem("fail", f"{place}: the body is not JSON ({error}), status {answer.status}")
    return problem_of(expect, values, place)


def _refused_operation(answer: Answer, place: str) -> Problem | None:
    """None unless a GraphQL answer says that the operation did not succeed as a whole.

    Source: GraphQL specification (October 2021) section 7.1: `errors` is there if any error was raised.
    """
    if answer.body is None:
        return Problem("error", f"{place}: the body is longer than body_bytes_max; raise it")
    try:
        document = parse_json(answer.body)
    except ValueError as error:
        return Problem("fail", f"{place}: the body is not JSON ({error}), status {answer.status}")
    errors = document.get("errors") if isinstance(document, dict) else None
    if not errors:
        return None
    first = errors[0] if isinstance(errors, list) else errors
    message = first.get("message") if isinstance(first, dict) else first
    return Problem("fail", f"{place}: the answer holds GraphQL errors, the first: {show(message)}")


def as_text(value: Any) -> str:
    """An extracted value as it stands in a URL, header or text."""
    return value if isinstance(value, str) else json_module.dumps(value)


def fill(template: str, values: Values, text_of: Callable[[str], str] | None = None) -> str:
    """Replaces the placeholders that have a value; other braces are just braces."""
    spell = text_of or (lambda name: as_text(values[name]))
    return PLACEHOLDER.sub(lambda match: spell(match[1]) if match[1] in values else match[0], template)


def _fill_json(document: Any, values: Values) -> Any:
    match document:
        case str():
            whole = PLACEHOLDER.fullmatch(document)
            return values[whole[1]] if whole and whole[1] in values else fill(document, values)
        case Mapping():
            return {fill(str(key), values): _fill_json(inner, values) for key, inner in document.items()}
        case list() | tuple():
            return [_fill_json(inner, values) for inner in document]
    return document


def _texts(document: Any) -> list[str]:
    match document:
        case str():
            return [document]
        case Mapping():
            return [text for pair in document.items() for inner in pair for text in _texts(inner)]
        case list() | tuple():
            return [text for inner in document for text in _texts(inner)]
    return []
