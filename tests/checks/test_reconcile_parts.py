"""Kind reconcile reads whole tables in parts, each of which takes about half a second."""

# ruff: noqa: S608 statements are put together here from what stands here

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter

from checks.comparison.parts import PART_S, Pace, Parts
from checks.comparison.statements import COARSE, ranges
from checks.databases.mysql import Mysql
from checks.databases.postgres import Postgres
from checks.dialect import Dialect
from checks.model import CheckResult, Database, Row, Snapshot, World
from checks.reconcile import ReconcileCheck
from tests.support.databases import sqlite_database
from tests.support.mariadb import MariadbServer
from tests.support.postgres import PostgresServer

ROWS = 30_000


@pytest.mark.parametrize(
    ("took_s", "size"), [(PART_S, 1000), (0.1, 5000), (0.0, 8000), (1.0, 500), (60.0, 250)]
)
def test_the_next_part_is_as_large_as_the_last_one_was_fast(took_s: float, size: int) -> None:
    pace = Pace(1000)
    pace.took(took_s)
    assert pace.size == size


def test_a_part_is_never_nothing() -> None:
    pace = Pace(1)
    pace.took(60.0)
    assert pace.size == 1


def test_the_parts_are_the_whole() -> None:
    parts, pace, seen = Parts(1000, 10, lambda low, high: f"{low} {high}"), Pace(10), []
    for part in parts.each(pace):
        low, high = map(int, part.split())
        seen += range(low, high)
        pace.took(PART_S / 3)
    assert seen == list(range(1000))
    assert list(Parts(0, 10, lambda low, high: f"{low} {high}").each(Pace(10))) == []


