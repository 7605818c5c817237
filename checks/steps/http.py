"""A step that sends an HTTP request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from checks.blame import Problem
from checks.expressions.expression import Expression
from checks.expressions.values import show
from checks.model import World
from checks.steps.model import Run, Step, Values, extractors
from checks.text import is_telling
from checks.web.extract import Extractor
from checks.web.messages import VARIABLES, Answer
from checks.web.request import Request

CLEAN = "status < 400 || status == 404 || status == 410"  # what is gone already is clean


@dataclass(slots=True, kw_only=True, repr=False)
class HttpStep(Request, Step):
    """Send a request.

    extract: name -> where in the answer its value stands: a JSONPath (RFC 9535), `header:NAME` or
    `regex:PATTERN`.
    """

    extractors: Mapping[str, Extractor] = field(init=False, repr=False, compare=False)
    variables: ClassVar[Mapping[str, str]] = VARIABLES

    def __post_init__(self) -> None:
        Request.__post_init__(self)
        Step.__post_init__(self)
        self.extractors = extractors(self.extract, Extractor)

    @property
    def assertion(self) -> str:
        """See `Step.assertion`."""
        return self.expect

    def is_secret(self, name: str) -> bool:
        """See `Step.is_secret`."""
        return is_telling(name) or self.extractors[name].is_secret

    async def look(self, world: World, run: Run, *, timeout_s: float, place: str) -> _Seen | Problem:
        """See `Step.look`."""
        answer = await self.send(world, run.values, run.jar, timeout_s=timeout_s, step=place)
        return answer if isinstance(answer, Problem) else _Seen(self, answer)


@dataclass(slots=True, kw_only=True, repr=False)
class CleanupStep(HttpStep):
    """A request that removes what the steps have created. What is gone already is clean."""

    expect: str = CLEAN


@dataclass(frozen=True, slots=True)
class _Seen:
    """Implements `Seen`."""

    step: HttpStep
    answer: Answer

    def line(self) -> str:
        return f"{self.answer.status}  {self.answer.stages.line()}"

    def judge(self, expect: Expression, values: Values, place: str) -> Problem | None:
        return self.step.judge(self.answer, expect, values, place)

    def find(self, name: str) -> Any:
        return self.step.extractors[name].find(self.answer)

    def show(self, value: Any) -> str:
        return show(value)
