"""Reading `state.db` beside a daemon that may be writing it, for commands that must change nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from watchdog.model import Heartbeat
from watchdog.store import rows
from watchdog.store.files import look
from watchdog.store.protocol import StoreUnavailable


@dataclass(frozen=True, slots=True)
class LookedAt:
    """The file at that path."""

    path: Path

    async def heartbeats(self, service: str, name: str) -> list[Heartbeat]:
        """See `Store.heartbeats`; raises StoreUnavailable if the file cannot be read."""
        return await asyncio.to_thread(self._heartbeats, service, name)

    def _heartbeats(self, service: str, name: str) -> list[Heartbeat]:
        try:
            with closing(look(self.path)) as db:
                return rows.heartbeats(db, service, name)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self.path}: {error}") from error
