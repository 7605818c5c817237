"""Kind `scenario`: steps in order that hand values on, and a cleanup that always runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from checks.blame import Problem
from checks.duration import show_span
from checks.expressions.expression import compiled
from checks.expressions.values import show
from checks.model import CheckResult, Cleanup, World
from checks.steps import AnyStep
from checks.steps.cleaning import Cleaning
from checks.steps.http import CleanupStep, HttpStep
from checks.steps.keeping import Keeping, pending, settle
from checks.steps.model import Run, Step
from checks.steps.redis import RedisStep
from checks.steps.sql import SqlStep
from checks.steps.taking import Ready, take
from checks.text import BECAUSE_CHARS_MAX, Mask, finish, one_line
from checks.web.exchange import cookie_jar

STEPS_MAX = 20
LEAKS_SHOWN_MAX = 5
BUILT_IN = frozenset({"run_id"})
_OURS = BUILT_IN.union(*(kind.variables for kind in (HttpStep, SqlStep, RedisStep)))

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class ScenarioCheck:
    """Do what a customer does, step by step; stop at the first step that goes wrong; always clean up.

    What cleanup needs is written down before the next step begins, and done after a restart if the daemon was
    killed in between. An extracted secret is never written down: a cleanup step that uses one is done in its
    own run only, so give it an `auth` of its own. A cleanup that fails is tried again for a week.

    steps: HTTP requests, queries and Redis commands, in order. `{name}` in URL, headers, body and command,
    and `:name` in a query, stand for what an earlier step extracted; `run_id` for this run. Cookies are kept
    within a run.
    cleanup: HTTP requests, run in order after the steps, also after a failure or a cancellation, at most
    `cleanup_timeout_s` in all; a cleanup step whose values were never extracted is skipped; 404 counts as
    clean. One that needs only `{run_id}` is known before anything is created, so that no crash can lose it.
    leak_after_s: what could not be cleaned up for so long is told as a leak.
    Readings: step<n>_s each, or <name>_s of a step with a name; <name>_delay_s of a step with until, from the
    end of the step before; total_s of all steps, only if all were answered; leaked_runs, where the daemon
    runs the check; every extracted number under its own name, unless it is a secret.
    """

    steps: tuple[AnyStep, ...]
    cleanup: tuple[CleanupStep, ...] = ()
    cleanup_timeout_s: float = 10.0
    leak_after_s: float = 3600.0
    _steps: tuple[Ready, ...] = field(init=False, repr=False, compare=False)
    _cleaning: Cleaning = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.steps) <= STEPS_MAX or len(self.cleanup) > STEPS_MAX:
            raise ValueError(f"steps: write 1 to {STEPS_MAX} steps, and at most as many for cleanup")
        if not 0 < self.cleanup_timeout_s <= 60:
            raise ValueError("cleanup_timeout: write a duration above 0 and up to 1m")
        if self.leak_after_s <= 0:
            raise ValueError("leak_after: write a duration above 0")
        known: dict[str, str] = {}
        self._steps = tuple(
            _ready(f"steps[{n}]", step, f"{n + 1} {step.place}", f"step{n + 1}", known)
            for n, step in enumerate(self.steps)
        )
        cleanup: dict[str, Ready] = {}
        for n, step in enumerate(self.cleanup):
            place = step.place if step.place not in cleanup else f"{step.place} ({n + 1})"
            cleanup[place] = _ready(f"cleanup[{n}]", step, f"cleanup {place}", f"cleanup{n + 1}", known)
        self._cleaning = Cleaning(cleanup, self.cleanup_timeout_s)
        readings = Counter(["total_s", *(name for ready in self._steps for name in ready.readings())])
        if twice := [name for name, n in readings.items() if n > 1]:
            raise ValueError(f"steps: two readings would be called {twice[0]}; choose another name")
        # What is extracted twice is the same reading twice: the newest counts.
        if taken := {name for step in self.steps for name in step.extract} & {*readings, "leaked_runs"}:
            raise ValueError(f"extract: {min(taken)} is a reading of ours; choose another name")

    @property
    def beyond_s(self) -> float:
        """How much longer than its timeout a run may take; see `deadline_s`."""
        return self.cleanup_timeout_s if self.cleanup else 0.0

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`. When cancelled, cleans up first."""
        run = Run(jar=cookie_jar(), values={"run_id": world.run_id})
        if problem := await self._tell_leaks(world, run):
            return self._finished(run, problem)
        keeping = Keeping(world.cleanups, world.timeout_s, self._cleaning, run, world.now_s())
        untidy: Problem | None = None
        try:
            problem = await self._walk(world, run, keeping)
        finally:
            untidy = await _finish_anyway(self._clean_up(world, run, keeping))
        return self._finished(run, problem or untidy)

    async def clean(self, world: World, cleanup: Cleanup) -> CheckResult:
        """Try once more what the run `world.run_id` has left to be cleaned up."""
        run = Run(jar=cookie_jar(), values={**cleanup.values, "run_id": world.run_id})
        left, problem = await self._cleaning.clean(world, run, cleanup.steps)
        if world.cleanups is not None:
            await settle(world.cleanups, run, left, self._told(run, problem), world.timeout_s)
        return self._finished(run, problem)

    def is_leak(self, since_at: float, now: float) -> bool:
        """True if what was created at `since_at` should be gone by now."""
        return now - since_at > self.leak_after_s

    async def _tell_leaks(self, world: World, run: Run) -> Problem | None:
        """Say what earlier runs left behind for too long; a problem where nothing more may be created."""
        if world.cleanups is None or not self.cleanup:
            return None
        found = await pending(world.cleanups, world.timeout_s)
        if isinstance(found, Problem):
            return found
        now = world.now_s()
        leaks = [cleanup for cleanup in found if self.is_leak(cleanup.since_at, now)]
        run.readings["leaked_runs"] = float(len(leaks))
        for leak in leaks[:LEAKS_SHOWN_MAX]:
            values = ", ".join(f"{name} = {show(value)}" for name, value in leak.values.items())
            owed = f"{', '.join(leak.steps)} ({values})" if values else ", ".join(leak.steps)
            age = show_span(now - leak.since_at)
            run.details.append(
                f"LEAK run {leak.run_id}, {age} ago: {owed}: {leak.because or 'not tried yet'}"
            )
        return None

    async def _walk(self, world: World, run: Run, keeping: Keeping) -> Problem | None:
        began_s = world.mono_s()
        problem = await keeping.keep()
        for ready in self._steps:
            if problem:
                return problem
            step_began_s = world.mono_s()
            left_s = world.timeout_s - (step_began_s - began_s)
            if left_s <= 0:
                return Problem("fail", f"{ready.place}: the steps before took all of {world.timeout_s:g} s")
            problem = await take(world, run, ready, left_s)
            if problem is None:
                run.readings[f"{ready.label}_s"] = world.mono_s() - step_began_s
            # Also after a problem: the cleanup of what a wrong answer created may be cut off.
            problem = await keeping.keep() or problem
        if problem is None:
            run.readings["total_s"] = world.mono_s() - began_s
        return problem

    async def _clean_up(self, world: World, run: Run, keeping: Keeping) -> Problem | None:
        """What this run has created."""
        owed = self._cleaning.owed(run.values)
        for place, ready in self._cleaning.steps.items():
            if place not in owed:
                missing = min(ready.step.placeholders() - run.values.keys())
                run.details.append(f"skip {ready.place}: {{{missing}}} was never extracted")
        left, problem = await self._cleaning.clean(world, run, owed)
        await keeping.settle(left, self._told(run, problem))
        return problem

    def _mask(self, run: Run) -> Mask:
        secrets = [text for step in (*self.steps, *self.cleanup) for text in step.secrets()]
        return Mask([*secrets, *run.hidden])

    def _told(self, run: Run, problem: Problem | None) -> str:
        """The problem as it may be written down."""
        return one_line(self._mask(run)(problem.because), BECAUSE_CHARS_MAX) if problem else ""

    def _finished(self, run: Run, problem: Problem | None) -> CheckResult:
        run.details.append(f"trace {run.values['run_id']}")
        return finish(
            problem.outcome if problem else "pass",
            problem.because if problem else "",
            readings=run.readings,
            details=run.details,
            mask=self._mask(run),
        )


def _ready(key: str, step: Step, place: str, label: str, known: dict[str, str]) -> Ready:
    """The step compiled against the values known before it; adds its own to `known`."""
    if unknown := step.placeholders() - known.keys() - BUILT_IN:
        raise ValueError(f"{key}: {{{min(unknown)}}} is not extracted by an earlier step")
    if taken := _OURS & step.extract.keys():
        raise ValueError(f"{key}.extract: {min(taken)} is a name of ours; choose another")
    variables = {**step.variables, **known}
    expect = compiled(f"{key}.expect", step.assertion, variables)
    until = None if step.until is None else compiled(f"{key}.until", step.until, variables)
    known.update(dict.fromkeys(step.extract, "dyn"))
    return Ready(place, step.name or label, step, expect, until)


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
