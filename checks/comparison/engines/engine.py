"""What an engine has to spell for two tables to be compared inside their databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from checks.databases.canonical import DIGITS_MAX, Family, Kind
from checks.dialect import Dialect, Epoch
from checks.model import Row


class Literal(Enum):
    """What is written in SQL as it is, in quotes or not: the texts that mean the same in every session."""

    NUMBER = r"-?\d{1,40}(\.\d{1,30})?"
    TEXT = r"[ !#-&(-\[\]-~]{0,200}"  # printable ASCII without quotes and backslash
    UUID = r"[0-9a-f]{32}"

    def written(self, text: str) -> str:
        """The literal."""
        return text if self is Literal.NUMBER else f"'{text}'"


@dataclass(frozen=True, slots=True)
class Column:
    """A column as its catalogue has it.

    type: the engine's own words for it. family: what it can be compared as across engines; None for json,
    arrays and others that have no text in common. native: columns that share this name have the same native
    hash for equal values, `native_sql` of `{value}` and `{seed}`; None where that cannot be said. digits: of
    a second, for times. rounds: a finer time is rounded when it is stored there, not cut. places: after the
    point, for decimals. is_number: a time in it needs an `epoch`. is_whole: its numbers are integers.
    has_nulls: it may hold NULL.
    """

    name: str
    type: str
    family: Family | None
    native: str | None = None
    native_sql: str = ""
    digits: int = DIGITS_MAX
    rounds: bool = True
    places: int = 0
    is_number: bool = False
    is_whole: bool = False
    has_nulls: bool = True


@dataclass(frozen=True, slots=True)
class NativeHash:
    """An engine's own 64-bit hash of a row: of each column with its own seed, then joined.

    version: servers of it hash alike. text_sql: of a text, as `Column.native_sql`. operator: what joins two.
    """

    version: str
    text_sql: str
    operator: str


@dataclass(frozen=True, slots=True)
class Pages:
    """Where the rows of a table lie during one snapshot. between_sql: from `{low}` to before `{high}`."""

    count: int
    between_sql: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The columns of one table by name, the hash of its server, if it has one, and its pages, if known."""

    columns: Mapping[str, Column]
    native: NativeHash | None = None
    pages: Pages | None = None


class Engine(Protocol):
    """The SQL of one kind of database. A `column` is a quoted name with its table before it."""

    @property
    def dialect(self) -> Dialect:
        """How it spells names and moments."""
        ...

    def catalogue(self, table: str) -> tuple[str, Mapping[str, Any]]:
        """A statement that gives one row per column, and its parameters."""
        ...

    def read(self, rows: Sequence[Row]) -> Catalogue:
        """What the rows of `catalogue` say."""
        ...

    def text(self, column: str, described: Column, kind: Kind) -> str:
        """The text that `checks.databases.canonical.text` defines; NULL stays NULL."""
        ...

    def canonical_hash(self, values: Sequence[tuple[str, Column, Kind]]) -> str:
        """What `checks.databases.canonical.hashed` gives for the texts of these columns."""
        ...

    def literal(self, described: Column, kind: Kind) -> Literal | None:
        """As what the text of a value, beside its column, finds it and maybe others; None if it does not."""
        ...

    def epoch_s(self, column: str) -> str:
        """A time as epoch seconds; a time, not a number that means one."""
        ...

    def range_of(self, column: str, low: int, width: int) -> str:
        """Which range of so many integers a value is in, 0 for that from `low` on; none is lower."""
        ...

    def later(self, column: str, place: str, epoch: Epoch | None) -> str:
        """The condition that the time is later than `place`; see `Dialect.compared`."""
        ...
