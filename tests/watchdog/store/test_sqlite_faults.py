"""The SQLite store when processes are killed, disks fill up or die, and files are damaged or foreign."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import fields
from pathlib import Path

import pytest

from tests.watchdog.store.store_material import NOW, alert, event, roll_back, with_watch
from watchdog.store import rows
from watchdog.store.protocol import StoreDead, StoreUnavailable
from watchdog.store.sqlite import SqliteStore

ROOT = Path(__file__).parents[3]


@contextmanager
def worker(what: str, folder: Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.watchdog.store.store_worker", what, str(folder)],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def opened(folder: Path) -> SqliteStore:
    store = SqliteStore(folder / "state.db")
    await store.open(NOW)
    return store


async def made(folder: Path) -> Path:
    """A store with a little in it, closed."""
    store = await opened(folder)
    watch = await with_watch(store)
    await store.transact(watch.id, lambda facts: roll_back(facts, [alert(1)]), NOW)
    for n in range(5):
        await store.note("me", f"note {n}", "", NOW)
    await store.close()
    return folder / "state.db"


@pytest.mark.parametrize("n_lines", [0, 1, 20, 75])
async def test_what_was_answered_before_kill_9_is_there_and_all_else_is_whole(
    tmp_path: Path, n_lines: int
) -> None:
    with worker("roll_back_for_ever", tmp_path) as process:
        assert process.stdout is not None
        answered = {process.stdout.readline().strip() for _ in range(n_lines)}
        process.send_signal(signal.SIGKILL)
        answered |= {line.strip() for line in process.stdout if line.endswith("\n")}
        assert process.wait() == -signal.SIGKILL

    store = await opened(tmp_path)
    try:
        watched = {f"watched {deploy.to_version[4:]}" for deploy in await store.deploys(limit=10_000)}
        actions = await store.actions(limit=10_000)
        intended = {f"intended {action.service[1:]}" for action in actions}
        assert answered <= watched | intended
        # All of a ruling or nothing of it: watch, decision, packet, action, alert and audit row.
        watches = await store.watches(limit=10_000)
        regressed = {watch.service for watch in watches if watch.state == "regressed"}
        alerts = {each.id[6:] for each in await store.alerts(limit=10_000)}
        audited = [row.key for row in await store.audit(limit=10_000) if row.what == "rolling back"]
        assert regressed == {action.service for action in actions}
        assert alerts == {action.service[1:] for action in actions}
        assert sorted(audited) == sorted(action.watch_id for action in actions)
        assert {watch.id for watch in watches if await store.decisions(watch.id)} == set(audited)
        assert {watch.id for watch in watches if await store.packet(watch.id)} == set(audited)
        assert len(watches) == len(watched)
        assert await store.verify_audit() is None
    finally:
        await store.close()


async def test_a_second_process_is_told_which_one_holds_the_store_until_it_ends(tmp_path: Path) -> None:
    with worker("hold", tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        second = SqliteStore(tmp_path / "state.db")
        with pytest.raises(StoreUnavailable, match=rf"process {process.pid}\) has it open: end that one"):
            await second.open(NOW)
        process.kill()
        process.wait()
    await second.open(NOW)
    assert second.epoch == 2
    await second.close()


async def test_a_full_disk_refuses_writes_keeps_reads_and_recovers(tmp_path: Path) -> None:
    # RLIMIT_FSIZE stands for the full disk: the same write fails in the same place, without being root.
    with worker("fill_the_disk", tmp_path) as process:
        told, _ = process.communicate(timeout=30)
    lines = told.splitlines()
    assert re.match(r"StoreUnavailable: (writing|committing): .*: check the disk's space", lines[0]), told
    assert lines[1:] == ["refused StoreUnavailable; read True", "recovered 1 None"]


_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int is_dead(int fd) {
    static int left = -1;
    char link[64], path[4096];
    if (left < 0) left = atoi(getenv("FSYNCS_LEFT"));
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    if (!strstr(path, "state.db-wal")) return 0;
    return left-- <= 0;
}
int fsync(int fd) {
    if (is_dead(fd)) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
int fdatasync(int fd) {
    if (is_dead(fd)) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"""


