"""The scalar values of the configuration: each carries its unit in its text, so that none is guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3, "B": 1.0}
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
DURATION_PATTERN = rf"^{_NUMBER}(ms|s|m|h|d)$"
FRACTION_PATTERN = rf"^(?:[0-9]{{1,9}}\s*/\s*[0-9]{{1,9}}|{_NUMBER}\s*%)$"
MAGNITUDE_PATTERN = rf"^({_NUMBER})(\s*)(%|[A-Za-z][A-Za-z0-9_/]{{0,31}})$"
NAME_CHARS_MAX = 63
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
MODULE_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
SERIES_NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
# A year and a day: longer is a slip of the unit, and steps times durations stay far from overflow.
_DURATION_S_MAX = 366 * 86400.0


def _refuse(code: str, text: str) -> PydanticCustomError:
    """A refusal whose text may hold braces, which pydantic's own templates would expand."""
    return PydanticCustomError(code, "{text}", {"text": text})


def seconds(text: Any) -> float:
    """Seconds of a duration such as `500ms 90s 5m 24h 7d`; refuses a bare number, naming what to write.

    Raises PydanticCustomError (a ValueError) `unit-missing` or `bad-duration`.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        text = f"{text:.12g}"
    if not isinstance(text, str):
        raise _refuse("bad-duration", "a duration is text such as 90s, 5m, 24h or 7d.")
    written = text.strip()
    if re.fullmatch(_NUMBER, written):
        raise _refuse(
            "unit-missing", f"{written} has no unit. Write {written}m, or {written}s if you meant seconds."
        )
    found = re.match(DURATION_PATTERN, written)
    if found is None:
        raise _refuse(
            "bad-duration",
            f"`{written}` is not a duration. Write a number and one of ms, s, m, h, d: 90s, 5m, 24h.",
        )
    unit = found[1]
    # Dividing keeps 500ms exactly 0.5; multiplying by 0.001 would not keep every such value.
    number = float(written.removesuffix(unit))
    value = number / 1000.0 if unit == "ms" else number * _SECONDS[unit]
    if value > _DURATION_S_MAX:
        raise _refuse("bad-duration", f"`{written}` is longer than 366d, the longest duration there is.")
    return value


def written_duration(value_s: float) -> str:
    """The shortest text that `seconds` reads as `value_s`: 90s, 5m, 24h, 7d, 250ms."""
    for unit, above in (("d", 2 * 86400.0), ("h", 3600.0), ("m", 60.0)):
        if value_s >= above and value_s % _SECONDS[unit] == 0:
            return f"{value_s / _SECONDS[unit]:.0f}{unit}"
    if 0 < value_s < 1:
        return f"{value_s * 1000:.12g}ms"
    return f"{value_s:.12g}s"


def slug(text: str) -> str:
    """The text as a `Name`: `a-z`, `0-9` and `-`; `unnamed` if it has none of them."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:NAME_CHARS_MAX].strip("-")
    return name if re.match(NAME_PATTERN, name) else "unnamed"


def fraction(text: Any) -> float:
    """A probability written `1/200` or `0.5%`: above 0, at most 1. Refuses a bare number."""
    if not isinstance(text, str) or not re.match(FRACTION_PATTERN, text.strip()):
        raise _refuse("bad-fraction", f"`{text}` is not a fraction. Write 1/200 or 0.5%.")
    written = text.strip()
    if written.endswith("%"):
        value = float(written[:-1]) / 100.0
    else:
        over, under = (int(part) for part in written.split("/"))
        value = over / under if under else 0.0
    if not 0.0 < value <= 1.0:
        raise _refuse("bad-fraction", f"`{written}` is not above 0 and at most 1. Write 1/200 or 0.5%.")
    return value


@dataclass(frozen=True, slots=True)
class Magnitude:
    """A size of change. relative: share of the level before (`5%` is 0.05), or None.

    absolute: in the base unit of the series, or None: `0.5pt` is 0.005, `80ms` is 0.08, `2MiB` is 2097152
    and `20 orders` is 20 of whatever the series counts. Exactly one of the two is given.
    """

    relative: float | None = None
    absolute: float | None = None

    @classmethod
    def parse(cls, text: Any) -> Magnitude:
        """Read `5%`, `0.5pt`, `80ms` or `20 orders`; a Magnitude is returned as it is."""
        if isinstance(text, cls):
            return text
        if isinstance(text, int | float) and not isinstance(text, bool):
            raise _refuse(
                "unit-missing",
                f"{text} has no unit. Write {text}% of the level before, {text}pt of a share, {text}ms, "
                f"or {text} and the unit of the series.",
            )
        found = re.match(MAGNITUDE_PATTERN, text.strip()) if isinstance(text, str) else None
        if found is None:
            raise _refuse(
                "bad-magnitude", f"`{text}` is not a size of change. Write 5%, 0.5pt, 80ms or 20 orders."
            )
        number, unit = float(found[1]), found[3]
        if unit == "%":
            return cls(relative=number / 100.0)
        if unit == "pt":
            return cls(absolute=number / 100.0)
        if unit == "ms":
            return cls(absolute=number / 1000.0)
        scale = _SECONDS.get(unit) or _BYTES.get(unit)
        if scale is None and not found[2]:
            raise _refuse(
                "bad-magnitude",
                f"`{unit}` is not a unit known here. Write %, pt, ms, s, m, h, kB, MB, MiB, or a space "
                f"before the unit of the series: {found[1]} {unit}.",
            )
        return cls(absolute=number * (scale or 1.0))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": MAGNITUDE_PATTERN, "examples": ["5%", "0.5pt", "80ms"]}


def _duration_schema(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": [example]})


class SecretText:
    """Marks a `str` that holds a secret: masked in the digest, warned about when written in a file."""


def no_switch(value: Any) -> Any:
    """The value, unless it is true or false."""
    if isinstance(value, bool):
        raise _refuse("bad-value", f"should be a number, not `{str(value).lower()}`.")
    return value


def _no_number(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise _refuse("bad-value", f"should be true or false, not `{value}`.")
    return value


# Python takes true for 1 and 1 for true; a person who wrote one did not mean the other.
Whole = Annotated[int, BeforeValidator(no_switch)]
Number = Annotated[float, BeforeValidator(no_switch)]
Switch = Annotated[bool, BeforeValidator(_no_number)]
# Seconds, zero or more; written with a unit.
Duration = Annotated[float, BeforeValidator(seconds), _duration_schema("5m")]
# Seconds, more than zero: what repeats or divides.
Period = Annotated[float, Field(gt=0), BeforeValidator(seconds), _duration_schema("60s")]
Fraction = Annotated[
    float,
    BeforeValidator(fraction),
    WithJsonSchema({"type": "string", "pattern": FRACTION_PATTERN, "examples": ["1/200", "0.5%"]}),
]
# Of services, sources, databases, targets, channels, checks and environments.
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
# As in the files of blackbox_exporter: `http_2xx`.
ModuleName = Annotated[str, StringConstraints(pattern=MODULE_NAME_PATTERN)]
# Series become parts of metric names, which know no dash.
SeriesName = Annotated[str, StringConstraints(pattern=SERIES_NAME_PATTERN)]