@pytest.mark.parametrize("low", [-(2**61), -7, 0, 12])
@pytest.mark.parametrize("span", [0, 1, 1022, 1023, 1024, 1025, 10**6, 2**61])
def test_ranges_are_few_and_reach_from_end_to_end(low: int, span: int) -> None:
    cut = ranges(low, low + span)
    assert min(span + 1, COARSE // 2) <= cut.count <= COARSE
    finer, levels = cut.finer(), 0
    while finer is not None:
        assert cut.width % finer.width == 0
        finer, levels = finer.finer(), levels + 1
    assert levels <= 10


async def at_once(_: float) -> None:
    """A wait that is none."""


@dataclass(slots=True)
class Meddling:
    """A database in which something happens after each part that is read; its parts, and limits on rows."""

    database: Database
    after_part: Callable[[], object] = lambda: None
    parts: list[str] = field(default_factory=list)
    rows_max: list[int] = field(default_factory=list)

    @property
    def dialect(self) -> Dialect:
        return self.database.dialect

    @asynccontextmanager
    async def snapshot(self, *, timeout_s: float) -> AsyncIterator[Snapshot]:
        async with self.database.snapshot(timeout_s=timeout_s) as snapshot:
            yield _Meddled(self, snapshot)

    async def close(self) -> None:
        await self.database.close()


@dataclass(slots=True)
class _Meddled:
    meddling: Meddling
    snapshot: Snapshot

    async def rows(self, sql: str, params: Mapping[str, Any], *, rows_max: int) -> Sequence[Row]:
        self.meddling.rows_max.append(rows_max)
        found = await self.snapshot.rows(sql, params, rows_max=rows_max)
        if "GROUP BY" in sql:
            self.meddling.parts.append(sql)
            self.meddling.after_part()
        return found


@dataclass(slots=True)
class Pair:
    """Two equal databases of one server, each with a table of orders."""

    server: PostgresServer | MariadbServer
    world: World
    names: tuple[str, str]
    left: Meddling
    right: Meddling

    def execute(self, sql: str, *sides: int) -> None:
        for side in sides or (0, 1):
            self.server.execute(sql, self.names[side])

    async def run(self, table: str = "orders", **params: Any) -> CheckResult:
        sides = {side: {"database": side, "table": table, "key": "id"} for side in ("left", "right")}
        check = TypeAdapter(ReconcileCheck).validate_python({**sides, "settle_s": 1.0, **params})
        result: CheckResult = await check.run(self.world)
        return result


@pytest.fixture(params=["mysql", "postgres"])
def pair(request: pytest.FixtureRequest, world: World) -> Pair:
    server: PostgresServer | MariadbServer = request.getfixturevalue(
        {"mysql": "mariadb"}.get(request.param, request.param)
    )
    names = (server.create(), server.create())
    if isinstance(server, PostgresServer):
        # Few rows on a page, so that there are many pages.
        made = "CREATE TABLE orders (id bigint PRIMARY KEY, amount int) WITH (fillfactor = 10);"
        filled = f"INSERT INTO orders SELECT n, 5 FROM generate_series(1, {ROWS}) n;"
    else:
        made = "CREATE TABLE orders (id bigint PRIMARY KEY, amount int);"
        filled = f"INSERT INTO orders SELECT seq, 5 FROM seq_1_to_{ROWS};"
    kind: type[Postgres | Mysql] = Postgres if isinstance(server, PostgresServer) else Mysql
    left, right = (Meddling(kind(dsn=SecretStr(server.dsn(name)))) for name in names)

    seen = replace(world, databases={"left": left, "right": right}, sleep=at_once, timeout_s=30.0)
    pair = Pair(server, seen, names, left, right)
    pair.execute(made + filled)
    return pair


async def test_a_table_is_read_in_parts_and_every_difference_found(pair: Pair) -> None:
    result = await pair.run()
    assert (result.outcome, result.readings["compared"]) == ("pass", ROWS), result
    assert min(len(pair.left.parts), len(pair.right.parts)) > 1
    pair.execute(
        f"UPDATE orders SET amount = 6 WHERE id IN (1, {ROWS // 2}); DELETE FROM orders WHERE id = {ROWS}", 1
    )
    result = await pair.run()
    assert (result.outcome, result.readings["mismatches"]) == ("fail", 3)
    # Found by the index of the key: two ranges and a part of a third, a side.
    assert result.readings["read_rows"] < 200


async def test_a_row_that_moves_while_its_table_is_read_is_read_once(pair: Pair) -> None:
    """All parts are of one snapshot."""
    pair.left.after_part = lambda: pair.execute(
        "UPDATE orders SET amount = amount + 1 WHERE id % 50 = 0;"
        "INSERT INTO orders SELECT max(id) + 1, 5 FROM orders;",
        0,
    )
    result = await pair.run()
    assert len(pair.left.parts) > 1
    assert "0 of 938 buckets differ" in result.details[1]
    assert (result.outcome, result.readings["compared"]) == ("pass", ROWS)


@pytest.mark.parametrize("key", ["text", "int", "bigint NOT NULL"])
async def test_a_partitioned_table_and_a_view_are_read_whole(
    postgres: PostgresServer, world: World, key: str
) -> None:
    names = (postgres.create(), postgres.create())
    for name in names:
        postgres.execute(
            f"CREATE TABLE orders (id {key}, amount int) PARTITION BY HASH (id);"
            "CREATE TABLE one PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
            "CREATE TABLE two PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
            "INSERT INTO orders SELECT n, 5 FROM generate_series(-40, 4000) n;"
            "CREATE VIEW seen AS TABLE orders;",
            name,
        )

    databases = {
        side: Meddling(Postgres(dsn=SecretStr(postgres.dsn(name))))
        for side, name in zip(("left", "right"), names, strict=True)
    }
    pair = Pair(postgres, replace(world, databases=databases, sleep=at_once), names, *databases.values())
    for table in ("orders", "seen"):
        result = await pair.run(table)
        assert (result.outcome, result.readings["compared"]) == ("pass", 4041), result
    pair.execute("UPDATE orders SET amount = 6 WHERE id::int IN (-40, 0, 4000)", 1)
    for table in ("orders", "seen"):
        assert (await pair.run(table)).readings["mismatches"] == 3


@pytest.mark.parametrize("far", [2**40, 2**61, 2**63 - 1, -(2**62)])
async def test_a_key_far_from_all_others_costs_only_time(pair: Pair, far: int) -> None:
    """Then all others share a range, which is split, or their hash is taken."""
    pair.execute(f"INSERT INTO orders VALUES ({far}, 5)")
    assert (await pair.run()).outcome == "pass"
    pair.execute(
        f"UPDATE orders SET amount = 6 WHERE id IN (7, {far}); DELETE FROM orders WHERE id = 20000", 1
    )
    result = await pair.run(rows_max=2000)
    assert (result.outcome, result.readings["mismatches"]) == ("fail", 3), result
    assert result.readings["read_rows"] < 4000


async def test_as_many_rows_are_read_as_may_be(world: World, tmp_path: Path) -> None:
    """Also more than there are buckets, and where no index finds them."""
    databases = {}
    for amount, side in enumerate(("left", "right")):
        (tmp_path / side).mkdir()
        store = sqlite_database(tmp_path / side)
        store.execute(f"CREATE TABLE orders (id TEXT, amount); INSERT INTO orders VALUES ('a', {amount})")
        databases[side] = Meddling(store.database)
    check = TypeAdapter(ReconcileCheck).validate_python(
        {
            **{side: {"database": side, "table": "orders", "key": "id"} for side in databases},
            "rows_max": 200_000,
        }
    )
    await check.run(replace(world, databases=databases, sleep=at_once))
    assert max(databases["left"].rows_max) == 400_000


async def test_two_checks_never_wait_for_the_connections_of_each_other(
    postgres: PostgresServer, world: World
) -> None:
    databases: dict[str, Database] = {}
    for side in ("left", "right"):
        name = postgres.create()
        postgres.execute("CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)", name)
        databases[side] = Postgres(dsn=SecretStr(postgres.dsn(name)))
    sides = [{"database": side, "table": "orders", "key": "id"} for side in databases]
    checks = [
        TypeAdapter(ReconcileCheck).validate_python({"left": one, "right": other})
        for one, other in (sides, reversed(sides), (sides[0], sides[0]))
    ]
    seen = replace(world, databases=databases)
    results = await asyncio.gather(*(check.run(seen) for check in checks))
    assert [(result.outcome, result.because) for result in results] == [("pass", "")] * 3


async def test_a_server_that_goes_away_while_it_is_read_is_a_result(pair: Pair) -> None:
    """Each connection of ours is ended after a part was read, so that not even its end can be told to it."""

    def end() -> None:
        if isinstance(pair.server, PostgresServer):
            ours = "application_name = 'deploy-watchdog'"
            pair.server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")
        else:
            ours = f"db IN ('{pair.names[0]}', '{pair.names[1]}')"
            ids = pair.server.execute(f"SELECT id FROM information_schema.processlist WHERE {ours}").split()
            pair.server.execute(";".join(f"kill {one}" for one in ids))

    pair.left.after_part = end
    result = await pair.run()
    assert result.outcome in ("fail", "error"), result
    assert result.because.startswith(("left: ", "right: "))
