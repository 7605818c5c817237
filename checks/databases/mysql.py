"""Kind `mysql`: each snapshot is one read-only transaction on a new connection; MySQL and MariaDB.

A new connection each time, for the reasons given in `checks.databases.postgres`. The statement is prepared by
the server, which takes exactly one there: nothing behind a semicolon can end the read-only transaction. Rows
are read as they come, so that no more than allowed are ever held.
"""

from __future__ import annotations

import asyncio
import math
import re
import ssl
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import asyncmy
from asyncmy import errors
from asyncmy.cursors import SSCursor
from pydantic import SecretStr

from checks.databases.server import CONNECTING, Server, Stage, Strain, Told, telling, told_of_system
from checks.databases.statement import respell
from checks.dialect import MYSQL, Dialect
from checks.model import DatabaseFailed, DatabaseMismatch, DatabaseUnable, Row, Snapshot

COST_MAX = 1e8
PLAN_ROWS_MAX = 1_000
CHANNELS_MAX = 64
LOCK_TIMEOUT_S = 1  # the smallest that MySQL takes; a lock we wait for is one a migration holds
CANCEL_AGAIN_S = 0.05
APPLICATION_NAME = "deploy-watchdog"

_EXPLAINED = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(?:select|with|values)\b", re.IGNORECASE | re.DOTALL)
_PLAN_HIDDEN = 1345  # a view whose tables we may not read ourselves
_LAG_HIDDEN = frozenset({1064, 1227})  # MySQL before 8.0.22 spells it otherwise; a privilege we lack
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SSL_MODES = frozenset({"DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"})
_SSL_FILES = ("ssl-ca", "ssl-cert", "ssl-key")

# Error numbers (MariaDB "Error Codes", MySQL "Server Error Message Reference") that their SQLSTATE does not
# tell apart. Ours: access to a database, table, column, routine or privilege; unknown database; user limit.
_OURS = frozenset({1044, 1142, 1143, 1370, 1227, 1049, 1226})
# A view whose table or column went away.
_MISMATCHES = frozenset({1356})
# Disk full, storage engine, damaged table or index, no thread, internal error, connection killed.
_SERVER_TROUBLE = frozenset({1021, 1030, 1034, 1035, 1135, 1194, 1195, 1815, 1927})
# Host not allowed or blocked; the client's own: authentication plug-in unknown.
_OUR_ACCESS = frozenset({1129, 1130, 1251, 1524, 2059})

# What the client raises, with a random peer, when bytes do not follow the protocol.
_STUMBLES = (
    *(struct.error, LookupError, ValueError, AssertionError, RuntimeError),
    *(AttributeError, ArithmeticError, UnboundLocalError, SystemError),
)
_OWN = (errors.MySQLError, *_STUMBLES)


class _NeverInClear:
    """Refuses a server that asks for the password itself over a connection nobody has verified."""

    def __init__(self, connection: object) -> None:
        pass

    def authenticate(self, packet: object) -> None:
        raise errors.OperationalError(
            2059, "the server asks for the password in clear; write ssl-mode=VERIFY_IDENTITY"
        )


