"""The locks of a reading session, one by one: each holds when the others do not."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from checks.databases.asking import query
from checks.databases.postgres import Postgres
from checks.databases.sqlite import Sqlite
from checks.model import DatabaseUnable
from tests.support.postgres import PostgresServer


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    path = tmp_path / "orders.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
    connection.close()
    return path


def _content(path: Path) -> bytes:
    return path.read_bytes()


async def test_the_file_is_opened_for_reading_only(orders: Path) -> None:
    # `query_only` does not hold this one back: it would rewrite the header of the file.
    before = _content(orders)
    async with Sqlite(path=str(orders)).snapshot(timeout_s=5.0) as snapshot:
        await snapshot.rows("commit", {}, rows_max=10)
        with pytest.raises(DatabaseUnable, match="readonly"):
            await snapshot.rows("pragma journal_mode = wal", {}, rows_max=10)
    assert _content(orders) == before


async def test_the_session_writes_nowhere_else_either(orders: Path) -> None:
    # A file opened for reading still lets a statement fill the disk with a temporary table.
    with pytest.raises(DatabaseUnable, match="readonly"):
        await query(Sqlite(path=str(orders)), "create temp table x (a)", {}, timeout_s=5.0, rows_max=10)


async def test_a_statement_ends_soon_after_nobody_waits_for_it(orders: Path) -> None:
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
    with ThreadPoolExecutor(max_workers=1) as only_one:
        asyncio.get_running_loop().set_default_executor(only_one)
        async with asyncio.timeout(4.0):
            with pytest.raises(DatabaseUnable, match="our own limit"):
                await query(Sqlite(path=str(orders)), endless, {}, timeout_s=0.2, rows_max=10)
            # The thread that ran it takes the next work only when it has ended.
            assert await asyncio.to_thread(lambda: "free") == "free"


async def test_the_server_itself_ends_what_we_would_not_come_back_for(postgres: PostgresServer) -> None:
    # A daemon that is killed cancels nothing: these limits are the server's.
    database = Postgres(dsn=SecretStr(postgres.dsn(postgres.create())))
    names = (
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "transaction_read_only",
    )
    sql = "select " + ", ".join(f"current_setting('{name}') as {name}" for name in names)
    (row,) = await query(database, sql, {}, timeout_s=7.0, rows_max=10)
    assert row == {
        "statement_timeout": "7s",
        "lock_timeout": "100ms",
        "idle_in_transaction_session_timeout": "7s",
        "transaction_read_only": "on",
    }
