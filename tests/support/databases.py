"""The same empty database in every kind, and a way to change it from outside."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from checks.databases.mysql import Mysql
from checks.databases.postgres import Postgres
from checks.databases.sqlite import Sqlite
from checks.model import Database
from tests.support.mariadb import MariadbServer
from tests.support.postgres import PostgresServer

# A statement that does not end by itself.
ENDLESS = {
    "mysql": "select benchmark(10000000000, sha2('a', 512)) as n",
    "postgres": "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n",
    "sqlite": "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n",
}


@dataclass(slots=True)
class AnyDatabase:
    """One database of a kind. execute: runs statements as its owner."""

    kind: str
    database: Database
    execute: Callable[[str], object]


def sqlite_database(folder: Path) -> AnyDatabase:
    """A new file."""
    path = folder / "any.db"

    def execute(sql: str) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(sql)

    execute("")
    return AnyDatabase("sqlite", Sqlite(path=str(path)), execute)


def server_database(server: PostgresServer | MariadbServer) -> AnyDatabase:
    """A new database on that server."""
    name = server.create()
    dsn = SecretStr(server.dsn(name))
    database: Database = Postgres(dsn=dsn) if isinstance(server, PostgresServer) else Mysql(dsn=dsn)
    kind = "postgres" if isinstance(server, PostgresServer) else "mysql"
    return AnyDatabase(kind, database, lambda sql: server.execute(sql, name))
