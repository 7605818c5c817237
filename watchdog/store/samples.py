"""samples.db: the samples of the last 35 days, so that a restart does not make the calibration young.

Kept apart from state.db because it may be lost: nothing here is needed to be safe. Whatever happens to the
file is reported once and answered with missing samples, never with an exception; a deleted file is created
again, a corrupt one is moved aside.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from detectors.model import FloatArray
from watchdog.store.files import look

T = TypeVar("T")

RETENTION_S = 35 * 86400.0
_SCHEMA = """
create table if not exists sample (
  series text not null, step_s real not null, width integer not null, block integer not null,
  until_at real not null, body blob not null,
  primary key (series, step_s, width, block)
) without rowid;
create index if not exists sample_until on sample (until_at);
"""
# From one name to the next by the index; `select distinct` would read every block.
_NAMES = """
with recursive found (series) as (
  select min(series) from sample
  union all
  select (select min(series) from sample where series > found.series) from found where series is not null
)
select series from found where series is not null
"""
_CORRUPT_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

log = logging.getLogger("watchdog.store.samples")


class SampleStore:
    """One blob per series and hour: little-endian float64 rows on the series' grid, missing = NaN."""

    def __init__(self, path: Path) -> None:
        """path: of the SQLite file; created with mode 0600 in a folder that exists."""
        self.path = path
        # Why samples are not being kept now; None when they are.
        self.problem: str | None = None
        self._connection: sqlite3.Connection | None = None
        self._inode = -1
        # sqlite3 blocks, and one thread needs no locks; it ends with the pool in `close`.
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="samples")

    async def open(self) -> None:
        """Open or create the file now instead of at the first use, so that its problem shows at the start."""
        await self._do(lambda connection: None, None)

    async def close(self) -> None:
        """Flush and release; may be called twice."""
        await asyncio.to_thread(self._pool.shutdown)
        self._disconnect()

    async def append(self, series_id: str, step_s: float, first_at: float, values: FloatArray) -> None:
        """Keep rows; row i ends at first_at + i * step_s (epoch seconds, multiples of step_s).

        values: shape (n, width). A finite row replaces what is kept for its step, a missing one changes
        nothing, so history may be imported before, after or over live samples.
        """
        await self.append_all([(series_id, step_s, first_at, values)])

    async def append_all(self, parts: Sequence[tuple[str, float, float, FloatArray]]) -> None:
        """`append` of several series (series_id, step_s, first_at, values) in one transaction."""

        def job(connection: sqlite3.Connection) -> None:
            for series_id, step_s, first_at, values in parts:
                _append(connection, series_id, step_s, first_at, values)

        if any(len(values) for _, _, _, values in parts):
            await self._do(job, None)

    async def load(
        self, series_id: str, step_s: float, width: int, first_at: float, last_at: float
    ) -> FloatArray:
        """Samples of the steps from first_at to last_at inclusive, shape (n, width), NaN = not kept."""
        n = max(0, round((last_at - first_at) / step_s) + 1)
        missing = np.full((n, width), np.nan)
        return await self._do(
            lambda connection: _load(connection, series_id, step_s, missing.copy(), first_at), missing
        )

    async def names(self) -> list[str]:
        """Every series of which something is kept."""
        return await self._do(lambda connection: [name for (name,) in connection.execute(_NAMES)], [])

    async def expire(self, now: float) -> int:
        """Drop the blocks that ended more than 35 days before `now` (epoch seconds); how many."""
        return await self._do(lambda connection: _expire(connection, now - RETENTION_S), 0)

    async def trim(self, kept: Iterable[tuple[str, float, float]]) -> int:
        """Drop the blocks of these series (series_id, step_s, since when) that ended before; how many."""
        return await self._do(lambda connection: _trim(connection, kept), 0)

    async def _do(self, job: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._attempt, job, otherwise)

    def _attempt(self, job: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        try:
            connection = self._connected()
            with connection:
                answer = job(connection)
        except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as error:
            self._give_up(error)
            return otherwise
        if self.problem is not None:
            log.info("samples are kept again", extra={"path": str(self.path)})
            self.problem = None
        return answer

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._inode == _inode(self.path):
            return self._connection
        # Not open yet, or somebody deleted or replaced the file under us: what we hold is nobody's any more.
        self._disconnect()
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self.path, check_same_thread=False, timeout=1.0)
        try:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = normal")
            connection.executescript(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        self._connection, self._inode = connection, _inode(self.path)
        return connection

    def _give_up(self, error: Exception) -> None:
        self._disconnect()
        problem = f"{self.path}: {error}: samples are not kept until this is mended"
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT_CODES:
            aside = self.path.with_name(f"{self.path.name}.corrupt")
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            if self.path.exists():
                self.path.replace(aside)
            problem = f"{self.path}: {error}: moved to {aside.name}, starting with no samples"
        if problem != self.problem:
            log.warning("samples lost", extra={"because": problem})
        self.problem = problem

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class KeptSamples:
    """What a daemon, running or ended, has kept, for one who only looks. Blocks while it reads."""

    def __init__(self, path: Path) -> None:
        """path: of a file that exists. Raises sqlite3.Error."""
        self._connection = look(path)

    def load(self, series_id: str, step_s: float, width: int, first_at: float, last_at: float) -> FloatArray:
        """See `SampleStore.load`. Raises sqlite3.Error if the file is damaged or somebody else's."""
        n = max(0, round((last_at - first_at) / step_s) + 1)
        return _load(self._connection, series_id, step_s, np.full((n, width), np.nan), first_at)

    def close(self) -> None:
        """Release the file."""
        self._connection.close()


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return -1


def _blocks(step_s: float, first: int, n: int) -> Iterator[tuple[int, int, slice, slice]]:
    """(block, steps per block, rows of the block, rows of the n) for n steps from step number `first`."""
    size = _block_steps(step_s)
    for block in range(first // size, (first + n - 1) // size + 1):
        low, high = max(first, block * size), min(first + n, (block + 1) * size)
        yield block, size, slice(low - block * size, high - block * size), slice(low - first, high - first)


def _append(
    connection: sqlite3.Connection, series_id: str, step_s: float, first_at: float, values: FloatArray
) -> None:
    width = values.shape[1]
    for block, size, theirs, ours in _blocks(step_s, round(first_at / step_s), len(values)):
        rows = values[ours]
        is_kept = np.isfinite(rows).all(axis=1)
        if not is_kept.any():
            continue
        body = _body(connection, series_id, step_s, width, block, size)
        body[theirs][is_kept] = rows[is_kept]
        connection.execute(
            "insert or replace into sample values (?, ?, ?, ?, ?, ?)",
            (series_id, step_s, width, block, (block + 1) * size * step_s, body.astype("<f8").tobytes()),
        )


def _load(
    connection: sqlite3.Connection, series_id: str, step_s: float, into: FloatArray, first_at: float
) -> FloatArray:
    for block, size, theirs, ours in _blocks(step_s, round(first_at / step_s), len(into)):
        into[ours] = _body(connection, series_id, step_s, into.shape[1], block, size)[theirs]
    return into


def _body(
    connection: sqlite3.Connection, series_id: str, step_s: float, width: int, block: int, size: int
) -> FloatArray:
    """One block, shape (size, width), writable; all NaN where nothing, or something misshapen, is kept."""
    row = connection.execute(
        "select body from sample where series = ? and step_s = ? and width = ? and block = ?",
        (series_id, step_s, width, block),
    ).fetchone()
    if row is None or len(row[0]) != 8 * size * width:
        return np.full((size, width), np.nan)
    return np.frombuffer(row[0], dtype="<f8").astype(np.float64).reshape(size, width)


def _trim(connection: sqlite3.Connection, kept: Iterable[tuple[str, float, float]]) -> int:
    ended = [
        (series_id, step_s, math.floor(since_at / (_block_steps(step_s) * step_s)))
        for series_id, step_s, since_at in kept
    ]
    return connection.executemany(
        "delete from sample where series = ? and step_s = ? and width = 1 and block < ?", ended
    ).rowcount


def _block_steps(step_s: float) -> int:
    return max(1, round(3600.0 / step_s))


def _expire(connection: sqlite3.Connection, before: float) -> int:
    return connection.execute("delete from sample where until_at <= ?", (before,)).rowcount
