"""Every rule about a change of schema, by the smallest change that falls under it and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.catalogue import Snapshot, compare, from_json, to_json, worst
from checks.catalogue.model import Column, Constraint, Engine, Relation, Type
from checks.catalogue.rules import RULES
from checks.catalogue.shapes import Shape, shape, type_change

ID = Column(type="integer", nullable=False)
TEXT = Column(type="text")
NUMBER = Column(type="integer", default="0")
PARTITION = Relation(kind="table", partition_of="public.orders DEFAULT")


def orders(engine: Engine = "postgres", **changed: Any) -> Snapshot:
    """A schema of one table with an id, with what is different in it."""
    relation = Relation(kind="table", columns={"id": ID})
    return Snapshot(engine=engine, relations={"public.orders": replace(relation, **changed)})


def note(
    before: Column, after: Column, engine: Engine = "postgres", **same: Any
) -> tuple[Snapshot, Snapshot]:
    """The column `note` of that table, before and after."""
    return (
        orders(engine, columns={"id": ID, "note": before}, **same),
        orders(engine, columns={"id": ID, "note": after}, **same),
    )


def typed(before: str, after: str, engine: Engine = "postgres", **same: Any) -> tuple[Snapshot, Snapshot]:
    return note(Column(type=before), Column(type=after), engine, **same)


def constrained(before: Constraint | None, after: Constraint | None) -> tuple[Snapshot, Snapshot]:
    """The same table, its constraint `c` before and after."""
    columns = {"id": ID, "note": TEXT}
    return (
        orders(columns=columns, constraints={"c": before} if before else {}),
        orders(columns=columns, constraints={"c": after} if after else {}),
    )


def over(kind: Any, *columns: str, definition: str = "") -> Constraint:
    return Constraint(kind=kind, columns=columns or ("id",), definition=definition or f"{kind} {columns}")


def reference(action: str = "") -> Constraint:
    return over("foreign key", "note", definition=f"FOREIGN KEY (note) REFERENCES notes(id){action}")


def relations(**named: Relation) -> Snapshot:
    return Snapshot(engine="postgres", relations=named)


def schema(**parts: Any) -> Snapshot:
    return Snapshot(engine="postgres", **parts)


def states(*values: str) -> Type:
    return Type(kind="enum", values=values)


TABLE = Relation(kind="table", columns={"id": ID})
VIEW = Relation(kind="view", columns={"id": ID}, definition="SELECT 1")
PARTITIONED = Relation(kind="partitioned table", columns={"id": ID}, definition="RANGE (id)")
NUMBERED = replace(ID, identity="by default")
REQUIRED = replace(TEXT, nullable=False)
DEFAULTED = replace(TEXT, default="'x'")
HASHED = replace(PARTITIONED, definition="HASH (id)")
STATES = states("open", "paid")
UNIQUE = over("unique")
NEW = {"id": ID, "note": TEXT}

CASES: Mapping[str, tuple[Snapshot, Snapshot]] = {
    "table added": (relations(), relations(t=TABLE)),
    "table dropped": (relations(t=TABLE), relations()),
    "table renamed": (relations(t=TABLE), relations(u=TABLE)),
    "table became a view": (relations(t=TABLE), relations(t=VIEW)),
    "table became partitioned": (relations(t=TABLE), relations(t=PARTITIONED)),
    "view added": (relations(), relations(v=VIEW)),
    "view dropped": (relations(v=VIEW), relations()),
    "view renamed": (relations(v=VIEW), relations(w=VIEW)),
    "view became a table": (relations(v=VIEW), relations(v=TABLE)),
    "view changed": (relations(v=VIEW), relations(v=replace(VIEW, definition="SELECT 2"))),
    "kind of relation changed": (relations(v=VIEW), relations(v=replace(VIEW, kind="materialized view"))),
    "options changed": (orders(), orders(options=("row level security",))),
    "partitioning changed": (relations(t=PARTITIONED), relations(t=HASHED)),
    "partition added": (relations(), relations(p=PARTITION)),
    "partition dropped": (relations(p=PARTITION), relations()),
    "column added": (orders(), orders(columns=NEW)),
    "required column added": (orders(), orders(columns={"id": ID, "note": REQUIRED})),
    "column dropped": (orders(columns=NEW), orders()),
    "column renamed": (orders(columns=NEW), orders(columns={"id": ID, "remark": TEXT})),
    "columns reordered": (orders(columns=NEW), orders(columns={"note": TEXT, "id": ID})),
    "became NOT NULL": note(TEXT, REQUIRED),
    "became NOT NULL with a default": note(DEFAULTED, replace(DEFAULTED, nullable=False)),
    "NOT NULL dropped": note(REQUIRED, TEXT),
    "default added": note(TEXT, DEFAULTED),
    "default changed": note(DEFAULTED, replace(DEFAULTED, default="'y'")),
    "default dropped": note(DEFAULTED, TEXT),
    "default of a required column dropped": note(replace(DEFAULTED, nullable=False), REQUIRED),
    "became generated": note(TEXT, replace(TEXT, generated="upper('x')")),
    "generated value changed": note(replace(TEXT, generated="1"), replace(TEXT, generated="2")),
    "identity became always": note(NUMBERED, replace(NUMBERED, identity="always")),
    "identity became by default": note(replace(NUMBERED, identity="always"), NUMBERED),
    "collation changed": note(TEXT, replace(TEXT, collation="C")),
    "type changed": typed("text", "integer"),
    "values limited": typed("varchar(10)", "enum('open','paid')", "mysql"),
    "range narrowed": typed("bigint", "integer"),
    "length reduced": typed("character varying(40)", "character varying(20)"),
    "fraction reduced": typed("numeric(12,4)", "numeric(10,2)"),
    "kind of type changed": typed("integer", "numeric(12,2)"),
    "range widened": typed("integer", "bigint"),
    "fraction extended": typed("numeric(10,2)", "numeric(12,4)"),
    "length extended": typed("character varying(20)", "text"),
    "declared type changed": typed("varchar(20)", "text", "sqlite"),
    "affinity changed": typed("text", "integer", "sqlite"),
    "enum value added": (schema(types={"s": STATES}), schema(types={"s": states("open", "paid", "sent")})),
    "enum value removed": (schema(types={"s": STATES}), schema(types={"s": states("open")})),
    "enum reordered": (schema(types={"s": STATES}), schema(types={"s": states("paid", "open")})),
    "type added": (schema(), schema(types={"s": STATES})),
    "type dropped": (schema(types={"s": STATES}), schema()),
    "definition of type changed": (
        schema(types={"d": Type(kind="domain", definition="integer")}),
        schema(types={"d": Type(kind="domain", definition="integer NOT NULL")}),
    ),
    "routine added": (schema(), schema(routines={"f()": "1"})),
    "routine dropped": (schema(routines={"f()": "1"}), schema()),
    "routine changed": (schema(routines={"f()": "1"}), schema(routines={"f()": "2"})),
    "sequence added": (schema(), schema(sequences={"s": "INCREMENT 1"})),
    "sequence dropped": (schema(sequences={"s": "INCREMENT 1"}), schema()),
    "sequence changed": (schema(sequences={"s": "INCREMENT 1"}), schema(sequences={"s": "INCREMENT 50"})),
    "trigger added": (orders(), orders(triggers={"t": "BEFORE INSERT"})),
    "trigger dropped": (orders(triggers={"t": "BEFORE INSERT"}), orders()),
    "trigger changed": (orders(triggers={"t": "BEFORE INSERT"}), orders(triggers={"t": "BEFORE UPDATE"})),
    "primary key added": constrained(None, over("primary key")),
    "primary key dropped": constrained(over("primary key"), None),
    "unique added": constrained(None, over("unique")),
    "unique dropped": constrained(over("unique"), None),
    "key widened": constrained(over("unique", "id"), over("unique", "id", "note")),
    "check added": constrained(None, over("check")),
    "check changed": constrained(over("check"), over("check", definition="CHECK (id > 1)")),
    "check dropped": constrained(over("check"), None),
    "foreign key added": constrained(None, reference()),
    "foreign key action changed": constrained(reference(), reference(" ON DELETE CASCADE")),
    "foreign key dropped": constrained(reference(), None),
    "foreign key with an action dropped": constrained(reference(" ON DELETE SET NULL"), None),
    "exclusion added": constrained(None, over("exclusion")),
    "exclusion dropped": constrained(over("exclusion"), None),
    "constraint renamed": (orders(constraints={"a": UNIQUE}), orders(constraints={"b": UNIQUE})),
    "index added": (orders(), orders(indexes={"i": "USING btree (id)"})),
    "index dropped": (orders(indexes={"i": "USING btree (id)"}), orders()),
    "index changed": (orders(indexes={"i": "USING btree (id)"}), orders(indexes={"i": "USING hash (id)"})),
}
# A new constraint cannot come without a new column.
WITH_ANOTHER: Mapping[str, tuple[Snapshot, Snapshot, str]] = {
    "key over new columns": (
        orders(),
        orders(columns=NEW, constraints={"c": over("unique", "note")}),
        "column added",
    ),
    "constraint over new columns": (
        orders(),
        orders(columns=NEW, constraints={"c": over("check", "note")}),
        "column added",
    ),
}


def rules(before: Snapshot, after: Snapshot) -> list[str]:
    return [change.rule for change in compare(before, after)]


def test_every_rule_has_its_case() -> None:
    assert CASES.keys() | WITH_ANOTHER.keys() == RULES.keys()


@pytest.mark.parametrize("rule", CASES)
def test_a_change_falls_under_its_rule_and_no_other(rule: str) -> None:
    (change,) = compare(*CASES[rule])
    assert (change.rule, change.verdict) == (rule, RULES[rule].verdict)
    assert rule in str(change)
    assert str(change).endswith(RULES[rule].because)


@pytest.mark.parametrize("rule", WITH_ANOTHER)
def test_a_constraint_over_new_columns_is_judged_by_what_they_are_filled_with(rule: str) -> None:
    before, after, another = WITH_ANOTHER[rule]
    assert sorted(rules(before, after)) == sorted([rule, another])


@pytest.mark.parametrize(
    ("column", "constraint"),
    [
        (DEFAULTED, over("unique", "note")),
        (TEXT, over("unique", "note", definition="UNIQUE NULLS NOT DISTINCT (note)")),
    ],
)
def test_a_new_key_that_looks_at_what_the_old_version_leaves_out_is_not_safe(
    column: Column, constraint: Constraint
) -> None:
    after = orders(columns={"id": ID, "note": column}, constraints={"c": constraint})
    assert worst(compare(orders(), after)) == "unknown"


@pytest.mark.parametrize(
    ("engine", "before", "after", "rule"),
    [
        ("postgres", "character varying", "text", None),
        ("postgres", "text", "character varying(10)", "length reduced"),
        ("postgres", "character(10)", "character varying(10)", "kind of type changed"),
        ("postgres", "character", "character(2)", "length extended"),
        ("postgres", "numeric", "numeric(10,2)", "range narrowed"),
        ("postgres", "numeric(10,2)", "numeric(10,4)", "range narrowed"),
        ("postgres", "integer", "double precision", "kind of type changed"),
        ("postgres", "real", "double precision", "range widened"),
        ("postgres", "double precision", "integer", "range narrowed"),
        ("postgres", "timestamp without time zone", "timestamp with time zone", "kind of type changed"),
        ("postgres", "timestamp without time zone", "timestamp(3) without time zone", "fraction reduced"),
        ("postgres", "timestamp(0) with time zone", "timestamp with time zone", "fraction extended"),
        ("postgres", "time without time zone", "timestamp without time zone", "type changed"),
        ("postgres", "json", "jsonb", "kind of type changed"),
        ("postgres", "integer[]", "bigint[]", "range widened"),
        ("postgres", "text[]", "text", "type changed"),
        ("postgres", "uuid", "text", "type changed"),
        ("postgres", "bit varying(5)", "bit varying(3)", "length reduced"),
        ("mysql", "int(11)", "int(10) unsigned", "range narrowed"),
        ("mysql", "int(10) unsigned", "bigint(20)", "range widened"),
        ("mysql", "tinyint(1)", "int(11)", "range widened"),
        ("mysql", "int(11)", "int(5)", None),
        ("mysql", "text", "varchar(20000)", "length reduced"),
        ("mysql", "text", "longtext", "length extended"),
        ("mysql", "longblob", "blob", "length reduced"),
        ("mysql", "binary(16)", "varbinary(32)", "length extended"),
        ("mysql", "datetime(6)", "datetime", "fraction reduced"),
        ("mysql", "datetime", "timestamp", "kind of type changed"),
        ("mysql", "enum('a','b')", "varchar(10)", "length reduced"),
        ("mysql", "double unsigned", "double", "range widened"),
        ("sqlite", "varchar(10)", "varchar(5)", None),
        ("sqlite", "bigint", "int", None),
        ("sqlite", "", "blob", None),
        ("sqlite", "double", "decimal", "type changed"),
    ],
)
def test_what_becomes_of_the_values_of_a_type(
    engine: Engine, before: str, after: str, rule: str | None
) -> None:
    assert type_change(shape(before, engine), shape(after, engine)) == rule


def test_the_values_of_an_enum_in_mysql_are_its_type() -> None:
    assert shape("enum('a','b''c')", "mysql") == Shape(family="text", kind="enum", values=("a", "b'c"))
    before, after = typed("enum('a','b')", "enum('a','c')", "mysql")
    assert rules(before, after) == ["enum value removed", "enum value added"]


def test_a_strict_table_of_sqlite_enforces_its_types() -> None:
    assert rules(*typed("text", "integer", "sqlite", options=("strict",))) == ["type changed"]


def test_a_default_that_only_changed_its_cast_did_not_change() -> None:
    before = Column(type="integer", default="0")
    assert rules(*note(before, Column(type="bigint", default="'0'::bigint"))) == ["range widened"]
    assert rules(*note(before, Column(type="bigint", default="'1'::bigint"))) == [
        "default changed",
        "range widened",
    ]


def test_a_constraint_is_the_same_once_its_old_rows_were_checked() -> None:
    before = over("check", definition="CHECK (id > 0) NOT VALID")
    assert rules(*constrained(before, over("check", definition="CHECK (id > 0)"))) == []


def test_a_key_over_other_columns_is_a_new_one() -> None:
    assert rules(*constrained(over("unique", "id"), over("unique", "note"))) == [
        "unique added",
        "unique dropped",
    ]
    assert rules(*constrained(over("unique", "id", "note"), over("unique", "id")))[0] == "unique added"
    moved = over("foreign key", "note", definition="FOREIGN KEY (note) REFERENCES others(id)")
    assert rules(*constrained(reference(), moved))[0] == "foreign key added"


def test_a_rename_is_only_told_where_there_is_one_reading() -> None:
    two = relations(a=TABLE, b=TABLE)
    assert rules(two, relations(c=TABLE)) == ["table dropped", "table dropped", "table added"]
    elsewhere = orders(columns={"remark": TEXT, "id": ID})
    assert set(rules(orders(columns=NEW), elsewhere)) == {"column dropped", "column added"}


def test_a_column_of_a_view_is_missed_like_one_of_a_table() -> None:
    wide = replace(VIEW, columns=NEW)
    assert rules(relations(v=wide), relations(v=VIEW)) == ["column dropped"]
    assert (
        rules(relations(v=VIEW), relations(v=replace(VIEW, columns={"id": replace(ID, nullable=True)}))) == []
    )


def test_the_gravest_change_comes_first_and_decides() -> None:
    before, after = orders(columns=NEW), orders(columns={"id": replace(ID, nullable=True), "more": NUMBER})
    changes = compare(before, after)
    assert [change.verdict for change in changes] == ["unsafe", "unknown", "safe"]
    assert (worst(changes), worst(changes[1:]), worst(changes[2:]), worst(())) == (
        "unsafe",
        "unknown",
        "safe",
        "safe",
    )


def test_two_engines_are_not_compared() -> None:
    with pytest.raises(ValueError, match="of postgres cannot be compared with one of sqlite"):
        compare(orders(), orders("sqlite"))


def test_a_text_that_is_no_snapshot_is_refused() -> None:
    with pytest.raises(ValueError, match="engine"):
        from_json('{"relations": {}}')


NAMES = st.sampled_from("abcdef")
COLUMNS = st.builds(
    Column,
    type=st.sampled_from(
        ["integer", "bigint", "text", "character varying(10)", "numeric(10,2)", "s", "text[]"]
    ),
    nullable=st.booleans(),
    default=st.none() | st.sampled_from(["0", "'x'::text"]),
    generated=st.none() | st.just("upper(a)"),
    identity=st.none() | st.sampled_from(["always", "by default"]),
    collation=st.none() | st.just("C"),
)
CONSTRAINTS = st.builds(
    Constraint,
    kind=st.sampled_from(["primary key", "unique", "check", "foreign key", "exclusion"]),
    columns=st.lists(NAMES, max_size=3, unique=True).map(tuple),
    definition=st.sampled_from(["x", "y ON DELETE CASCADE", "x NOT VALID"]),
)
DEFINITIONS = st.dictionaries(NAMES, st.sampled_from(["1", "2"]), max_size=2)
RELATIONS = st.builds(
    Relation,
    kind=st.sampled_from(["table", "view", "partitioned table", "materialized view"]),
    definition=st.sampled_from(["", "SELECT 1"]),
    partition_of=st.none() | st.just("a DEFAULT"),
    options=st.sampled_from([(), ("strict",)]),
    columns=st.dictionaries(NAMES, COLUMNS, max_size=4),
    constraints=st.dictionaries(NAMES, CONSTRAINTS, max_size=3),
    indexes=DEFINITIONS,
    triggers=DEFINITIONS,
)
TYPES = st.builds(
    Type, kind=st.sampled_from(["enum", "domain"]), values=st.lists(NAMES, unique=True, max_size=3).map(tuple)
)
SNAPSHOTS = st.builds(
    Snapshot,
    engine=st.just("postgres"),
    relations=st.dictionaries(NAMES, RELATIONS, max_size=3),
    types=st.dictionaries(NAMES, TYPES, max_size=2),
    routines=DEFINITIONS,
    sequences=DEFINITIONS,
)


def test_a_partition_under_another_name_is_another_partition() -> None:
    old, new = (replace(TABLE, partition_of="public.orders DEFAULT") for _ in range(2))
    changes = compare(relations(p1=old), relations(p2=new))
    assert [change.rule for change in changes] == ["partition dropped", "partition added"]


@given(SNAPSHOTS)
def test_a_schema_has_no_changes_against_itself_or_what_was_kept_of_it(snapshot: Snapshot) -> None:
    assert compare(snapshot, snapshot) == ()
    kept = from_json(to_json(snapshot))
    assert kept == snapshot
    assert compare(snapshot, kept) == ()


@given(SNAPSHOTS, SNAPSHOTS)
def test_whatever_changed_is_told_in_order_of_gravity(before: Snapshot, after: Snapshot) -> None:
    changes = compare(before, after)
    gravity = ["unsafe", "unknown", "safe"]
    found = [gravity.index(change.verdict) for change in changes]
    assert found == sorted(found)
    assert all(change.verdict == RULES[change.rule].verdict for change in changes)
    if set(before.relations) - set(after.relations):
        assert changes


@given(SNAPSHOTS, st.data())
def test_what_is_only_added_is_never_unsafe(before: Snapshot, data: st.DataObject) -> None:
    column = data.draw(COLUMNS.filter(lambda one: not one.is_required))
    after = replace(
        before,
        relations={
            **{
                name: replace(
                    relation,
                    columns={**relation.columns, "added": column},
                    indexes={**relation.indexes, "added": "USING btree (added)"},
                    constraints={**relation.constraints, "added": over("unique", "added")},
                )
                for name, relation in before.relations.items()
            },
            "added": data.draw(RELATIONS),
        },
        types={
            "added": data.draw(TYPES),
            **{name: replace(one, values=(*one.values, "added")) for name, one in before.types.items()},
        },
        routines={**before.routines, "added": "1"},
        sequences={**before.sequences, "added": "1"},
    )
    changes = compare(before, after)
    assert changes
    assert worst(changes) != "unsafe", changes
