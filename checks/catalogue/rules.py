"""What each change of a schema means for the previous version running on the new schema: the whole table.

Put together from what squawk, strong_migrations and Atlas refuse in migration files, turned round: they ask
whether a change is safe to make, this asks whether the code before it can still run once it was made.
`safe`: it runs as before. `unsafe`: statements it is known to send are refused, or values are lost.
`unknown`: it depends on what it sends, or on rows that only the new version writes.

Taken for granted of the previous version: it names its columns in INSERT, reads columns by name, and leaves
out only columns that fill themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["safe", "unknown", "unsafe"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table. because: of the previous version, told as `it`."""

    verdict: Verdict
    because: str


_UNNOTICED = Rule("safe", "nothing that it sends names it")
_GONE = Rule("unsafe", "statements that name it are refused")
_REFUSED = Rule("unsafe", "rows it writes can now be refused")
_SLOWER = Rule("safe", "its queries can only become slower or faster")

RULES: Mapping[str, Rule] = {
    # Tables and views.
    "table added": _UNNOTICED,
    "table dropped": _GONE,
    "table renamed": _GONE,
    "table became a view": Rule("unknown", "it can read it, but write only if the view takes rows"),
    "table became partitioned": Rule("unknown", "a row that no partition takes is refused"),
    "view added": _UNNOTICED,
    "view dropped": _GONE,
    "view renamed": _GONE,
    "view became a table": Rule("unknown", "it can read it, but the rows no longer follow from others"),
    "view changed": Rule("unknown", "it can be given other rows than before"),
    "kind of relation changed": Rule("unknown", "what can be read or written there depends on the kind"),
    "options changed": Rule("unknown", "rows can be hidden from it or refused"),
    "partitioning changed": Rule("unknown", "a row that no partition takes is refused"),
    "partition added": _UNNOTICED,
    "partition dropped": Rule("unknown", "the rows are gone, and new ones for it are refused"),
    # Columns: whether they are there and filled.
    "column added": Rule("safe", "it leaves the column out, which is filled or stays NULL"),
    "required column added": Rule("unsafe", "every INSERT leaves the column out and is refused"),
    "column dropped": _GONE,
    "column renamed": _GONE,
    "columns reordered": Rule("unknown", "an INSERT without names writes into other columns"),
    "became NOT NULL": Rule("unsafe", "an INSERT without a value is refused"),
    "became NOT NULL with a default": Rule("unknown", "a NULL that it writes is refused"),
    "NOT NULL dropped": Rule("unknown", "it can read a NULL that the new version wrote"),
    "default added": Rule("safe", "a row without a value gets one instead of NULL"),
    "default changed": Rule("unknown", "a row without a value now means something else"),
    "default dropped": Rule("unknown", "a row without a value now gets NULL"),
    "default of a required column dropped": Rule("unsafe", "an INSERT without a value is refused"),
    "became generated": Rule("unsafe", "a value that it writes is refused"),
    "generated value changed": Rule("unknown", "it reads values made in another way"),
    "identity became always": Rule("unsafe", "a value that it writes is refused"),
    "identity became by default": Rule("safe", "values are taken that were refused before"),
    "collation changed": Rule("unknown", "texts sort and compare in another way"),
    # Columns: what they hold.
    "type changed": Rule("unsafe", "it writes and reads values of another type"),
    "values limited": Rule("unsafe", "a value that is not listed is refused"),
    "range narrowed": Rule("unsafe", "a number it writes can be out of range"),
    "length reduced": Rule("unsafe", "a text it writes can be too long"),
    "fraction reduced": Rule("unsafe", "digits that it writes are lost"),
    "kind of type changed": Rule("unknown", "its driver can give it another type, or round"),
    "range widened": Rule("unknown", "it can read a number too large for its own type"),
    "fraction extended": Rule("unknown", "it can read digits that it rounds off"),
    "length extended": Rule("safe", "what it writes still fits, and a longer text is a text"),
    "declared type changed": Rule("safe", "SQLite keeps values as they were by the same affinity"),
    "affinity changed": Rule("unknown", "SQLite keeps and compares values in another way"),
    # Types, routines, sequences, triggers.
    "enum value added": Rule("unknown", "it can read a value it does not know"),
    "enum value removed": Rule("unsafe", "the value that it writes or compares with is refused"),
    "enum reordered": Rule("unknown", "values sort in another way"),
    "type added": _UNNOTICED,
    "type dropped": _GONE,
    "definition of type changed": Rule("unknown", "values that it writes can be refused"),
    "routine added": _UNNOTICED,
    "routine dropped": Rule("unsafe", "calls of it are refused"),
    "routine changed": Rule("unknown", "it calls what now does something else"),
    "sequence added": _UNNOTICED,
    "sequence dropped": Rule("unsafe", "statements that take numbers from it are refused"),
    "sequence changed": Rule("unknown", "numbers taken in blocks can collide or run out"),
    "trigger added": Rule("unknown", "rows that it writes can be changed or refused"),
    "trigger dropped": Rule("unknown", "what the trigger did for it is no longer done"),
    "trigger changed": Rule("unknown", "rows that it writes are treated in another way"),
    # Constraints and indexes.
    "primary key added": _REFUSED,
    "primary key dropped": Rule("unknown", "an upsert that names the key is refused, and rows can be double"),
    "unique added": _REFUSED,
    "unique dropped": Rule("unknown", "an upsert that names the key is refused, and rows can be double"),
    "key widened": Rule("unknown", "an upsert that names the old key is refused, and rows can be double"),
    "check added": _REFUSED,
    "check changed": Rule("unknown", "rows that it writes can be refused if it became stricter"),
    "check dropped": Rule("safe", "everything it writes is still taken"),
    "foreign key added": _REFUSED,
    "foreign key action changed": Rule("unknown", "rows that follow another are treated in another way"),
    "foreign key dropped": Rule("safe", "everything it writes is still taken"),
    "foreign key with an action dropped": Rule(
        "unknown", "rows are no longer changed with the one they follow"
    ),
    "exclusion added": _REFUSED,
    "exclusion dropped": Rule("safe", "everything it writes is still taken"),
    "constraint renamed": Rule("unknown", "code that knows the name no longer finds it"),
    "key over new columns": Rule("safe", "it leaves them NULL, which such a key does not look at"),
    "constraint over new columns": Rule("unknown", "rows that leave them out can be refused"),
    "index added": _SLOWER,
    "index dropped": _SLOWER,
    "index changed": _SLOWER,
}
