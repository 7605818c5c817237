"""The body of POST /api/v1/deploys, checked once and for all: everything behind it trusts a DeployEvent.

An unknown key is an error: a mistyped `finished_at` would silently give another interval, and nothing in an
event may name where a rollback goes (reference: targets come from the configuration only).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar, get_args
from urllib.parse import urlsplit

from watchdog.model import DeployEvent, DeployKind, EventState

NAME_MAX = 63
VERSION_MAX = 200
AUTHOR_MAX = 200
ID_MAX = 200
LINK_MAX = 2000
DEPENDS_ON_MAX = 32

# An event without id and time is the same event when it is told again within one such span. A retry that
# crosses its edge is a second event of the same canonical deploy, which changes nothing either.
UNTIMED_SPAN_S = 900.0

_KEYS = (
    "service",
    "version",
    "from_version",
    "environment",
    "kind",
    "state",
    "started_at",
    "finished_at",
    "id",
    "rollback_safe",
    "depends_on",
    "author",
    "link",
)
# Seconds since 1970 beyond the year 5000 are milliseconds.
_EPOCH_S_MAX = 1e11
# Cc control, Cf format (bidirectional overrides among them), Cs surrogates, Zl and Zp separators.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_NAME = re.compile(r"[^\W_](?:[\w.-]*[^\W_])?")

_Choice = TypeVar("_Choice", bound=str)


def read_event(
    body: Mapping[str, Any], *, sender: str, sender_id: str | None, environment: str, now: float
) -> DeployEvent:
    """The event a sender told at `now` (epoch seconds).

    sender_id: of the message (`webhook-id`, `Idempotency-Key`), None if it had none; the body's `id` names
    the deploy or run, so one id may be told once per state, and wins. Without both the id is made of the
    content, so that a retry is a duplicate. environment: the daemon's own.
    Raises ValueError("key: sentence with remedy"), never anything else.
    """
    for key in body:
        if key not in _KEYS:
            raise ValueError(f"{_shown(key)}: no such key; there are {', '.join(_KEYS)}")
    state = _choice(body, "state", get_args(EventState), "finished")
    service = _name(body.get("service"), "service")
    told_id = _text(body, "id", ID_MAX)
    event = DeployEvent(
        sender=sender,
        sender_id="",
        received_at=now,
        environment=_environment(body, environment),
        service=service,
        to_version=_required(_text(body, "version", VERSION_MAX), "version"),
        state=state,
        kind=_choice(body, "kind", get_args(DeployKind), "code"),
        from_version=_text(body, "from_version", VERSION_MAX),
        started_at=_time(body, "started_at"),
        finished_at=_time(body, "finished_at"),
        rollback_safe=_flag(body, "rollback_safe"),
        depends_on=_depends_on(body, service),
        author=_text(body, "author", AUTHOR_MAX),
        link=_link(body),
    )
    _refuse_odd_times(event)
    return replace(event, sender_id=f"{told_id}/{state}" if told_id else sender_id or _content_id(event))


def _content_id(event: DeployEvent) -> str:
    times: list[float | None] = [event.started_at, event.finished_at]
    if times == [None, None]:
        times = [math.floor(event.received_at / UNTIMED_SPAN_S)]
    content = [event.environment, event.service, event.to_version, event.kind, event.state, *times]
    return "content-" + hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _environment(body: Mapping[str, Any], environment: str) -> str:
    told = body.get("environment")
    if told is not None and _name(told, "environment") != environment:
        raise ValueError(
            f"environment: this daemon watches `{environment}`; send the event to the daemon of "
            f"`{_shown(told)}`, or leave the key away"
        )
    return environment


def _text(body: Mapping[str, Any], key: str, length_max: int) -> str | None:
    """Text in normal form C without control characters; None if the key is absent or null."""
    told = body.get(key)
    if told is None:
        return None
    if not isinstance(told, str):
        raise ValueError(f"{key}: {_shown(told)} is not text; put it in quotes")
    text = unicodedata.normalize("NFC", told[: length_max + 1])
    if len(told) > length_max or len(text) > length_max:
        raise ValueError(f"{key}: {len(told)} characters; shorten it to at most {length_max}")
    for character in text:
        if unicodedata.category(character) in _REFUSED_CATEGORIES:
            raise ValueError(f"{key}: holds the invisible character U+{ord(character):04X}; remove it")
    if not text.strip() or text != text.strip():
        raise ValueError(f"{key}: empty, or with blanks at an end; remove them, or leave the key away")
    return text


def _required(text: str | None, key: str) -> str:
    if text is None:
        raise ValueError(f"{key}: missing; it is required")
    return text


def _name(told: Any, key: str) -> str:
    name = _required(_text({key: told}, key, NAME_MAX), key)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{key}: `{_shown(name)}` is no name; use letters, digits, and - . _ between them")
    return name


def _choice(body: Mapping[str, Any], key: str, choices: tuple[_Choice, ...], default: _Choice) -> _Choice:
    told = body.get(key)
    if told is None:
        return default
    for choice in choices:
        if told == choice:
            return choice
    raise ValueError(f"{key}: {_shown(told)} is not one of {', '.join(choices)}")


def _flag(body: Mapping[str, Any], key: str) -> bool | None:
    told = body.get(key)
    if told is None or isinstance(told, bool):
        return told
    raise ValueError(f"{key}: {_shown(told)} is neither true nor false")


def _time(body: Mapping[str, Any], key: str) -> float | None:
    told = body.get(key)
    if told is None:
        return None
    if isinstance(told, str):
        at = _moment(told, key)
    elif isinstance(told, int | float) and not isinstance(told, bool):
        at = told
    else:
        raise ValueError(f"{key}: {_shown(told)} is no time; write 2026-05-01T12:00:00Z or epoch seconds")
    # Compared before float(): an integer may be too large to be one.
    if not 0 <= at <= _EPOCH_S_MAX:
        raise ValueError(f"{key}: {_shown(told)} is not in seconds since 1970; divide milliseconds by 1000")
    return float(at)


def _moment(told: str, key: str) -> float:
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        raise ValueError(f"{key}: {_shown(told)} is no time; write it as 2026-05-01T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{key}: {_shown(told)} has no time zone; add Z or an offset such as +02:00")
    return moment.timestamp()


def _refuse_odd_times(event: DeployEvent) -> None:
    if event.finished_at is None:
        return
    if event.state in ("announced", "started"):
        raise ValueError(f"finished_at: a deploy {event.state} has no end; send state finished or failed")
    if event.started_at is not None and event.finished_at < event.started_at:
        raise ValueError("finished_at: before started_at; exchange them, or correct the sender's clock")


def _depends_on(body: Mapping[str, Any], service: str) -> tuple[str, ...]:
    told = body.get("depends_on")
    if told is None:
        return ()
    if not isinstance(told, list | tuple):
        raise ValueError(f"depends_on: {_shown(told)} is no list; write [payments, cart]")
    if len(told) > DEPENDS_ON_MAX:
        raise ValueError(f"depends_on: {len(told)} services; name at most {DEPENDS_ON_MAX}")
    names = [_name(each, f"depends_on.{n}") for n, each in enumerate(told)]
    if service in names:
        raise ValueError(f"depends_on: {service} cannot depend on itself; remove it")
    return tuple(dict.fromkeys(names))


def _link(body: Mapping[str, Any]) -> str | None:
    link = _text(body, "link", LINK_MAX)
    if link is None:
        return None
    try:
        parts = urlsplit(link)
        has_user, host = "@" in parts.netloc, parts.hostname
    except ValueError:
        raise ValueError("link: no valid URL; write https://host/path") from None
    if parts.scheme not in ("http", "https") or not host or " " in link:
        raise ValueError("link: not an http or https URL; write https://host/path, or leave it away")
    if has_user:
        raise ValueError("link: holds a user or password, which would be shown; remove it")
    return link


def _shown(told: Any) -> str:
    """What was told, in ASCII and short; of a list, mapping or huge number only what it is."""
    if isinstance(told, str):
        return ascii(told[:60])[1:-1]
    is_short = isinstance(told, bool | float) or (isinstance(told, int) and told.bit_length() <= 64)
    return str(told) if is_short else f"a {type(told).__name__}"
