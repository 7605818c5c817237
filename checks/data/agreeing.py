"""Two sides that must agree by key: what differs, what still differs at a second look, and how it is told."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from checks.model import CheckResult, Row
from checks.text import finish, hidden

KEYS_SHOWN_MAX = 5

Found = Mapping[Any, tuple[tuple[Any, ...], ...]]  # key -> the compared values of each row that has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How a kind speaks of its sides. things: what a key is. counted: the reading that counts them."""

    left: str
    right: str
    things: str
    counted: str

    def differing(self, left: Found, right: Found) -> dict[Any, str]:
        """Key -> what is wrong with it."""
        wrong: dict[Any, str] = {}
        for key in left.keys() | right.keys():
            ours, theirs = left.get(key, ()), right.get(key, ())
            if not theirs:
                wrong[key] = f"missing {self.right}"
            elif not ours:
                wrong[key] = f"missing {self.left}"
            elif len(ours) > 1 or len(theirs) > 1:
                wrong[key] = "duplicated"
            elif ours != theirs:
                wrong[key] = "with other values"
        return wrong

    def confirmed(
        self, wrong: Iterable[Any], first: tuple[Found, Found], second: tuple[Found, Found]
    ) -> dict[Any, str]:
        """What was wrong in both looks, with the same values on both sides."""
        still = self.differing(*({key: side[key] for key in wrong if key in side} for side in second))
        return {
            key: kind
            for key, kind in still.items()
            if all(before.get(key) == after.get(key) for before, after in zip(first, second, strict=True))
        }

    def tell(self, wrong: Mapping[Any, str], *, compared: int, in_flight: int, total_s: float) -> CheckResult:
        """The result: readings, how many differ in which way, and a few of the keys, hidden."""
        readings = {self.counted: float(compared), "mismatches": float(len(wrong)), "total_s": total_s}
        if compared:
            readings["mismatches_per_million"] = len(wrong) / compared * 1e6
        details = [
            f"{compared} {self.things} {self.counted}, {len(wrong)} differ, {in_flight} were in flight"
        ]
        if not wrong:
            return finish("pass", readings=readings, details=details)
        kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(wrong.values()).most_common())
        shown = sorted(wrong, key=str)[:KEYS_SHOWN_MAX]
        share = readings["mismatches_per_million"]
        because = f"{len(wrong)} of {compared} {self.things} differ ({share:.0f} per million): {kinds}"
        details += [f"{hidden(key)} {wrong[key]}" for key in shown]
        return finish(
            "fail", f"{because}; keys {', '.join(map(hidden, shown))}", readings=readings, details=details
        )


def by_key(rows: Iterable[Row], key: str, columns: Sequence[str]) -> Found:
    """The rows by the column `key`, with the values of `columns`."""
    found: dict[Any, tuple[tuple[Any, ...], ...]] = {}
    for row in rows:
        name = same(row[key])
        found[name] = (*found.get(name, ()), tuple(same(row[column]) for column in columns))
    return found


def same(value: Any) -> Any:
    """One spelling for values that mean the same in two databases."""
    match value:
        case float() if math.isfinite(value):
            return Decimal(repr(value))
        case float():
            return str(value)
        case Decimal() if value.is_nan():
            return "nan"
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC)
        case None | str() | int() | Decimal() | bytes() | datetime():
            return value
    return str(value)
