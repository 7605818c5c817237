"""Dataclasses as rows: the field names are the column names, so nothing is spelled out twice.

Tuples and mappings are stored as JSON, booleans as 0 and 1, everything else as SQLite has it.
"""

from __future__ import annotations

import json
import sqlite3
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from watchdog.model import (
    Action,
    Alert,
    Deploy,
    DeployEvent,
    Heartbeat,
    Incident,
    PendingCleanup,
    SeriesShift,
    SwitchState,
    Watch,
)

T = TypeVar("T", Deploy, DeployEvent, Watch, Action, Alert, Incident, Heartbeat, PendingCleanup, SwitchState)


def insert(db: sqlite3.Connection, value: T, **more: Any) -> None:
    """Add one row; `more` are columns beside the fields. Raises sqlite3.IntegrityError if it is there."""
    row = _row_of(value) | more
    db.execute(_insert_sql(type(value), tuple(row)), tuple(row.values()))


def upsert(db: sqlite3.Connection, value: T, **more: Any) -> None:
    """Add one row, or replace every given column of the row with the same key."""
    row = _row_of(value) | more
    key = TABLES[type(value)].key
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in row if name != key)
    sql = f"{_insert_sql(type(value), tuple(row))} ON CONFLICT ({key}) DO UPDATE SET {sets}"
    db.execute(sql, tuple(row.values()))


def insert_new(db: sqlite3.Connection, values: Iterable[T]) -> None:
    """Add those rows whose key is not there yet; leave the others as they are."""
    for value in values:
        row = _row_of(value)
        sql = f"{_insert_sql(type(value), tuple(row))} ON CONFLICT ({TABLES[type(value)].key}) DO NOTHING"
        db.execute(sql, tuple(row.values()))


def select(db: sqlite3.Connection, cls: type[T], rest: str, params: tuple[Any, ...] = ()) -> list[T]:
    """Rows of a dataclass's table. rest: what follows FROM <table>; a constant, no value from outside."""
    table = TABLES[cls]
    columns = ", ".join(f'{table.name}."{name}"' for name in table.loaders)
    # Table and columns are names from our own dataclasses; every value is a parameter.
    sql = f"SELECT {columns} FROM {table.name} {rest}"  # noqa: S608
    return [
        cls(**{name: load(value) for (name, load), value in zip(table.loaders.items(), row, strict=True)})
        for row in db.execute(sql, params)
    ]


def first(db: sqlite3.Connection, cls: type[T], rest: str, params: tuple[Any, ...] = ()) -> T | None:
    """The first such row, or None."""
    found = select(db, cls, f"{rest} LIMIT 1", params)
    return found[0] if found else None


def heartbeats(db: sqlite3.Connection, service: str, name: str) -> list[Heartbeat]:
    """Everything kept for that check, in the order in which it was heard."""
    return select(db, Heartbeat, "WHERE service = ? AND name = ? ORDER BY n", (service, name))


def cleanups(db: sqlite3.Connection, service: str | None, name: str | None) -> list[PendingCleanup]:
    """Everything to be cleaned up, of all checks or of one, oldest first."""
    where = "WHERE service = COALESCE(?, service) AND name = COALESCE(?, name) ORDER BY since_at, run_id"
    return select(db, PendingCleanup, where, (service, name))


def _row_of(value: Any) -> dict[str, Any]:
    return {field.name: _dump(getattr(value, field.name)) for field in fields(value)}


def _dump(value: Any) -> Any:
    if isinstance(value, tuple | Mapping):
        plain = value if isinstance(value, tuple) else dict(value)
        return json.dumps(plain, allow_nan=False, default=_plain)
    return int(value) if isinstance(value, bool) else value


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be stored")


def _insert_sql(cls: type[Any], names: tuple[str, ...]) -> str:
    columns = ", ".join(f'"{name}"' for name in names)
    places = ", ".join("?" for _ in names)
    # As in `select`: names of ours, values as parameters.
    return f"INSERT INTO {TABLES[cls].name} ({columns}) VALUES ({places})"  # noqa: S608


def _loader(hint: Any) -> Callable[[Any], Any]:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        origin = get_origin(option) or option
        if origin is tuple:
            return _load_tuple
        if origin is bool:
            return _load_bool
        if SeriesShift in get_args(option):
            return _load_shifts
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return _load_mapping
    return _as_it_is


def _load_tuple(stored: str | None) -> tuple[Any, ...] | None:
    return None if stored is None else tuple(json.loads(stored))


def _load_mapping(stored: str | None) -> dict[str, Any] | None:
    if stored is None:
        return None
    loaded: dict[str, Any] = json.loads(stored)
    return loaded


def _load_shifts(stored: str) -> dict[str, SeriesShift]:
    return {name: SeriesShift(**shift) for name, shift in json.loads(stored).items()}


def _load_bool(stored: int | None) -> bool | None:
    return None if stored is None else bool(stored)


def _as_it_is(stored: Any) -> Any:
    return stored


@dataclass(frozen=True, slots=True)
class _Table:
    """Where a dataclass is kept, and how each of its fields comes back."""

    name: str
    key: str
    loaders: Mapping[str, Callable[[Any], Any]]


def _table(cls: type[Any], name: str, key: str) -> _Table:
    hints = get_type_hints(cls)
    return _Table(name, key, {field.name: _loader(hints[field.name]) for field in fields(cls)})


TABLES: Mapping[type[Any], _Table] = {
    Deploy: _table(Deploy, "deploy", "id"),
    DeployEvent: _table(DeployEvent, "deploy_event", "n"),
    Watch: _table(Watch, "watch", "id"),
    Action: _table(Action, "action", "key"),
    Alert: _table(Alert, "alert_outbox", "id"),
    Incident: _table(Incident, "incident", "id"),
    Heartbeat: _table(Heartbeat, "heartbeat", "n"),
    PendingCleanup: _table(PendingCleanup, "pending_cleanup", "run_id"),
    SwitchState: _table(SwitchState, "switch", "name"),
}
