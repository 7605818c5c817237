"""One run of one check: its world, its deadline, and the containment of its bugs."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from checks.deadline import Deadlines
from checks.model import Beats, CheckResult, Cleanup, Cleanups, Database, World, deadline_s
from checks.scenario import ScenarioCheck
from checks.web.connecting import shared_connector
from checks.web.exchange import shared_session
from checks.wire.kept import Kept
from watchdog.checking.selfcheck import SelfCheck
from watchdog.clock import Clock
from watchdog.plan import CheckPlan

log = logging.getLogger("watchdog.checking.run")


@dataclass(frozen=True, slots=True)
class Checker:
    """Runs checks. session: without a limit on connections, or checks that hang would hold up the others.

    beats_for: the reports that a check waits for. cleanups_for: what a check still has to clean up.
    self_check: asked when a check has failed. wants_details: see `World`.
    """

    session: aiohttp.ClientSession
    databases: Mapping[str, Database]
    clock: Clock
    beats_for: Callable[[CheckPlan], Beats | None] = lambda plan: None
    self_check: SelfCheck | None = None
    cleanups_for: Callable[[CheckPlan], Cleanups | None] = lambda plan: None
    wants_details: bool = True
    kept: Kept = field(default_factory=Kept)
    deadlines: Deadlines = field(default_factory=Deadlines)

    async def run(self, plan: CheckPlan) -> CheckResult:
        """The result of one run, in time, whatever the check does."""
        world = self._world(plan, secrets.token_hex(16))
        result = await self._contained(plan, lambda: plan.check.run(world))
        return result if self.self_check is None else await self.self_check.doubted(result)

    async def clean(self, plan: CheckPlan, cleanup: Cleanup) -> CheckResult:
        """The result of one more try to clean up what a run of the check has left, in time."""
        check = plan.check
        assert isinstance(check, ScenarioCheck)
        # Under the same id, so that the service knows it as a part of that run.
        world = self._world(plan, cleanup.run_id)
        return await self._contained(plan, lambda: check.clean(world, cleanup))

    def _world(self, plan: CheckPlan, run_id: str) -> World:
        return World(
            http=self.session,
            databases=self.databases,
            now_s=self.clock.wall_s,
            mono_s=self.clock.mono_s,
            sleep=self.clock.sleep,
            run_id=run_id,
            timeout_s=plan.timeout_s,
            beats=self.beats_for(plan),
            cleanups=self.cleanups_for(plan),
            wants_details=self.wants_details,
            kept=self.kept,
            deadlines=self.deadlines,
        )

    async def _contained(self, plan: CheckPlan, work: Callable[[], Awaitable[CheckResult]]) -> CheckResult:
        try:
            with self.deadlines.within(deadline_s(plan.check, plan.timeout_s)):
                return await work()
        except TimeoutError:
            # A check ends itself in time; one that did not has said nothing about its target.
            return CheckResult(outcome="error", because=f"the check did not end within {plan.timeout_s:g} s")
        except Exception as error:
            log.exception("check raised", extra={"service": plan.service, "check": plan.name})
            return CheckResult(outcome="error", because=f"bug in the check: {type(error).__name__}")


@asynccontextmanager
async def checker(
    databases: Mapping[str, Database],
    clock: Clock,
    beats_for: Callable[[CheckPlan], Beats | None] = lambda plan: None,
    self_check: SelfCheck | None = None,
    cleanups_for: Callable[[CheckPlan], Cleanups | None] = lambda plan: None,
    *,
    wants_details: bool = True,
) -> AsyncIterator[Checker]:
    """A checker with a session of its own."""
    async with shared_session(shared_connector()) as session, Kept() as kept:
        yield Checker(session, databases, clock, beats_for, self_check, cleanups_for, wants_details, kept)
