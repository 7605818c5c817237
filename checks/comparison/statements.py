"""The statements with which one side of two tables is read; each is one snapshot."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from checks.comparison.agreement import Agreement, Pair, Updated
from checks.comparison.engines.engine import Column, Engine, NativeHash, Pages
from checks.databases.canonical import SEPARATOR, Kind
from checks.dialect import as_stored

# Few enough that the groups stay in a processor's cache: 16,384 take half as long again.
COARSE = 1_024
# Where too many of them differ, each is looked at in 64 parts.
SPLIT = 64
FINE = COARSE * SPLIT


@dataclass(frozen=True, slots=True)
class Hashes:
    """Buckets by the hash of the key; of: how many, a power of two."""

    of: int

    @property
    def count(self) -> int:
        """How many buckets there are."""
        return self.of

    def finer(self) -> Hashes | None:
        """Each bucket split, or None where they are not split any more."""
        return Hashes(FINE) if self.of < FINE else None


@dataclass(frozen=True, slots=True)
class Ranges:
    """Buckets by the key itself, which is one integer: `width` of them each, a power of two.

    Cheaper than a hash, and the rows of a bucket are found by the index of the key.
    """

    low: int
    high: int
    width: int

    @property
    def count(self) -> int:
        """How many buckets there are."""
        return (self.high - self.low) // self.width + 1

    def finer(self) -> Ranges | None:
        """Each bucket split, or None where they are not split any more."""
        return replace(self, width=max(1, self.width // SPLIT)) if self.width > 1 else None


def ranges(low: int, high: int) -> Ranges:
    """At most `COARSE` buckets from one key to the other."""
    return Ranges(low, high, 1 << max(0, (high - low).bit_length() - COARSE.bit_length() + 1))


Cut = Hashes | Ranges


@dataclass(frozen=True, slots=True)
class Buckets:
    """Some of the buckets into which the keys are cut."""

    cut: Cut
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

    def bounds(self) -> str:
        """`low` and `high`, between which all keys are; of a key that is one integer."""
        ((name, _, _),) = self._keys()
        return self._select([f"min({name}) AS low", f"max({name}) AS high"], [], is_whole=True)

    def scan(self, cut: Cut, within: Buckets | None, part: str | None) -> str:
        """`bucket`, `n` and `total` of each bucket; with `updated`, of the rows that `:until` knows.

        part: a condition that keeps to a part of the table.
        """
        among = [] if within is None else [self._among(within)]
        return self._select(
            [f"{self._bucket(cut)} AS bucket", "count(*) AS n", f"sum({self._row_hash()}) AS total"],
            [*([] if part is None else [part]), *among, *self._settled()],
            then="GROUP BY 1",
        )

    def rows(self, of: Buckets | Keys, part: str | None) -> str:
        """All rows of these buckets or keys, settled or not; part: see `scan`."""
        among = self._among(of) if isinstance(of, Buckets) else self._with(of)
        return self._select(self._row(), [*([] if part is None else [part]), among])

    @property
    def pages(self) -> Pages | None:
        """How the table can be read in parts, where it can."""
        return self.agreed.pages[self.side]

    def among(self, cut: Ranges, first: int, last: int) -> str:
        """The condition of being in one of these buckets."""
        ((name, _, _),) = self._keys()
        low = cut.low + first * cut.width
        return f"{name} BETWEEN {low} AND {cut.low + (last + 1) * cut.width - 1}"

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

    def _select(
        self, what: Sequence[str], conditions: Sequence[str], *, then: str = "", is_whole: bool = False
    ) -> str:
        found = [*([] if self.where is None or is_whole else [f"\n{self.where}\n"]), *conditions]
        where = " WHERE " + " AND ".join(f"({condition})" for condition in found) if found else ""
        table = self.engine.dialect.name(self.table)
        # Names are quoted, values have places, and the condition is the configuration's own.
        return f"SELECT {', '.join(what)} FROM {table} AS t{where} {then}".rstrip()  # noqa: S608

    def _row(self) -> list[str]:
        keys = [f"{self.engine.text(*value)} AS k{n}" for n, value in enumerate(self._keys())]
        return [
            *keys,
            f"{self._bucket(Hashes(FINE))} AS bucket",
            f"{self._row_hash()} AS hash",
            f"{self._updated_s()} AS updated",
        ]

    def _among(self, buckets: Buckets) -> str:
        numbers, cut = sorted(buckets.numbers), buckets.cut
        if isinstance(cut, Hashes):
            return f"{self._bucket(cut)} IN ({', '.join(map(str, numbers))})"
        return " OR ".join(self.among(cut, first, last) for first, last in _runs(numbers))

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

    def _bucket(self, cut: Cut) -> str:
        if isinstance(cut, Hashes):
            return f"({self._hash(self.agreed.keys)} & {cut.of - 1})"
        ((name, _, _),) = self._keys()
        return self.engine.range_of(name, cut.low, cut.width)

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
        hashed = sql.format(value=value, seed=seed)
        return f"coalesce({hashed}, {seed})" if column.has_nulls else hashed

    def _value(self, pair: Pair) -> tuple[str, Column, Kind]:
        column = self._column(pair)
        assert pair.kind is not None, "only a native hash takes columns that have no text in common"
        return self._name(column), column, pair.kind

    def _settled(self) -> list[str]:
        updated = self._updated()
        if updated is None:
            return []
        return [f"({self._later(':until')}) IS NOT TRUE"]

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


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of numbers that follow each other; they are sorted."""
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last
