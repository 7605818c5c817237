"""SQLite: no types to rely on, so each value is written as the column of the other side needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from checks.comparison.engines.engine import Catalogue, Column, Literal
from checks.databases.canonical import Kind
from checks.dialect import SQLITE, Epoch
from checks.model import Row

# Declared types in which SQLite stores numbers (sqlite.org/datatype3.html, 3.1).
_NUMBERS = ("INT", "REAL", "FLOA", "DOUB")


class SqliteEngine:
    """See `checks.comparison.engines.engine.Engine`. What it calls is in `checks.databases.canonical`."""

    dialect = SQLITE

    def catalogue(self, table: str) -> tuple[str, Mapping[str, Any]]:
        """See `Engine.catalogue`."""
        schema, _, name = table.rpartition(".")
        if not schema:
            return "SELECT name, type, pk FROM pragma_table_xinfo(:table)", {"table": name}
        return "SELECT name, type, pk FROM pragma_table_xinfo(:table, :schema)", {
            "table": name,
            "schema": schema,
        }

    def read(self, rows: Sequence[Row]) -> Catalogue:
        """See `Engine.read`."""
        keys = sum(bool(row["pk"]) for row in rows)
        return Catalogue(
            {row["name"]: _column(row, is_only_key=bool(row["pk"]) and keys == 1) for row in rows}
        )

    def text(self, column: str, described: Column, kind: Kind) -> str:
        """See `Engine.text`."""
        return f"CASE WHEN {column} IS NULL THEN NULL ELSE canonical_text('{kind}', {column}) END"

    def canonical_hash(self, values: Sequence[tuple[str, Column, Kind]]) -> str:
        """See `Engine.canonical_hash`."""
        kinds = ",".join(str(kind) for _, _, kind in values)
        return f"canonical_hash('{kinds}', {', '.join(column for column, _, _ in values)})"

    def literal(self, described: Column, kind: Kind) -> Literal | None:
        """See `Engine.literal`."""
        if described.is_number:
            return Literal.NUMBER if kind.family in ("number", "any") else None
        return Literal.TEXT if kind.family in ("text", "any") and "TEXT" in described.type.upper() else None

    def epoch_s(self, column: str) -> str:
        """See `Engine.epoch_s`."""
        return f"canonical_epoch_s({column})"

    def range_of(self, column: str, low: int, width: int) -> str:
        """See `Engine.range_of`."""
        return f"({column} - {low}) / {width}"

    def later(self, column: str, place: str, epoch: Epoch | None) -> str:
        """See `Engine.later`. To the microsecond, which `strftime` is not."""
        return f"{column if epoch else self.epoch_s(column)} > {place}"


def _column(row: Row, *, is_only_key: bool) -> Column:
    declared = row["type"].upper()
    # The only declaration that keeps other values out (sqlite.org/rowidtable.html).
    is_row_number = is_only_key and declared == "INTEGER"
    return Column(
        name=row["name"],
        type=row["type"] or "any",
        family="any",
        is_number=any(word in declared for word in _NUMBERS),
        is_whole=is_row_number,
        has_nulls=not is_row_number,
    )
