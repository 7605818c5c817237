"""Two sides that must agree by key: what differs, what still differs at a second look, and how it is told."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from checks.model import CheckResult, Row
from checks.text import finish, hidden

KEYS_SHOWN_MAX = 5  # in the sentence
KEYS_LISTED_MAX = 50  # among the details

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

    def tell(
        self,
        wrong: Mapping[Any, str],
        *,
        compared: int,
        in_flight: int,
        total_s: float,
        share: float = 1.0,
        changed_s: Mapping[Any, float] = MappingProxyType({}),
        readings: Mapping[str, float] = MappingProxyType({}),
        details: Iterable[str] = (),
    ) -> CheckResult:
        """The result: readings, how many differ in which way, and a few of the keys, hidden.

        share: how much of what differs was read, more than 0; the number is projected from it.
        changed_s: when keys were last changed, epoch seconds, where that is known.
        readings, details: of the kind itself.
        """
        n = round(len(wrong) / share)
        told = [f"{compared} {self.things} {self.counted}, {n} differ, {in_flight} were in flight", *details]
        if not wrong and share < 1.0:
            because = (
                f"only {share:.0%} of what differs could be read, and that was in flight; raise rows_max"
            )
            return finish("error", because, readings={}, details=told)
        counts = {self.counted: float(compared), "mismatches": float(n), "total_s": total_s, **readings}
        if compared:
            counts["mismatches_per_million"] = n / compared * 1e6
        if not wrong:
            return finish("pass", readings=counts, details=told)
        keys = sorted(wrong, key=str)
        told += [f"{hidden(key)} {wrong[key]}" for key in keys[:KEYS_LISTED_MAX]]
        rate = f"{n / max(1, compared) * 1e6:.0f} per million"
        number, kinds = (f"{n}", "") if share == 1.0 else (f"about {n}", "of those read ")
        kinds += ", ".join(f"{many} {kind}" for kind, many in Counter(wrong.values()).most_common())
        because = f"{number} of {compared} {self.things} differ ({rate}): {kinds}"
        shown = ", ".join(hidden(key) for key in keys[:KEYS_SHOWN_MAX])
        written_at = _missed(wrong, changed_s)
        if written_at is not None:
            because += f"; the missing were last changed between {' and '.join(map(moment, written_at))}"
        because += f"; keys {shown}"
        return replace(finish("fail", because, readings=counts, details=told), written_at=written_at)


def moment(at_s: float) -> str:
    """Epoch seconds as people read them."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


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


def _missed(wrong: Mapping[Any, str], changed_s: Mapping[Any, float]) -> tuple[float, float] | None:
    """When the first and the last of the missing were written, where that is known."""
    times = [changed_s[key] for key, kind in wrong.items() if kind.startswith("missing") and key in changed_s]
    return (min(times), max(times)) if times else None
