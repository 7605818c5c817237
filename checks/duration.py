"""Durations as people read them, and inside nested sections, where the loader's rule for `_s` ends."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def _seconds(value: Any) -> float:
    written = _WRITTEN.fullmatch(value) if isinstance(value, str) else None
    if written is None:
        raise ValueError(f"{value!r} is not a duration; write a number with a unit, as in 500ms, 30s or 5m")
    return float(written[1]) * _UNIT_S[written[2]]


Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h)$", "examples": ["500ms", "30s"]}),
]


def show_span(seconds: float) -> str:
    """A length of time for people: 20 ms, 45 s, 12 min, 3.5 h, 2.0 d."""
    for unit_s, unit in ((86_400.0, "d"), (3600.0, "h")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.1f} {unit}"
    if seconds >= 120:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.3g} s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:.0f} ms"
