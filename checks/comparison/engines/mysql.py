"""MySQL and MariaDB: md5 of the canonical text, in a session whose time zone is UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from checks.comparison.engines.engine import Catalogue, Column, Literal
from checks.databases.canonical import FLOAT_PLACES, HASH_DIGITS, Family, Kind, half_microseconds, time_chars
from checks.dialect import MYSQL, Epoch
from checks.model import Row

_WHOLE = ("tinyint", "smallint", "mediumint", "int", "bigint")
_FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys((*_WHOLE, "decimal", "bit", "year"), "number"),
    "double": "float",
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"), "text"),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), "bytes"),
    "uuid": "uuid",
    "date": "date",
    **dict.fromkeys(("datetime", "timestamp"), "time"),
}
_CATALOGUE = """
SELECT c.column_name AS name, lower(c.column_type) AS type, lower(c.data_type) AS base,
  c.datetime_precision AS digits, c.numeric_scale AS places, c.is_nullable AS nullable,
  version() AS version
FROM information_schema.columns c
WHERE c.table_name = :table AND c.table_schema = {schema}
ORDER BY c.ordinal_position"""


class MysqlEngine:
    """See `checks.comparison.engines.engine.Engine`."""

    dialect = MYSQL

    def catalogue(self, table: str) -> tuple[str, Mapping[str, Any]]:
        """See `Engine.catalogue`."""
        schema, _, name = table.rpartition(".")
        if not schema:
            return _CATALOGUE.format(schema="database()"), {"table": name}
        return _CATALOGUE.format(schema=":schema"), {"table": name, "schema": schema}

    def read(self, rows: Sequence[Row]) -> Catalogue:
        """See `Engine.read`."""
        return Catalogue({row["name"]: _column(row) for row in rows})

    def text(self, column: str, described: Column, kind: Kind) -> str:
        """See `Engine.text`."""
        match kind.family, described.family:
            case "float", _:
                return _trimmed(f"cast(cast({column} AS char) AS decimal(65, {FLOAT_PLACES}))")
            # The sum is without the zeros of ZEROFILL.
            case "number", _ if described.places:
                return _trimmed(f"{column} + 0")
            case "number", _:
                return f"cast({column} + 0 AS char)"
            case ("bytes", _) | ("uuid", "bytes"):
                return f"lower(hex({column}))"
            case "uuid", _:
                return f"lower(replace(cast({column} AS char), '-', ''))"
            case "date", _:
                return f"date_format({column}, '%Y-%m-%d')"
            case "time", _:
                return _time(column, described, kind)
        return f"convert({column} USING utf8mb4)"

    def canonical_hash(self, values: Sequence[tuple[str, Column, Kind]]) -> str:
        """See `Engine.canonical_hash`."""
        texts = ", ".join(f"coalesce({self.text(*value)}, _utf8mb4 x'1E')" for value in values)
        digest = f"md5(concat_ws(_utf8mb4 x'1F', {texts}))"
        return f"cast(conv(left({digest}, {HASH_DIGITS}), 16, 10) AS unsigned)"

    def literal(self, described: Column, kind: Kind) -> Literal | None:
        """See `Engine.literal`."""
        if kind.family == described.family == "number":
            return Literal.NUMBER
        return Literal.TEXT if kind.family == described.family == "text" else None

    def epoch_s(self, column: str) -> str:
        """See `Engine.epoch_s`."""
        return f"timestampdiff(microsecond, '1970-01-01', {column}) / 1000000"

    def range_of(self, column: str, low: int, width: int) -> str:
        """See `Engine.range_of`."""
        return f"({column} - ({low})) DIV {width}"

    def later(self, column: str, place: str, epoch: Epoch | None) -> str:
        """See `Engine.later`."""
        return self.dialect.compared(column, ">", place, epoch)


def _column(row: Row) -> Column:
    family = _FAMILIES.get(row["base"])
    return Column(
        name=row["name"],
        type=row["type"],
        family=family,
        digits=int(row["digits"] or 0),
        rounds="mariadb" not in row["version"].lower(),
        places=int(row["places"] or 0),
        is_number=family in ("number", "float"),
        is_whole=row["base"] in _WHOLE,
        has_nulls=row["nullable"] != "NO",
    )


def _trimmed(number: str) -> str:
    """A decimal without the zeros at its end; it has a point."""
    return f"trim(TRAILING '.' FROM trim(TRAILING '0' FROM cast({number} AS char)))"


def _time(column: str, described: Column, kind: Kind) -> str:
    if kind.rounds and kind.digits < described.digits:
        column = f"{column} + INTERVAL {half_microseconds(kind.digits)} MICROSECOND"
    return f"left(date_format({column}, '%Y-%m-%d %H:%i:%s.%f'), {time_chars(kind.digits)})"
