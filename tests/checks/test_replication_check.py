"""Kind replication against real replicas of PostgreSQL and MariaDB."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from checks.databases.asking import query
from checks.databases.mysql import Mysql
from checks.databases.postgres import Postgres
from checks.databases.sqlite import Sqlite
from checks.model import CheckResult, Database, DatabaseUnable, World
from checks.replication import ReplicationCheck
from tests.support.mariadb import MariadbServer, mariadb_server
from tests.support.postgres import PostgresServer, postgres_replica


@pytest.fixture(scope="module")
def standby(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_replica(postgres, tmp_path_factory.mktemp("standby")) as server:
        yield server


@pytest.fixture(scope="module")
def replica(mariadb: MariadbServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    with mariadb_server(tmp_path_factory.mktemp("replica"), "--server-id=2") as server:
        position = mariadb.execute("SELECT @@gtid_binlog_pos")
        server.execute(
            f"SET GLOBAL gtid_slave_pos = '{position}'; CHANGE MASTER TO master_host = '127.0.0.1', "
            f"master_port = {mariadb.port}, master_user = 'root', master_use_gtid = slave_pos; START SLAVE;"
        )
        yield server


async def until(look: Callable[[], Awaitable[CheckResult]], outcome: str, told: str = "") -> CheckResult:
    """Look until it comes to that: what happens between two servers takes a moment."""
    async with asyncio.timeout(15.0):
        while True:
            result = await look()
            if result.outcome == outcome and told in result.because:
                return result


def looking(world: World, database: Database, max_lag_s: float) -> Callable[[], Awaitable[CheckResult]]:
    seen = replace(world, databases={"replica": database})
    check = ReplicationCheck(database="replica", max_lag_s=max_lag_s)
    return lambda: check.run(seen)


async def test_a_postgres_replica_is_as_far_behind_as_it_replays(
    world: World, postgres: PostgresServer, standby: PostgresServer
) -> None:
    look = looking(world, Postgres(dsn=SecretStr(standby.dsn())), 0.05)
    name = postgres.create()
    postgres.execute("CREATE TABLE t (a int)", name)
    well = await until(look, "pass")
    assert well.readings["lag_s"] <= 0.05
    standby.execute("SELECT pg_wal_replay_pause()")
    try:
        postgres.execute("INSERT INTO t VALUES (1)", name)
        late = await until(look, "fail", "behind its primary, more than 0.05 s")
        assert late.readings["lag_s"] > 0.05
        assert late.readings["pending_bytes"] > 0
        # A costly statement waits for it, the look-up of this check does not.
        costly = "select count(*) as n from generate_series(1, 200000)"
        with pytest.raises(DatabaseUnable, match=r"the replica is \d+ s behind, more than lag_max"):
            await query(
                Postgres(dsn=SecretStr(standby.dsn()), lag_max_s=0.05), costly, {}, timeout_s=0.5, rows_max=1
            )
    finally:
        standby.execute("SELECT pg_wal_replay_resume()")
    assert (await until(look, "pass")).readings["pending_bytes"] == 0


async def test_a_postgres_replica_that_receives_nothing_fails(world: World, standby: PostgresServer) -> None:
    look = looking(world, Postgres(dsn=SecretStr(standby.dsn())), 60.0)
    before = standby.execute("SHOW primary_conninfo")
    standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
    standby.execute("SELECT pg_reload_conf()")
    await until(look, "fail", "replica: the replica does not receive from its primary")
    assert before
    standby.execute("ALTER SYSTEM RESET primary_conninfo")


async def test_a_mariadb_replica_is_as_far_behind_as_it_applies(
    world: World, mariadb: MariadbServer, replica: MariadbServer
) -> None:
    look = looking(world, Mysql(dsn=SecretStr(replica.dsn("mysql"))), 0.5)
    assert (await until(look, "pass")).readings["lag_s"] == 0
    replica.execute("STOP SLAVE; CHANGE MASTER TO master_delay = 3600; START SLAVE;")
    mariadb.create()
    late = await until(look, "fail", "behind its primary, more than 0.5 s")
    assert late.readings["lag_s"] >= 1
    behind = Mysql(dsn=SecretStr(replica.dsn("mysql")), lag_max_s=0.5)
    with pytest.raises(DatabaseUnable, match=r"the replica is \d+ s behind, more than lag_max"):
        await query(
            behind, "select count(*) as n from seq_1_to_100 a, seq_1_to_100 b", {}, timeout_s=0.5, rows_max=1
        )


async def test_a_mariadb_replica_that_does_not_run_fails(world: World, replica: MariadbServer) -> None:
    look = looking(world, Mysql(dsn=SecretStr(replica.dsn("mysql"))), 60.0)
    replica.execute("STOP SLAVE SQL_THREAD")
    stopped = await until(look, "fail")
    assert stopped.because == "replica: the replica's SQL thread does not run (state No, error 0)"
    replica.execute("STOP SLAVE")
    assert "IO thread does not run" in (await until(look, "fail", "IO")).because


async def test_a_server_that_is_no_replica_is_a_mistake_unless_it_was_one(
    world: World, postgres: PostgresServer, mariadb: MariadbServer, replica: MariadbServer, tmp_path: Path
) -> None:
    for database in (
        Postgres(dsn=SecretStr(postgres.dsn())),
        Mysql(dsn=SecretStr(mariadb.dsn("mysql"))),
    ):
        result = await looking(world, database, 60.0)()
        assert (result.outcome, result.because) == ("error", "replica: this server is not a replica")
    nothing = await looking(world, Sqlite(path=str(tmp_path / "x")), 60.0)()
    assert (nothing.outcome, nothing.because) == (
        "error",
        "replica: a database of this kind has no replicas",
    )
    replica.execute("STOP SLAVE; CHANGE MASTER TO master_delay = 0; START SLAVE;")
    look = looking(world, Mysql(dsn=SecretStr(replica.dsn("mysql"))), 60.0)
    await until(look, "pass")
    replica.execute("STOP SLAVE; RESET SLAVE ALL")
    result = await look()
    assert (result.outcome, result.because) == ("fail", "replica: this server is not a replica")


async def test_an_unknown_database_is_ours(world: World) -> None:
    result = await ReplicationCheck(database="nosuch", max_lag_s=1.0).run(world)
    assert (result.outcome, result.because) == (
        "error",
        "there is no database nosuch; name one under databases",
    )


def test_bad_configuration_names_its_key() -> None:
    with pytest.raises(ValueError, match=r"^max_lag: write a duration"):
        ReplicationCheck(database="d", max_lag_s=0.0)