def shim(folder: Path) -> Path:
    """A library that fails fsync of the log after FSYNCS_LEFT of them."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("cc is not installed: apt-get install gcc")
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text(_SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


async def test_after_a_failed_fsync_the_store_is_dead_until_the_next_start(tmp_path: Path) -> None:
    library = shim(tmp_path)
    await made(tmp_path)
    # Two fsyncs of the log when the store is opened and one for the first note.
    env = {"LD_PRELOAD": str(library), "FSYNCS_LEFT": "3"}
    with worker("meet_a_dying_disk", tmp_path, env) as process:
        told, _ = process.communicate(timeout=30)
    assert told.splitlines() == ["0 written", "1 StoreDead", "2 StoreDead"]
    store = await opened(tmp_path)
    assert await store.verify_audit() is None
    await store.close()


async def test_damage_found_while_running_makes_the_store_dead(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT"

    def settle(*given: object) -> None:
        raise error

    with pytest.raises(StoreDead, match="the process must end"):
        await store.take_in(event(), settle, NOW)  # type: ignore[arg-type]  # it never returns
    with pytest.raises(StoreDead):
        await store.note("me", "x", "", NOW)
    await store.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.suffix != ".lock"}


def overwrite(content: bytes, at: int | None = None) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        before = path.read_bytes()
        path.write_bytes(content if at is None else before[:at] + content + before[at + len(content) :])

    return damage


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def with_sql(*statements: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            for statement in statements:
                db.execute(statement)

    return damage


def make_foreign(path: Path) -> None:
    path.unlink()
    with_sql("CREATE TABLE bookmarks (url TEXT)")(path)


def lose_all_but_the_log(path: Path) -> None:
    path.rename(path.with_name("state.db-wal"))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (overwrite(b""), "not a database .0 bytes"),
        (overwrite(b"hello, world\n" * 100), "not a database"),
        (overwrite(b"\xff" * 3000, at=4096), "damaged"),
        (cut, "damaged"),
        (make_foreign, "a database of another program"),
        (with_sql("UPDATE schema_version SET version = 99"), "schema 99, this one knows 1"),
        (with_sql("DROP TABLE schema_version"), "damaged"),
        (lose_all_but_the_log, "missing, but state.db-wal is there"),
    ],
)
async def test_a_damaged_foreign_or_newer_file_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    path = await made(tmp_path)
    damage(path)
    before = contents(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=sentence) as caught:
            await opened(tmp_path)
        assert re.search("restore|install|move|name another", str(caught.value))
    after = contents(tmp_path)
    assert {name: after.get(name) for name in before} == before


async def test_a_crash_while_the_file_was_made_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "state.db.new").write_bytes(b"half")
    (tmp_path / "state.db.new-journal").write_bytes(b"half")
    await (await opened(tmp_path)).close()
    assert contents(tmp_path).keys() == {"state.db"}


@pytest.mark.parametrize(
    ("statements", "sentence"),
    [
        (["UPDATE audit SET what = 'note 9' WHERE n = 4"], "audit row 4 was changed"),
        (["UPDATE audit SET at = at + 1 WHERE n = 1"], "audit row 1 was changed"),
        (["DELETE FROM audit WHERE n = 3"], "audit row 3 is missing"),
        (["DELETE FROM audit WHERE n = 1"], "audit row 1 is missing"),
        (["DELETE FROM audit WHERE n >= 3"], "audit row 7 is missing: the log ends at row 2"),
        (["DELETE FROM audit"], "audit row 7 is missing: the log ends at row 0"),
        (
            [
                "UPDATE audit SET n = -4 WHERE n = 4",
                "UPDATE audit SET n = 4 WHERE n = 5",
                "UPDATE audit SET n = 5 WHERE n = -4",
            ],
            "audit row 4 does not follow row 3",
        ),
        (
            ["DELETE FROM audit WHERE n = 3", "UPDATE audit SET n = n - 1 WHERE n > 3"],
            "audit row 3 does not follow row 2",
        ),
    ],
)
async def test_the_audit_log_tells_a_changed_deleted_moved_or_cut_row(
    tmp_path: Path, statements: list[str], sentence: str
) -> None:
    path = await made(tmp_path)
    with_sql(*statements)(path)
    store = await opened(tmp_path)
    assert str(await store.verify_audit()).startswith(sentence)
    await store.close()


async def test_the_folder_and_the_files_are_for_the_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "state"
    store = await opened(folder)
    await store.note("me", "x", "", NOW)
    modes = {each.name: each.stat().st_mode & 0o777 for each in (folder, *folder.iterdir())}
    await store.close()
    assert modes == {
        "state": 0o700,
        "state.db": 0o600,
        "state.db-wal": 0o600,
        "state.db-shm": 0o600,
        "state.db.lock": 0o600,
    }


def without_override() -> list[str]:
    """Root writes everywhere by a capability; the command that runs another one without it."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv is not installed: apt-get install util-linux")
    return [setpriv, "--bounding-set=-dac_override"]


def test_a_read_only_folder_is_refused_with_the_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    asyncio.run(made(folder))
    for path in folder.iterdir():
        path.chmod(0o444)
    told = []
    for mode in (0o555, 0o755):
        folder.chmod(mode)
        ran = subprocess.run(
            [*without_override(), sys.executable, "-m", "tests.watchdog.store.store_worker", "hold", folder],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        told.append(ran.stderr.splitlines()[-1])
        (folder / "state.db.lock").unlink(missing_ok=True)
    assert "StoreUnavailable" in told[0]
    assert told[0].endswith("or name another one with state_dir")
    # The folder may be written, the file may not.
    assert "make the state folder writable" in told[1]


async def test_waiting_writes_share_their_commits(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    assert store._opened is not None
    statements: list[str] = []
    store._opened.writer.db.set_trace_callback(statements.append)
    await asyncio.gather(*(store.note("me", f"{n}", "", NOW) for n in range(200)))
    await store.close()
    # 200 wait at once: the first may go alone, the rest share a few.
    assert 1 <= statements.count("COMMIT") <= 20
    assert sum(statement.startswith("SAVEPOINT") for statement in statements) == 200


async def test_the_columns_are_the_fields_and_the_file_is_durable(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    assert store._opened is not None
    db = store._opened.writer.db
    extra = {
        "deploy_event": {"n", "deploy_id"},
        "action": {"intended_at"},
        "alert_outbox": {"n"},
        "heartbeat": {"n"},
        "switch": {"name"},
    }
    for cls, table in rows.TABLES.items():
        columns = {row[1] for row in db.execute(f"PRAGMA table_info({table.name})")}
        assert columns - extra.get(table.name, set()) == {field.name for field in fields(cls)}
    pragmas = {
        name: db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    await store.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
