"""What the name of a reading says of it: its kind, its unit, and the direction that is worse.

The one table of it. A new reading whose name ends in a unit below needs no line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Meaning:
    """bad: the direction that is worse, None where neither is worse by itself.

    kind: `latency` is compared as a multiple of what it was, `gauge` as it is.
    """

    kind: Literal["latency", "gauge"]
    unit: str
    bad: Literal["up", "down"] | None


_LATENCY = Meaning("latency", "s", "up")
_WRONG = Meaning("gauge", "", "up")
_NUMBER = Meaning("gauge", "", None)

# Names that say more than their ending, or have none.
_BY_NAME: Mapping[str, Meaning] = {
    # What a cache has left of a record runs down and starts again; how often that is looked at is chance.
    "ttl_s": Meaning("gauge", "s", None),
    # How far a replica is behind; other bytes are a body or a file, and a new page may be longer or shorter.
    "pending_bytes": Meaning("gauge", "bytes", "up"),
    "violations": _WRONG,
    "mismatches": _WRONG,
    "imbalanced": _WRONG,
    "pending": _WRONG,
    "unsafe": _WRONG,
    "unknown": _WRONG,
    # Of a scenario: runs whose cleanup is still owed.
    "leaked_runs": _WRONG,
    # How much there was: a shop that sells more, and one that loses its orders, move it both ways.
    "rows": _NUMBER,
    "read_rows": _NUMBER,
    "compared": _NUMBER,
    "replayed": _NUMBER,
    "answers": _NUMBER,
    "changes": _NUMBER,
}
_BY_ENDING: Mapping[str, Meaning] = {
    "_s": _LATENCY,
    "_per_million": Meaning("gauge", "per_million", "up"),
    "_per_minute": Meaning("gauge", "per_minute", None),
    "_entries": Meaning("gauge", "entries", "up"),
    "_days": Meaning("gauge", "days", "down"),
    "_bytes": Meaning("gauge", "bytes", None),
    # Used or free, lost or delivered: the share alone does not say.
    "_ratio": Meaning("gauge", "ratio", None),
}


def meaning(name: str) -> Meaning:
    """What a reading of that name is; one that people named has a direction only if its ending has one."""
    return listed(name) or _NUMBER


def listed(name: str) -> Meaning | None:
    """The line of the table for that name, None if there is none."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    return next((means for ending, means in _BY_ENDING.items() if name.endswith(ending)), None)
