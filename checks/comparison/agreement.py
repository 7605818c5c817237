"""Which columns of two tables are compared, and as what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from checks.comparison.engines.engine import Catalogue, Column, NativeHash, Pages
from checks.databases.canonical import Family, Kind
from checks.dialect import Epoch

# What two families have in common besides themselves; `any` takes what the other is.
_MEETINGS: Mapping[frozenset[Family], Family] = {
    frozenset({"number", "float"}): "float",
    frozenset({"uuid", "text"}): "uuid",
    frozenset({"uuid", "bytes"}): "uuid",
}


class Disagreement(Exception):
    """The two tables cannot be compared as configured. `is_gone`: a column was not found."""

    def __init__(self, because: str, *, is_gone: bool = False) -> None:
        super().__init__(because)
        self.is_gone = is_gone


@dataclass(frozen=True, slots=True)
class Pair:
    """Two columns that are compared. kind: None where only the native hash can compare them."""

    left: Column
    right: Column
    kind: Kind | None
    is_native: bool

    def __str__(self) -> str:
        return names(self.left.name, self.right.name)


@dataclass(frozen=True, slots=True)
class Updated:
    """When a row was changed. epoch: as in `checks.dialect.Dialect.compared`."""

    column: Column
    epoch: Epoch | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """What is compared. native: the hash that both servers have. left_out: what cannot be compared.

    pages: how each table can be read in parts; they grow, which changes nothing of what is compared.
    """

    keys: tuple[Pair, ...]
    columns: tuple[Pair, ...]
    updated: tuple[Updated, Updated] | None
    native: NativeHash | None
    left_out: tuple[str, ...]
    pages: tuple[Pages | None, Pages | None] = field(compare=False)

    @property
    def is_by_number(self) -> bool:
        """True if a key is one integer, never NULL, on both sides."""
        columns = [column for pair in self.keys for column in (pair.left, pair.right)]
        return len(self.keys) == 1 and all(column.is_whole and not column.has_nulls for column in columns)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one side of the configuration names."""

    table: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    updated: str | None
    epoch: Epoch | None


def agree(wanted: tuple[Wanted, Wanted], found: tuple[Catalogue, Catalogue]) -> Agreement:
    """Which columns are compared; raises Disagreement."""
    left, right = wanted
    native = found[0].native if found[0].native == found[1].native else None
    keys = [_pair(wanted, found, names, native) for names in zip(left.keys, right.keys, strict=True)]
    for key in keys:
        if key.kind is None:
            raise Disagreement(f"key: {_types(key)} cannot be compared")
    columns, left_out = _columns(wanted, found, native)
    updated = None
    if left.updated is not None and right.updated is not None:
        updated = (_time(left, found[0], left.updated), _time(right, found[1], right.updated))
    pages = found[0].pages, found[1].pages
    return Agreement(tuple(keys), tuple(columns), updated, native, tuple(left_out), pages)


def missed(before: Agreement, now: Agreement) -> str | None:
    """The first column that was compared before and is not any more."""
    names_now = {str(pair) for pair in now.columns}
    return next((str(pair) for pair in before.columns if str(pair) not in names_now), None)


def _columns(
    wanted: tuple[Wanted, Wanted], found: tuple[Catalogue, Catalogue], native: NativeHash | None
) -> tuple[list[Pair], list[str]]:
    left, right = wanted
    if left.columns or right.columns:
        named = zip(left.columns or right.columns, right.columns or left.columns, strict=True)
        pairs = [_pair(wanted, found, names, native) for names in named]
        for pair in pairs:
            if not _is_comparable(pair):
                raise Disagreement(f"columns: {_types(pair)} cannot be compared")
        return pairs, []
    pairs, left_out = [], list(_on_one_side(wanted, found))
    for name in found[0].columns:
        if name in found[1].columns and not _is_special(name, wanted):
            pair = _pair(wanted, found, (name, name), native)
            if _is_comparable(pair):
                pairs.append(pair)
            else:
                left_out.append(_types(pair))
    return pairs, left_out


def _on_one_side(wanted: tuple[Wanted, Wanted], found: tuple[Catalogue, Catalogue]) -> Iterator[str]:
    for side, other, word in ((0, 1, "left"), (1, 0, "right")):
        for name in found[side].columns:
            if name not in found[other].columns and not _is_special(name, wanted[side : side + 1]):
                yield f"{name} ({word} only)"


def _is_special(name: str, wanted: Sequence[Wanted]) -> bool:
    return any(name in side.keys or name == side.updated for side in wanted)


def _pair(
    wanted: tuple[Wanted, Wanted],
    found: tuple[Catalogue, Catalogue],
    names: tuple[str, str],
    native: NativeHash | None,
) -> Pair:
    left, right = (_column(w, f, n) for w, f, n in zip(wanted, found, names, strict=True))
    is_native = native is not None and left.native is not None and left.native == right.native
    return Pair(left, right, _meet(left, right), is_native)


def _column(wanted: Wanted, found: Catalogue, name: str) -> Column:
    if name not in found.columns:
        raise Disagreement(f"table {wanted.table} has no column {name}", is_gone=True)
    return found.columns[name]


def _time(wanted: Wanted, found: Catalogue, name: str) -> Updated:
    column, place = _column(wanted, found, name), f"updated: {wanted.table}.{name}"
    if column.is_number and wanted.epoch is None:
        raise Disagreement(f"{place} holds numbers; write epoch: s or epoch: ms")
    if column.family == "time" and wanted.epoch is not None:
        raise Disagreement(f"{place} does not hold numbers; leave out epoch")
    if column.family not in ("time", "any") and not column.is_number:
        raise Disagreement(f"{place} is {column.type}; name a time, or a number with an epoch")
    return Updated(column, wanted.epoch)


def _meet(left: Column, right: Column) -> Kind | None:
    if left.family is None or right.family is None:
        return None
    if "any" in (left.family, right.family):
        family: Family | None = right.family if left.family == "any" else left.family
    elif left.family == right.family:
        family = left.family
    else:
        family = _MEETINGS.get(frozenset((left.family, right.family)))
    coarser = min(left, right, key=lambda column: column.digits)
    return None if family is None else Kind(family, coarser.digits, coarser.rounds)


def _is_comparable(pair: Pair) -> bool:
    return pair.is_native or pair.kind is not None


def _types(pair: Pair) -> str:
    types = pair.left.type if pair.left.type == pair.right.type else f"{pair.left.type} and {pair.right.type}"
    return f"{pair} ({types})"


def names(left: str, right: str) -> str:
    """Two columns as they are told."""
    return left if left == right else f"{left} = {right}"
