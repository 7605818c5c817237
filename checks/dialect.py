"""What differs between engines where a check writes its own SQL: quotes, and how times are compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# Of a number that means a time: seconds or milliseconds since 1970-01-01 UTC.
Epoch = Literal["s", "ms"]

_PART = re.compile(r"[\w$-]{1,63}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """One engine's spelling.

    quote: what stands around a name. instant: how the moment `{place}` (a `:name` holding epoch seconds) is
    written beside a column of times, and how that column `{column}` is written.
    """

    quote: str
    column: str
    instant: str

    def name(self, identifier: str) -> str:
        """`shop.orders` as the engine takes it literally, each part in quotes."""
        return ".".join(
            self.quote + part.replace(self.quote, self.quote * 2) + self.quote
            for part in identifier.split(".")
        )

    def compared(self, column: str, sign: str, place: str, epoch: Epoch | None) -> str:
        """The condition `column sign place`, where the place has the value `as_stored`. column: quoted."""
        if epoch is not None:
            return f"{column} {sign} {place}"
        return f"{self.column.format(column=column)} {sign} {self.instant.format(place=place)}"


def as_stored(seconds: float, epoch: Epoch | None) -> float:
    """A moment in the unit of the column: converting the value and not the column leaves its index usable."""
    return seconds * 1000.0 if epoch == "ms" else seconds


# PostgreSQL infers the type of the place from the column beside it, so the value is fitted, not the SQL.
POSTGRES = Dialect(quote='"', column="{column}", instant="{place}")
# In a session whose time zone is UTC.
MYSQL = Dialect(quote="`", column="{column}", instant="from_unixtime({place})")
# Times are texts there; strftime reads ISO 8601 with and without `T`, fraction and offset.
SQLITE = Dialect(quote='"', column="cast(strftime('%s', {column}) as integer)", instant="{place}")


def refuse_unless_name(identifier: str, *, parts_max: int = 1) -> None:
    """ValueError unless it is a name of letters, digits, `_`, `$` and `-`, of at most so many dotted parts.

    Names are then quoted, so they are written as the catalogue has them, upper and lower case included.
    """
    parts = identifier.split(".")
    if len(parts) > parts_max or not all(_PART.fullmatch(part) for part in parts):
        form = "a name" if parts_max == 1 else "a name, or schema.name,"
        raise ValueError(f"{identifier!r} is not {form} of letters, digits, _, $ and -")
