"""Kind sql and its databases: a SQLite file and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr, TypeAdapter

from checks.databases import asking
from checks.databases.postgres import Postgres
from checks.databases.sqlite import Sqlite
from checks.model import Database, DatabaseFailed, DatabaseMismatch, DatabaseUnable, World
from checks.sql import SqlCheck
from tests.support.database_server import home_of_server
from tests.support.databases import ENDLESS, AnyDatabase
from tests.support.postgres import PostgresServer
from tests.support.servers import binary, free_port, is_listening, running, wait_until

ORDERS = """
CREATE TABLE orders (id INTEGER, state TEXT, amount NUMERIC(12, 2), at TIMESTAMP);
INSERT INTO orders VALUES (1, 'paid', 24.90, '2026-01-01 10:00:00'), (2, 'open', 0.10, '2026-01-01 11:00:00');
"""


@pytest.fixture
def orders(any_database: AnyDatabase) -> AnyDatabase:
    """The same table in every kind of database."""
    any_database.execute(ORDERS)
    return any_database


async def query(
    database: Database, sql: str, *, rows_max: int = 100, timeout_s: float = 30.0, **params: Any
) -> Any:
    return await asking.query(database, sql, params, timeout_s=timeout_s, rows_max=rows_max)


async def test_rows_come_in_the_order_of_the_query(orders: AnyDatabase) -> None:
    rows = await query(orders.database, "select id, state from orders order by id desc")
    assert rows == [{"id": 2, "state": "open"}, {"id": 1, "state": "paid"}]
    assert await query(orders.database, "select id from orders where id > 5") == []
    await orders.database.close()
    await orders.database.close()


async def test_every_write_is_refused_by_the_session(orders: AnyDatabase) -> None:
    for sql in (
        "delete from orders",
        "with x as (select 1) insert into orders(id) select 9",
        "create table x(a int)",
    ):
        with pytest.raises(DatabaseUnable):
            await query(orders.database, sql)
    assert len(await query(orders.database, "select * from orders")) == 2


async def test_more_rows_than_allowed_are_no_answer(orders: AnyDatabase) -> None:
    assert len(await query(orders.database, "select id from orders", rows_max=2)) == 2
    with pytest.raises(DatabaseUnable, match="more than 1 rows"):
        await query(orders.database, "select id from orders", rows_max=1)


async def test_what_is_not_there_is_a_mismatch(orders: AnyDatabase) -> None:
    for sql in ("select * from nosuch", "select nosuch from orders", "select id fro orders where"):
        with pytest.raises(DatabaseMismatch):
            await query(orders.database, sql)


async def test_a_long_statement_is_stopped_by_our_limit(orders: AnyDatabase) -> None:
    with pytest.raises(DatabaseUnable, match=r"limit of 0\.3 s"):
        await query(orders.database, ENDLESS[orders.kind], timeout_s=0.3)


async def test_a_cancelled_query_leaves_nothing_running(orders: AnyDatabase) -> None:
    asking = asyncio.ensure_future(query(orders.database, ENDLESS[orders.kind], timeout_s=1.0))
    await asyncio.wait({asking}, timeout=0.2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(await query(orders.database, "select * from orders")) == 2


async def test_times_as_parameters_fit_the_column(orders: AnyDatabase) -> None:
    half_past_ten = 1767263400.0
    sql = {
        "mysql": "select id from orders where at > from_unixtime(:since)",
        "postgres": "select id from orders where at > :since",
        "sqlite": "select id from orders where at > datetime(:since, 'unixepoch')",
    }
    assert await query(orders.database, sql[orders.kind], since=half_past_ten) == [{"id": 2}]


async def test_postgres_gives_each_place_the_type_it_is_compared_with(postgres: PostgresServer) -> None:
    database = Postgres(dsn=SecretStr(postgres.dsn(postgres.create())))
    sql = """select :t::timestamptz a, :t::timestamp b, :t::date c,
                    :t::float8 d, :t::numeric e, :t::bigint f, :t::text g"""
    (row,) = await query(database, sql, t=1767263400.5)
    assert [str(value) for value in row.values()] == [
        "2026-01-01 10:30:00.500000+00:00",
        "2026-01-01 10:30:00.500000",
        "2026-01-01",
        "1767263400.5",
        "1767263400.5",
        "1767263400",
        "2026-01-01T10:30:00.500000+00:00",
    ]


async def test_postgres_tells_whose_fault_it_is(postgres: PostgresServer) -> None:
    name = postgres.create()
    postgres.execute("create table hidden(a int)", name)
    postgres.execute(f"create role reader_{name} login", name)

    def at(dsn: str) -> Postgres:
        return Postgres(dsn=SecretStr(dsn))

    with pytest.raises(DatabaseUnable, match="permission denied"):
        await query(at(postgres.dsn(name, user=f"reader_{name}")), "select * from hidden")
    with pytest.raises(DatabaseUnable, match="role"):
        await query(at(postgres.dsn(name, user="nobody-knows")), "select 1")
    with pytest.raises(DatabaseUnable, match="does not exist"):
        await query(at(postgres.dsn("nosuch")), "select 1")
    with pytest.raises(DatabaseUnable, match="cannot resolve"):
        await query(at("postgresql://a@nosuch.invalid/x"), "select 1")
    with pytest.raises(DatabaseFailed, match="connection refused"):
        await query(at(f"postgresql://a@127.0.0.1:{free_port()}/x"), "select 1")
    with pytest.raises(DatabaseUnable, match=r"invalid input for query argument .*SQLSTATE 22000"):
        await query(at(postgres.dsn(name)), "select :since::interval", since=1.0)
    with pytest.raises(DatabaseUnable, match="division by zero"):
        await query(at(postgres.dsn(name)), "select 1 / 0")


async def test_postgres_gives_way_to_a_lock(postgres: PostgresServer) -> None:
    name = postgres.create()
    postgres.execute("create table t(a int)", name)
    migration = await asyncpg.connect(postgres.dsn(name))
    try:
        async with migration.transaction():
            await migration.execute("lock table t in access exclusive mode")
            with pytest.raises(DatabaseUnable, match="lock timeout"):
                await query(Postgres(dsn=SecretStr(postgres.dsn(name))), "select * from t")
    finally:
        await migration.close()


async def test_postgres_runs_no_query_that_costs_too_much(postgres: PostgresServer) -> None:
    name = postgres.create()
    postgres.execute("create table t as select n from generate_series(1, 20000) n; analyze t", name)
    database = Postgres(dsn=SecretStr(postgres.dsn(name)), cost_max=500.0)
    assert await query(database, "select n from t where n > :since limit 1", since=7.0) == [{"n": 8}]
    with pytest.raises(DatabaseUnable, match=r"not run: its plan costs \d+, more than cost_max"):
        await query(database, "select count(*) from t a, t b where a.n > :since", since=7.0)


async def test_postgres_works_behind_a_transaction_pooler(postgres: PostgresServer, tmp_path: Path) -> None:
    pgbouncer = binary("pgbouncer", "pgbouncer")
    name, port = postgres.create(), free_port()
    settings = (
        f"[databases]\n* = host=127.0.0.1 port={postgres.port} user=postgres\n"
        f"[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\nunix_socket_dir=\n"
        "auth_type=any\npool_mode=transaction\ndefault_pool_size=1\n"
    )
    with ExitStack() as stack:
        file = stack.enter_context(home_of_server()) / "pgbouncer.ini"
        file.write_text(settings)
        command = [*postgres.as_other, pgbouncer, str(file)]
        stack.enter_context(running(command, ready=lambda: is_listening(port), log=tmp_path / "log"))
        database = Postgres(dsn=SecretStr(f"postgresql://postgres@127.0.0.1:{port}/{name}"))
        sql = """select n, current_setting('statement_timeout') as t
                 from generate_series(1, 3) n where n > :since"""
        answers = await asyncio.gather(*(query(database, sql, since=2.0) for _ in range(20)))
        assert answers == [[{"n": 3, "t": "30s"}]] * 20
        backends = [await query(database, "select pg_backend_pid() as pid") for _ in range(5)]
        assert backends == [backends[0]] * 5


async def test_postgres_leaves_no_session_behind(postgres: PostgresServer) -> None:
    name = postgres.create()
    database = Postgres(dsn=SecretStr(postgres.dsn(name)))
    await asyncio.gather(*(query(database, "select 1 as n") for _ in range(6)))
    # A backend outlives its connection by a moment.
    sessions = "select datname from pg_stat_activity"
    wait_until(lambda: name not in postgres.execute(sessions).split(), timeout_s=5, what="sessions gone")


async def test_sqlite_never_creates_or_changes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with pytest.raises(DatabaseMismatch, match="no such database file"):
        await query(Sqlite(path=str(path)), "select 1")
    assert not path.exists()
    odd = tmp_path / "a?b#c%20.db"
    sqlite3.connect(odd).executescript(ORDERS)
    odd.chmod(stat.S_IRUSR)
    before = odd.read_bytes()
    assert await query(Sqlite(path=str(odd)), "select count(*) as n from orders") == [{"n": 2}]
    assert odd.read_bytes() == before
    (tmp_path / "text.db").write_text("this is not a database file at all, only text" * 40)
    with pytest.raises(DatabaseMismatch, match="not a database"):
        await query(Sqlite(path=str(tmp_path / "text.db")), "select * from t")


async def test_sqlite_says_when_a_writer_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "busy.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.executescript(ORDERS)
    writer.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(DatabaseUnable, match="locked"):
            await query(Sqlite(path=str(path)), "select * from orders")
    finally:
        writer.close()


@pytest.mark.parametrize("dsn", ["", "mysql://a/b", "host=x dbname=y", "postgresql://h:port/x"])
def test_a_bad_dsn_is_refused_without_printing_it(dsn: str) -> None:
    with pytest.raises(ValueError, match=r"^dsn: not a PostgreSQL URL") as caught:
        Postgres(dsn=SecretStr(dsn))
    assert not dsn or dsn not in str(caught.value)


def test_a_certificate_file_that_is_not_there_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match=r"^dsn: sslrootcert names a file"):
        Postgres(dsn=SecretStr("postgresql://u:p@h/d?sslmode=verify-ca&sslrootcert=/nosuch.pem"))


def built(**params: Any) -> SqlCheck:
    """As the loader builds it."""
    return TypeAdapter(SqlCheck).validate_python({"database": "orders", **params})


async def test_rows_are_judged_and_read(world: World, orders: AnyDatabase) -> None:
    seen = replace(world, databases={"orders": orders.database})
    check = built(query="select count(*) as n, sum(amount) as total from orders", expect="rows[0].n == 2")
    result = await check.run(seen)
    assert (result.outcome, result.because) == ("pass", "")
    assert result.readings["rows"] == 1
    assert result.readings["col_n"] == 2
    assert result.readings["col_total"] == 25.0
    assert result.readings["total_s"] > 0
    many = await built(query="select id from orders", expect="rows.all(r, r.id > 0)").run(seen)
    assert set(many.readings) == {"rows", "total_s"}


async def test_numbers_are_shown_and_texts_are_not(world: World, orders: AnyDatabase) -> None:
    seen = replace(world, databases={"orders": orders.database})
    sql = "select id, state from orders order by id"
    result = await built(query=sql, expect='rows[1].id == 3 || rows[1].state == "paid"').run(seen)
    assert result.outcome == "fail"
    assert result.because.endswith("rows[1].id = 2, rows[1].state = a text of 4 characters")


async def test_no_rows_is_an_absent_row(world: World, orders: AnyDatabase) -> None:
    seen = replace(world, databases={"orders": orders.database})
    result = await built(query="select id from orders where id > 9", expect="rows[0].id == 0 || true").run(
        seen
    )
    assert (result.outcome, result.because) == ("fail", "rows[0].id == 0 || true: rows[0] is absent")


async def test_a_column_that_goes_away_fails_only_if_it_worked_before(
    world: World, orders: AnyDatabase
) -> None:
    seen = replace(world, databases={"orders": orders.database})
    check = built(query="select amount from orders", expect="size(rows) == 2")
    misspelt = built(query="select amuont from orders", expect="size(rows) == 2")
    assert (await misspelt.run(seen)).outcome == "error"
    assert (await check.run(seen)).outcome == "pass"
    orders.execute("ALTER TABLE orders RENAME COLUMN amount TO amount_cents")
    assert (await check.run(seen)).outcome == "fail"
    assert (await misspelt.run(seen)).outcome == "error"
    orders.execute("ALTER TABLE orders RENAME TO orders_2")
    assert (await check.run(seen)).outcome == "fail"


async def test_an_unknown_database_is_ours(world: World) -> None:
    result = await built(query="select 1", expect="true").run(world)
    assert (result.outcome, result.because) == (
        "error",
        "there is no database orders; name one under databases",
    )


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"query": "delete from t", "expect": "true"}, "query: starts with delete"),
        ({"query": "select :since", "expect": "true"}, "query: :since has no value here"),
        ({"query": "select 1", "expect": "rows = 1"}, "expect: rows = 1: `=` is not an operator"),
        ({"query": "select 1", "expect": "true", "rows_max": 0}, "rows_max:"),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        built(**params)
    assert told in str(caught.value)
