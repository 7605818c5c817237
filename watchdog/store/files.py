"""Taking possession of `state.db`: the folder, the lock, the file, and whether it is whole and ours.

A file that is damaged, foreign or newer is never touched, moved or created anew: it may hold the only
record of an action under way.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from watchdog.store.protocol import StoreUnavailable
from watchdog.store.schema import APPLICATION_ID, DDL, SCHEMA_VERSION
from watchdog.store.writer import unavailable

# How long a statement waits for a program that has the file open beside us (a backup, the sqlite3 shell).
_BUSY_S = 5.0


def lock(path: Path) -> int:
    """Make the folder (0700) and hold `<path>.lock` for this process; returns its descriptor.

    A folder that exists keeps its mode: it may be a mounted volume, or somebody's own. Raises
    StoreUnavailable naming the process that holds the lock.
    """
    lock_path = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(
            f"{path.parent}: {error.strerror}: make the state folder writable for this user, "
            "or name another one with state_dir"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreUnavailable(
            f"{path}: another deploy-watchdog (process {holder}) has it open: end that one, "
            "or give this one its own state_dir"
        ) from error
    except OSError as error:
        os.close(descriptor)
        raise StoreUnavailable(f"{lock_path}: {error.strerror}: free space on the disk") from error
    return descriptor


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode with our settings, for use by one thread at a time.

    synchronous FULL: an answered write survives the loss of power, not only the end of the process.
    """
    # mode=rw: a file that went away is an error, never a fresh empty database.
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    return db


def look(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, beside a daemon that runs or over what an ended one left.

    Not even the `-wal` and `-shm` that SQLite makes for any reader of a WAL database, which could then be
    another user's than the daemon's. Raises sqlite3.Error if the file is not there.
    """
    # Without a log nobody is writing. A daemon that starts meanwhile may make this reader fail, never itself.
    is_still = not path.with_name(path.name + "-wal").exists()
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if is_still else ''}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_S)


def open_checked(path: Path) -> sqlite3.Connection:
    """The writing connection to a file that is whole, ours and of our version; made if there is none.

    Raises StoreUnavailable with the remedy. The caller holds the lock.
    """
    try:
        if not path.exists():
            _create(path)
        _refuse_foreign(path)
        db = connect(path)
        try:
            _refuse_damaged(path, db)
        except BaseException:
            db.close()
            raise
    except sqlite3.DatabaseError as error:
        raise _refusal(path, error) from error
    except OSError as error:
        raise StoreUnavailable(
            f"{path}: {error.strerror}: make it readable and writable for this user"
        ) from error
    return db


def _create(path: Path) -> None:
    """Make the file under another name, then rename it, so that a crash leaves none or a whole one."""
    log = path.with_name(path.name + "-wal")
    if log.exists():
        raise StoreUnavailable(
            f"{path}: missing, but {log.name} is there: restore {path.name} from a backup, "
            f"or move {log.name} away to start with nothing"
        )
    draft = path.with_name(path.name + ".new")
    for leftover in (draft, draft.with_name(draft.name + "-journal")):
        leftover.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    db = sqlite3.connect(draft, isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = EXTRA")
        db.executescript(f"BEGIN; {DDL} COMMIT;")
        db.execute("INSERT INTO schema_version (version, epoch) VALUES (?, 0)", (SCHEMA_VERSION,))
        # Last, and in the header: a file without it is not ours.
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    finally:
        db.close()
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _refuse_foreign(path: Path) -> None:
    """Look at the header alone, before SQLite may write a byte (switching to WAL would)."""
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise StoreUnavailable(
            f"{path}: not a database ({len(header)} bytes of header): it is damaged or something else; "
            "restore it from a backup, or move it away to start with nothing"
        )
    # Offset 68, big-endian: sqlite.org/fileformat.html section 1.3.
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StoreUnavailable(
            f"{path}: a database of another program: name another folder with state_dir, or move it away"
        )


def _refuse_damaged(path: Path, db: sqlite3.Connection) -> None:
    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreUnavailable(
            f"{path}: damaged ({found}): keep a copy, restore it from a backup, "
            "or move it away to start with nothing"
        )
    version = db.execute("SELECT version FROM schema_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"{path}: written by a newer deploy-watchdog (schema {version}, this one knows "
            f"{SCHEMA_VERSION}): install that one again, or move the file away to start with nothing"
        )


def _refusal(path: Path, error: sqlite3.DatabaseError) -> StoreUnavailable:
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, 0) or unavailable(error, "") is None:
        return StoreUnavailable(
            f"{path}: damaged ({error}): keep a copy, restore it from a backup, "
            "or move it away to start with nothing"
        )
    return unavailable(error, f"{path}: opening") or StoreUnavailable(f"{path}: {error}")
