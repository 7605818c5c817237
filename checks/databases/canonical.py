"""One text for values that mean the same in different databases: what is hashed where engines differ.

The engines write these texts in SQL (`checks.comparison.engines`); this is their definition, and what SQLite
calls, which has no hash, no exact decimals and no types of its own for times.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any, Literal

Family = Literal["number", "float", "text", "bytes", "uuid", "date", "time", "any"]

SEPARATOR = "\x1f"  # between the values of a row
NULL = "\x1e"  # a text that is only this character is taken for NULL
# Hexadecimal digits of the md5 that are kept: 48 bits, so that SQLite's sum, which has 63, takes 32,768 rows.
HASH_DIGITS = 12
DIGITS_MAX = 6  # of a second, in every engine
# A float compared with another engine's number has 30 places and 35 digits before them, as much as MySQL's
# decimal(65, 30) holds: what is beyond, infinity and NaN count as the largest number.
FLOAT_PLACES = 30
FLOAT_MAX = Decimal("9" * 35 + "." + "9" * FLOAT_PLACES)

_EXACT = Context(prec=400)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Kind:
    """What two columns have in common.

    digits: of a second that are compared, for `time`. rounds: a finer time is rounded to them, half up, else
    cut, as the coarser side does when it stores one.
    """

    family: Family
    digits: int = DIGITS_MAX
    rounds: bool = True

    def __str__(self) -> str:
        return f"{self.family}:{self.digits}:{int(self.rounds)}"


def text(kind: Kind, value: Any) -> str:
    """The text of a value as SQLite stores it: int, float, str, bytes; `NULL` for None.

    A value that is not of the kind keeps its own text, which then equals nothing on the other side.
    """
    return NULL if value is None else _TEXTS[kind.family](kind, value)


def hashed(texts: Iterable[str]) -> int:
    """The first 48 bits of the md5 of the texts of a row."""
    joined = SEPARATOR.join(texts).encode("utf-8", "surrogateescape")
    return int(hashlib.md5(joined, usedforsecurity=False).hexdigest()[:HASH_DIGITS], 16)


def epoch_s(value: Any) -> float | None:
    """A time in ISO 8601 as epoch seconds; None for what is none, which a number is not either."""
    moment = _moment(value) if isinstance(value, str) else None
    return None if moment is None else (moment - _EPOCH).total_seconds()


def _number(_: Kind, value: Any) -> str:
    number = _decimal(value)
    return _plain(value) if number is None or not number.is_finite() else _trimmed(number)


def _float(_: Kind, value: Any) -> str:
    number = _decimal(value)
    if number is None:
        return _plain(value)
    if number.is_nan():
        number = FLOAT_MAX
    bounded = max(FLOAT_MAX.copy_negate(), min(FLOAT_MAX, number))
    return _trimmed(bounded.quantize(Decimal(1).scaleb(-FLOAT_PLACES), ROUND_HALF_UP, _EXACT))


def _bytes(_: Kind, value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else _plain(value).encode("utf-8", "surrogateescape").hex()


def _uuid(_: Kind, value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else _plain(value).replace("-", "").lower()


def _date(_: Kind, value: Any) -> str:
    if isinstance(value, str) and _DATE.match(value):
        return value[:10]
    moment = _moment(value)
    return _plain(value) if moment is None else f"{moment:%Y-%m-%d}"


def _time(kind: Kind, value: Any) -> str:
    moment = _moment(value)
    if moment is None:
        return _plain(value)
    if kind.rounds and kind.digits < DIGITS_MAX:
        moment += timedelta(microseconds=half_microseconds(kind.digits))
    written = moment.replace(tzinfo=None).isoformat(" ", "microseconds")
    return written[: time_chars(kind.digits)]


def _any(kind: Kind, value: Any) -> str:
    match value:
        case int() | float():
            return _number(kind, value)
        case bytes():
            return _bytes(kind, value)
    return _plain(value)


def half_microseconds(digits: int) -> int:
    """What is added to a time before it is cut to so many digits of a second, to round it."""
    return int(5 * 10 ** (DIGITS_MAX - digits - 1))


def time_chars(digits: int) -> int:
    """The length of `2026-11-22 10:00:00.123` with so many digits of a second."""
    return 19 + (digits + 1 if digits else 0)


def _plain(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _decimal(value: Any) -> Decimal | None:
    try:
        return None if isinstance(value, bytes) else Decimal(str(value))
    except InvalidOperation:
        return None


def _trimmed(number: Decimal) -> str:
    written = f"{number:f}"
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    return "0" if written == "-0" else written


def _moment(value: Any) -> datetime | None:
    """In UTC, which is also what a time without a zone is taken for."""
    try:
        if isinstance(value, int | float):
            # timedelta rounds to microseconds; fromtimestamp would do so in binary.
            return _EPOCH + timedelta(seconds=value) if math.isfinite(value) else None
        moment = datetime.fromisoformat(_plain(value))
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_TEXTS: Mapping[Family, Callable[[Kind, Any], str]] = {
    "number": _number,
    "float": _float,
    "text": lambda _, value: _plain(value),
    "bytes": _bytes,
    "uuid": _uuid,
    "date": _date,
    "time": _time,
    "any": _any,
}


@functools.lru_cache(maxsize=256)
def _kinds(written: str) -> tuple[Kind, ...]:
    parts = [part.split(":") for part in written.split(",")]
    families: dict[str, Family] = {family: family for family in _TEXTS}
    return tuple(Kind(families[family], int(digits), rounds == "1") for family, digits, rounds in parts)


def sql_text(written: str, value: Any) -> str:
    """`text` for SQL: the kind as `str(kind)` writes it."""
    return text(_kinds(written)[0], value)


def sql_hash(written: str, *values: Any) -> int:
    """`hashed` for SQL: the kinds of the values, as `str(kind)` writes each, with commas between."""
    return hashed(map(text, _kinds(written), values))


# Name in SQL -> what it calls and the number of its arguments (-1 = any).
SQL_FUNCTIONS: Mapping[str, tuple[Callable[..., Any], int]] = {
    "canonical_text": (sql_text, 2),
    "canonical_hash": (sql_hash, -1),
    "canonical_epoch_s": (epoch_s, 1),
}
