"""`deploy-watchdog init-role postgres --database shop | psql shop`: the SQL of a role that may only read."""

from __future__ import annotations

import argparse
import re
import secrets
import sys
from collections.abc import Sequence

from checks.dialect import MYSQL, POSTGRES, refuse_unless_name
from watchdog.cli import exits

# One at a time unless `connections` of the database says otherwise, and those that the server has not yet
# noticed are gone.
CONNECTIONS_MAX = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `init-role`."""
    parser.add_argument("engine", choices=("postgres", "mysql"), help="mysql is MariaDB, too")
    parser.add_argument("--database", required=True, help="the database it may read")
    parser.add_argument(
        "--tables",
        nargs="+",
        default=(),
        metavar="TABLE",
        help="only these (in PostgreSQL also schema.table); without it all, in PostgreSQL of schema public",
    )
    parser.add_argument("--role", default="deploy_watchdog", help="its name (default: deploy_watchdog)")


def run(arguments: argparse.Namespace) -> int:
    """The SQL on standard output, what to configure on standard error; exit 0, or 64 for a bad name."""
    is_postgres = arguments.engine == "postgres"
    try:
        for name in (arguments.role, arguments.database):
            refuse_unless_name(name)
        for table in arguments.tables:
            refuse_unless_name(table, parts_max=2 if is_postgres else 1)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return exits.USAGE
    password = secrets.token_urlsafe(24)
    sql = (_postgres if is_postgres else _mysql)(
        arguments.role, password, arguments.database, arguments.tables
    )
    print("\n".join(sql))
    scheme, port = ("postgresql", 5432) if is_postgres else ("mysql", 3306)
    dsn = f"{scheme}://{arguments.role}:{password}@HOST:{port}/{arguments.database}"
    print(
        "The password is made for this run and is not stored. Put this into a file that only the daemon can\n"
        f"read, with the host, and write `dsn: file:/path` under databases:\n  {dsn}",
        file=sys.stderr,
    )
    return exits.HEALTHY


def _postgres(role: str, password: str, database: str, tables: Sequence[str]) -> list[str]:
    who = POSTGRES.name(role)
    sql = [
        f"CREATE ROLE {who} LOGIN PASSWORD '{password}' CONNECTION LIMIT {CONNECTIONS_MAX};",
        f"ALTER ROLE {who} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;",
        f"ALTER ROLE {who} SET default_transaction_read_only = on;",
        f"GRANT CONNECT ON DATABASE {POSTGRES.name(database)} TO {who};",
    ]
    schemas = dict.fromkeys(table.rpartition(".")[0] or "public" for table in tables) or {"public": None}
    sql += [f"GRANT USAGE ON SCHEMA {POSTGRES.name(schema)} TO {who};" for schema in schemas]
    if tables:
        whole = [table if "." in table else f"public.{table}" for table in tables]
        return [*sql, *(f"GRANT SELECT ON {POSTGRES.name(table)} TO {who};" for table in whole)]
    return [
        *sql,
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {who};",
        "-- Before PostgreSQL 15 everybody may create tables there, unless you",
        "-- REVOKE CREATE ON SCHEMA public FROM PUBLIC;",
        "-- Also the tables that whoever runs this creates later:",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {who};",
    ]


def _mysql(role: str, password: str, database: str, tables: Sequence[str]) -> list[str]:
    who = f"'{role}'@'%'"
    # In a grant on a whole database `_` would stand for any character.
    whole = MYSQL.name(re.sub("([_%])", r"\\\1", database)) + ".*"
    what = [f"{MYSQL.name(database)}.{MYSQL.name(table)}" for table in tables] or [whole]
    return [
        f"CREATE USER {who} IDENTIFIED BY '{password}' WITH MAX_USER_CONNECTIONS {CONNECTIONS_MAX};",
        *(f"GRANT SELECT ON {one} TO {who};" for one in what),
    ]
