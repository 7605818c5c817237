"""What changed between two snapshots, each change under one rule of `checks.catalogue.rules`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from checks.catalogue.model import Column, Constraint, Engine, Relation, Snapshot, Type
from checks.catalogue.rules import RULES, Verdict
from checks.catalogue.shapes import affinity, shape, type_change

_GRAVITY: Mapping[Verdict, int] = {"unsafe": 0, "unknown": 1, "safe": 2}
_BECAME = {
    ("table", "view"): "table became a view",
    ("view", "table"): "view became a table",
    ("table", "partitioned table"): "table became partitioned",
}
_WHAT_CHARS_MAX = 160
_CAST = re.compile(r"::[^:']+$")


@dataclass(frozen=True, slots=True)
class Change:
    """One change. subject: the name of what changed. because: what happened and what follows from it."""

    subject: str
    rule: str
    verdict: Verdict
    because: str

    def __str__(self) -> str:
        """One sentence without its verdict."""
        return f"{self.subject}: {self.because}"


def compare(before: Snapshot, after: Snapshot) -> tuple[Change, ...]:
    """All changes, the gravest first, then by name; none for equal snapshots.

    The verdict of each says whether the version of `before` can run on the schema of `after`. ValueError for
    snapshots of two engines.
    """
    if before.engine != after.engine:
        raise ValueError(f"a schema of {before.engine} cannot be compared with one of {after.engine}")
    changes = [
        *_relations(before, after),
        *_types(before.types, after.types),
        *_named("routine", "", before.routines, after.routines),
        *_named("sequence", "", before.sequences, after.sequences),
    ]
    return tuple(sorted(changes, key=lambda change: (_GRAVITY[change.verdict], change.subject, change.rule)))


def worst(changes: Iterable[Change]) -> Verdict:
    """What the changes come to together: one that is unsafe makes all of it so; `safe` for none."""
    return min((change.verdict for change in changes), key=_GRAVITY.__getitem__, default="safe")


def _change(subject: str, rule: str, what: str = "") -> Change:
    told = RULES[rule]
    shown = what if len(what) <= _WHAT_CHARS_MAX else what[: _WHAT_CHARS_MAX - 1] + "…"
    return Change(subject, rule, told.verdict, f"{rule}{f' ({shown})' if shown else ''}, {told.because}")


def _relations(before: Snapshot, after: Snapshot) -> Iterator[Change]:
    gone = [name for name in before.relations if name not in after.relations]
    come = [name for name in after.relations if name not in before.relations]
    renamed = _renamed(before.relations, after.relations, gone, come)
    for name in gone:
        word = _word(before.relations[name])
        if name in renamed:
            yield _change(name, f"{word} renamed", f"to {renamed[name]}, by its columns")
        else:
            yield _change(name, f"{word} dropped")
    for name in come:
        if name not in renamed.values():
            yield _change(name, f"{_word(after.relations[name])} added")
    for name, relation in before.relations.items():
        if name in after.relations:
            yield from _relation(name, relation, after.relations[name], before.engine)


def _word(relation: Relation) -> str:
    if relation.partition_of is not None:
        return "partition"
    return "view" if relation.is_view else "table"


def _renamed(
    before: Mapping[str, Relation], after: Mapping[str, Relation], gone: Sequence[str], come: Sequence[str]
) -> dict[str, str]:
    """Old name to new, where exactly one that went and one that came have the same columns."""
    renamed = {}
    for name in gone:
        relation = before[name]
        twins = [new for new in come if _is_twin(relation, after[new])]
        rivals = [old for old in gone if _is_twin(relation, before[old])]
        if len(twins) == len(rivals) == 1:
            renamed[name] = twins[0]
    return renamed


def _is_twin(one: Relation, other: Relation) -> bool:
    # The name of its own sequence in a default follows the table in some engines.
    columns = [
        [(name, column.type, column.nullable) for name, column in relation.columns.items()]
        for relation in (one, other)
    ]
    is_alike = one.kind == other.kind and columns[0] == columns[1]
    # A partition goes by its parent's name: as far as its rows are asked for, it went and another one came.
    return bool(one.columns) and is_alike and one.partition_of is None and other.partition_of is None


def _relation(name: str, before: Relation, after: Relation, engine: Engine) -> Iterator[Change]:
    if before.partition_of != after.partition_of:
        shown = f"{before.partition_of or 'of its own'} -> {after.partition_of or 'of its own'}"
        yield _change(name, "partitioning changed", shown)
    if before.partition_of is not None or after.partition_of is not None:
        return  # What its columns may be is told of the parent.
    if before.kind != after.kind:
        rule = _BECAME.get((before.kind, after.kind), "kind of relation changed")
        yield _change(name, rule, f"{before.kind} -> {after.kind}")
    elif before.definition != after.definition:
        yield _change(name, "view changed" if before.is_view else "partitioning changed")
    if before.options != after.options:
        shown = f"{', '.join(before.options) or 'none'} -> {', '.join(after.options) or 'none'}"
        yield _change(name, "options changed", shown)
    is_view = before.is_view or after.is_view
    if is_view and not (before.columns and after.columns):
        return  # The columns of this engine's views are not known.
    yield from _columns(name, before, after, engine, is_view=is_view)
    if not is_view:
        new_columns = {key: column for key, column in after.columns.items() if key not in before.columns}
        yield from _constraints(name, before.constraints, after.constraints, new_columns)
        yield from _named("trigger", name, before.triggers, after.triggers)
    yield from _named("index", name, before.indexes, after.indexes)


def _columns(
    name: str, before: Relation, after: Relation, engine: Engine, *, is_view: bool
) -> Iterator[Change]:
    gone = [key for key in before.columns if key not in after.columns]
    come = [key for key in after.columns if key not in before.columns]
    renamed = {old: new for old in gone for new in come if _is_renamed(old, new, before, after)}
    for key in gone:
        if key in renamed:
            yield _change(f"{name}.{key}", "column renamed", f"to {renamed[key]}, by its type and place")
        else:
            yield _change(f"{name}.{key}", "column dropped", before.columns[key].type)
    for key in come:
        column = after.columns[key]
        if key not in renamed.values():
            rule = "required column added" if column.is_required and not is_view else "column added"
            yield _change(f"{name}.{key}", rule, column.type)
    stayed = [key for key in before.columns if key in after.columns]
    if stayed != [key for key in after.columns if key in before.columns]:
        yield _change(name, "columns reordered")
    is_strict = "strict" in after.options
    for key in stayed:
        one, other = before.columns[key], after.columns[key]
        yield from _type(f"{name}.{key}", one, other, engine, is_strict=is_strict)
        if not is_view:
            yield from _filling(f"{name}.{key}", one, other)


def _is_renamed(old: str, new: str, before: Relation, after: Relation) -> bool:
    """A new name at the old place with the same type: most likely the same column."""
    return (
        list(before.columns).index(old) == list(after.columns).index(new)
        and before.columns[old].type == after.columns[new].type
    )


def _type(
    subject: str, before: Column, after: Column, engine: Engine, *, is_strict: bool
) -> Iterator[Change]:
    """What became of the values a column can hold."""
    shown = f"{before.type} -> {after.type}"
    if engine == "sqlite" and before.type != after.type:
        is_same = affinity(before.type) == affinity(after.type)
        yield _change(
            subject,
            "declared type changed" if is_same else "type changed" if is_strict else "affinity changed",
            shown,
        )
    elif before.type != after.type:
        one, other = shape(before.type, engine), shape(after.type, engine)
        if rule := type_change(one, other):
            yield _change(subject, rule, shown)
        if one.values is not None and other.values is not None:
            yield from _values(subject, one.values, other.values)
    if before.collation != after.collation:
        yield _change(subject, "collation changed", f"{before.collation} -> {after.collation}")


def _filling(subject: str, before: Column, after: Column) -> Iterator[Change]:
    """What became of who gives a column its value."""
    if before.nullable and not after.nullable:
        with_default = " with a default" if after.fills_itself else ""
        yield _change(subject, f"became NOT NULL{with_default}")
    elif after.nullable and not before.nullable:
        yield _change(subject, "NOT NULL dropped")
    if after.generated is not None:
        if before.generated is None:
            yield _change(subject, "became generated", after.generated)
        elif before.generated != after.generated:
            yield _change(subject, "generated value changed", f"{before.generated} -> {after.generated}")
        return
    if after.identity == "always" and before.identity != "always":
        yield _change(subject, "identity became always")
    elif after.identity == "by default" and before.identity != "by default":
        yield _change(subject, "identity became by default")
    elif before.fills_itself and not after.fills_itself:
        rule = "default dropped" if after.nullable else "default of a required column dropped"
        yield _change(subject, rule, before.default or before.generated or f"identity {before.identity}")
    elif before.default is None and after.default is not None:
        yield _change(
            subject, "default added" if not before.fills_itself else "default changed", after.default
        )
    elif not _is_same_default(before, after):
        yield _change(subject, "default changed", f"{before.default} -> {after.default}")


def _is_same_default(before: Column, after: Column) -> bool:
    if before.default is None or after.default is None or before.type == after.type:
        return before.default == after.default
    # PostgreSQL writes the type beside the value: 0 of an integer becomes '0'::bigint with its column.
    one, other = (_CAST.sub("", default).strip("()'") for default in (before.default, after.default))
    return one == other


def _constraints(
    relation: str,
    before: Mapping[str, Constraint],
    after: Mapping[str, Constraint],
    new_columns: Mapping[str, Column],
) -> Iterator[Change]:
    gone = {name: one for name, one in before.items() if name not in after}
    come = {name: one for name, one in after.items() if name not in before}
    for name in list(gone):
        twin = next((new for new, one in come.items() if _is_equal(one, gone[name])), None)
        if twin is not None:
            del gone[name], come[twin]
            yield _change(f"{relation}.{name}", "constraint renamed", f"to {twin}")
    for name in before.keys() & after.keys():
        one, other = before[name], after[name]
        if _is_equal(one, other):
            continue
        if rule := _changed(one, other):
            yield _change(f"{relation}.{name}", rule, f"{one.definition} -> {other.definition}")
        else:
            gone[name], come[name] = one, other
    for name, constraint in gone.items():
        has_action = any(word in constraint.definition for word in ("CASCADE", "SET NULL", "SET DEFAULT"))
        rule = (
            "foreign key with an action"
            if constraint.kind == "foreign key" and has_action
            else constraint.kind
        )
        yield _change(f"{relation}.{name}", f"{rule} dropped", constraint.definition)
    for name, constraint in come.items():
        yield _change(f"{relation}.{name}", _added(constraint, new_columns), constraint.definition)


def _is_equal(one: Constraint, other: Constraint) -> bool:
    # NOT VALID is about old rows: new ones are refused either way.
    return (one.kind, one.columns, _valid(one)) == (other.kind, other.columns, _valid(other))


def _valid(constraint: Constraint) -> str:
    return constraint.definition.removesuffix(" NOT VALID")


def _changed(before: Constraint, after: Constraint) -> str | None:
    """The rule for a constraint that kept its name, or None if it is as good as dropped and another added."""
    match (before.kind, after.kind):
        case ("check", "check"):
            return "check changed"
        case ("foreign key", "foreign key"):
            is_same = before.definition.partition(" ON ")[0] == after.definition.partition(" ON ")[0]
            return "foreign key action changed" if is_same else None
        case ("unique" | "primary key", "unique" | "primary key"):
            return "key widened" if set(before.columns) <= set(after.columns) else None
    return None


def _added(constraint: Constraint, new_columns: Mapping[str, Column]) -> str:
    if not constraint.columns or not set(constraint.columns) <= new_columns.keys():
        return f"{constraint.kind} added"
    stays_null = not any(
        new_columns[name].fills_itself or not new_columns[name].nullable for name in constraint.columns
    )
    judges_null = "NULLS NOT DISTINCT" in constraint.definition
    if constraint.kind in ("unique", "foreign key") and stays_null and not judges_null:
        return "key over new columns"
    return "constraint over new columns"


def _types(before: Mapping[str, Type], after: Mapping[str, Type]) -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            yield _change(name, "type added" if one is None else "type dropped")
        elif one.kind == other.kind == "enum":
            yield from _values(name, one.values, other.values)
        elif one != other:
            yield _change(name, "definition of type changed", f"{one.definition} -> {other.definition}")


def _values(subject: str, before: Sequence[str], after: Sequence[str]) -> Iterator[Change]:
    """What became of the values of an enum."""
    if removed := [value for value in before if value not in after]:
        yield _change(subject, "enum value removed", ", ".join(removed))
    if added := [value for value in after if value not in before]:
        yield _change(subject, "enum value added", ", ".join(added))
    if [value for value in before if value in after] != [value for value in after if value in before]:
        yield _change(subject, "enum reordered")


def _named(word: str, relation: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    """Additions, drops and changes of what is only known by its name and definition."""
    for name in sorted(before.keys() | after.keys()):
        subject = f"{relation}.{name}" if relation else name
        if name not in after:
            yield _change(subject, f"{word} dropped")
        elif name not in before:
            yield _change(subject, f"{word} added")
        elif before[name] != after[name]:
            yield _change(subject, f"{word} changed")
