"""Cleaning up what the steps of a scenario have created: which steps are owed, and what is left of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from checks.blame import Problem
from checks.model import World
from checks.steps.model import Run, Values
from checks.steps.taking import Ready, take


@dataclass(frozen=True, slots=True)
class Cleaning:
    """The cleanup steps in order, by what they are called. timeout_s: of all of them together."""

    steps: Mapping[str, Ready]
    timeout_s: float

    def owed(self, values: Values) -> tuple[str, ...]:
        """The steps that have their values, or get them from one of these before."""
        known, found = set(values), []
        for place, ready in self.steps.items():
            if ready.step.placeholders() <= known:
                found.append(place)
                known |= ready.step.extract.keys()
        return tuple(found)

    async def clean(
        self, world: World, run: Run, owed: Sequence[str]
    ) -> tuple[Sequence[str], Problem | None]:
        """What is left of these steps, and the first problem, after all were tried."""
        undone, first = set(owed), None
        try:
            async with asyncio.timeout(self.timeout_s):
                for place in owed:
                    problem = await self._take(world, run, place)
                    first = first or problem
                    if problem is None:
                        undone.remove(place)
        except TimeoutError:
            first = first or Problem("fail", f"cleanup not finished within {self.timeout_s:g} s")
        return self._with_sources(owed, undone), first

    async def _take(self, world: World, run: Run, place: str) -> Problem | None:
        ready = self.steps.get(place)
        if ready is None:
            return Problem("fail", f"cleanup {place}: is not configured any more")
        if missing := ready.step.placeholders() - run.values.keys():
            name = min(missing)
            if any(name in other.step.extract for other in self.steps.values()):
                return Problem("fail", f"{ready.place}: {{{name}}} was not extracted by the step before")
            because = f"{{{name}}} was a secret, and is not kept; give the step an auth of its own"
            return Problem("fail", f"{ready.place}: {because}")
        return await take(world, run, ready, self.timeout_s)

    def _with_sources(self, owed: Sequence[str], undone: Collection[str]) -> Sequence[str]:
        """The undone ones, with those that extract what they use: these values are not kept."""
        left: list[str] = []
        used: set[str] = set()
        for place in reversed(owed):
            ready = self.steps.get(place)
            if place in undone or (ready is not None and ready.step.extract.keys() & used):
                left.insert(0, place)
                used |= set() if ready is None else ready.step.placeholders()
        return left
