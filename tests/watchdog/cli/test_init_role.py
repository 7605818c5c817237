"""`init-role` on real servers: the role reads what it should, and nothing lets it write or read more."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest

from tests.support.mariadb import MariadbServer
from tests.support.postgres import FOLDERS, PACKAGE, PostgresServer
from tests.support.servers import binary
from watchdog.cli import exits, main

SHOP = "CREATE TABLE orders (id INT); INSERT INTO orders VALUES (1), (2); CREATE TABLE customers (id INT);"
WRITES = (
    "INSERT INTO orders VALUES (3)",
    "UPDATE orders SET id = 9",
    "DELETE FROM orders",
    "CREATE TABLE mine (a INT)",
    "DROP TABLE orders",
)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    """What the command prints for the server, and the dsn it says to configure."""
    assert main(["init-role", *words]) == exits.HEALTHY
    sql, told = capsys.readouterr()
    found = re.search(r"\S+://\S+", told)
    assert found is not None
    assert urlsplit(found[0]).password in sql
    return sql, found[0]


def psql(server: PostgresServer, dsn: str, *sql: str) -> subprocess.CompletedProcess[str]:
    """As the role, without the session's promise to only read: what counts is what it may."""
    at = dsn.replace("@HOST:5432", f"@127.0.0.1:{server.port}")
    client = binary("psql", PACKAGE, also_in=FOLDERS)
    options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
    words = [word for one in ("SET default_transaction_read_only = off", *sql) for word in ("-c", one)]
    return _run([client, *options, at, *words])


def mariadb_client(server: MariadbServer, dsn: str, *sql: str) -> subprocess.CompletedProcess[str]:
    parts = urlsplit(dsn)
    login = [f"-u{parts.username}", f"-p{parts.password}", "-h127.0.0.1", f"-P{server.port}"]
    client = binary("mariadb", "mariadb-client")
    return _run([client, "--no-defaults", *login, "-N", "-B", parts.path[1:], "-e", ";".join(sql)])


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_a_postgres_role_reads_every_table_and_writes_none(
    postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    name = postgres.create()
    postgres.execute(SHOP, name)
    sql, dsn = printed(capsys, "postgres", "--database", name, "--role", "reads_all")
    postgres.execute(sql, name)
    postgres.execute("CREATE TABLE later (id INT)", name)
    assert psql(postgres, dsn, "SELECT count(*) FROM orders").stdout.strip() == "2"
    assert psql(postgres, dsn, "SELECT count(*) FROM later").stdout.strip() == "0"
    for write in (*WRITES, "CREATE SCHEMA mine", "CREATE DATABASE mine", "CREATE ROLE mine"):
        assert re.search("permission denied|must be owner", psql(postgres, dsn, write).stderr), write
    assert postgres.execute("SELECT count(*) FROM orders", name) == "2"
    settings = "SELECT unnest(setconfig) FROM pg_db_role_setting"
    assert "default_transaction_read_only=on" in postgres.execute(settings)


def test_a_postgres_role_reads_only_the_tables_it_was_given(
    postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    name = postgres.create()
    postgres.execute(SHOP + 'CREATE SCHEMA "Books"; CREATE TABLE "Books"."order" (id INT);', name)
    words = ("postgres", "--database", name, "--role", "reads-some", "--tables", "orders", "Books.order")
    sql, dsn = printed(capsys, *words)
    postgres.execute(sql, name)
    assert psql(postgres, dsn, "SELECT count(*) FROM orders").stdout.strip() == "2"
    assert psql(postgres, dsn, 'SELECT count(*) FROM "Books"."order"').stdout.strip() == "0"
    assert "permission denied" in psql(postgres, dsn, "SELECT * FROM customers").stderr


def test_a_mysql_role_reads_every_table_of_its_database_and_writes_none(
    mariadb: MariadbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    name = mariadb.create()
    like_it = name.replace("_", "x")
    mariadb.execute(SHOP, name)
    mariadb.execute(f"CREATE DATABASE {like_it}")
    sql, dsn = printed(capsys, "mysql", "--database", name, "--role", "reads_all")
    mariadb.execute(sql)
    mariadb.execute("CREATE TABLE later (id INT)", name)
    assert mariadb_client(mariadb, dsn, "SELECT count(*) FROM orders").stdout.strip() == "2"
    assert mariadb_client(mariadb, dsn, "SELECT count(*) FROM later").stdout.strip() == "0"
    for write in (*WRITES, "CREATE DATABASE mine", "SELECT 1 INTO OUTFILE '/tmp/mine'", "CREATE USER mine"):
        assert "denied" in mariadb_client(mariadb, dsn, write).stderr, write
    assert "denied" in mariadb_client(mariadb, dsn, f"USE {like_it}").stderr
    assert mariadb.execute("SELECT count(*) FROM orders", name) == "2"


def test_a_mysql_role_reads_only_the_tables_it_was_given(
    mariadb: MariadbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    name = mariadb.create()
    mariadb.execute(SHOP, name)
    words = ("mysql", "--database", name, "--role", "reads-some", "--tables", "orders")
    sql, dsn = printed(capsys, *words)
    mariadb.execute(sql)
    assert mariadb_client(mariadb, dsn, "SELECT count(*) FROM orders").stdout.strip() == "2"
    assert "denied" in mariadb_client(mariadb, dsn, "SELECT * FROM customers").stderr


@pytest.mark.parametrize(
    "words",
    [
        ("postgres", "--database", "a b"),
        ("postgres", "--database", "d", "--role", "r'"),
        ("postgres", "--database", "d", "--tables", "a.b.c"),
        ("mysql", "--database", "d", "--tables", "other.orders"),
        ("mysql", "--database", "d", "--role", "r`"),
        ("oracle", "--database", "d"),
        ("mysql",),
    ],
)
def test_a_name_that_could_be_more_than_a_name_is_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert main(["init-role", *words]) == exits.USAGE
    assert capsys.readouterr().out == ""
