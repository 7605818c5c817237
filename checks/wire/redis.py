"""A Redis server that is only read: connecting to it, and whose doing it is when it does not answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr
from redis import exceptions
from redis._parsers import _AsyncRESP3Parser  # the client has no limit, and no public place for one
from redis.asyncio import ConnectionPool
from redis.maint_notifications import MaintNotificationsConfig

from checks.blame import Problem, blame
from checks.expressions.values import plain

# Flags that say nothing about effects; a command with any other, and not `readonly`, is refused. What they
# mean: https://redis.io/docs/latest/commands/command/#flags
_HARMLESS = frozenset({"fast", "loading", "stale"})
_OUR_CREDENTIALS = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.NoPermissionError,
)
# Errors that say the server cannot serve: lost its cluster or its primary, has no memory; and by their first
# word: stuck in a script, cannot save.
_SERVER_TROUBLE = (
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.OutOfMemoryError,
)
_SERVER_TROUBLE_WORDS = ("BUSY ", "MISCONF ")
# What the client's parser lets out: lengths that are no numbers, lists as keys of maps, lists without end.
_GARBLED = (AttributeError, TypeError, ValueError, RecursionError)

REPLY_BYTES_MAX = 1_048_576

T = TypeVar("T")
Ask = Callable[..., Awaitable[Any]]


class RedisServer:
    """The server at a URL. Raises ValueError, beginning with `url`, for one that it cannot use.

    secrets: what of the URL must not come out. An error about a key or its type counts as the service's once
    a question has been answered before.
    """

    __slots__ = ("_has_answered", "_pool", "secrets")

    def __init__(self, url: SecretStr) -> None:
        text = url.get_secret_value()
        self._has_answered = False
        self._pool = _pool(text)
        parts = urlsplit(text)
        self.secrets = [unquote(parts.password or ""), *parse_qs(parts.query).get("ssl_password", [])]

    async def answer(
        self, question: Callable[[Ask], Awaitable[T]], *, timeout_s: float, mono_s: Callable[[], float]
    ) -> tuple[T, float] | Problem:
        """What the question came to, and how long connecting took in seconds.

        A new connection each time: a kept one would stay with the old instance during a roll-out.
        """
        stage, began_s = "connecting", mono_s()
        try:
            async with asyncio.timeout(timeout_s), _connected(self._pool) as ask:
                stage, connect_s = "waiting for the reply", mono_s() - began_s
                answered = await question(ask)
        except (TimeoutError, exceptions.TimeoutError):
            return Problem("fail", f"no answer within {round(timeout_s, 2):g} s ({stage})")
        except exceptions.RedisError as error:
            return self._blame(error)
        except OSError as error:
            return Problem(*blame(error))
        self._has_answered = True
        return answered, connect_s

    def _blame(self, error: exceptions.RedisError) -> Problem:
        cause = error.__cause__ or error.__context__
        match error:
            case _Refused() | _TooLong():
                return Problem("error", str(error))
            case exceptions.MovedError() | exceptions.AskError():
                return Problem(
                    "error", "the key is on another node of the cluster; write that node's address"
                )
            case exceptions.InvalidResponse():
                return Problem("fail", "not a Redis answer")
        if isinstance(error, _OUR_CREDENTIALS):
            return Problem("error", f"refused by the server ({error})")
        if isinstance(error, exceptions.ConnectionError):
            return Problem(*blame(cause)) if isinstance(cause, OSError) else Problem("fail", str(error))
        if isinstance(error, _SERVER_TROUBLE) or str(error).startswith(_SERVER_TROUBLE_WORDS):
            return Problem("fail", str(error))
        return Problem("fail" if self._has_answered else "error", f"the server answered: {error}")


async def read(ask: Ask, command: Sequence[str]) -> Any:
    """The reply to a command: text, number, list or map.

    The server itself is asked whether it only reads; one that may do more is not sent.
    """
    await _refuse_unless_reading(ask, command)
    return plain(await ask(*command))


class _Refused(exceptions.RedisError):
    """The command was not sent, because it may do more than read."""


class _TooLong(exceptions.RedisError):
    """The reply was read no further."""


class _Bounded(_AsyncRESP3Parser):
    """Reads replies of at most REPLY_BYTES_MAX; raises _TooLong for others, before they are in memory."""

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """One reply; see the client's parser."""
        self._left = REPLY_BYTES_MAX
        return await super().read_response(*args, **options)

    async def _read(self, length: int) -> bytes:
        self._spend(length)
        piece: bytes = await super()._read(length)
        return piece

    async def _readline(self) -> bytes:
        line: bytes = await super()._readline()
        self._spend(len(line))
        return line

    def _spend(self, length: int) -> None:
        self._left -= length + len(b"\r\n")
        if self._left < 0:
            raise _TooLong(
                f"the reply is longer than {REPLY_BYTES_MAX} bytes, which is our own limit; "
                "ask for a length, a field or a range"
            )


