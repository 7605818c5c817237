"""The statements with which one side of two tables is read; each is one snapshot."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from checks.comparison.agreement import Agreement, Pair, Updated
from checks.comparison.engines.engine import Column, Engine, NativeHash
from checks.databases.canonical import SEPARATOR, Kind
from checks.dialect import as_stored

# Few enough that the groups stay in a processor's cache: 16,384 take half as long again.
COARSE = 1_024
# Where too many of them differ, each is looked at in 64 parts.
FINE = 65_536


@dataclass(frozen=True, slots=True)
class Buckets:
    """Some buckets of the key's hash; of: how many there are in all."""

    of: int
    numbers: frozenset[int]


@dataclass(frozen=True, slots=True)
class Keys:
    """Some keys, each the texts of its columns with `SEPARATOR` between."""

    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Statements:
    """The SQL of one side. side: 0 for left, 1 for right. where: the condition of the configuration."""

    engine: Engine
    table: str
    where: str | None
    agreed: Agreement
    side: Literal[0, 1]

    def params(self, **seconds: float) -> dict[str, float]:
        """The values of places, given in epoch seconds."""
        updated = self._updated()
        epoch = None if updated is None else updated.epoch
        return {name: as_stored(value, epoch) for name, value in seconds.items()}

    def scan(self, of: int, within: Buckets | None = None) -> str:
        """`bucket`, `n` and `total` of so many buckets; with `updated`, of the rows that `:until` knows."""
        return self._select(
            [f"{self._bucket(of)} AS bucket", "count(*) AS n", f"sum({self._row_hash()}) AS total"],
            [*([] if within is None else [self._among(within)]), *self._settled()],
            then="GROUP BY 1",
        )

    def rows(self, of: Buckets | Keys) -> str:
        """All rows of these buckets or keys, settled or not."""
        return self._select(self._row(), [self._among(of) if isinstance(of, Buckets) else self._with(of)])

    def can_look_up(self, keys: Collection[str]) -> bool:
        """True if `rows` finds these keys by the values of their columns, and so by an index."""
        forms = [self.engine.literal(column, kind) for _, column, kind in self._keys()]
        return all(
            form is not None and re.fullmatch(form.value, text)
            for key in keys
            for form, text in zip(forms, key.split(SEPARATOR), strict=True)
        )

    def changed(self, rows_max: int) -> str:
        """The rows changed after `:since`, at most so many."""
        return self._select(self._row(), [self._later(":since")], then=f"LIMIT {rows_max}")

    def _select(self, what: Sequence[str], conditions: Sequence[str], *, then: str = "") -> str:
        found = [*([] if self.where is None else [f"\n{self.where}\n"]), *conditions]
        where = " WHERE " + " AND ".join(f"({condition})" for condition in found) if found else ""
        table = self.engine.dialect.name(self.table)
        # Names are quoted, values have places, and the condition is the configuration's own.
        return f"SELECT {', '.join(what)} FROM {table} AS t{where} {then}".rstrip()  # noqa: S608

    def _row(self) -> list[str]:
        keys = [f"{self.engine.text(*value)} AS k{n}" for n, value in enumerate(self._keys())]
        return [
            *keys,
            f"{self._bucket(FINE)} AS bucket",
            f"{self._row_hash()} AS hash",
            f"{self._updated_s()} AS updated",
        ]

    def _among(self, buckets: Buckets) -> str:
        return f"{self._bucket(buckets.of)} IN ({', '.join(map(str, sorted(buckets.numbers)))})"

    def _with(self, keys: Keys) -> str:
        names = [name for name, _, _ in self._keys()]
        forms = [self.engine.literal(column, kind) for _, column, kind in self._keys()]
        values = [
            [form.written(text) for form, text in zip(forms, key.split(SEPARATOR), strict=True) if form]
            for key in sorted(keys.keys)
        ]
        if len(names) == 1:
            return f"{names[0]} IN ({', '.join(text for (text,) in values)})"
        pairs = (" AND ".join(map(" = ".join, zip(names, value, strict=True))) for value in values)
        return " OR ".join(f"({pair})" for pair in pairs)

    def _keys(self) -> list[tuple[str, Column, Kind]]:
        return [self._value(pair) for pair in self.agreed.keys]

    def _bucket(self, of: int) -> str:
        return f"({self._hash(self.agreed.keys)} & {of - 1})"

    def _row_hash(self) -> str:
        return self._hash((*self.agreed.keys, *self.agreed.columns))

    def _hash(self, pairs: Sequence[Pair]) -> str:
        native = self.agreed.native
        if native is None:
            return self.engine.canonical_hash([self._value(pair) for pair in pairs])
        hashes = [self._native(native, pair, seed) for seed, pair in enumerate(pairs, start=1)]
        return f"({f' {native.operator} '.join(hashes)})"

    def _native(self, native: NativeHash, pair: Pair, seed: int) -> str:
        column = self._column(pair)
        if pair.is_native:
            sql, value = column.native_sql, self._name(column)
        else:
            sql, value = native.text_sql, self.engine.text(*self._value(pair))
        return f"coalesce({sql.format(value=value, seed=seed)}, {seed})"

    def _value(self, pair: Pair) -> tuple[str, Column, Kind]:
        column = self._column(pair)
        assert pair.kind is not None, "only a native hash takes columns that have no text in common"
        return self._name(column), column, pair.kind

    def _settled(self) -> list[str]:
        updated = self._updated()
        if updated is None:
            return []
        return [f"{self._name(updated.column)} IS NULL OR NOT ({self._later(':until')})"]

    def _later(self, place: str) -> str:
        updated = self._updated()
        assert updated is not None, "asked for changes of a table without `updated`"
        return self.engine.later(self._name(updated.column), place, updated.epoch)

    def _updated_s(self) -> str:
        updated = self._updated()
        if updated is None:
            return "NULL"
        column = self._name(updated.column)
        return {None: self.engine.epoch_s(column), "s": column, "ms": f"{column} / 1000.0"}[updated.epoch]

    def _updated(self) -> Updated | None:
        return None if self.agreed.updated is None else self.agreed.updated[self.side]

    def _column(self, pair: Pair) -> Column:
        return pair.left if self.side == 0 else pair.right

    def _name(self, column: Column) -> str:
        return f"t.{self.engine.dialect.name(column.name)}"
