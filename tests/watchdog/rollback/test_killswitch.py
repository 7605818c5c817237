"""Each of the three ways stops everything by itself; what cannot be read counts as on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from watchdog.model import SwitchState
from watchdog.rollback.killswitch import kill_switch_state
from watchdog.store.sqlite import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "db" / "state.db")
    await made.open(0.0)
    yield made
    await made.close()


async def test_off_when_nobody_says_on(store: SqliteStore, tmp_path: Path) -> None:
    for word in ("", "0", "false", "No", " off "):
        state = await kill_switch_state(store, tmp_path, {"WATCHDOG_KILL_SWITCH": word})
        assert state == SwitchState(is_on=False)


async def test_the_file_works_with_a_closed_store_and_its_text_is_the_reason(tmp_path: Path) -> None:
    (tmp_path / "kill-switch").write_text("incident 42:\x1b[31m\n stop  all\n" + "x" * 5000)
    state = await kill_switch_state(SqliteStore(tmp_path / "state.db"), tmp_path, {})
    assert state.is_on
    assert state.because.startswith("incident 42:?[31m stop all xxx")
    assert len(state.because) == 500
    assert state.at == (tmp_path / "kill-switch").stat().st_mtime


async def test_an_empty_file_is_on_and_removing_it_is_off(store: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "kill-switch"
    path.touch()
    assert (await kill_switch_state(store, tmp_path, {})).because == "the file kill-switch exists"
    path.unlink()
    assert not (await kill_switch_state(store, tmp_path, {})).is_on


async def test_a_file_that_cannot_be_read_is_on(store: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "kill-switch"
    path.mkdir()
    assert (await kill_switch_state(store, tmp_path, {})).is_on
    path.rmdir()
    path.symlink_to(tmp_path / "nowhere")
    assert "cannot be read" in (await kill_switch_state(store, tmp_path, {})).because


async def test_a_state_folder_that_cannot_be_looked_into_is_on(store: SqliteStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state = await kill_switch_state(store, tmp_path / "file", {})
    assert (state.is_on, state.by) == (True, "kill-switch")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
async def test_a_file_without_permission_is_on(store: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "kill-switch"
    path.touch(mode=0o000)
    assert (await kill_switch_state(store, tmp_path, {})).is_on


async def test_the_environment_is_on_with_any_other_word(store: SqliteStore, tmp_path: Path) -> None:
    state = await kill_switch_state(store, tmp_path, {"WATCHDOG_KILL_SWITCH": "freeze until monday"})
    assert (state.is_on, state.by, state.because) == (True, "WATCHDOG_KILL_SWITCH", "freeze until monday")


async def test_the_stored_switch_is_on(store: SqliteStore, tmp_path: Path) -> None:
    stored = SwitchState(is_on=True, by="anne", at=7.0, because="drill")
    await store.set_kill_switch(stored)
    assert await kill_switch_state(store, tmp_path, {}) == stored


async def test_a_store_that_cannot_be_read_is_on(tmp_path: Path) -> None:
    state = await kill_switch_state(SqliteStore(tmp_path / "state.db"), tmp_path, {})
    assert state.is_on
    assert "not open" in state.because
