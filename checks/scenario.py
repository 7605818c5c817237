"""Kind `scenario`: HTTP steps in order that hand values on, and a cleanup that always runs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp.abc import AbstractCookieJar

from checks.blame import Problem
from checks.duration import Duration
from checks.expressions.expression import Expression
from checks.expressions.values import show
from checks.model import CheckResult, World
from checks.text import Mask, finish
from checks.web.exchange import VARIABLES, Answer, cookie_jar, trace_id
from checks.web.extract import Extractor, NotThere
from checks.web.request import EXPECT, Request, as_text, compiled, judge

STEPS_MAX = 20
UNTIL_PAUSE_S = 0.25
BUILT_IN = frozenset({"run_id"})
CLEAN = "status < 400 || status == 404 || status == 410"  # what is gone already is clean

T = TypeVar("T")


@dataclass(slots=True, kw_only=True, repr=False)
class Step(Request):
    """One request of a scenario.

    extract: name -> where in the answer its value stands: a JSONPath (RFC 9535), `header:NAME` or
    `regex:PATTERN`. until: CEL; the request is repeated until it holds, at most `within`, and only the last
    answer is judged by `expect`.
    """

    extract: Mapping[str, str] = field(default_factory=dict)
    until: str | None = None
    within: Duration = 5.0
    extractors: Mapping[str, Extractor] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        Request.__post_init__(self)
        self.extractors = {name: Extractor(name, where) for name, where in self.extract.items()}
        if taken := (VARIABLES.keys() | BUILT_IN) & self.extract.keys():
            raise ValueError(f"extract: {min(taken)} is a name of ours; choose another")
        if self.within <= 0:
            raise ValueError("within: write a duration above 0")


@dataclass(frozen=True, slots=True)
class _Ready:
    """A step with its place in the scenario and its expressions compiled."""

    name: str
    step: Step
    expect: Expression
    until: Expression | None


@dataclass(slots=True)
class _Run:
    """What one run has gathered so far."""

    jar: AbstractCookieJar
    values: dict[str, Any]
    readings: dict[str, float] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class ScenarioCheck:
    """Do what a customer does, step by step; stop at the first step that goes wrong; always clean up.

    steps: in order; `{name}` in URL, headers and body stands for what an earlier step extracted, `{run_id}`
    for this run. Cookies are kept within a run. cleanup: runs in order after the steps, also after a failure
    or a cancellation, at most `cleanup_timeout_s` in all; a cleanup step whose values were never extracted is
    skipped; 404 counts as clean. Readings: step<n>_s each, total_s of all steps, only if all were answered.
    """

    steps: tuple[Step, ...]
    cleanup: tuple[Step, ...] = ()
    cleanup_timeout_s: float = 10.0
    _steps: tuple[_Ready, ...] = field(init=False, repr=False, compare=False)
    _cleanup: tuple[_Ready, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.steps) <= STEPS_MAX or len(self.cleanup) > STEPS_MAX:
            raise ValueError(f"steps: write 1 to {STEPS_MAX} steps, and at most as many for cleanup")
        if not 0 < self.cleanup_timeout_s <= 60:
            raise ValueError("cleanup_timeout: write a duration above 0 and up to 1m")
        known: dict[str, str] = {}
        self._steps = tuple(_ready(f"steps.{n}", step, known) for n, step in enumerate(self.steps))
        self._cleanup = tuple(_ready(f"cleanup.{n}", step, known) for n, step in enumerate(self.cleanup))

    @property
    def beyond_s(self) -> float:
        """How much longer than its timeout a run may take; see `deadline_s`."""
        return self.cleanup_timeout_s if self.cleanup else 0.0

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`. When cancelled, cleans up first."""
        run = _Run(jar=cookie_jar(), values={"run_id": world.run_id})
        untidy: Problem | None = None
        try:
            problem = await self._walk(world, run)
        finally:
            untidy = await _finish_anyway(self._clean(world, run))
        problem = problem or untidy
        for step in (*self.steps, *self.cleanup):
            run.secrets += step.secrets()
        run.details.append(f"trace {trace_id(world.run_id)}")
        return finish(
            problem.outcome if problem else "pass",
            problem.because if problem else "",
            readings=run.readings,
            details=run.details,
            mask=Mask(run.secrets),
        )

    async def _walk(self, world: World, run: _Run) -> Problem | None:
        began_s = world.mono_s()
        for n, ready in enumerate(self._steps, 1):
            left_s = world.timeout_s - (world.mono_s() - began_s)
            if left_s <= 0:
                return Problem("fail", f"{ready.name}: the steps before took all of {world.timeout_s:g} s")
            step_began_s = world.mono_s()
            problem = await _take(world, run, ready, left_s)
            if problem:
                return problem
            run.readings[f"step{n}_s"] = world.mono_s() - step_began_s
        run.readings["total_s"] = world.mono_s() - began_s
        return None

    async def _clean(self, world: World, run: _Run) -> Problem | None:
        """Every cleanup step that has its values; the first problem, after all were tried."""
        first: Problem | None = None
        try:
            async with asyncio.timeout(self.cleanup_timeout_s):
                for ready in self._cleanup:
                    if missing := ready.step.placeholders() - run.values.keys():
                        run.details.append(f"skip {ready.name}: {{{min(missing)}}} was never extracted")
                        continue
                    problem = await _take(world, run, ready, self.cleanup_timeout_s)
                    first = first or problem
        except TimeoutError:
            first = first or Problem("fail", f"cleanup not finished within {self.cleanup_timeout_s:g} s")
        return first


