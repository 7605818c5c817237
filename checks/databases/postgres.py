"""Kind `postgres`: each snapshot is one read-only transaction on a new connection.

A new connection each time costs a few milliseconds and buys that a restart, a fail-over or a pooler between
two runs cannot turn into a false failure. Everything that limits the statement is set inside the transaction,
because PgBouncer refuses such settings at connection time and would leak them between its clients.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import asyncpg
from pydantic import SecretStr

from checks.databases.server import CONNECTING, Server, Stage, Strain, Told, telling
from checks.databases.statement import respell
from checks.dialect import POSTGRES, Dialect
from checks.model import DatabaseFailed, DatabaseMismatch, DatabaseUnable, Row, Snapshot

COST_MAX = 1e7
LOCK_TIMEOUT_MS = 100  # a lock we wait for is one a migration holds: be the one who gives way
CLOSE_TIMEOUT_S = 1.0
APPLICATION_NAME = "deploy-watchdog"

# Seconds that a replica is behind. Received and replayed to the same place is no lag, however old the last
# transaction is: the primary is idle (PostgreSQL manual, 9.27.4 "Recovery Control Functions").
POSTGRES_LAG_S = """CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END"""

# A backend with a snapshot runs a statement; that it has one is shown to everybody, its state is not.
# Within a transaction the server would go on showing what it showed first.
_STRAIN = f"""
WITH anew AS MATERIALIZED (SELECT pg_stat_clear_snapshot())
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid())
         AS running,
       CASE WHEN pg_is_in_recovery() THEN {POSTGRES_LAG_S} END AS lag_s
FROM anew"""  # noqa: S608 our own text

# Classes of SQLSTATE (PostgreSQL manual, appendix A) in which the server refused or broke: connection
# exceptions, no resources, operator intervention, system errors, internal errors.
_SERVER_TROUBLE = frozenset({"08", "53", "57", "58", "XX"})
# Types of a place, and what an answer may give for it: a key is a text in JSON and a number in the table, or
# the other way.
_INTEGERS = frozenset({"int2", "int4", "int8"})
_TEXTS = frozenset({"text", "varchar"})
_DIGITS = re.compile(r"-?[0-9]{1,18}")
_INSUFFICIENT_PRIVILEGE = "42501"
_QUERY_CANCELED = "57014"
_OWN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass(slots=True, kw_only=True)
class Postgres(Server):
    """A PostgreSQL database, reached directly or through PgBouncer.

    dsn: postgresql://user:password@host:port/database. Use a role that may only read.
    Times given as parameters are epoch seconds and become what the query compares them with: timestamptz,
    timestamp (UTC), date, or the number itself.
    cost_max: a statement whose plan costs more (total cost as EXPLAIN shows it; by default that of reading
    some hundred million rows) is not run, which is an `error`.
    """

    dsn: SecretStr
    cost_max: float = COST_MAX
    dialect: ClassVar[Dialect] = POSTGRES

    def __post_init__(self) -> None:
        Server.__post_init__(self)
        try:
            parts = urlsplit(self.dsn.get_secret_value())
            is_complete = parts.scheme in ("postgres", "postgresql") and (parts.port or 5432) > 0
        except ValueError:
            is_complete = False
        if not is_complete:
            # The text itself is a secret, so it cannot be part of the message.
            raise ValueError("dsn: not a PostgreSQL URL; write postgresql://user:password@host:port/database")
        for key, files in parse_qs(parts.query).items():
            # Missing at connection time, it would look like a server that is not there.
            if key in ("sslrootcert", "sslcert", "sslkey", "sslcrl") and not Path(files[-1]).is_file():
                raise ValueError(f"dsn: {key} names a file that is not there")

    @asynccontextmanager
    async def snapshot(self, *, timeout_s: float) -> AsyncIterator[Snapshot]:
        """See `checks.model.Database.snapshot`."""
        stage = Stage("waiting for a free connection of ours")
        connection: Any = None
        async with AsyncExitStack() as stack:
            with telling(timeout_s, stage, _OWN, _told):
                async with asyncio.timeout(timeout_s) as limit:
                    await stack.enter_async_context(self._slots)
                    stage.doing = CONNECTING
                    connection = await asyncpg.connect(
                        self.dsn.get_secret_value(),
                        timeout=timeout_s,
                        statement_cache_size=0,
                        server_settings={"application_name": APPLICATION_NAME},
                    )
                    stack.callback(_drop, connection)
                    stage.doing = "running the statement"
                    transaction = connection.transaction(isolation="repeatable_read", readonly=True)
                    await transaction.start()
                    await _restrict(connection, timeout_s)
            yield _Snapshot(self, connection, timeout_s, limit.when(), stage)
            with telling(timeout_s, stage, _OWN, _told):
                async with asyncio.timeout_at(limit.when()):
                    # A pooler throws a connection away whose transaction nobody ended.
                    await transaction.rollback()
                    await connection.close(timeout=CLOSE_TIMEOUT_S)

    async def close(self) -> None:
        """Nothing is held between snapshots."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """See `checks.model.Snapshot`. until: in the loop's time."""

    server: Postgres
    connection: Any
    timeout_s: float
    until: float | None
    stage: Stage

    async def rows(self, sql: str, params: Mapping[str, Any], *, rows_max: int) -> Sequence[Row]:
        arguments: list[Any] = []

        def number(name: str) -> str:
            # Each place is an argument of its own, because the server infers a type for each.
            arguments.append(params[name])
            return f"${len(arguments)}"

        numbered = respell(sql, number)
        with telling(self.timeout_s, self.stage, _OWN, _told):
            async with asyncio.timeout_at(self.until):
                records = await self._read(numbered, arguments, rows_max)
        if len(records) > rows_max:
            raise DatabaseUnable(f"more than {rows_max} rows; narrow the query or raise rows_max")
        return [dict(record) for record in records]

    async def _read(self, sql: str, arguments: Sequence[Any], rows_max: int) -> list[Any]:
        # Unnamed: a named one would outlive the transaction on a connection that PgBouncer shares.
        explained = await self.connection.prepare(f"EXPLAIN (FORMAT JSON) {sql}", name="")
        kinds = [parameter.name for parameter in explained.get_parameters()]
        fitted = [_fitted(value, kind) for value, kind in zip(arguments, kinds, strict=True)]
        (plan,) = json.loads(await explained.fetchval(*fitted))
        await self.server.let_run(float(plan["Plan"]["Total Cost"]), self.stage, self._strain)
        statement = await self.connection.prepare(sql, name="")
        cursor = await statement.cursor(*fitted)
        records: list[Any] = await cursor.fetch(rows_max + 1)
        return records

    async def _strain(self) -> Strain:
        row = await self.connection.fetchrow(_STRAIN)
        return Strain(row["running"], None if row["lag_s"] is None else float(row["lag_s"]))


