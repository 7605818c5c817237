"""Kind `sqlite`: a database file, opened read-only in a thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from checks.databases.canonical import SQL_FUNCTIONS
from checks.dialect import SQLITE, Dialect
from checks.model import DatabaseFailed, DatabaseMismatch, DatabaseUnable, Row, Snapshot

PROGRESS_OPS = 1000  # virtual machine steps between two looks at the stop flag: far below a millisecond
BUSY_TIMEOUT_S = 0.5  # how long a writer may hold the lock before we give up
STOP_S = 1.0  # how long we wait for a statement that was told to stop

_NOT_AS_EXPECTED = ("no such table", "no such column", "no such function", "not a database", "syntax error")


@dataclass(slots=True, kw_only=True)
class Sqlite:
    """A SQLite file. Never creates or changes it.

    Times given as parameters arrive as numbers, epoch seconds: a column of texts is compared with
    `datetime(:since, 'unixepoch')`.
    """

    path: str
    dialect: ClassVar[Dialect] = SQLITE

    def __post_init__(self) -> None:
        if not self.path or "\0" in self.path or self.path == ":memory:":
            raise ValueError("path: write the path of a database file")

    @asynccontextmanager
    async def snapshot(self, *, timeout_s: float) -> AsyncIterator[Snapshot]:
        """See `checks.model.Database.snapshot`."""
        stop = threading.Event()
        try:
            async with asyncio.timeout(timeout_s) as limit:
                connection = await asyncio.to_thread(_opened, self.path, stop)
        except TimeoutError:
            raise DatabaseUnable(f"not opened within our own limit of {timeout_s:.3g} s") from None
        with closing(connection):
            yield _Snapshot(connection, timeout_s, limit.when(), stop)

    async def close(self) -> None:
        """Nothing is held between snapshots."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """See `checks.model.Snapshot`. until: in the loop's time. stop: ends the statement that runs."""

    connection: sqlite3.Connection
    timeout_s: float
    until: float | None
    stop: threading.Event

    async def rows(self, sql: str, params: Mapping[str, Any], *, rows_max: int) -> Sequence[Row]:
        reading = asyncio.ensure_future(asyncio.to_thread(_read, self.connection, sql, params, rows_max))
        try:
            async with asyncio.timeout_at(self.until):
                rows = await asyncio.shield(reading)
        except TimeoutError:
            raise DatabaseUnable(f"statement stopped by our own limit of {self.timeout_s:.3g} s") from None
        finally:
            if not reading.done():
                # A thread cannot be cancelled; it ends at the next progress step.
                self.stop.set()
                await asyncio.wait({reading}, timeout=STOP_S)
        if len(rows) > rows_max:
            raise DatabaseUnable(f"more than {rows_max} rows; narrow the query or raise rows_max")
        return rows


def _opened(path: str, stop: threading.Event) -> sqlite3.Connection:
    """In a transaction that can only read."""
    if not Path(path).is_file():
        raise DatabaseMismatch("there is no such database file")
    uri = f"file:{quote(str(Path(path).absolute()))}?mode=ro"
    try:
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA query_only = ON")
        connection.set_progress_handler(stop.is_set, PROGRESS_OPS)
        for name, (function, arguments) in SQL_FUNCTIONS.items():
            connection.create_function(name, arguments, function, deterministic=True)
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        connection.execute("BEGIN")
    except sqlite3.Error as error:
        raise _told(error) from None
    return connection


def _read(connection: sqlite3.Connection, sql: str, params: Mapping[str, Any], rows_max: int) -> list[Row]:
    """The rows, and one more where there are more."""
    try:
        with closing(
            connection.execute(sql, {name: _bound(value) for name, value in params.items()})
        ) as cursor:
            names = [column[0] for column in cursor.description or ()]
            rows = cursor.fetchmany(rows_max + 1)
    except sqlite3.Error as error:
        raise _told(error) from None
    return [dict(zip(names, row, strict=True)) for row in rows]


def _bound(value: Any) -> Any:
    """SQLite knows no decimals: a whole one becomes an integer, another the nearest double."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else float(value)


def _told(error: sqlite3.Error) -> DatabaseUnable | DatabaseFailed:
    text = str(error)
    if any(phrase in text for phrase in _NOT_AS_EXPECTED):
        return DatabaseMismatch(text)
    if "malformed" in text or "disk I/O" in text:
        return DatabaseFailed(text)
    return DatabaseUnable(text)