async def _take(world: World, run: _Run, ready: _Ready, left_s: float) -> Problem | None:
    """One step: sent until it may be judged, its values extracted, judged."""
    step, deadline_s = ready.step, world.mono_s() + left_s
    until_s = world.mono_s() + min(step.within, left_s)
    while True:
        left_s = max(0.001, deadline_s - world.mono_s())
        answer = await step.send(world, run.values, run.jar, timeout_s=left_s, step=ready.name)
        if ready.until is None:
            break
        waiting = (
            answer if isinstance(answer, Problem) else judge(answer, ready.until, run.values, ready.name)
        )
        if waiting is None:
            break
        if world.mono_s() + UNTIL_PAUSE_S >= until_s:
            run.details.append(f"FAIL {ready.name}  until")
            return Problem(waiting.outcome, f"{waiting.because} (for {step.within:g} s)")
        await world.sleep(UNTIL_PAUSE_S)
    if isinstance(answer, Problem):
        run.details.append(f"FAIL {ready.name}")
        return answer
    # Extracted before it is judged: what a wrong answer created still has to be cleaned up.
    extracted, missing = _extract(step, answer, run)
    problem = step.judge(answer, ready.expect, run.values, ready.name)
    if problem is None and missing:
        problem = Problem("fail", f"{ready.name}: {missing}")
    sign = "FAIL" if problem else " ok "
    run.details.append(f"{sign} {ready.name}  {answer.status}  {answer.stages.line()}  {extracted}".rstrip())
    return problem


def _extract(step: Step, answer: Answer, run: _Run) -> tuple[str, str]:
    """`cart = "c-1"` for people, and what could not be found."""
    shown, missing = [], []
    for name, extractor in step.extractors.items():
        try:
            value = extractor.find(answer)
        except NotThere as error:
            missing.append(f"cannot extract {name}: {error}")
            continue
        run.values[name] = value
        if extractor.is_secret:
            run.secrets.append(as_text(value))
        shown.append(f"{name} = {'***' if extractor.is_secret else show(value)}")
    return ", ".join(shown), "; ".join(missing)


def _ready(key: str, step: Step, known: dict[str, str]) -> _Ready:
    """The step compiled against the values known before it; adds its own to `known`."""
    if unknown := step.placeholders() - known.keys() - BUILT_IN:
        raise ValueError(f"{key}: {{{min(unknown)}}} is not extracted by an earlier step")
    is_default = step.expect == EXPECT and key.startswith("cleanup")
    expect = compiled(f"{key}.expect", CLEAN if is_default else step.expect, known)
    until = None if step.until is None else compiled(f"{key}.until", step.until, known)
    known.update(dict.fromkeys(step.extract, "dyn"))
    prefix = "cleanup " if key.startswith("cleanup") else f"{int(key.rpartition('.')[2]) + 1} "
    return _Ready(prefix + step.place, step, expect, until)


async def _finish_anyway(work: Coroutine[Any, Any, T]) -> T:
    """Await work that has its own time limit to its end, and only then let a cancellation through."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()
