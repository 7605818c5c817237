"""PagerDuty Events API v2: trigger and resolve an incident per deploy, and tell changes.

Limits and answers: developer.pagerduty.com, Events API v2 and its OpenAPI file, read in November 2026.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr
from yarl import URL

from watchdog.alerts.text import clean, cut
from watchdog.model import Alert, Sent, Severity
from watchdog.posting import Answer, NoAnswer, Poster, checked_url, excerpt

_SUMMARY_CHARS = 1024
_DEDUP_KEY_CHARS = 255
# Nine fields of it stay far below the 512 KB of a whole event.
_DETAIL_CHARS = 4000
_TRY_AGAIN = frozenset({408, 425, 429})


@dataclass(slots=True, kw_only=True)
class PagerDutyChannel:
    """Page through one service of PagerDuty.

    routing_key: the integration key, 32 letters and digits. url: the Events API; the EU region has another.
    severity: our severity to theirs (`critical`, `error`, `warning`, `info`), for what should differ.
    """

    routing_key: SecretStr
    url: str = "https://events.pagerduty.com"
    severity: Mapping[Severity, Severity] = field(default_factory=dict)
    _url: URL = field(init=False, repr=False)
    _poster: Poster = field(init=False, repr=False, default_factory=Poster)

    def __post_init__(self) -> None:
        """Raise ValueError for a key PagerDuty cannot know or a URL that is none."""
        self._url = checked_url(self.url, "url")
        if not re.fullmatch(r"[A-Za-z0-9]{32}", self.routing_key.get_secret_value()):
            raise ValueError("routing_key: 32 letters and digits, from the integration `Events API v2`")

    async def send(self, alert: Alert, *, now: float, timeout_s: float) -> Sent:
        """One attempt. Only 202 is success; what is neither a page nor its end goes out as a change event."""
        routing_key = self.routing_key.get_secret_value()
        if alert.event in ("trigger", "resolve"):
            path, payload = "v2/enqueue", incident_event(alert, routing_key, self.severity)
        elif routing_key.startswith("R"):
            # Keys of event rules and orchestrations; PagerDuty takes no change events for them.
            return Sent(outcome="done", because="not sent: this routing key takes no change events")
        else:
            path, payload = "v2/change/enqueue", change_event(alert, routing_key)
        answer = await self._poster.exchange(
            "POST",
            self._url / path,
            body=json.dumps(payload).encode(),
            headers={"Content-Type": "application/json"},
            timeout_s=timeout_s,
            now=now,
        )
        return self._judged(answer)

    async def close(self) -> None:
        """Release connections; may be called twice."""
        await self._poster.close()

    def _judged(self, answer: Answer | NoAnswer) -> Sent:
        if isinstance(answer, NoAnswer):
            return Sent(outcome="unknown" if answer.may_have_arrived else "retry", because=answer.because)
        if answer.status == 202:
            return Sent(outcome="done", because="answered 202")
        said = excerpt(answer.body, {self.routing_key.get_secret_value()})
        because = f"answered {answer.status}" + (f": {said}" if said else "")
        if answer.status < 300 or answer.status >= 500 or answer.status in _TRY_AGAIN:
            # A success that is not 202 comes from something in between, not from PagerDuty.
            return Sent(outcome="retry", because=because, retry_after_s=answer.retry_after_s)
        return Sent(outcome="refused", because=because)


def incident_event(
    alert: Alert, routing_key: str, severity: Mapping[Severity, Severity] | None = None
) -> dict[str, Any]:
    """The body for /v2/enqueue of an alert whose event is `trigger` or `resolve`."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": alert.event,
        "dedup_key": _dedup_key(alert.dedup_key),
    }
    if alert.event == "resolve":
        return event
    event["payload"] = {
        "summary": cut(clean(alert.text), _SUMMARY_CHARS),
        "source": cut(clean(f"{alert.service}.{alert.environment}"), _DEDUP_KEY_CHARS),
        "severity": (severity or {}).get(alert.severity, alert.severity),
        "timestamp": _timestamp(alert.created_at),
        "component": cut(clean(alert.service), _DEDUP_KEY_CHARS),
        "group": cut(clean(alert.environment), _DEDUP_KEY_CHARS),
        "class": "deploy-regression" if alert.deploy_id else "check",
        "custom_details": _details(alert),
    }
    event["client"] = "deploy-watchdog"
    if alert.link:
        event["client_url"] = alert.link
        event["links"] = [{"href": alert.link, "text": "Evidence"}]
    return event


def change_event(alert: Alert, routing_key: str) -> dict[str, Any]:
    """The body for /v2/change/enqueue: shown beside incidents, pages nobody."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "payload": {
            "summary": cut(clean(alert.text), _SUMMARY_CHARS),
            "source": cut(clean(f"{alert.service}.{alert.environment}"), _DEDUP_KEY_CHARS),
            "timestamp": _timestamp(alert.created_at),
            "custom_details": _details(alert),
        },
    }
    if alert.link:
        event["links"] = [{"href": alert.link, "text": "Evidence"}]
    return event


def _details(alert: Alert) -> dict[str, str]:
    texts = dict(alert.fields)
    if alert.deploy_id:
        texts["versions"] = f"{alert.from_version or 'unknown'} -> {alert.to_version or 'unknown'}"
    return {name: cut(clean(value), _DETAIL_CHARS) for name, value in texts.items()}


def _dedup_key(key: str) -> str:
    """The key itself, or a beginning of it with its digest: the same for the trigger and its resolve."""
    plain = clean(key)
    if plain == key and len(key) <= _DEDUP_KEY_CHARS:
        return key
    return f"{cut(plain, 180)}|{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _timestamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
