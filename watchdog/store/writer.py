"""The one thread that writes, so that waiting transactions share one fsync (group commit).

Each transaction runs in its own savepoint: one that fails undoes itself and no other. Nobody is answered
before the COMMIT they share is on the disk.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from watchdog.store.protocol import StoreDead, StoreUnavailable

T = TypeVar("T")

# So many share one commit at most: the first of them waits for the work of all.
GROUP_MAX = 256
# So many may wait; at 2,500 commits a second even ungrouped this is 4 s of work.
WAITING_MAX = 10_000

# Result codes after which the file's content cannot be known: sqlite.org/rescode.html.
_DEAD_CODES = frozenset(
    {
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
    }
)
_DEAD_PRIMARY_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def unavailable(error: sqlite3.Error, doing: str) -> StoreUnavailable | None:
    """What a caller is told about this error of SQLite; None when it is a bug of ours, not of the disk."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    primary = code & 0xFF
    if code in _DEAD_CODES or primary in _DEAD_PRIMARY_CODES:
        return StoreDead(
            f"{doing}: {error} ({error.sqlite_errorname}): the disk cannot be trusted, the process must end; "
            "check the disk and run `deploy-watchdog doctor` before the next start"
        )
    remedies = {
        sqlite3.SQLITE_FULL: "free space on the disk",
        sqlite3.SQLITE_READONLY: "make the state folder writable",
        sqlite3.SQLITE_IOERR: "check the disk's space, quota and health",
        sqlite3.SQLITE_CANTOPEN: "make the state folder readable and writable",
        sqlite3.SQLITE_PERM: "make the state folder readable and writable",
        sqlite3.SQLITE_BUSY: "end the other program that has the database open",
        sqlite3.SQLITE_LOCKED: "end the other program that has the database open",
        sqlite3.SQLITE_NOMEM: "give the process more memory",
    }
    if primary not in remedies:
        return None
    return StoreUnavailable(f"{doing}: {error} ({error.sqlite_errorname}): {remedies[primary]}")


@dataclass(slots=True)
class _Waiting:
    job: Callable[[sqlite3.Connection], Any]
    answer: Future[Any]
    result: Any = None
    error: BaseException | None = None

    def tell(self) -> None:
        if self.error is None:
            self.answer.set_result(self.result)
        else:
            self.answer.set_exception(self.error)


@dataclass(slots=True)
class GroupWriter:
    """Runs jobs on `db`, a connection in autocommit mode that nobody else uses.

    A job gets the connection and must not begin, commit or roll back. What it raises reaches its own
    caller only; an error of the disk reaches every job of the group as StoreUnavailable. After StoreDead
    every later job gets it at once. `submit` and `end` are called from one thread.
    """

    db: sqlite3.Connection
    _queue: queue.SimpleQueue[_Waiting | None] = field(init=False, repr=False)
    _thread: threading.Thread = field(init=False, repr=False)
    _ended: StoreUnavailable | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._queue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """The job's answer once it is durable; raises StoreUnavailable when too many wait, or at the end."""
        if self._ended is not None:
            raise self._ended
        if self._queue.qsize() >= WAITING_MAX:
            raise StoreUnavailable(f"{WAITING_MAX} writes are waiting: the disk is too slow")
        answer: Future[T] = Future()
        self._queue.put(_Waiting(job, answer))
        return answer

    def end(self) -> None:
        """Take no more jobs; those that wait are still done."""
        self._ended = self._ended or StoreUnavailable("the store is closed")
        self._queue.put(None)

    def join(self) -> None:
        """Block until the thread has done what waited."""
        self._thread.join()

    def _run(self) -> None:
        group: list[_Waiting] = []
        try:
            is_ending = False
            while not is_ending:
                taken = [self._queue.get()]
                while len(taken) < GROUP_MAX and not self._queue.empty():
                    taken.append(self._queue.get())
                is_ending = None in taken
                # A caller that was cancelled while it waited wants nothing written.
                group = [w for w in taken if w is not None and w.answer.set_running_or_notify_cancel()]
                self._commit(group)
                for waiting in group:
                    waiting.tell()
        finally:
            self._ended = self._ended or StoreDead("the store's writer stopped: the process must end")
            self._abandon([w for w in group if not w.answer.done()])

    def _commit(self, group: list[_Waiting]) -> None:
        if not group:
            return
        try:
            if isinstance(self._ended, StoreDead):
                raise self._ended
            self.db.execute("BEGIN IMMEDIATE")
            for waiting in group:
                self._attempt(waiting)
            self.db.execute("COMMIT")
        except (sqlite3.Error, StoreUnavailable) as error:
            lost = unavailable(error, "committing") or error if isinstance(error, sqlite3.Error) else error
            for waiting in group:
                waiting.error = waiting.error or lost
            if isinstance(lost, StoreDead):
                self._ended = lost
            elif self.db.in_transaction:
                self.db.execute("ROLLBACK")

    def _attempt(self, waiting: _Waiting) -> None:
        """Run one job in its savepoint. Raises when the whole transaction is gone with it."""
        self.db.execute("SAVEPOINT job")
        try:
            waiting.result = waiting.job(self.db)
        except BaseException as error:
            # Not contained: it is raised again where the caller awaits.
            told = unavailable(error, "writing") if isinstance(error, sqlite3.Error) else None
            waiting.error = told or error
            if isinstance(told, StoreDead) or not self.db.in_transaction:
                # SQLite itself undid the whole transaction (it may, when the disk is full).
                raise told or StoreUnavailable("writing: the database undid the transaction") from error
            self.db.execute("ROLLBACK TO job")
        self.db.execute("RELEASE job")

    def _abandon(self, group: list[_Waiting]) -> None:
        """Nobody may wait for ever for a thread that has ended."""
        while not self._queue.empty():
            waiting = self._queue.get()
            if waiting is not None and waiting.answer.set_running_or_notify_cancel():
                group.append(waiting)
        for waiting in group:
            waiting.error = waiting.error or self._ended
            waiting.tell()
