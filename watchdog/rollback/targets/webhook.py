"""Rollback by an HTTP request to a deployer that the team already has."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jsonpath import JSONPathError
from jsonpath import compile as compile_path
from pydantic import SecretStr
from yarl import URL

from watchdog.model import Action, Progress, Sent
from watchdog.posting import Answer, NoAnswer, Poster, checked_url, excerpt
from watchdog.rollback import template
from watchdog.rollback.protocol import Order
from watchdog.signing import SigningKeys

# Ours to set: a configured header must not be able to change what is signed, counted or framed.
_RESERVED = re.compile(
    r"(?i)webhook-.*|x-watchdog-.*|idempotency-key|content-(length|type|encoding)|transfer-encoding|host|connection"
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# The receiver says that it did not take the request: another attempt cannot be a second rollback.
_NOT_TAKEN = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPoll:
    """Where an accepted rollback tells how far it is.

    url: with `{key}` for the idempotency key, on the same origin as the target. path: JSON path of the
    state in the answer. done: states that mean success. failed: states that mean failure; with any other
    the rollback is still running.
    """

    url: str
    path: str = "$.state"
    done: tuple[str, ...] = ("succeeded",)
    failed: tuple[str, ...] = ("failed", "error", "cancelled")


@dataclass(slots=True, kw_only=True)
class WebhookTarget:
    """Send the rollback as signed JSON; see https://www.standardwebhooks.com for the signature.

    url: of the deployer. secret: `whsec_...`, several while they are being changed. headers: added to every
    request. body: JSON template; its places are `{key}`, `{environment}`, `{service}`, `{deploy}`,
    `{from_version}`, `{to_version}` and `{because}`; without a template all are sent under these names.
    idempotent: the deployer honours `Idempotency-Key`, so that the same key twice is one rollback; with
    `false` nothing is ever sent twice. status: where to ask for completion. timeout_s: longest wait for the
    answer to one attempt, at most 60 s.
    """

    url: str = field(repr=False)
    method: Literal["POST", "PUT"] = "POST"
    secret: SecretStr | tuple[SecretStr, ...] | None = None
    headers: Mapping[str, SecretStr] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=lambda: template.DEFAULT)
    idempotent: bool = True
    status: StatusPoll | None = None
    timeout_s: float = 10.0

    _url: URL = field(init=False, repr=False)
    _keys: SigningKeys | None = field(init=False, repr=False, default=None)
    _poster: Poster = field(init=False, repr=False, default_factory=Poster)
    _is_gone: bool = field(init=False, repr=False, default=False)

    def __post_init__(self) -> None:
        """Raise ValueError for a configuration that could only fail when it is needed."""
        self._url = checked_url(self.url, "url")
        if not 0.1 <= self.timeout_s <= 60:
            raise ValueError("timeout: write 0.1s to 60s")
        if self.secret is not None:
            try:
                self._keys = SigningKeys.parse(self._secrets())
            except ValueError as error:
                raise ValueError(f"secret: {error}") from None
        for name, value in self.headers.items():
            _check_header(name, value.get_secret_value())
        template.check(self.body)
        if self.status is not None:
            _check_status(self.status, self._url)

    def render(self, order: Order) -> bytes:
        """The template filled in with the order: canonical JSON."""
        return template.render(self.body, order)

    async def send(self, action: Action, *, now: float, timeout_s: float) -> Sent:
        """One attempt. `retry` only where the request was certainly not acted on."""
        if self._is_gone:
            return Sent(outcome="refused", because="the target answered 410 Gone before; it is disabled")
        if len(action.body) > template.BODY_BYTES_MAX:
            because = f"the body has {len(action.body)} bytes; {template.BODY_BYTES_MAX} are allowed"
            return Sent(outcome="refused", because=because)
        signature = self._keys.headers(message_id=action.key, at=now, body=action.body) if self._keys else {}
        answer = await self._poster.exchange(
            self.method,
            self._url,
            body=action.body,
            headers={
                **self._extra_headers(),
                **signature,
                "Content-Type": "application/json",
                "Idempotency-Key": action.key,
                "X-Watchdog-Epoch": str(action.epoch),
                "X-Watchdog-Attempt": str(action.attempts),
            },
            timeout_s=min(timeout_s, self.timeout_s),
            now=now,
        )
        if isinstance(answer, NoAnswer):
            return Sent(outcome="unknown" if answer.may_have_arrived else "retry", because=answer.because)
        return self._judged(answer, action)

    async def progress(self, action: Action, *, now: float, timeout_s: float) -> Progress:
        """What the status URL says; `unknown` for every answer that is not a plain 2xx with a state in it."""
        if action.poll_url is None:
            return "unknown"
        poll_url = URL(action.poll_url)
        if poll_url.origin() != self._url.origin():
            # Written by an earlier configuration: our headers are for this receiver only.
            return "unknown"
        answer = await self._poster.exchange(
            "GET",
            poll_url,
            body=None,
            headers=self._extra_headers(),
            timeout_s=min(timeout_s, self.timeout_s),
            now=now,
        )
        if isinstance(answer, NoAnswer) or not 200 <= answer.status < 300:
            return "unknown"
        return _progress(answer.body, self.status or StatusPoll(url=self.url))

    async def close(self) -> None:
        """Release connections; may be called twice."""
        await self._poster.close()

    def _judged(self, answer: Answer, action: Action) -> Sent:
        said = excerpt(answer.body, self._hidden())
        told = f"answered {answer.status}" + (f": {said}" if said else "")
        if 200 <= answer.status < 300:
            poll_url = self._poll_url(answer, action)
            is_open = answer.status == 202 or poll_url is not None
            because = f"answered {answer.status}"
            return Sent(outcome="accepted" if is_open else "done", because=because, poll_url=poll_url)
        if answer.status in _NOT_TAKEN:
            return Sent(outcome="retry", because=told, retry_after_s=answer.retry_after_s)
        if answer.status >= 500:
            # It may have acted and failed afterwards, or a proxy answered for it.
            return Sent(outcome="unknown", because=told, retry_after_s=answer.retry_after_s)
        if 300 <= answer.status < 400:
            because = f"answered {answer.status}; redirects are never followed: configure the final URL"
            return Sent(outcome="refused", because=because)
        self._is_gone = self._is_gone or answer.status == 410
        return Sent(outcome="refused", because=told)

    def _poll_url(self, answer: Answer, action: Action) -> str | None:
        if self.status is not None:
            return template.fill(self.status.url, {"key": action.key})
        if answer.status != 202 or answer.location is None or len(answer.location) > 2000:
            return None
        try:
            poll_url = self._url.join(URL(answer.location))
            # Elsewhere than the receiver itself would be a way to have our headers sent to a stranger.
            return str(poll_url) if poll_url.origin() == self._url.origin() else None
        except ValueError:
            return None

    def _secrets(self) -> tuple[SecretStr, ...]:
        if self.secret is None:
            return ()
        return self.secret if isinstance(self.secret, tuple) else (self.secret,)

    def _extra_headers(self) -> dict[str, str]:
        return {name: value.get_secret_value() for name, value in self.headers.items()}

    def _hidden(self) -> set[str]:
        """What must not come back to us in a quoted answer."""
        signing = {secret.get_secret_value() for secret in self._secrets()}
        return {
            *signing,
            *(secret.removeprefix("whsec_") for secret in signing),
            *self._extra_headers().values(),
            *self._url.query.values(),
            self._url.query_string,
        }


def _check_header(name: str, value: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"headers: {name!r} is not a header name")
    if _RESERVED.fullmatch(name):
        raise ValueError(f"headers.{name}: is set by the watchdog; remove it")
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"headers.{name}: use printable ASCII only")


def _check_status(status: StatusPoll, target: URL) -> None:
    template.check_places(status.url, "status.url", ("key",))
    poll_url = checked_url(template.fill(status.url, {"key": "key"}), "status.url")
    if poll_url.origin() != target.origin():
        raise ValueError("status.url: must have the scheme, host and port of `url`; headers are sent to it")
    try:
        compile_path(status.path)
    except JSONPathError as error:
        raise ValueError(f"status.path: not a JSON path: {error}") from None
    if not status.done or not status.failed:
        raise ValueError("status: name at least one state in `done` and one in `failed`")
    if set(status.done) & set(status.failed):
        raise ValueError("status: a state cannot be both `done` and `failed`")


def _progress(body: bytes, status: StatusPoll) -> Progress:
    try:
        found = compile_path(status.path).findall(json.loads(body))
    except (ValueError, RecursionError, JSONPathError):
        return "unknown"
    if len(found) != 1 or isinstance(found[0], (list, dict)):
        return "unknown"
    state = found[0] if isinstance(found[0], str) else json.dumps(found[0])
    if state in status.done:
        return "succeeded"
    return "failed" if state in status.failed else "running"