async def _refuse_unless_reading(ask: Ask, command: Sequence[str]) -> None:
    """Raises _Refused unless the server says of the command, or of its subcommand, that it only reads."""
    name = command[0].lower()
    names = [name, f"{name}|{command[1].lower()}"] if len(command) > 1 else [name]
    # Before Redis 7 subcommands are not known apart: then what it says of the command counts for all.
    known = [entry for entry in await ask("COMMAND", "INFO", *names) if entry]
    if not known:
        raise _Refused("the server has no such command")
    flags = {str(flag) for flag in known[-1][2]}
    if "readonly" not in flags and (effects := sorted(flags - _HARMLESS)):
        raise _Refused(f"not sent, because it may do more than read (the server says: {', '.join(effects)})")


@asynccontextmanager
async def _connected(pool: Any) -> AsyncIterator[Ask]:
    """One connection, closed afterwards."""
    connection = pool.make_connection()

    async def ask(*words: str) -> Any:
        try:
            await connection.send_command(*words)
            return await connection.read_response()
        except _GARBLED as error:
            raise exceptions.InvalidResponse from error

    try:
        try:
            await connection.connect()
        except _GARBLED as error:
            raise exceptions.InvalidResponse from error
        yield ask
    finally:
        # Closing alone waits for the other side's end of TLS, which may never come; the client has no abort.
        if writer := getattr(connection, "_writer", None):
            writer.transport.abort()
        await connection.disconnect(nowait=True)


def _pool(url: str) -> Any:
    """Where connections are made from; never holds one. The URL is a secret, so no message repeats it."""
    try:
        parts = urlsplit(url)
        is_complete = parts.scheme in ("redis", "rediss", "unix") and (parts.port or 1) > 0
    except ValueError:
        is_complete = False
    if not is_complete:
        raise ValueError("url: not a Redis URL; write redis://user:password@host:port/database")
    if parts.scheme != "unix" and not re.fullmatch(r"/?\d*", parts.path):
        raise ValueError("url: the path is the number of a database; write redis://host:6379/0")
    for key, values in parse_qs(parts.query).items():
        if key != "db" and not key.startswith("ssl_"):
            raise ValueError(f"url: {key} cannot be set here; only db and ssl_... can")
        if key in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile") and not Path(values[-1]).is_file():
            raise ValueError(f"url: {key} names a file that is not there")
    try:
        pool: Any = ConnectionPool.from_url(
            url,
            protocol=3,
            parser_class=_Bounded,
            decode_responses=True,
            encoding_errors="replace",
            driver_info=None,
            socket_timeout=None,
            socket_connect_timeout=None,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        pool.make_connection()
    except (TypeError, ValueError, exceptions.RedisError) as error:
        raise ValueError(f"url: an option cannot be used ({type(error).__name__})") from None
    return pool
