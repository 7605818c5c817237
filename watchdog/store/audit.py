"""The hash-chained audit log: each row's digest covers the row before it.

It tells an edited, deleted, inserted or reordered row, and a cut-off tail as long as SQLite's own counter
was not edited too. Somebody who may write the file and knows the scheme can forge the whole chain; against
that the newest digest must be kept elsewhere (it is in the log lines and the heartbeat).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any

from watchdog.model import AuditRow

FIRST_PREV_DIGEST = "0" * 64


def append(db: sqlite3.Connection, *, at: float, who: str, what: str, key: str) -> None:
    """Add one row inside the caller's transaction."""
    last = db.execute("SELECT n, digest FROM audit ORDER BY n DESC LIMIT 1").fetchone()
    n, prev_digest = (last[0] + 1, last[1]) if last else (1, FIRST_PREV_DIGEST)
    digest = _digest(n, float(at), who, what, key, prev_digest)
    db.execute(
        "INSERT INTO audit (n, at, who, what, key, prev_digest, digest) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (n, float(at), who, what, key, prev_digest, digest),
    )


def newest(db: sqlite3.Connection, limit: int) -> list[AuditRow]:
    """At most `limit` rows, newest first."""
    sql = "SELECT n, at, who, what, key, prev_digest, digest FROM audit ORDER BY n DESC LIMIT ?"
    names = ("n", "at", "who", "what", "key", "prev_digest", "digest")
    return [AuditRow(**dict(zip(names, row, strict=True))) for row in db.execute(sql, (limit,))]


def broken(db: sqlite3.Connection) -> str | None:
    """None if the chain holds from the first row to the last one given, else what is wrong first."""
    expected_n, prev_digest = 1, FIRST_PREV_DIGEST
    sql = "SELECT n, at, who, what, key, prev_digest, digest FROM audit ORDER BY n"
    for n, at, who, what, key, stored_prev, digest in db.execute(sql):
        if n != expected_n:
            return f"audit row {expected_n} is missing: the row after it is {n}"
        if stored_prev != prev_digest:
            return f"audit row {n} does not follow row {n - 1}: their digests do not join"
        if digest != _digest(n, at, who, what, key, stored_prev):
            return f"audit row {n} was changed: its digest does not match its content"
        expected_n, prev_digest = n + 1, digest
    given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
    if given is not None and given[0] != expected_n - 1:
        return f"audit row {given[0]} is missing: the log ends at row {expected_n - 1}"
    return None


def _digest(*parts: Any) -> str:
    # JSON keeps the parts apart: ("a", "bc") and ("ab", "c") must not hash alike.
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