@dataclass(slots=True, kw_only=True)
class Mysql(Server):
    """A MySQL (8.0 or newer) or MariaDB (10.5 or newer) database; it is tested with MariaDB.

    dsn: mysql://user:password@host:port/database, with the options ssl-mode (DISABLED, REQUIRED, VERIFY_CA,
    VERIFY_IDENTITY; REQUIRED unless the host is this machine), ssl-ca, ssl-cert and ssl-key. Use a role that
    may only read. Times given as parameters arrive as numbers, epoch seconds: compare a column of times with
    `from_unixtime(:since)`. The session's time zone is UTC, and a backslash in a text is a backslash.
    cost_max: a statement that would read more rows (as EXPLAIN expects, those of a join multiplied) is not
    run, which is an `error`.
    """

    dsn: SecretStr
    cost_max: float = COST_MAX
    dialect: ClassVar[Dialect] = MYSQL
    _options: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        Server.__post_init__(self)
        try:
            parts = urlsplit(self.dsn.get_secret_value())
            is_complete = parts.scheme in ("mysql", "mariadb") and (parts.port or 3306) > 0
        except ValueError:
            is_complete = False
        if not is_complete or not parts.hostname or not parts.username:
            # The text itself is a secret, so it cannot be part of the message.
            raise ValueError("dsn: not a MySQL URL; write mysql://user:password@host:port/database")
        secure = _secure(parts)
        self._options = {
            "host": parts.hostname,
            "port": parts.port or 3306,
            "user": unquote(parts.username),
            "password": unquote(parts.password or "").encode(),
            "database": unquote(parts.path.removeprefix("/")) or None,
            "ssl": secure,
            "auth_plugin_map": {}
            if secure is not None and secure.verify_mode == ssl.CERT_REQUIRED
            else {"mysql_clear_password": _NeverInClear, "dialog": _NeverInClear},
        }

    @asynccontextmanager
    async def snapshot(self, *, timeout_s: float) -> AsyncIterator[Snapshot]:
        """See `checks.model.Database.snapshot`."""
        stage = Stage("waiting for a free connection of ours")
        async with AsyncExitStack() as stack:
            with telling(timeout_s, stage, _OWN, _told):
                async with asyncio.timeout(timeout_s) as limit:
                    await stack.enter_async_context(self._slots)
                    stage.doing = CONNECTING
                    connection = await _connected(
                        **self._options,
                        program_name=APPLICATION_NAME,
                        autocommit=None,
                        # Ours is the limit around it, which can tell the stages apart.
                        connect_timeout=timeout_s + 1.0,
                    )
                    stack.callback(connection.close)
                    stage.doing = "running the statement"
                    await _restrict(connection, timeout_s)
            yield _Snapshot(self, connection, timeout_s, limit.when(), stage)
            with telling(timeout_s, stage, _OWN, _told):
                async with asyncio.timeout_at(limit.when()):
                    await connection.ensure_closed()

    async def close(self) -> None:
        """Nothing is held between snapshots."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """See `checks.model.Snapshot`. until: in the loop's time."""

    server: Mysql
    connection: Any
    timeout_s: float
    until: float | None
    stage: Stage

    async def rows(self, sql: str, params: Mapping[str, Any], *, rows_max: int) -> Sequence[Row]:
        arguments: list[Any] = []

        def mark(name: str) -> str:
            arguments.append(params[name])
            return "?"

        marked = respell(sql, mark)
        with telling(self.timeout_s, self.stage, _OWN, _told):
            async with asyncio.timeout_at(self.until):
                cost = await self._cost(marked, arguments)
                await self.server.let_run(cost, self.stage, self._strain)
                rows = await _read(self.connection, marked, arguments, rows_max)
        if len(rows) > rows_max:
            raise DatabaseUnable(f"more than {rows_max} rows; narrow the query or raise rows_max")
        return rows

    async def _cost(self, sql: str, arguments: Sequence[Any]) -> float | None:
        """The rows that the plan expects to read; None if we may not see it, as of a view."""
        if not _EXPLAINED.match(sql):
            return 0.0
        try:
            plan = await _read(self.connection, f"EXPLAIN {sql}", arguments, PLAN_ROWS_MAX)
        except errors.MySQLError as error:
            if error.args and error.args[0] == _PLAN_HIDDEN:
                return None
            raise
        # The rows of one `id` are joined, each for every row of those before it.
        of_query: dict[Any, float] = {}
        for step in plan:
            of_query[step["id"]] = of_query.get(step["id"], 1.0) * float(step["rows"] or 1)
        return sum(of_query.values())

    async def _strain(self) -> Strain:
        (running,) = await _read(self.connection, "SHOW GLOBAL STATUS LIKE 'Threads_running'", (), 1)
        try:
            channels = await _read(self.connection, "SHOW REPLICA STATUS", (), CHANNELS_MAX)
        except errors.MySQLError as error:
            if not error.args or error.args[0] not in _LAG_HIDDEN:
                raise
            channels = []
        behind = [row.get("Seconds_Behind_Source", row.get("Seconds_Behind_Master")) for row in channels]
        lags = [float(lag) for lag in behind if lag is not None]
        # One of the running is this one.
        return Strain(int(running["Value"]) - 1, max(lags, default=None))


def _secure(parts: SplitResult) -> ssl.SSLContext | None:
    """What the options of the dsn ask of TLS; None for none."""
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := options.keys() - {"ssl-mode", *_SSL_FILES}:
        raise ValueError(
            f"dsn: there is no option {min(unknown)}; there are ssl-mode, {', '.join(_SSL_FILES)}"
        )
    mode = options.get("ssl-mode", "DISABLED" if parts.hostname in _LOOPBACK else "REQUIRED").upper()
    if mode not in _SSL_MODES:
        raise ValueError(f"dsn: ssl-mode is none of {', '.join(sorted(_SSL_MODES))}")
    for key in _SSL_FILES:
        # Missing at connection time, it would look like a server that is not there.
        if key in options and not Path(options[key]).is_file():
            raise ValueError(f"dsn: {key} names a file that is not there")
    if mode == "DISABLED":
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("ssl-ca"))
        if "ssl-cert" in options:
            context.load_cert_chain(options["ssl-cert"], options.get("ssl-key"))
    except ssl.SSLError as error:
        raise ValueError(
            f"dsn: cannot use ssl-ca, ssl-cert or ssl-key ({error.reason or 'not in PEM form'})"
        ) from None
    context.check_hostname = mode == "VERIFY_IDENTITY"
    context.verify_mode = ssl.CERT_NONE if mode == "REQUIRED" else ssl.CERT_REQUIRED
    return context


