"""Taking one step of a scenario: looked at until it may be judged, its values extracted, judged."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from checks.blame import Problem
from checks.expressions.expression import Expression
from checks.expressions.path import NotThere
from checks.model import World
from checks.steps.model import Run, Seen, Step
from checks.text import sign, telling_values
from checks.web.request import as_text

# A pause is a quarter of what was waited already, so that a delay is measured a quarter too long at most.
PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 5.0
PAUSE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Ready:
    """A step with its expressions compiled. place: in the scenario, for messages. label: in readings."""

    place: str
    label: str
    step: Step
    expect: Expression
    until: Expression | None

    def readings(self) -> list[str]:
        """The names of what it measures."""
        return [f"{self.label}_s"] + ([] if self.until is None else [f"{self.label}_delay_s"])


async def take(world: World, run: Run, ready: Ready, left_s: float) -> Problem | None:
    """Take the step within `left_s`; None if all of it was as expected."""
    seen = await _look(world, run, ready, left_s)
    if isinstance(seen, Problem):
        run.details.append(f"{sign(seen.outcome)} {ready.place}")
        return seen
    # Extracted before it is judged: what a wrong answer created still has to be cleaned up.
    extracted, missing = _extract(ready.step, seen, run)
    problem = seen.judge(ready.expect, run.values, ready.place)
    if problem is None and missing:
        problem = Problem("fail", f"{ready.place}: {missing}")
    done = sign(problem.outcome if problem else "pass")
    run.details.append(f"{done} {ready.place}  {seen.line()}  {extracted}".rstrip())
    return problem


async def _look(world: World, run: Run, ready: Ready, left_s: float) -> Seen | Problem:
    """What the step saw once its `until` held, or why it never did."""
    step, began_s = ready.step, world.mono_s()
    while True:
        waited_s = world.mono_s() - began_s
        try_s = max(0.001, min(left_s - waited_s, step.timeout or left_s))
        seen = await step.look(world, run, timeout_s=try_s, place=ready.place)
        if ready.until is None:
            return seen
        waiting = seen if isinstance(seen, Problem) else seen.judge(ready.until, run.values, ready.place)
        if waiting is None:
            # Without the time of the look itself: what is asked about was there when it was asked.
            run.readings[f"{ready.label}_delay_s"] = waited_s
            return seen
        spent_s = world.mono_s() - began_s
        until_s = min(step.within, left_s)
        if spent_s >= until_s:
            return Problem(waiting.outcome, f"{waiting.because} (for {until_s:g} s)")
        pause_s = min(PAUSE_MAX_S, max(PAUSE_MIN_S, spent_s * PAUSE_SHARE))
        await world.sleep(min(pause_s, until_s - spent_s))


def _extract(step: Step, seen: Seen, run: Run) -> tuple[str, str]:
    """`cart = "c-1"` for people, and what could not be found."""
    shown, missing = [], []
    for name in step.extract:
        try:
            value = seen.find(name)
        except NotThere as error:
            missing.append(f"cannot extract {name}: {error}")
            continue
        if isinstance(value, float) and not math.isfinite(value):
            missing.append(f"cannot extract {name}: it is not a finite number")
            continue
        run.values[name] = value
        # A whole document may hold one, too.
        if step.is_secret(name) or telling_values(value):
            run.secrets.add(name)
            run.hidden.append(as_text(value))
        elif (number := _finite(value)) is not None:
            run.readings[name] = number
        shown.append(f"{name} = {'***' if name in run.secrets else seen.show(value)}")
    return ", ".join(shown), "; ".join(missing)


def _finite(value: object) -> float | None:
    """A number as a reading; None for what is no number, and for one that no float can hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    with suppress(OverflowError):
        number = float(value)
        return number if math.isfinite(number) else None
    return None
