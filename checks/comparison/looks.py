"""What a look at both sides saw, and who looks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from checks.blame import Problem
from checks.data.agreeing import Found
from checks.databases.asking import ask
from checks.model import Row, World


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
    """Looks at two queries or two tables."""

    async def first(self, asking: Asking, now_s: float) -> Seen | Problem:
        """Look at both sides."""
        ...

    async def second(self, asking: Asking, now_s: float, wrong: Collection[Any]) -> Seen | Problem:
        """Look again, after a time to settle, at least at the keys that were wrong."""
        ...

    def conclude(self, wrong: Collection[Any]) -> None:
        """Take note of how a run ended that saw both sides: these keys still differ."""
        ...


@dataclass(slots=True)
class Asking:
    """The time of one run, shared by its queries.

    until_s: monotonic seconds at which it is over. has_succeeded: the check saw both sides in an earlier run.
    """

    world: World
    until_s: float
    has_succeeded: bool

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self.until_s - self.world.mono_s()

    async def rows(
        self, database: str, sql: str, params: Mapping[str, Any], *, timeout_s: float, rows_max: int
    ) -> Sequence[Row] | Problem:
        """See `checks.databases.asking.ask`."""
        return await ask(
            self.world,
            database,
            sql,
            params,
            timeout_s=timeout_s,
            rows_max=rows_max,
            has_succeeded=self.has_succeeded,
        )

    async def settle(self, seconds: float) -> None:
        """Wait, which is not counted."""
        began_s = self.world.mono_s()
        await self.world.sleep(seconds)
        self.until_s += self.world.mono_s() - began_s
