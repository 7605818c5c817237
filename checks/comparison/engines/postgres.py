"""PostgreSQL: between servers of one major version its own hashes, else md5 of the canonical text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from checks.comparison.engines.engine import Catalogue, Column, Literal, NativeHash, Pages
from checks.databases.canonical import (
    DIGITS_MAX,
    FLOAT_MAX,
    FLOAT_PLACES,
    HASH_DIGITS,
    Family,
    Kind,
    half_microseconds,
    time_chars,
)
from checks.dialect import POSTGRES, Epoch
from checks.model import Row

NATIVE_VERSION_MIN = 14  # the first that has hash_record_extended
PAGES_VERSION_MIN = 14  # the first that reads a range of pages alone

_FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(("int2", "int4", "int8", "numeric", "bool", "oid"), "number"),
    "float8": "float",
    **dict.fromkeys(("text", "varchar", "bpchar", "name"), "text"),
    "bytea": "bytes",
    "uuid": "uuid",
    "date": "date",
    **dict.fromkeys(("timestamp", "timestamptz"), "time"),
}
# Types whose hash is that of the value, whatever the server. Some equal each other across types, as
# hashint8extended says of the integers. An enum's hash is that of its oid, so it goes by its text.
_NATIVE: Mapping[str, str] = {
    **dict.fromkeys(("int2", "int4", "int8"), "integer"),
    **dict.fromkeys(("text", "varchar"), "text"),
    **{
        name: name
        for name in (
            *("numeric", "bool", "float4", "float8", "bpchar", "bytea", "uuid", "date", "timestamp"),
            *("timestamptz", "time", "timetz", "interval", "jsonb", "inet", "cidr", "macaddr"),
        )
    },
}
# The functions that SQL can call by name take half the time of a record's hash, which takes all.
_HASHES: Mapping[str, str] = {
    "int2": "hashint2extended({value}, {seed})",
    "int4": "hashint4extended({value}, {seed})",
    "int8": "hashint8extended({value}, {seed})",
    "numeric": "hash_numeric_extended({value}, {seed})",
    "float8": "hashfloat8extended({value}, {seed})",
    **dict.fromkeys(("text", "varchar"), "hashtextextended({value}, {seed})"),
    "uuid": "uuid_hash_extended({value}, {seed})",
    "timestamp": "timestamp_hash_extended({value}, {seed})",
    "timestamptz": "timestamp_hash_extended({value} AT TIME ZONE 'UTC', {seed})",
}
_BETWEEN = "t.ctid >= '({low},0)'::tid AND t.ctid < '({high},0)'::tid"
_RECORD_HASH = "hash_record_extended(ROW({value}), {seed})"
_CATALOGUE = """
SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type, b.typname::text AS base,
  b.typcategory::text AS category, e.typname::text AS element, a.atttypmod AS modifier,
  b.typnamespace = 'pg_catalog'::regnamespace AS is_built_in,
  a.attnotnull AS is_not_null, current_setting('server_version_num')::int / 10000 AS version,
  (SELECT CASE WHEN every(c.relkind IN ('r', 'm'))
     THEN max(pg_relation_size(c.oid)) / current_setting('block_size')::int END
   FROM pg_class c, cast(cast(:table AS text) AS regclass) AS whole
   WHERE c.oid = whole AND c.relkind <> 'p'
     OR c.oid IN (SELECT relid FROM pg_partition_tree(whole) WHERE isleaf)) AS pages
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typcategory = 'A'
WHERE a.attrelid = cast(cast(:table AS text) AS regclass) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"""


class PostgresEngine:
    """See `checks.comparison.engines.engine.Engine`."""

    dialect = POSTGRES

    def catalogue(self, table: str) -> tuple[str, Mapping[str, Any]]:
        """See `Engine.catalogue`."""
        return _CATALOGUE, {"table": self.dialect.name(table)}

    def read(self, rows: Sequence[Row]) -> Catalogue:
        """See `Engine.read`."""
        version, pages = (rows[0]["version"], rows[0]["pages"]) if rows else (0, None)
        native = NativeHash(f"postgres {version}", _HASHES["text"], "#")
        return Catalogue(
            {row["name"]: _column(row) for row in rows},
            native if version >= NATIVE_VERSION_MIN else None,
            Pages(int(pages), _BETWEEN) if pages is not None and version >= PAGES_VERSION_MIN else None,
        )

    def text(self, column: str, described: Column, kind: Kind) -> str:
        """See `Engine.text`."""
        match kind.family, described.family:
            case "float", _:
                bounded = f"least(greatest({column}::text::numeric, -{FLOAT_MAX}), {FLOAT_MAX})"
                return f"trim_scale(round({bounded}, {FLOAT_PLACES}))::text"
            case "number", _ if described.native == "bool":
                return f"{column}::int::text"
            case "number", _ if described.native == "numeric":
                return f"trim_scale({column})::text"
            case ("bytes", _) | ("uuid", "bytes"):
                return f"encode({column}, 'hex')"
            case "uuid", _:
                return f"lower(replace({column}::text, '-', ''))"
            case "date", _:
                return f"to_char({column}, 'YYYY-MM-DD')"
            case "time", _:
                return _time(column, described, kind)
        return f"{column}::text"

    def canonical_hash(self, values: Sequence[tuple[str, Column, Kind]]) -> str:
        """See `Engine.canonical_hash`."""
        texts = ", ".join(f"coalesce({self.text(*value)}, E'\\x1e')" for value in values)
        digest = f"md5(convert_to(concat_ws(E'\\x1f', {texts}), 'UTF8'))"
        return f"('x' || left({digest}, {HASH_DIGITS}))::bit({4 * HASH_DIGITS})::bigint"

    def literal(self, described: Column, kind: Kind) -> Literal | None:
        """See `Engine.literal`."""
        match kind.family, described.native:
            case "number", "integer" | "numeric":
                return Literal.NUMBER
            case "text", "text":
                return Literal.TEXT
            case "uuid", "uuid":
                return Literal.UUID
        return None

    def epoch_s(self, column: str) -> str:
        """See `Engine.epoch_s`."""
        return f"extract(epoch FROM {column})::float8"

    def range_of(self, column: str, low: int, width: int) -> str:
        """See `Engine.range_of`."""
        return f"({column} - '{low}'::bigint) / '{width}'::bigint"

    def later(self, column: str, place: str, epoch: Epoch | None) -> str:
        """See `Engine.later`."""
        return self.dialect.compared(column, ">", place, epoch)


def _column(row: Row) -> Column:
    base, is_known = row["base"], row["is_built_in"]
    # Enums, and what extensions add to the texts.
    is_text = not is_known and row["category"] in ("E", "S")
    if row["category"] == "A":
        native = f"{row['element']}[]" if row["element"] in _NATIVE and is_known else None
    else:
        native = _NATIVE.get(base) if is_known else None
    digits = row["modifier"] if base.startswith("timestamp") and row["modifier"] >= 0 else DIGITS_MAX
    family: Family | None = "text" if is_text else _FAMILIES.get(base) if is_known else None
    return Column(
        name=row["name"],
        type=row["type"],
        family=family,
        native=native,
        native_sql=_HASHES.get(base, _RECORD_HASH),
        digits=digits,
        is_number=family in ("number", "float"),
        is_whole=native == "integer",
        has_nulls=not row["is_not_null"],
    )


def _time(column: str, described: Column, kind: Kind) -> str:
    moment = f"{column} AT TIME ZONE 'UTC'" if described.native == "timestamptz" else column
    if kind.rounds and kind.digits < described.digits:
        moment = f"{moment} + interval '{half_microseconds(kind.digits)} microseconds'"
    return f"left(to_char({moment}, 'YYYY-MM-DD HH24:MI:SS.US'), {time_chars(kind.digits)})"
