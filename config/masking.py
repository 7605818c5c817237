"""Nothing secret leaves in text: values are masked in problems, in the settings and in the digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from config.errors import Problem
from config.reading import Keys

MASK = "***"
# Shorter texts occur by chance in messages, and are no secrets worth the name.
_SECRET_CHARS_MIN = 4
_SHOWN_CHARS = 60
_USERINFO = re.compile(r"(?<=://)[^/@\s\"']+(?=@)")
_QUERY_VALUE = re.compile(r"(?<=[?&])([A-Za-z0-9_.-]+=)[^&\s\"'#]+(?=[^\n]*)")
_TELLING = r"(?:secret|token|passw|routing_key|api[_-]?key|dsn|webhook|authorization|cookie|credential|hash)"
# What looks like a secret under a key that may be misspelt, in a line that may not even be YAML.
_KEY_VALUE = re.compile(
    rf"({_TELLING}[\w-]*[\"']?\s*:\s+[\"'\[{{]*(?:Bearer\s+)?)"
    r"(?!\$\{|file:/|sha256:)([^\s\"',}]+)",
    re.IGNORECASE,
)


def masked(value: Any, secret: Collection[Keys], path: Keys = ()) -> Any:
    """A copy of a tree with `***` at the secret paths."""
    if path in secret and value is not None:
        return MASK
    if isinstance(value, dict):
        return {key: masked(item, secret, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, secret, (*path, index)) for index, item in enumerate(value)]
    return value


def presentable(value: Any) -> Any:
    """A copy of a tree in which no URL has a user, a password or a query value."""
    if isinstance(value, dict):
        return {key: presentable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [presentable(item) for item in value]
    return _clean(value, ()) if isinstance(value, str) else value


def looks_secret(key: str) -> bool:
    """True for a key or a header whose value is a credential by its name."""
    return re.search(_TELLING, key, re.IGNORECASE) is not None


def digest(value: Any) -> str:
    """12 hex digits of a masked tree; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def without_secrets(problems: Iterable[Problem], secrets: Collection[str]) -> list[Problem]:
    """The same problems with every known secret, and what looks like one, masked in every text."""
    longest_first = sorted((s for s in secrets if len(s) >= _SECRET_CHARS_MIN), key=len, reverse=True)
    return [
        replace(
            problem,
            message=_shortened(_clean(problem.message, longest_first)),
            hint=_clean(problem.hint, longest_first),
            help=_clean(problem.help, longest_first),
            source_line=None
            if problem.source_line is None
            else _clean(problem.source_line, longest_first, is_source=True),
        )
        for problem in problems
    ]


def _clean(text: str, secrets: Iterable[str], *, is_source: bool = False) -> str:
    for secret in secrets:
        text = text.replace(secret, _cover(secret, is_source))
    text = _USERINFO.sub(lambda m: _cover(m[0], is_source), text)
    text = _QUERY_VALUE.sub(lambda m: m[1] + _cover(m[0][len(m[1]) :], is_source), text)
    if is_source:
        text = _KEY_VALUE.sub(lambda m: m[1] + _cover(m[2], is_source), text)
    return text


def _shortened(text: str) -> str:
    def cut(quoted: re.Match[str]) -> str:
        return quoted[0] if len(quoted[1]) <= _SHOWN_CHARS else f"`{quoted[1][:_SHOWN_CHARS]}…`"

    # After masking: half a secret would not have been found. Pair by pair, so that what stands between two
    # quoted values is not taken for one.
    return re.sub(r"`([^`\n]*)`", cut, text)


def _cover(secret: str, keep_width: bool) -> str:
    # In a source line the caret has to stay below what it means.
    return MASK.ljust(len(secret)) if keep_width else MASK
