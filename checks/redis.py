"""Kind `redis`: one reading command and its reply, or how far a consumer group of a stream is behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from checks.blame import Problem
from checks.expressions.expression import Expression, compiled
from checks.expressions.values import show_discreetly
from checks.model import CheckResult, World
from checks.text import Mask, finish, sign
from checks.wire.redis import Ask, RedisServer, read

COMMAND_VARIABLES = {"value": "dyn", "total": "duration"}
STREAM_VARIABLES = {"lag": "int", "pending": "int", "age": "duration", "total": "duration"}
_TIME_ID_MS_MIN = 10**12  # September 2001; entries with smaller ids were numbered, not timed

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
    _server: RedisServer = field(init=False, repr=False, compare=False)
    _mask: Mask = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.command is None) == (self.stream is None):
            raise ValueError("command: write either command or stream with group")
        if self.command is not None and not (self.command and self.command[0].strip()):
            raise ValueError("command: empty; write the command and its arguments, [GET, key]")
        if (self.stream is None) != (self.group is None):
            raise ValueError("group: stream and group are written together")
        variables = COMMAND_VARIABLES if self.stream is None else STREAM_VARIABLES
        self._expect = compiled("expect", "true" if self.expect is None else self.expect, variables)
        self._server = RedisServer(self.url)
        self._mask = Mask(self._server.secrets)

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        began_s = world.mono_s()
        place = self.command[0].upper() if self.command else f"group {self.group} of stream {self.stream}"
        found = await self._server.answer(self._ask, timeout_s=world.timeout_s, mono_s=world.mono_s)
        if isinstance(found, Problem):
            because = f"{place}: {found.because}"
            details = (f"{sign(found.outcome)} REDIS {because}",)
            return finish(found.outcome, because, readings={}, details=details, mask=self._mask)
        values, connect_s = found
        total_s = world.mono_s() - began_s
        judgement = self._expect.judge({**values, "total": timedelta(seconds=total_s)}, show_discreetly)
        outcome = judgement.outcome
        shown = ", ".join(f"{name} {show_discreetly(value)}" for name, value in values.items())
        spent = f"connect {connect_s * 1000:.0f} total {total_s * 1000:.0f} ms"
        return finish(
            outcome,
            f"{place}: {judgement.because}" if judgement.because else "",
            readings={"connect_s": connect_s, "total_s": total_s, **_readings(values)},
            details=(f"{sign(outcome)} REDIS {place}: {shown}  {spent}",),
            mask=self._mask,
        )

    async def _ask(self, ask: Ask) -> Values:
        """What the expression is about."""
        if self.command is None:
            return await _behind(ask, self.stream, self.group)
        return {"value": await read(ask, self.command)}


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


def _readings(values: Values) -> dict[str, float]:
    """What a stream is judged by; the reply of a command is no reading."""
    readings = {f"{name}_entries": float(values[name]) for name in ("lag", "pending") if name in values}
    return {**readings, "age_s": values["age"].total_seconds()} if "age" in values else readings
