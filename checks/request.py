"""How one HTTP request is written in configuration, and how it is judged."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr
from yarl import URL

from checks.blame import Problem
from checks.exchange import VARIABLES, Answer, Stages, exchange, identity
from checks.expression import Expression
from checks.model import World
from checks.text import is_telling, telling_values
from checks.values import parse_json

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
BODY_BYTES_MAX = 1_048_576
EXPECT = "status < 400"
PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE_BREAK = re.compile(r"[\r\n\0]")
# Headers whose values are common knowledge and would only garble messages if they were masked.
_OPEN_HEADERS = frozenset(
    {"accept", "accept-encoding", "accept-language", "cache-control", "content-type", "host", "user-agent"}
)

Values = Mapping[str, Any]


class Unfillable(Exception):
    """An extracted value cannot stand where its placeholder stands."""


@dataclass(slots=True, kw_only=True, repr=False)
class Request:
    """One request: exactly one method key with its URL, and what the answer must be.

    headers: values are treated as secrets. json: sent as JSON; body: sent as it is.
    expect: CEL over status, headers (lower case), text, json, dns, connect, first_byte, total (durations).
    body_bytes_max: a longer answer is read no further, and only status and headers can be judged.
    URL and body may hold secrets, so the repr tells nothing.
    """

    get: str | None = None
    post: str | None = None
    put: str | None = None
    patch: str | None = None
    delete: str | None = None
    head: str | None = None
    options: str | None = None
    headers: Mapping[str, SecretStr] = field(default_factory=dict)
    json: Any = None
    body: str | None = None
    expect: str = EXPECT
    body_bytes_max: int = BODY_BYTES_MAX
    follow_redirects: bool = False
    method: str = field(init=False, repr=False)
    url: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        written = [name for name in METHODS if getattr(self, name) is not None]
        if len(written) != 1:
            found = " and ".join(written) or "none"
            raise ValueError(
                f"{(written or ['get'])[-1]}: write exactly one of {', '.join(METHODS)}; found {found}"
            )
        self.method, self.url = written[0].upper(), getattr(self, written[0])
        refuse_url(written[0], self.url)
        if self.json is not None and self.body is not None:
            raise ValueError("body: write either json or body, not both")
        try:
            json_module.dumps(self.json, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"json: cannot be sent as JSON ({error})") from None
        if self.body_bytes_max < 1:
            raise ValueError("body_bytes_max: write a number of bytes above 0")
        if any(name.lower() == "authorization" for name in self.headers) and re.match(
            r"\w+://[^/?#]*@", self.url
        ):
            raise ValueError("headers: Authorization and user:password in the URL exclude each other")
        refuse_headers(self.headers)

    def place(self) -> str:
        """Method and URL as written, placeholders included, without credentials and query."""
        return f"{self.method} {bare(self.url)}"

    def secrets(self) -> list[str]:
        """Everything in this request that must not come out in text."""
        url = PLACEHOLDER.sub("", self.url)
        found = [*secrets_of(url, self.headers), *telling_values(self.json)]
        return [PLACEHOLDER.sub("", secret) for secret in found]

    def placeholders(self, *, in_body: bool = True) -> set[str]:
        """Every `{name}` in URL and headers, and in body and JSON if `in_body`."""
        texts = [self.url, *(value.get_secret_value() for value in self.headers.values())]
        if in_body:
            texts += [self.body or "", *_texts(self.json)]
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

        return URL(_fill(self.url, values, quoted))

    def filled_headers(self, values: Values) -> dict[str, str]:
        """The headers with placeholders replaced; raises Unfillable for a value with a line break."""
        filled = {}
        for name, secret in self.headers.items():
            filled[name] = _fill(secret.get_secret_value(), values)
            if _LINE_BREAK.search(filled[name]):
                raise Unfillable(f"the value for header {name} holds a line break")
        names = {name.lower() for name in filled}
        if "content-type" not in names and self.json is not None:
            filled["Content-Type"] = "application/json"
        elif "content-type" not in names and self.body is not None:
            filled["Content-Type"] = "text/plain; charset=utf-8"
        return filled

    def filled_body(self, values: Values) -> bytes | None:
        """The bytes to send. In JSON a text that is one placeholder becomes the value with its own type."""
        if self.json is not None:
            return json_module.dumps(_fill_json(self.json, values)).encode()
        if self.body is not None:
            return _fill(self.body, values).encode()
        return None

    async def send(
        self,
        session: aiohttp.ClientSession,
        world: World,
        values: Values,
        stages: Stages,
        *,
        timeout_s: float,
        step: str = "",
    ) -> Answer | Problem:
        """Fill the placeholders and exchange. step: tells the spans of one trace apart."""
        try:
            url = self.filled_url(values)
            headers = {**identity(world.run_id, step), **self.filled_headers(values)}
            body = self.filled_body(values)
        except Unfillable as error:
            return Problem("fail", f"{step or self.place()}: {error}")
        return await exchange(
            session,
            self.method,
            url,
            place=step or self.place(),
            headers=headers,
            body=body,
            body_bytes_max=self.body_bytes_max,
            follow_redirects=self.follow_redirects,
            stages=stages,
            timeout_s=timeout_s,
        )


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


def refuse_headers(headers: Mapping[str, SecretStr]) -> None:
    """ValueError for a name or a value that cannot be sent as an HTTP header."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or _LINE_BREAK.search(value.get_secret_value()):
            raise ValueError(f"headers: {name!r} or its value cannot be sent as an HTTP header")


def bare(url: str) -> str:
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
    values = {**answer.values(), **extra}
    if expect.names & {"json", "text", "total"} and answer.body is None:
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
    judgement = expect.judge(values)
    if judgement.kind == "true":
        return None
    return Problem("error" if judgement.kind == "too_much" else "fail", f"{place}: {judgement.because}")


def compiled(key: str, text: str, extra: Mapping[str, str] | None = None) -> Expression:
    """The expression of one key over an HTTP answer; ValueError names the key."""
    try:
        return Expression(text, {**VARIABLES, **(extra or {})})
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def as_text(value: Any) -> str:
    """An extracted value as it stands in a URL, header or text."""
    return value if isinstance(value, str) else json_module.dumps(value)


def _fill(template: str, values: Values, text_of: Callable[[str], str] | None = None) -> str:
    """Replaces the placeholders that have a value; other braces are just braces."""
    spell = text_of or (lambda name: as_text(values[name]))
    return PLACEHOLDER.sub(lambda match: spell(match[1]) if match[1] in values else match[0], template)


def _fill_json(document: Any, values: Values) -> Any:
    match document:
        case str():
            whole = PLACEHOLDER.fullmatch(document)
            return values[whole[1]] if whole and whole[1] in values else _fill(document, values)
        case Mapping():
            return {_fill(str(key), values): _fill_json(inner, values) for key, inner in document.items()}
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
