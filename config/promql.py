"""As much of PromQL as telling a selector from an expression, and finding the ranges in a query.

Not a parser: the source that is asked has one. This only catches, before anything runs, the two mistakes
that would make a series judge worse without ever failing.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`[^`]*`')
_NAME = r"[A-Za-z_:][A-Za-z0-9_:]*"
_MATCHER = rf"{_NAME}\s*(?:=~|!~|!=|=)\s*(?:{_QUOTED.pattern})"
_MATCHERS = rf"\{{\s*(?:{_MATCHER}\s*(?:,\s*{_MATCHER}\s*)*,?)?\s*\}}"
_SELECTOR = re.compile(rf"\s*(?:{_NAME}\s*(?:{_MATCHERS})?|(?=.*\b__name__\s*=\s*[\"'`]){_MATCHERS})\s*")
_REGEX = re.compile(rf"(?:=~|!~)\s*({_QUOTED.pattern})")
_RANGE = re.compile(r"\[\s*((?:[0-9]+(?:ms|[smhdwy]))+)\s*(?::[^\]]*)?\]")
_PART = re.compile(r"([0-9]+)(ms|[smhdwy])")
_UNIT_S = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 7 * 86400.0,
    "y": 365 * 86400.0,
}


def is_selector(text: str) -> bool:
    """True for `name`, `name{label="value"}` and `{__name__="name"}`, if their expressions compile."""
    if _SELECTOR.fullmatch(text) is None:
        return False
    for quoted in _REGEX.findall(text):
        pattern = quoted[1:-1] if quoted[0] == "`" else quoted[1:-1].replace("\\\\", "\\")
        try:
            re.compile(pattern)
        except re.error:
            return False
    return True


def is_expression(text: str) -> bool:
    """True if it has what only a query has: calls, ranges, arithmetic."""
    outside = re.sub(r"\{[^}]*\}", "", _QUOTED.sub('""', text))
    return (
        re.search(r"[(\[]|\s[-+*/%^]\s|\b(?:sum|rate|increase|by|without|on|offset)\b", outside) is not None
    )


def longest_range_s(query: str) -> float:
    """Seconds of the longest `[range]` in a query, 0 where there is none."""
    ranges = _RANGE.findall(_QUOTED.sub('""', query))
    return max(
        (sum(float(n) * _UNIT_S[unit] for n, unit in _PART.findall(text)) for text in ranges), default=0.0
    )
