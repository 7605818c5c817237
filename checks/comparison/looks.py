"""What a look at both sides saw, and who looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from checks.blame import Problem
from checks.data.agreeing import Found
from checks.databases.asking import Unanswered, known, telling
from checks.model import Row, Snapshot, World

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Both sides as one look saw them, by the values of their rows or the hash of these.

    compared: how many keys the look speaks of, also where only those that differ are in `left` and `right`.
    updated_s: when a key was last changed, epoch seconds, where that is known. share: how much of what
    differs was read, 1 for all of it. details: for people.
    """

    left: Found
    right: Found
    compared: int
    updated_s: Mapping[Any, float] = field(default_factory=dict)
    share: float = 1.0
    details: tuple[str, ...] = ()
    readings: Mapping[str, float] = field(default_factory=dict)


class Comparison(Protocol):
    """Looks at two queries or two tables. A look raises `checks.databases.asking.Unanswered`."""

    async def first(self, asking: Asking, now_s: float) -> Seen:
        """Look at both sides."""
        ...

    async def second(self, asking: Asking, now_s: float, wrong: Collection[Any]) -> Seen:
        """Look again, after a time to settle, at least at the keys that were wrong."""
        ...

    def conclude(self, wrong: Collection[Any]) -> None:
        """Take note of how a run ended that saw both sides: these keys still differ."""
        ...


@dataclass(slots=True)
class Asking:
    """The time of one run, shared by its questions.

    until_s: monotonic seconds at which it is over. has_succeeded: the check saw both sides in an earlier run.
    """

    world: World
    until_s: float
    has_succeeded: bool

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self.until_s - self.world.mono_s()

    @asynccontextmanager
    async def both(self, left: str, right: str) -> AsyncIterator[tuple[Reader, Reader]]:
        """Two databases, each in one snapshot, for what is left of the time; raises Unanswered.

        They are opened in the order of their names, so that two checks never wait for each other's
        connections; a database that is both sides is opened once.
        """
        if (left_s := self.left_s) <= 0:
            raise Unanswered(Problem("error", f"stopped by our own limit of {self.world.timeout_s:g} s"))
        readers: dict[str, Reader] = {}
        async with AsyncExitStack() as stack:
            for name in sorted({left, right}):
                readers[name] = await stack.enter_async_context(self._reader(name, left_s))
            yield readers[left], readers[right]

    @asynccontextmanager
    async def _reader(self, name: str, timeout_s: float) -> AsyncIterator[Reader]:
        # Also what goes wrong when the snapshot is given back is told as the database's.
        with telling(name, has_succeeded=self.has_succeeded):
            async with known(self.world, name).snapshot(timeout_s=timeout_s) as snapshot:
                yield Reader(name, snapshot, self.has_succeeded)

    async def settle(self, seconds: float) -> None:
        """Wait, which is not counted."""
        began_s = self.world.mono_s()
        await self.world.sleep(seconds)
        self.until_s += self.world.mono_s() - began_s


@dataclass(slots=True)
class Reader:
    """One database in one look; both sides may be the same one, so it takes one question at a time."""

    database: str
    snapshot: Snapshot
    has_succeeded: bool
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def rows(self, sql: str, params: Mapping[str, Any], *, rows_max: int) -> Sequence[Row]:
        """See `checks.model.Snapshot.rows`; raises Unanswered."""
        with telling(self.database, has_succeeded=self.has_succeeded):
            async with self._turn:
                return await self.snapshot.rows(sql, params, rows_max=rows_max)


async def together(left: Awaitable[T], right: Awaitable[T]) -> tuple[T, T]:
    """Both at once; the trouble of one is raised when the other has ended, whose connection it would take."""
    answers = await asyncio.gather(left, right, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return cast("tuple[T, T]", tuple(answers))
