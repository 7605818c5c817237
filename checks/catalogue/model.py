"""A snapshot of a schema: what the previous version of a service may rely on, and nothing about the rows.

Definitions are texts as the engine prints them: they are compared for being equal, never understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import TypeAdapter

Engine = Literal["postgres", "mysql", "sqlite"]
RelationKind = Literal["table", "partitioned table", "foreign table", "view", "materialized view"]
ConstraintKind = Literal["primary key", "unique", "check", "foreign key", "exclusion"]
TypeKind = Literal["enum", "domain", "composite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column.

    type: as the engine prints it, such as `character varying(40)` or `int unsigned`. default, generated: the
    expression. identity: the engine numbers rows itself, `always` or `by default`.
    """

    type: str
    nullable: bool = True
    default: str | None = None
    generated: str | None = None
    identity: Literal["always", "by default"] | None = None
    collation: str | None = None

    @property
    def fills_itself(self) -> bool:
        """True if an INSERT that leaves the column out gives it a value."""
        return self.default is not None or self.generated is not None or self.identity is not None

    @property
    def is_required(self) -> bool:
        """True if an INSERT that leaves the column out is refused."""
        return not self.nullable and not self.fills_itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A constraint, or a unique index, which refuses the same rows. columns: all that it looks at."""

    kind: ConstraintKind
    columns: tuple[str, ...]
    definition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table or view.

    columns: in their order; none for a partition, which has its parent's. definition: the query of a view,
    the key of a partitioned table. partition_of: the parent and the bounds. options: what changes how rows
    are taken or shown, such as `row level security`. indexes: those that are not unique.
    """

    kind: RelationKind
    definition: str = ""
    partition_of: str | None = None
    options: tuple[str, ...] = ()
    columns: Mapping[str, Column] = field(default_factory=dict)
    constraints: Mapping[str, Constraint] = field(default_factory=dict)
    indexes: Mapping[str, str] = field(default_factory=dict)
    triggers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_view(self) -> bool:
        """True for what shows rows of others."""
        return self.kind in ("view", "materialized view")


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A type of the schema's own. values: of an enum, in their order."""

    kind: TypeKind
    values: tuple[str, ...] = ()
    definition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A schema at one moment, by name; in PostgreSQL and MySQL a name is `schema.name`.

    routines: signature to a digest of what it does.
    """

    engine: Engine
    relations: Mapping[str, Relation] = field(default_factory=dict)
    types: Mapping[str, Type] = field(default_factory=dict)
    routines: Mapping[str, str] = field(default_factory=dict)
    sequences: Mapping[str, str] = field(default_factory=dict)


_SNAPSHOT = TypeAdapter(Snapshot)


def to_json(snapshot: Snapshot) -> str:
    """The snapshot as one JSON text."""
    return _SNAPSHOT.dump_json(snapshot).decode()


def from_json(text: str) -> Snapshot:
    """The snapshot in a text made by `to_json`; ValueError for any other text."""
    return _SNAPSHOT.validate_json(text)
