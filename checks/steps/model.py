"""What the steps of a scenario have in common, whatever they speak: a look, what it brought, its values."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from aiohttp.abc import AbstractCookieJar

from checks.blame import Problem
from checks.duration import Duration
from checks.expressions.expression import Expression
from checks.model import World

NAME = re.compile(r"[a-z][a-z0-9_]*")

T = TypeVar("T")
Values = Mapping[str, Any]


@dataclass(slots=True)
class Run:
    """What one run of a scenario has gathered so far.

    values: what later steps may use, by name. secrets: which of them must not be shown or written down;
    hidden: the texts of these.
    """

    jar: AbstractCookieJar
    values: dict[str, Any]
    secrets: set[str] = field(default_factory=set)
    hidden: list[str] = field(default_factory=list)
    readings: dict[str, float] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)


class Seen(Protocol):
    """What one look brought."""

    def line(self) -> str:
        """The look in a few words."""
        ...

    def judge(self, expect: Expression, values: Values, place: str) -> Problem | None:
        """None if it is as expected. values: variables beside its own. place: names the step in messages."""
        ...

    def find(self, name: str) -> Any:
        """The value that `extract` calls so; raises `checks.expressions.path.NotThere` with the reason."""
        ...

    def show(self, value: Any) -> str:
        """A value of it, as people may see it."""
        ...


# Without slots, because a step may also be a `Request`, which has them: two such bases do not go together.
@dataclass(kw_only=True, repr=False)
class Step(ABC):
    """The keys of every step.

    name: of the step in readings, instead of `step<n>`: `pay_s`, `pay_delay_s`.
    until: CEL over what expect is about; the step is repeated until it holds, with pauses that grow, and only
    what was seen last is judged by `expect`. How long that took is the reading `<name>_delay_s`.
    within: how long `until` is waited for.
    timeout: how long one try may take; without it as long as the run has left.
    """

    name: str | None = None
    extract: Mapping[str, str] = field(default_factory=dict)
    until: str | None = None
    within: Duration = 5.0
    timeout: Duration | None = None
    # Of `expect` and `until`, besides extracted values: name to CEL type.
    variables: ClassVar[Mapping[str, str]]

    def __post_init__(self) -> None:
        if self.name is not None and not NAME.fullmatch(self.name):
            raise ValueError(f"name: {self.name!r} is not a name; write small letters, digits and _")
        for name in self.extract:
            if not NAME.fullmatch(name):
                raise ValueError(f"extract: {name!r} is not a name; write small letters, digits and _")
        for key, value in (("within", self.within), ("timeout", self.timeout)):
            if value is not None and value <= 0:
                raise ValueError(f"{key}: write a duration above 0")

    @property
    @abstractmethod
    def assertion(self) -> str:
        """CEL that what was seen last is judged by."""

    @property
    @abstractmethod
    def place(self) -> str:
        """What it asks of whom, as written, without secrets."""

    @abstractmethod
    def placeholders(self) -> set[str]:
        """Names of the values that it uses."""

    @abstractmethod
    def secrets(self) -> list[str]:
        """Everything in it that must not come out in text."""

    @abstractmethod
    def is_secret(self, name: str) -> bool:
        """True if the value that `extract` calls so must not be shown or written down."""

    @abstractmethod
    async def look(self, world: World, run: Run, *, timeout_s: float, place: str) -> Seen | Problem:
        """Look once. place: names the step in messages, and tells the spans of one trace apart."""


def extractors(extract: Mapping[str, str], built: Callable[[str], T]) -> dict[str, T]:
    """What finds each value; ValueError names the one that cannot be built."""
    found = {}
    for name, where in extract.items():
        try:
            found[name] = built(where)
        except ValueError as error:
            raise ValueError(f"extract: {name}: {error}") from None
    return found
