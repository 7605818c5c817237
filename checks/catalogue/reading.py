"""Reads a schema out of a database, whatever its engine, in one statement: one moment, one connection."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from pydantic import TypeAdapter

from checks.blame import Problem
from checks.catalogue import mysql, postgres, sqlite
from checks.catalogue.model import Column, Constraint, Engine, Relation, Snapshot, Type
from checks.databases import DATABASES
from checks.databases.asking import ask
from checks.databases.statement import listed
from checks.model import Row, World


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """sql: gives (part, relation, name, facts). all_schemas: what narrows it when no schema is named."""

    sql: str
    all_schemas: str = ""


_CATALOGUES: Mapping[Engine, _Catalogue] = {
    "postgres": _Catalogue(postgres.SQL, postgres.ALL_SCHEMAS),
    "mysql": _Catalogue(mysql.SQL, mysql.ALL_SCHEMAS),
    "sqlite": _Catalogue(sqlite.SQL),
}
_COLUMN, _CONSTRAINT = TypeAdapter(Column), TypeAdapter(Constraint)
_RELATION, _TYPE = TypeAdapter(Relation), TypeAdapter(Type)

# part -> relation -> name -> what is known of it
Parts = Mapping[str, Mapping[str, Mapping[str, Any]]]


async def read(
    world: World,
    database: str,
    *,
    schemas: Sequence[str] = (),
    tables: Sequence[str] = (),
    rows_max: int,
    has_succeeded: bool,
) -> Snapshot | Problem:
    """A snapshot, or why there is none.

    schemas: only these; none for all of PostgreSQL, or for the database connected to in MySQL. tables: only
    relations whose name, with or without its schema, matches one of these patterns; none for all.
    has_succeeded: see `ask`.
    """
    engine = next((kind for kind in _CATALOGUES if _is_kind(world, database, kind)), None)
    catalogue = _CATALOGUES[engine or "sqlite"]
    if schemas and not catalogue.all_schemas:
        return Problem("error", f"{database}: SQLite has no schemas to choose from; leave schemas out")
    chosen = "in (:schemas)" if schemas else catalogue.all_schemas
    sql, params = listed(catalogue.sql.replace("{schemas}", chosen), "schemas", schemas)
    rows = await ask(
        world,
        database,
        sql,
        params,
        timeout_s=world.timeout_s,
        rows_max=rows_max,
        has_succeeded=has_succeeded,
    )
    if isinstance(rows, Problem):
        return rows
    assert engine is not None, "what is in DATABASES has a catalogue"
    return await asyncio.to_thread(_snapshot, engine, rows, tables)


def _is_kind(world: World, database: str, kind: Engine) -> bool:
    return kind in DATABASES and isinstance(world.databases.get(database), DATABASES[kind])


def _snapshot(engine: Engine, rows: Iterable[Row], tables: Sequence[str]) -> Snapshot:
    parts: defaultdict[str, defaultdict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        parts[row["part"]][row["relation"]][row["name"]] = json.loads(row["facts"])
    return Snapshot(
        engine=engine,
        relations={
            name: _relation(name, facts[""], parts, engine)
            for name, facts in parts["relation"].items()
            if not tables or _is_chosen(name, tables)
        },
        types={name: _TYPE.validate_python(facts) for name, facts in parts["type"][""].items()},
        routines=_definitions(parts["routine"][""]),
        sequences=_definitions(parts["sequence"][""]),
    )


def _is_chosen(name: str, patterns: Sequence[str]) -> bool:
    bare = name.rpartition(".")[2]
    return any(fnmatchcase(name if "." in pattern else bare, pattern) for pattern in patterns)


def _definitions(found: Mapping[str, Any]) -> dict[str, str]:
    return {name: facts["definition"] for name, facts in found.items()}


def _relation(name: str, facts: Mapping[str, Any], parts: Parts, engine: Engine) -> Relation:
    columns = {key: dict(column) for key, column in parts["column"][name].items()}
    constraints = {key: dict(constraint) for key, constraint in parts["constraint"][name].items()}
    if engine == "sqlite" and facts["kind"] == "table":
        _complete(columns, constraints, facts["definition"])
        facts = {**facts, "definition": ""}
    for constraint in constraints.values():
        # Where the catalogue does not say which columns a check looks at, its text does.
        named = set(re.findall(r"\w+", constraint["definition"]))
        constraint.setdefault("columns", [key for key in columns if key in named])
    return replace(
        _RELATION.validate_python(facts),
        columns={key: _COLUMN.validate_python(column) for key, column in columns.items()},
        constraints={key: _CONSTRAINT.validate_python(facts) for key, facts in constraints.items()},
        indexes=_definitions(parts["index"][name]),
        triggers=_definitions(parts["trigger"][name]),
    )


def _complete(columns: Mapping[str, Any], constraints: dict[str, Any], create_table: str) -> None:
    """Add what only the text of CREATE TABLE says."""
    for column, clause, text in sqlite.clauses(create_table):
        if clause != "check":
            columns[column][clause] = text
            continue
        name = f"check of {column}" if column else f"check {text}"
        while name in constraints:
            name += " too"
        constraints[name] = {"kind": "check", "definition": f"CHECK {text}"}
