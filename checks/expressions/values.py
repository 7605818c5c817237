"""Values as checks meet them: JSON from the wire, rows from a database, and how they are shown to people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

DEPTH_MAX = 100  # nesting of a JSON body; the CEL library converts recursively, on the C stack
SHOWN_CHARS_MAX = 80


def parse_json(body: bytes) -> Any:
    """The document in a response body.

    Raises ValueError for anything that is not JSON by RFC 8259 (NaN and Infinity are not) or is nested
    deeper than `DEPTH_MAX`.
    """
    try:
        document = _decoded(body)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEPTH_MAX}") from None
    if body.count(b"{") + body.count(b"[") <= DEPTH_MAX:
        return document
    level = [document]
    for _ in range(DEPTH_MAX + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return document
    raise ValueError(f"nested deeper than {DEPTH_MAX}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


# Made once: `json.loads` makes a decoder of its own for each call with such an argument.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _decoded(body: bytes) -> Any:
    # Of all encodings and marks that `json.loads` knows, only plain UTF-8 begins like this.
    if body[:1] in (b"{", b"[") and body[1:2] != b"\0":
        text = body.decode()
        document, end = _DECODER.raw_decode(text)
        # `decode` would look for the end of the blanks at both ends by regular expressions.
        if text[end:].strip(" \t\n\r"):
            raise json.JSONDecodeError("Extra data", text, end)
        return document
    return json.loads(body, parse_constant=_refuse_constant)


def plain(value: Any) -> Any:
    """The same value with only what CEL has: bool, int in 64 bits, float, str, bytes, None, list, dict.

    Loses where it must, as written in docs/decisions/0002-cel-library.md: a Decimal with a fraction and an
    integer beyond 64 bits become the nearest double, dates and UUIDs their ISO text (aware times in UTC
    with `Z`, so that `timestamp(x)` reads them).
    """
    match value:
        case bool() | None | float() | bytes() | timedelta():
            return value
        case int():
            # Through text, because float() of an integer beyond 1e308 raises instead of giving infinity.
            return value if -(2**63) <= value < 2**64 else float(str(value))
        case str():
            return value.encode("utf-8", "replace").decode()
        case Decimal():
            is_whole = value.is_finite() and abs(value) < 2**63 and value == value.to_integral_value()
            return int(value) if is_whole else float(value)
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case bytearray() | memoryview():
            return bytes(value)
        case Mapping():
            return {plain(key): plain(inner) for key, inner in value.items()}
        case Sequence() | set() | frozenset():
            return [plain(inner) for inner in value]
    return str(value)


def show(value: Any) -> str:
    """The value for one line of text, at most about `SHOWN_CHARS_MAX` characters, in CEL's spelling."""
    match value:
        case timedelta():
            return f"{value.total_seconds() * 1000:.0f} ms"
        case Mapping():
            return f"a map of {len(value)}"
        case list() | tuple():
            return f"a list of {len(value)}"
        case str():
            text = json.dumps(value[: SHOWN_CHARS_MAX + 1], ensure_ascii=False)
        case bool() | None:
            text = json.dumps(value)
        case _:
            text = str(value)
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…"


def show_discreetly(value: Any) -> str:
    """Numbers and structure as they are; texts that are stored may be about people, so only their length."""
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    return show(value)
