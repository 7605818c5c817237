"""Kind `postgres`: one read-only transaction on a new connection per query.

A new connection each time costs a few milliseconds and buys that a restart, a fail-over or a pooler between
two runs cannot turn into a false failure. Everything that limits the statement is set inside the transaction,
because PgBouncer refuses such settings at connection time and would leak them between its clients.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import asyncpg
from pydantic import SecretStr

from checks.blame import blame
from checks.databases.statement import respell
from checks.dialect import POSTGRES, Dialect
from checks.model import DatabaseFailed, DatabaseMismatch, DatabaseUnable, Row

CONNECTIONS_MAX = 2
LOCK_TIMEOUT_MS = 100  # a lock we wait for is one a migration holds: be the one who gives way
CLOSE_TIMEOUT_S = 1.0
APPLICATION_NAME = "deploy-watchdog"

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


@dataclass(slots=True, kw_only=True)
class Postgres:
    """A PostgreSQL database, reached directly or through PgBouncer.

    dsn: postgresql://user:password@host:port/database. Use a role that may only read.
    Times given as parameters are epoch seconds and become what the query compares them with: timestamptz,
    timestamp (UTC), date, or the number itself.
    cost_max: a query whose plan costs more (total cost as EXPLAIN shows it) is not run, which is an `error`.
    """

    dsn: SecretStr
    cost_max: float | None = None
    dialect: ClassVar[Dialect] = POSTGRES
    _slots: asyncio.Semaphore = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
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
        if self.cost_max is not None and not 0 < self.cost_max < math.inf:
            raise ValueError("cost_max: write a number above 0, as EXPLAIN shows costs")
        self._slots = asyncio.Semaphore(CONNECTIONS_MAX)

    async def query(
        self, sql: str, params: Mapping[str, Any], *, timeout_s: float, rows_max: int
    ) -> Sequence[Row]:
        """See `checks.model.Database.query`."""
        arguments: list[Any] = []

        def number(name: str) -> str:
            # Each place is an argument of its own, because the server infers a type for each.
            arguments.append(params[name])
            return f"${len(arguments)}"

        numbered = respell(sql, number)
        stage = "waiting for a free connection of ours"
        connection = None
        try:
            async with asyncio.timeout(timeout_s), self._slots:
                stage = "connecting"
                connection = await asyncpg.connect(
                    self.dsn.get_secret_value(),
                    timeout=timeout_s,
                    statement_cache_size=0,
                    server_settings={"application_name": APPLICATION_NAME},
                )
                stage = "running the statement"
                records = await self._read(connection, numbered, arguments, timeout_s, rows_max)
                await connection.close(timeout=CLOSE_TIMEOUT_S)
        except TimeoutError:
            if stage == "connecting":
                raise DatabaseFailed(f"no answer within {timeout_s:g} s (connecting)") from None
            raise DatabaseUnable(f"stopped by our own limit of {timeout_s:g} s ({stage})") from None
        except OSError as error:
            outcome, what = blame(error)
            raise (DatabaseFailed if outcome == "fail" else DatabaseUnable)(what) from None
        except asyncpg.PostgresError as error:
            raise _told(error) from None
        except asyncpg.ClientConfigurationError as error:
            raise DatabaseUnable(f"the dsn cannot be used ({error})") from None
        except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise DatabaseFailed(f"not a PostgreSQL answer ({error})") from None
        finally:
            if connection is not None and not connection.is_closed():
                connection.terminate()
        if len(records) > rows_max:
            raise DatabaseUnable(f"more than {rows_max} rows; narrow the query or raise rows_max")
        return [dict(record) for record in records]

    async def close(self) -> None:
        """Nothing is held between queries."""

    async def _read(
        self, connection: Any, sql: str, arguments: Sequence[Any], timeout_s: float, rows_max: int
    ) -> list[Any]:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            statement_ms = max(1, int(timeout_s * 1000))
            await connection.execute(
                f"SET LOCAL statement_timeout = {statement_ms}; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS};"
                f"SET LOCAL idle_in_transaction_session_timeout = {statement_ms}"
            )
            # Unnamed: a named one would outlive the transaction on a connection that PgBouncer shares.
            statement = await connection.prepare(sql, name="")
            kinds = [parameter.name for parameter in statement.get_parameters()]
            fitted = [_fitted(value, kind) for value, kind in zip(arguments, kinds, strict=True)]
            if self.cost_max is not None:
                (plan,) = await statement.explain(*fitted)
                if (cost := float(plan["Plan"]["Total Cost"])) > self.cost_max:
                    raise DatabaseUnable(f"not run: its plan costs {cost:.0f}, more than cost_max")
                # Explaining took the place of the unnamed statement.
                statement = await connection.prepare(sql, name="")
            cursor = await statement.cursor(*fitted)
            records: list[Any] = await cursor.fetch(rows_max + 1)
        return records


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


def _told(error: asyncpg.PostgresError) -> DatabaseUnable | DatabaseFailed:
    # An error that asyncpg itself raises, about an argument, has no message of the server's.
    code, text = error.sqlstate or "", f"{error.message or error} (SQLSTATE {error.sqlstate})"
    if code in (_INSUFFICIENT_PRIVILEGE, _QUERY_CANCELED):
        return DatabaseUnable(text)
    if code[:2] in ("42", "3F"):
        return DatabaseMismatch(text)
    if code[:2] in _SERVER_TROUBLE:
        return DatabaseFailed(text)
    return DatabaseUnable(text)
