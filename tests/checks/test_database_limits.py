"""What a database server is spared: a costly statement waits while it is busy, or is not run at all."""

# ruff: noqa: S608 statements are put together here from what stands here

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncmy
import asyncpg
import pytest
from pydantic import SecretStr

from checks.databases.asking import query
from checks.databases.mysql import Mysql
from checks.databases.postgres import Postgres
from checks.model import Database, DatabaseUnable
from tests.support.databases import AnyDatabase
from tests.support.mariadb import MariadbServer
from tests.support.postgres import PostgresServer

BUSY = 3
ORDERS = "CREATE TABLE orders (id int); INSERT INTO orders SELECT {} FROM {};"
COSTLY = "select count(*) as n from orders"
LIGHT = "select 1 as n"
OTHERS = 2 * BUSY  # because a statement of the server's own may end in between


async def ask(database: Database, sql: str, *, timeout_s: float = 5.0) -> Any:
    return await query(database, sql, {}, timeout_s=timeout_s, rows_max=10)


@dataclass(slots=True)
class Store:
    """A database with 100,000 orders, and a role that may only read it."""

    server: PostgresServer | MariadbServer
    dsn: SecretStr

    def limited(self, **limits: Any) -> Database:
        """As the role, with these limits."""
        kind: type[Postgres | Mysql] = Postgres if isinstance(self.server, PostgresServer) else Mysql
        return kind(dsn=self.dsn, **limits)

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Others, of another role, run statements on the server."""
        running: list[asyncio.Future[Any]] = []
        for _ in range(OTHERS):
            if isinstance(self.server, PostgresServer):
                one = await asyncpg.connect(self.server.dsn())
                running.append(asyncio.ensure_future(one.execute(f"select pg_sleep(60) /* {id(self)} */")))
            else:
                two = await asyncmy.connect(host="127.0.0.1", port=self.server.port, user="root")
                running.append(
                    asyncio.ensure_future(two.cursor().execute(f"select sleep(60) /* {id(self)} */"))
                )
        # Until the server has all of them.
        await asyncio.wait(running, timeout=0.2)
        try:
            yield
        finally:
            await asyncio.to_thread(self._end_others)
            await asyncio.gather(*running, return_exceptions=True)

    def _end_others(self) -> None:
        """Kill them on the server: it does not notice a client that goes away while it sleeps."""
        if isinstance(self.server, PostgresServer):
            mine = f"query like 'select pg_sleep%{id(self)}%'"
            self.server.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {mine}")
        else:
            mine = f"info like 'select sleep%{id(self)}%'"
            ids = self.server.execute(f"select id from information_schema.processlist where {mine}").split()
            self.server.execute(";".join(f"kill {one}" for one in ids))


@pytest.fixture(params=["mysql", "postgres"])
def store(request: pytest.FixtureRequest) -> Store:
    """One of each kind that is a server."""
    server: PostgresServer | MariadbServer = request.getfixturevalue(
        {"mysql": "mariadb"}.get(request.param, request.param)
    )
    name = server.create()
    role = f"reads_{name}"
    if isinstance(server, PostgresServer):
        server.execute(ORDERS.format("n", "generate_series(1, 100000) n") + "ANALYZE orders;", name)
        server.execute(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON orders TO {role}", name)
    else:
        server.execute(ORDERS.format("seq", "seq_1_to_100000") + "ANALYZE TABLE orders;", name)
        server.execute(f"CREATE USER {role}; GRANT SELECT ON {name}.* TO {role};")
    return Store(server, SecretStr(server.dsn(name, user=role)))


async def test_a_costly_statement_is_not_run_while_the_server_is_busy(store: Store) -> None:
    database = store.limited(running_max=BUSY)
    async with store.busy():
        with pytest.raises(DatabaseUnable, match=r"the server runs \d+ statements, more than running_max"):
            await ask(database, COSTLY, timeout_s=0.5)


async def test_it_runs_when_the_server_is_calm_again(store: Store) -> None:
    database = store.limited(running_max=BUSY)
    async with store.busy():
        asked = asyncio.ensure_future(ask(database, COSTLY, timeout_s=20.0))
        done, _ = await asyncio.wait({asked}, timeout=0.3)
        assert not done
    assert await asked == [{"n": 100000}]


async def test_a_look_up_waits_for_nobody(store: Store) -> None:
    """A server that a bad deploy keeps busy has to be looked at."""
    database = store.limited(running_max=BUSY)
    async with store.busy():
        assert await ask(database, LIGHT, timeout_s=2.0) == [{"n": 1}]


async def test_a_statement_that_costs_too_much_is_not_run(store: Store) -> None:
    for costs in ("select count(*) as n from orders a, orders b, orders c, orders d", "select * from orders"):
        with pytest.raises(DatabaseUnable, match=r"not run: its plan costs \d+, more than cost_max"):
            await ask(store.limited() if "," in costs else store.limited(cost_max=100.0), costs)
    assert await ask(store.limited(), COSTLY) == [{"n": 100000}]


async def test_there_is_one_connection_at_a_time(store: Store) -> None:
    database = store.limited()
    async with database.snapshot(timeout_s=5.0) as snapshot:
        with pytest.raises(DatabaseUnable, match="waiting for a free connection of ours"):
            await ask(database, LIGHT, timeout_s=0.2)
        assert await snapshot.rows(LIGHT, {}, rows_max=1) == [{"n": 1}]
    assert await ask(database, LIGHT) == [{"n": 1}]
    two = store.limited(connections=2)
    async with two.snapshot(timeout_s=5.0):
        assert await ask(two, LIGHT) == [{"n": 1}]


async def test_a_snapshot_shows_one_moment(any_database: AnyDatabase) -> None:
    first = "PRAGMA journal_mode = wal; " if any_database.kind == "sqlite" else ""
    any_database.execute(f"{first}CREATE TABLE orders (id int); INSERT INTO orders VALUES (1);")
    async with any_database.database.snapshot(timeout_s=5.0) as snapshot:
        assert await snapshot.rows(COSTLY, {}, rows_max=1) == [{"n": 1}]
        any_database.execute("INSERT INTO orders VALUES (2)")
        assert await snapshot.rows(COSTLY, {}, rows_max=1) == [{"n": 1}]
        with pytest.raises(DatabaseUnable, match="more than 0 rows"):
            await snapshot.rows(COSTLY, {}, rows_max=0)
    assert await ask(any_database.database, COSTLY) == [{"n": 2}]


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"cost_max": 0.0}, "cost_max: write a number above 0"),
        ({"cost_max": float("inf")}, "cost_max: write a number above 0"),
        ({"cost_max": float("nan")}, "cost_max: write a number above 0"),
        ({"running_max": 0}, "running_max: write a number from 1"),
        ({"lag_max_s": 0.0}, "lag_max: write a duration above 0"),
        ({"connections": 0}, "connections: write a number from 1 to 10"),
        ({"connections": 11}, "connections: write a number from 1 to 10"),
    ],
)
@pytest.mark.parametrize("kind", [Mysql, Postgres])
def test_a_limit_that_is_none_is_refused(kind: Any, limits: dict[str, Any], told: str) -> None:
    dsn = SecretStr("mysql://u@h/d" if kind is Mysql else "postgresql://u@h/d")
    with pytest.raises(ValueError, match=f"^{told}"):
        kind(dsn=dsn, **limits)
