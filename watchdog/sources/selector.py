"""Instant-vector selectors: `name{label="value", code=~"5.."}`; what configuration names a metric by.

Read here, and not passed on unread, because the scrape source has no PromQL engine and because an
expression where a selector belongs (`rate(x[5m])`) must be refused with a remedy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Operator = Literal["=", "!=", "=~", "!~"]

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATOR = re.compile(r"=~|!~|!=|=")
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'|`([^`]*)`')
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_LENGTH_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; an absent label is the empty string, as in Prometheus."""

    label: str
    operator: Operator
    value: str

    def matches(self, text: str) -> bool:
        """True if a label with this text is as asked; a regular expression must match all of it."""
        if self.operator in ("=", "!="):
            return (text == self.value) == (self.operator == "=")
        return (re.fullmatch(self.value, text) is not None) == (self.operator == "=~")


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric name and conditions on its labels."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """True if that sample is selected."""
        return name == self.name and all(m.matches(labels.get(m.label, "")) for m in self.matchers)

    def __str__(self) -> str:
        """The selector as PromQL; parsing it gives an equal one."""
        inside = ",".join(f"{m.label}{m.operator}{_quote(m.value)}" for m in self.matchers)
        return f"{self.name}{{{inside}}}" if inside else self.name


def parse_selector(text: str) -> Selector:
    """The selector in `text`; `{__name__="x"}` is accepted for `x`.

    Raises ValueError, with the column and the remedy, for anything else: an expression, an offset, a range,
    no or several names, a regular expression that does not compile.
    """
    if len(text) > _LENGTH_MAX:
        raise ValueError(f"a selector of {len(text)} characters; {_LENGTH_MAX} is the most")
    scan = _Scan(text)
    name = scan.take(_NAME)
    matchers = _matchers(scan) if scan.take(re.compile(r"\{")) else []
    if scan.rest():
        raise scan.refused(f"{scan.rest()[:20]!r} is not part of a selector")
    names = [m for m in matchers if m.label == "__name__"]
    if name is None and len(names) == 1 and names[0].operator == "=" and _NAME.fullmatch(names[0].value):
        return Selector(names[0].value, tuple(m for m in matchers if m.label != "__name__"))
    if name is None or names:
        raise scan.refused("a selector needs one metric name")
    return Selector(name, tuple(matchers))


def _matchers(scan: _Scan) -> list[Matcher]:
    found: list[Matcher] = []
    while not scan.take(re.compile(r"\}")):
        if found and not scan.take(re.compile(",")):
            raise scan.refused("expected `,` or `}`")
        if found and scan.take(re.compile(r"\}")):
            break
        found.append(_matcher(scan))
    return found


def _matcher(scan: _Scan) -> Matcher:
    label = scan.take(_LABEL)
    operator = scan.take(_OPERATOR)
    quoted = scan.take(_QUOTED, _unquote)
    if label is None or operator is None or quoted is None:
        raise scan.refused('expected a condition such as code=~"5.."')
    if operator in ("=~", "!~"):
        try:
            re.compile(quoted)
        except re.error as error:
            raise scan.refused(f"{quoted!r} is not a regular expression ({error})") from error
    operators: dict[str, Operator] = {"=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}
    return Matcher(label, operators[operator], quoted)


class _Scan:
    """A place in a text; blanks between tokens are skipped."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def take(self, token: re.Pattern[str], read: Callable[[re.Match[str]], str] | None = None) -> str | None:
        """The token at this place, and move behind it; None and stay where it is another."""
        blank = len(self._text) - len(self._text[self._at :].lstrip())
        match = token.match(self._text, max(self._at, blank))
        if match is None:
            return None
        self._at = match.end()
        return match.group() if read is None else read(match)

    def rest(self) -> str:
        """What has not been taken, without blanks round it."""
        return self._text[self._at :].strip()

    def refused(self, why: str) -> ValueError:
        """The error for this place."""
        return ValueError(
            f"{self._text[:80]!r}, column {self._at + 1}: {why}. "
            'Give a counter\'s selector such as http_requests_total{code=~"5.."}; '
            "rates are taken by the watchdog, and finished PromQL goes under `query`"
        )


def _unquote(match: re.Match[str]) -> str:
    if match.group(3) is not None:
        return match.group(3)
    return _ESCAPE.sub(_unescape, match.group(1) if match.group(1) is not None else match.group(2))


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1)
    if len(code) == 1:
        return _ESCAPES.get(code, code)
    number = int(code, 8) if code.isdigit() else int(code[1:], 16)
    return chr(number) if number <= 0x10FFFF else "�"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
