"""What the store's own file and queue refuse, whoever asks: the second line behind the code before them."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.watchdog.store.store_material import deploy_of, event
from watchdog.model import DeployEvent
from watchdog.store import files, rows
from watchdog.store.protocol import StoreUnavailable
from watchdog.store.writer import WAITING_MAX, GroupWriter


def test_the_file_itself_holds_an_event_of_one_sender_once(tmp_path: Path) -> None:
    db = files.open_checked(tmp_path / "state.db")
    told = event()
    deploy = deploy_of(told, "d1")
    rows.insert(db, deploy)
    rows.insert(db, told, deploy_id=deploy.id)
    with pytest.raises(sqlite3.IntegrityError, match="sender"):
        rows.insert(db, told, deploy_id=deploy.id)
    assert len(rows.select(db, DeployEvent, "")) == 1
    db.close()


def test_damage_that_only_a_full_check_finds_is_found(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    files.open_checked(path).close()
    # The index is gone from the list of tables, and its pages belong to nobody: every query still works.
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA writable_schema = ON")
    db.execute("DELETE FROM sqlite_master WHERE name = 'action_by_time'")
    db.close()
    with pytest.raises(StoreUnavailable, match="damaged"):
        files.open_checked(path)


def test_writes_that_wait_are_bounded(tmp_path: Path) -> None:
    db = files.open_checked(tmp_path / "state.db")
    writer, goes_on, has_begun = GroupWriter(db), threading.Event(), threading.Event()

    def slow(_: sqlite3.Connection) -> bool:
        has_begun.set()
        return goes_on.wait(60)

    first = writer.submit(slow)
    assert has_begun.wait(60)
    waiting: list[Future[None]] = [writer.submit(lambda _: None) for _ in range(WAITING_MAX)]
    with pytest.raises(StoreUnavailable, match="too slow"):
        writer.submit(lambda _: None)
    goes_on.set()
    assert first.result(60) is True
    assert [each.result(60) for each in waiting] == [None] * WAITING_MAX, "what was taken is still done"
    writer.end()
    writer.join()
    db.close()
