"""Reading `state.db` beside a daemon that may be writing it, for commands that must change nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from watchdog.model import Heartbeat, PendingCleanup
from watchdog.store import rows
from watchdog.store.files import look
from watchdog.store.protocol import StoreUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LookedAt:
    """The file at that path."""

    path: Path

    async def heartbeats(self, service: str, name: str) -> list[Heartbeat]:
        """See `Store.heartbeats`; raises StoreUnavailable if the file cannot be read."""
        return await self._read(lambda db: rows.heartbeats(db, service, name))

    async def cleanups(self, service: str | None = None, name: str | None = None) -> list[PendingCleanup]:
        """See `Store.cleanups`; raises StoreUnavailable if the file cannot be read."""
        return await self._read(lambda db: rows.cleanups(db, service, name))

    async def _read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.to_thread(self._look, job)

    def _look(self, job: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with closing(look(self.path)) as db:
                return job(db)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self.path}: {error}") from error