async def _restrict(connection: Any, timeout_s: float) -> None:
    """Let the server hold every limit of the transaction, in case we are not there to hold it."""
    statement_ms = max(1, int(timeout_s * 1000))
    await connection.execute(
        f"SET LOCAL statement_timeout = {statement_ms}; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS};"
        f"SET LOCAL idle_in_transaction_session_timeout = {statement_ms}"
    )


def _drop(connection: Any) -> None:
    if not connection.is_closed():
        connection.terminate()


def _fitted(value: Any, kind: str) -> Any:
    """Epoch seconds, a decimal or a number that is a text, as the type the server inferred for the place."""
    if isinstance(value, str) and kind in _INTEGERS and _DIGITS.fullmatch(value):
        return int(value)
    if type(value) is int and kind in _TEXTS:
        return str(value)
    if isinstance(value, Decimal) and kind != "numeric":
        return float(value) if kind in ("float4", "float8") else int(value)
    if not isinstance(value, float):
        return value
    match kind:
        case "timestamptz":
            return datetime.fromtimestamp(value, UTC)
        case "timestamp":
            return datetime.fromtimestamp(value, UTC).replace(tzinfo=None)
        case "date":
            return datetime.fromtimestamp(value, UTC).date()
        case _ if kind in _INTEGERS:
            return int(value)
        case "numeric":
            return Decimal(repr(value))
        case _ if kind in _TEXTS:
            return datetime.fromtimestamp(value, UTC).isoformat()
    return value


def _told(error: Exception) -> Told:
    if isinstance(error, asyncpg.PostgresError):
        return _told_by_server(error)
    if isinstance(error, asyncpg.ClientConfigurationError):
        return DatabaseUnable(f"the dsn cannot be used ({error})")
    return DatabaseFailed(f"not a PostgreSQL answer ({error})")


def _told_by_server(error: asyncpg.PostgresError) -> Told:
    # An error that asyncpg itself raises, about an argument, has no message of the server's.
    code, text = error.sqlstate or "", f"{error.message or error} (SQLSTATE {error.sqlstate})"
    if code in (_INSUFFICIENT_PRIVILEGE, _QUERY_CANCELED):
        return DatabaseUnable(text)
    if code[:2] in ("42", "3F"):
        return DatabaseMismatch(text)
    if code[:2] in _SERVER_TROUBLE:
        return DatabaseFailed(text)
    return DatabaseUnable(text)
