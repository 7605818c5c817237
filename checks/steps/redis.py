"""A step that asks a Redis server: a projection, a cache, the length of a queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import SecretStr

from checks.blame import Problem
from checks.expressions.expression import Expression, problem_of
from checks.expressions.path import JsonPath
from checks.expressions.values import show_discreetly
from checks.model import World
from checks.steps.model import Run, Step, Values, extractors
from checks.text import is_telling
from checks.web.request import PLACEHOLDER, fill
from checks.wire.redis import RedisServer, read


@dataclass(slots=True, kw_only=True, repr=False)
class RedisStep(Step):
    """Send a command that only reads, as kind redis does; `{name}` is a value of an earlier step.

    redis: the command and its arguments. A value stays within its argument, whatever it holds.
    url: redis://user:password@host:port/database; rediss:// for TLS, unix:///path for a socket.
    expect: CEL over value (the reply: text, number, list or map) and total (a duration); without it any reply
    that is no error is good.
    extract: name -> where in the reply its value stands: a JSONPath (RFC 9535), `$` for the whole.
    """

    redis: tuple[str, ...]
    url: SecretStr
    expect: str | None = None
    variables: ClassVar[Mapping[str, str]] = {"value": "dyn", "total": "duration"}
    paths: Mapping[str, JsonPath] = field(init=False, repr=False, compare=False)
    _server: RedisServer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        if not (self.redis and self.redis[0].strip()):
            raise ValueError("redis: empty; write the command and its arguments, [GET, key]")
        if PLACEHOLDER.search(self.redis[0]):
            # Else an answer would choose what is asked.
            raise ValueError("redis: the command cannot hold a placeholder; write it out")
        self.paths = extractors(self.extract, JsonPath)
        self._server = RedisServer(self.url)

    @property
    def assertion(self) -> str:
        """See `Step.assertion`."""
        return "true" if self.expect is None else self.expect

    @property
    def place(self) -> str:
        """See `Step.place`."""
        return f"REDIS {self.redis[0].upper()}"

    def placeholders(self) -> set[str]:
        """See `Step.placeholders`."""
        return {name for word in self.redis for name in PLACEHOLDER.findall(word)}

    def secrets(self) -> list[str]:
        """See `Step.secrets`."""
        return self._server.secrets

    def is_secret(self, name: str) -> bool:
        """See `Step.is_secret`."""
        return is_telling(name) or is_telling(self.paths[name].last_name)

    async def look(self, world: World, run: Run, *, timeout_s: float, place: str) -> _Seen | Problem:
        """See `Step.look`."""
        command = [fill(word, run.values) for word in self.redis]
        began_s = world.mono_s()
        found = await self._server.answer(
            lambda ask: read(ask, command), timeout_s=timeout_s, mono_s=world.mono_s
        )
        if isinstance(found, Problem):
            return Problem(found.outcome, f"{place}: {found.because}")
        return _Seen(self.paths, found[0], world.mono_s() - began_s)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Implements `Seen`."""

    paths: Mapping[str, JsonPath]
    value: Any
    total_s: float

    def line(self) -> str:
        return f"{show_discreetly(self.value)} in {self.total_s * 1000:.0f} ms"

    def judge(self, expect: Expression, values: Values, place: str) -> Problem | None:
        own = {"value": self.value, "total": timedelta(seconds=self.total_s)}
        return problem_of(expect, {**values, **own}, place, show_discreetly)

    def find(self, name: str) -> Any:
        return self.paths[name].find(self.value)

    def show(self, value: Any) -> str:
        return show_discreetly(value)
