"""Kind `redis`: one reading command and its reply, or how far a consumer group of a stream is behind."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr
from redis import exceptions
from redis._parsers import _AsyncRESP3Parser  # the client has no limit, and no public place for one
from redis.asyncio import ConnectionPool
from redis.maint_notifications import MaintNotificationsConfig

from checks.blame import Problem, blame
from checks.expressions.expression import Expression
from checks.expressions.values import plain, show_discreetly
from checks.model import CheckResult, Outcome, World
from checks.text import Mask, finish

COMMAND_VARIABLES = {"value": "dyn", "total": "duration"}
STREAM_VARIABLES = {"lag": "int", "pending": "int", "age": "duration", "total": "duration"}
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
_TIME_ID_MS_MIN = 10**12  # September 2001; entries with smaller ids were numbered, not timed

Ask = Callable[..., Awaitable[Any]]
Values = Mapping[str, Any]


@dataclass(slots=True, kw_only=True, repr=False)
class RedisCheck:
    """Run a command that only reads and expect something of its reply, or look at a consumer group.

    url: redis://user:password@host:port/database; rediss:// for TLS, unix:///path for a socket. The server
    must speak RESP3: Redis 6 or newer, Valkey.
    command: the command and its arguments. The server itself is asked whether it only reads (COMMAND INFO,
    which the user must be allowed to run); one that may do more is not sent, which is an `error`. So is a
    reply of more than 1 MiB: ask for a length, a field or a range, not for everything.
    stream, group: instead of command, a stream and one of its consumer groups.
    expect: CEL. With command: value (the reply: text, number, list or map) and total (a duration). With
    stream: lag (entries not yet delivered; absent where the server cannot tell), pending (delivered, not
    acknowledged), age (of the oldest pending entry, by its id and the server's clock; absent for ids that
    are no times) and total. Without it any reply that is no error is good.
    Readings: connect_s, total_s; of a stream lag_entries, pending_entries, age_s; only of replies that came.
    """

    url: SecretStr
    command: tuple[str, ...] | None = None
    stream: str | None = None
    group: str | None = None
    expect: str | None = None
    _expect: Expression = field(init=False, repr=False, compare=False)
    _pool: Any = field(init=False, repr=False, compare=False)
    _mask: Mask = field(init=False, repr=False, compare=False)
    _has_succeeded: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._has_succeeded = False
        if (self.command is None) == (self.stream is None):
            raise ValueError("command: write either command or stream with group")
        if self.command is not None and not (self.command and self.command[0].strip()):
            raise ValueError("command: empty; write the command and its arguments, [GET, key]")
        if (self.stream is None) != (self.group is None):
            raise ValueError("group: stream and group are written together")
        variables = COMMAND_VARIABLES if self.stream is None else STREAM_VARIABLES
        try:
            self._expect = Expression("true" if self.expect is None else self.expect, variables)
        except ValueError as error:
            raise ValueError(f"expect: {error}") from None
        self._pool = _pool(self.url.get_secret_value())
        parts = urlsplit(self.url.get_secret_value())
        self._mask = Mask([unquote(parts.password or ""), *parse_qs(parts.query).get("ssl_password", [])])

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        began_s = world.mono_s()
        place = self.command[0].upper() if self.command else f"group {self.group} of stream {self.stream}"
        found = await self._look(world, began_s)
        if isinstance(found, Problem):
            because = f"{place}: {found.because}"
            details = (f"FAIL REDIS {because}",)
            return finish(found.outcome, because, readings={}, details=details, mask=self._mask)
        self._has_succeeded = True
        values, connect_s = found
        total_s = world.mono_s() - began_s
        judgement = self._expect.judge({**values, "total": timedelta(seconds=total_s)}, show_discreetly)
        outcome: Outcome = "pass" if judgement.kind == "true" else "fail"
        shown = ", ".join(f"{name} {show_discreetly(value)}" for name, value in values.items())
        spent = f"connect {connect_s * 1000:.0f} total {total_s * 1000:.0f} ms"
        return finish(
            "error" if judgement.kind == "too_much" else outcome,
            f"{place}: {judgement.because}" if judgement.because else "",
            readings={"connect_s": connect_s, "total_s": total_s, **_readings(values)},
            details=(f"{' ok ' if outcome == 'pass' else 'FAIL'} REDIS {place}: {shown}  {spent}",),
            mask=self._mask,
        )

    async def _look(self, world: World, began_s: float) -> tuple[Values, float] | Problem:
        """What the expression is about, and how long connecting took in seconds."""
        stage = "connecting"
        try:
            async with asyncio.timeout(world.timeout_s), _connected(self._pool) as ask:
                stage, connect_s = "waiting for the reply", world.mono_s() - began_s
                if self.command is None:
                    return await _behind(ask, self.stream, self.group), connect_s
                await _refuse_unless_reading(ask, self.command)
                return {"value": plain(await ask(*self.command))}, connect_s
        except (TimeoutError, exceptions.TimeoutError):
            return Problem("fail", f"no answer within {world.timeout_s:g} s ({stage})")
        except exceptions.RedisError as error:
            return self._blame(error)
        except OSError as error:
            return Problem(*blame(error))

    def _blame(self, error: exceptions.RedisError) -> Problem:
        """An error about a key or its type counts as the service's once the same command has worked."""
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
        return Problem("fail" if self._has_succeeded else "error", f"the server answered: {error}")


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


async def _behind(ask: Ask, stream: str | None, group: str | None) -> Values:
    """How far the group is behind; the server complains if there is no such stream or group."""
    pending, oldest, *_ = await ask("XPENDING", stream, group)
    groups = {str(entry.get("name")): entry for entry in await ask("XINFO", "GROUPS", stream)}
    lag = groups.get(str(group), {}).get("lag")
    values: dict[str, Any] = {"pending": int(pending)}
    if lag is not None:
        values["lag"] = int(lag)
    if oldest is None:
        return {**values, "age": timedelta()}
    added_ms = int(str(oldest).partition("-")[0])
    if added_ms >= _TIME_ID_MS_MIN:
        seconds, microseconds = await ask("TIME")
        values["age"] = max(
            timedelta(), timedelta(seconds=int(seconds) - added_ms / 1000, microseconds=int(microseconds))
        )
    return values


@asynccontextmanager
async def _connected(pool: Any) -> AsyncIterator[Ask]:
    """A new connection each time: a kept one would stay with the old instance during a roll-out."""
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
        await connection.disconnect(nowait=True)


def _readings(values: Values) -> dict[str, float]:
    """What a stream is judged by; the reply of a command is no reading."""
    readings = {f"{name}_entries": float(values[name]) for name in ("lag", "pending") if name in values}
    return {**readings, "age_s": values["age"].total_seconds()} if "age" in values else readings


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