async def _connected(**options: Any) -> Any:
    """A connection, or none that goes on in secret when we are cancelled.

    The client waits with `asyncio.wait_for`, which in Python 3.11 loses a cancellation that comes in the
    moment the connection stands: then the next one counts.
    """
    login = asyncio.ensure_future(asyncmy.connect(**options))
    try:
        await asyncio.wait({login})
    except asyncio.CancelledError:
        while not login.done():
            login.cancel()
            await asyncio.wait({login}, timeout=CANCEL_AGAIN_S)
        if not login.cancelled() and login.exception() is None:
            login.result().close()
        raise
    return login.result()


async def _restrict(connection: Any, timeout_s: float) -> None:
    """Begin the transaction, with every limit held by the server, in case we are not there to hold it."""
    whole_s = max(1, math.ceil(timeout_s))
    statement = (
        f"max_statement_time = {timeout_s:.3f}"
        if "mariadb" in connection.get_server_info().lower()
        else f"max_execution_time = {max(1, int(timeout_s * 1000))}"
    )
    async with connection.cursor() as cursor:
        # Without backslash escapes the server reads texts as `statement.py` does. What it warns about the
        # client would log, and a warning may quote a value: it shall keep its warnings.
        await cursor.execute(
            f"SET SESSION {statement}, SESSION lock_wait_timeout = {LOCK_TIMEOUT_S},"
            f" SESSION innodb_lock_wait_timeout = {LOCK_TIMEOUT_S}, SESSION wait_timeout = {whole_s},"
            f" SESSION net_write_timeout = {whole_s}, SESSION max_error_count = 0,"
            " SESSION time_zone = '+00:00',"
            " SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',NO_BACKSLASH_ESCAPES')"
        )
        await cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


async def _read(connection: Any, sql: str, arguments: Sequence[Any], rows_max: int) -> list[Row]:
    """The rows, and one more where there are more."""
    variables = [f"@place_{n}" for n in range(len(arguments))]
    async with connection.cursor() as cursor:
        await cursor.execute("PREPARE asked FROM %s", (sql,))
        if variables:
            settings = ", ".join(f"{variable} = %s" for variable in variables)
            await cursor.execute(f"SET {settings}", tuple(arguments))
    cursor = connection.cursor(SSCursor)
    await cursor.execute("EXECUTE asked" + (f" USING {', '.join(variables)}" if variables else ""))
    names = [column[0] for column in cursor.description or ()]
    rows = list(await cursor.fetchmany(rows_max + 1)) if names else []
    if len(rows) <= rows_max:
        # With more it would read what we do not want: then the connection ends with it.
        await cursor.close()
    return [dict(zip(names, row, strict=True)) for row in rows]


def _told(error: Exception) -> Told:
    if isinstance(error, errors.MySQLError):
        return _told_by_server(error)
    if "package is required" in str(error):
        # Logins that the client can only make over TLS, or not at all.
        return DatabaseUnable(f"cannot log in ({error}); try ssl-mode=REQUIRED")
    return DatabaseFailed(f"not a MySQL answer ({type(error).__name__})")


def _told_by_server(error: errors.MySQLError) -> Told:
    if isinstance(error.__cause__, OSError):
        return told_of_system(error.__cause__)
    arguments: tuple[Any, ...] = error.args
    if len(arguments) == 2 and isinstance(arguments[0], int):
        number, told = arguments[0], f"{arguments[1]} (error {arguments[0]})"
    else:
        number, told = 0, f"not a MySQL answer ({error})"
    state = str(error.sqlstate or "")
    if number in _OURS or number in _OUR_ACCESS:
        return DatabaseUnable(told)
    if number in _MISMATCHES or state[:2] == "42":
        return DatabaseMismatch(told)
    # Without SQLSTATE the trouble is on the wire: the server went away or does not speak the protocol.
    if number in _SERVER_TROUBLE or not state or state[:2] == "08" or state == "HY001":
        return DatabaseFailed(told)
    return DatabaseUnable(told)
