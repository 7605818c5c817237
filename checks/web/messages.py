"""A request as it is sent and its answer, whichever way they go."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from email.message import Message
from types import MappingProxyType
from typing import Any, NamedTuple

from multidict import CIMultiDict
from yarl import URL

from checks.web.stages import Stages

USER_AGENT = "deploy-watchdog (synthetic check)"
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
# What aiohttp would send by itself.
_HEADERS = {"Host": "", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
_DURATIONS = frozenset(name for name, kind in VARIABLES.items() if kind == "duration")


def identity(run_id: str, step: str = "") -> dict[str, str]:
    """The headers by which a service knows synthetic traffic and links it to its own traces.

    run_id: also the id of the W3C trace, so that what a service logs of a run is found by one word.
    """
    span_id = hashlib.sha256(f"{run_id}/{step}".encode()).hexdigest()[:16] if step else run_id[:16]
    return {"User-Agent": USER_AGENT, "X-Synthetic": run_id, "traceparent": f"00-{run_id}-{span_id}-01"}


class Outgoing(NamedTuple):
    """One request as it is sent. place: names it in messages.

    ids: headers of this run, which those in `headers` replace. start: see `start_of`.
    """

    method: str
    url: URL
    place: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str] = MappingProxyType({})
    body: bytes | None = None
    ids: Mapping[str, str] = MappingProxyType({})
    start: str = ""

    # It may hold secrets, so the repr tells nothing.
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place})"

    def head(self) -> bytes:
        """All of a request that has a `start`: line and headers, as in RFC 9112 sections 3 and 5."""
        ids = [f"{name}: {value}\r\n" for name, value in self.ids.items()]
        return "".join([self.start, *ids, "\r\n"]).encode()


def start_of(url: URL, headers: Mapping[str, str]) -> str:
    """What is the same in every run of a GET with these headers; empty where they replace one of a run."""
    fields = CIMultiDict(_HEADERS)
    fields["Host"] = url.host_port_subcomponent or ""
    fields.update(headers)
    if url.raw_user is not None or any(name in fields for name in identity("")):
        return ""
    lines = [f"GET {url.raw_path_qs} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), ""]
    return "\r\n".join(lines)


class Answer(NamedTuple):
    """A response that was read to its end; body is None when it was longer than allowed.

    fields: the headers as they came. version: of HTTP, as 1.1. redirects: how many were followed. is_secure:
    the last answer came over TLS.
    """

    status: int
    fields: Mapping[str, str]
    body: bytes | None
    stages: Stages
    version: str
    redirects: int
    is_secure: bool

    def headers(self) -> dict[str, str]:
        """Names in lower case; of a name that came more than once, the values separated by commas."""
        headers: dict[str, str] = {}
        for name, value in self.fields.items():
            lower = name.lower()
            headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
        return headers

    def text(self) -> str:
        """The body as text; bytes that do not belong to the charset become U+FFFD."""
        written = Message()
        written["Content-Type"] = self.fields.get("Content-Type", "")
        try:
            return (self.body or b"").decode(written.get_content_charset("utf-8"), "replace")
        except (LookupError, ValueError):
            # A charset that nobody knows, or one that replaces nothing (idna).
            return (self.body or b"").decode("utf-8", "replace")

    def values(self, names: AbstractSet[str]) -> dict[str, Any]:
        """The CEL variables of the answer itself, of those in `names`.

        A stage that did not happen took no time. Without TLS there is no certificate, so `certificate_days`
        is absent.
        """
        values: dict[str, Any] = {"status": self.status}
        if "headers" in names:
            values["headers"] = self.headers()
        for name in names & _DURATIONS:
            values[name] = timedelta(seconds=getattr(self.stages, f"{name}_s") or 0.0)
        if self.stages.certificate_days is not None:
            values["certificate_days"] = self.stages.certificate_days
        return values
