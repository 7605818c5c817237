"""Kind `sqlite`: a database file, opened read-only in a thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from checks.databases.canonical import SQL_FUNCTIONS
from checks.dialect import SQLITE, Dialect
from checks.model import DatabaseFailed, DatabaseMismatch, DatabaseUnable, Row

PROGRESS_OPS = 1000  # virtual machine steps between two looks at the stop flag: far below a millisecond
BUSY_TIMEOUT_S = 0.5  # how long a writer may hold the lock before we give up

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

    async def query(
        self, sql: str, params: Mapping[str, Any], *, timeout_s: float, rows_max: int
    ) -> Sequence[Row]:
        """See `checks.model.Database.query`."""
        stop = threading.Event()
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.to_thread(self._query, sql, params, rows_max, stop)
        except TimeoutError:
            raise DatabaseUnable(f"statement stopped by our own limit of {timeout_s:g} s") from None
        finally:
            # The thread cannot be cancelled; it ends at the next progress step.
            stop.set()

    async def close(self) -> None:
        """Nothing is held between queries."""

    def _query(self, sql: str, params: Mapping[str, Any], rows_max: int, stop: threading.Event) -> list[Row]:
        if not Path(self.path).is_file():
            raise DatabaseMismatch("there is no such database file")
        uri = f"file:{quote(str(Path(self.path).absolute()))}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
                connection.execute("PRAGMA query_only = ON")
                connection.set_progress_handler(stop.is_set, PROGRESS_OPS)
                for name, (function, arguments) in SQL_FUNCTIONS.items():
                    connection.create_function(name, arguments, function, deterministic=True)
                connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
                cursor = connection.execute(sql, {name: _bound(value) for name, value in params.items()})
                names = [column[0] for column in cursor.description or ()]
                rows = cursor.fetchmany(rows_max + 1)
        except sqlite3.Error as error:
            raise _told(error) from None
        if len(rows) > rows_max:
            raise DatabaseUnable(f"more than {rows_max} rows; narrow the query or raise rows_max")
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
