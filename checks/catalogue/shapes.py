"""What values a type can hold, and what a change of type means for code written for the type before.

PostgreSQL manual, chapter "Data Types"; MySQL reference manual, chapter "Data Types"; SQLite, "Datatypes In
SQLite", section 3.1 for affinity.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from checks.catalogue.model import Engine

_INTEGER_BYTES = {
    "tinyint": 1,
    "smallint": 2,
    "int2": 2,
    "mediumint": 3,
    "integer": 4,
    "int": 4,
    "int4": 4,
    "bigint": 8,
    "int8": 8,
}
_DECIMALS = frozenset({"numeric", "decimal"})
# Largest finite values of IEEE 754 single and double precision.
_FLOATS = {"real": 3.4e38, "float": 3.4e38, "float4": 3.4e38, "double precision": 1.8e308, "double": 1.8e308}
_PADDED = frozenset({"character", "char", "bpchar"})
_TEXTS = frozenset({"character varying", "varchar", "text", "tinytext", "mediumtext", "longtext"})
_BYTES = frozenset({"bytea", "binary", "varbinary", "blob", "tinyblob", "mediumblob", "longblob"})
# Without a length, in MySQL. PostgreSQL's text has no limit of its own.
_MYSQL_LENGTHS = {"tiny": 255, "text": 65_535, "blob": 65_535, "medium": 2**24 - 1, "long": 2**32 - 1}
_TIMES = frozenset({"timestamp", "datetime", "time"})

_WRITTEN = re.compile(r"(?P<name>[^(]*?)\s*(?:\((?P<arguments>[^)]*)\)(?P<rest>.*))?", re.DOTALL)
_LISTED = re.compile(r"(?P<kind>enum|set)\((?P<values>.*)\)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The values a type can hold.

    family: number, text, bytes, time, date, json, or the type's own name. kind: what drivers tell apart
    within the family. low, high: of numbers. fraction: digits after the point. length: of texts and bytes.
    values: all there are, in their order; None where they are not listed.
    """

    family: str
    kind: str = ""
    low: float = -math.inf
    high: float = math.inf
    fraction: float = math.inf
    length: float = math.inf
    values: tuple[str, ...] | None = None


def shape(written: str, engine: Engine) -> Shape:
    """The shape of a type as the engine prints it."""
    text = written.lower().strip()
    if engine == "sqlite":
        return Shape(family=affinity(text))
    if text.endswith("[]"):
        inner = shape(text[:-2], engine)
        return replace(inner, family=f"{inner.family}[]")
    if listed := _LISTED.match(written):
        values = tuple(
            value.replace("''", "'") for value in re.findall(r"'((?:''|[^'])*)'", listed["values"])
        )
        return Shape(family="text", kind=listed["kind"], values=values)
    parts = _WRITTEN.fullmatch(text)
    assert parts is not None, "every part of the pattern may be empty"
    name = parts["name"]
    sizes = [int(size) for size in re.findall(r"-?\d+", parts["arguments"] or "")]
    rest = parts["rest"] or ""
    is_unsigned = "unsigned" in text
    name = name.removesuffix(" zerofill").removesuffix(" unsigned")
    name, zone = _without_zone(name, rest)
    if name in _INTEGER_BYTES:
        low, high = _range(8 * _INTEGER_BYTES[name], is_unsigned=is_unsigned)
        return Shape(family="number", kind="whole", low=low, high=high, fraction=0)
    if name in _DECIMALS:
        return _decimal(sizes, is_unsigned=is_unsigned)
    if name in _FLOATS:
        high = _FLOATS[name]
        return Shape(family="number", kind="floating", low=0.0 if is_unsigned else -high, high=high)
    if name in _PADDED or name in _TEXTS:
        kind = "padded" if name in _PADDED else "varying"
        return Shape(family="text", kind=kind, length=_length(name, sizes, engine, padded=name in _PADDED))
    if name in _BYTES:
        return Shape(family="bytes", length=_length(name, sizes, engine, padded=name == "binary"))
    if name in _TIMES:
        family = "time of day" if name == "time" else "time"
        kind = "mysql timestamp" if engine == "mysql" and name == "timestamp" else zone
        # PostgreSQL keeps microseconds unless told otherwise, MySQL whole seconds.
        return Shape(
            family=family, kind=kind, fraction=sizes[0] if sizes else (0 if engine == "mysql" else 6)
        )
    if name in ("json", "jsonb"):
        return Shape(family="json", kind=name)
    return Shape(family=name, length=sizes[0] if sizes else math.inf)


def affinity(declared: str) -> str:
    """What SQLite makes of a declared type. Only STRICT tables enforce it, and none a length."""
    text = declared.lower()
    if "int" in text:
        return "integer"
    if any(part in text for part in ("char", "clob", "text")):
        return "text"
    if "blob" in text or not text:
        return "blob"
    return "real" if any(part in text for part in ("real", "floa", "doub")) else "numeric"


def type_change(before: Shape, after: Shape) -> str | None:
    """The rule that a change of shape falls under, the worst first; None where nothing changed."""
    if before.family != after.family:
        return "type changed"
    if before.values is None and after.values is not None:
        return "values limited"
    if after.low > before.low or after.high < before.high:
        return "range narrowed"
    if after.length < before.length:
        return "length reduced"
    if after.fraction < before.fraction:
        return "fraction reduced"
    if before.kind != after.kind:
        return "kind of type changed"
    if after.low < before.low or after.high > before.high:
        return "range widened"
    if after.fraction > before.fraction:
        return "fraction extended"
    return "length extended" if after.length > before.length else None


def _without_zone(name: str, rest: str) -> tuple[str, str]:
    """`timestamp(3) with time zone` apart: the name, and what it says about the zone."""
    for zone in ("with time zone", "without time zone"):
        if rest.strip() == zone or name.endswith(f" {zone}"):
            return name.removesuffix(f" {zone}"), zone
    return name, ""


def _range(bits: int, *, is_unsigned: bool) -> tuple[float, float]:
    return (0.0, 2.0**bits - 1) if is_unsigned else (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)


def _decimal(sizes: list[int], *, is_unsigned: bool) -> Shape:
    if not sizes:
        return Shape(family="number", kind="decimal")
    precision, scale = sizes[0], sizes[1] if len(sizes) > 1 else 0
    high = 10.0 ** (precision - scale)
    return Shape(
        family="number", kind="decimal", low=0.0 if is_unsigned else -high, high=high, fraction=scale
    )


def _length(name: str, sizes: list[int], engine: Engine, *, padded: bool) -> float:
    if sizes:
        return sizes[0]
    if padded:
        return 1
    if engine == "mysql":
        return next((size for start, size in _MYSQL_LENGTHS.items() if name.startswith(start)), math.inf)
    return math.inf
