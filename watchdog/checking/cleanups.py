"""What scenarios have created and not removed: kept over a crash, tried again, and told as leaks."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Protocol

from checks.model import CheckResult, Cleanup, Cleanups, DatabaseUnable, deadline_s
from checks.scenario import ScenarioCheck
from watchdog.clock import Clock
from watchdog.metrics import Metrics
from watchdog.model import PendingCleanup
from watchdog.plan import CheckPlan, ServicePlan
from watchdog.retrying import delay_s
from watchdog.store.protocol import Store, StoreDead, StoreUnavailable

log = logging.getLogger("watchdog.checking.cleanups")

LOOK_EVERY_S = 2.0
TRIED_FOR_S = 7 * 86_400.0  # what could not be cleaned up in a week, only a person can
CHECKS_AT_ONCE = 10
RUNS_AT_ONCE = 5  # of one check, one after the other: a host that hangs does not hold up the others for long
_UNREADABLE = "our store cannot be used now; the daemon's log says why"


class Reading(Protocol):
    """Where pending cleanups are read from."""

    async def cleanups(self, service: str | None = None, name: str | None = None) -> list[PendingCleanup]:
        """See `Store.cleanups`."""
        ...


@dataclass(frozen=True, slots=True)
class SeenCleanups:
    """Implements `checks.model.Cleanups` beside a daemon: what it keeps is shown, and nothing is written."""

    store: Reading
    plan: CheckPlan

    async def pending(self) -> Sequence[Cleanup]:
        """See `Cleanups.pending`."""
        try:
            kept = await self.store.cleanups(self.plan.service, self.plan.name)
        except StoreUnavailable as error:
            raise DatabaseUnable(_UNREADABLE) from error
        return [_told(row) for row in kept]

    async def keep(self, cleanup: Cleanup) -> None:
        """Nothing: a command that a person runs cleans up itself."""

    async def settle(self, run_id: str, left: Sequence[str], because: str) -> None:
        """Nothing, for the same reason."""


@dataclass(frozen=True, slots=True)
class KeptCleanups:
    """Implements `checks.model.Cleanups` over the daemon's store."""

    store: Store
    plan: CheckPlan
    environment: str

    async def pending(self) -> Sequence[Cleanup]:
        """See `Cleanups.pending`."""
        return await SeenCleanups(self.store, self.plan).pending()

    async def keep(self, cleanup: Cleanup) -> None:
        """See `Cleanups.keep`."""
        row = PendingCleanup(
            run_id=cleanup.run_id,
            environment=self.environment,
            service=self.plan.service,
            name=self.plan.name,
            steps=cleanup.steps,
            values=cleanup.values,
            since_at=cleanup.since_at,
            attempts=0,
            because=cleanup.because,
            # Until then the run itself is at it.
            next_attempt_at=cleanup.since_at + deadline_s(self.plan.check, self.plan.timeout_s),
        )
        try:
            await self.store.keep_cleanup(row)
        except StoreUnavailable as error:
            raise DatabaseUnable(_UNREADABLE) from error

    async def settle(self, run_id: str, left: Sequence[str], because: str) -> None:
        """See `Cleanups.settle`."""
        try:
            await self.store.settle_cleanup(run_id, left, because)
        except StoreUnavailable as error:
            raise DatabaseUnable(_UNREADABLE) from error


@dataclass(slots=True, kw_only=True)
class Cleaner:
    """Tries again what runs have left, also those of a process that is gone, and tells what is a leak.

    clean: one try, which settles with the store what it has done.
    """

    plans: Mapping[str, ServicePlan]
    store: Store
    clock: Clock
    metrics: Metrics
    clean: Callable[[CheckPlan, Cleanup], Awaitable[CheckResult]]
    _leaked: set[str] = field(init=False, default_factory=set)
    _problem: str = field(init=False, default="")

    async def release(self, now: float) -> None:
        """At start: no run is at it any more, so everything is due."""
        for row in await self.store.cleanups():
            await self.store.keep_cleanup(replace(row, next_attempt_at=now))
            log.info("left by an earlier process", extra=_named(row))

    async def run(self) -> None:
        """Look for ever what is due."""
        while True:
            try:
                await self.look()
                self._problem = ""
            except StoreDead:
                raise
            except StoreUnavailable as error:
                if not self._problem:
                    log.error("cannot clean up", extra={"because": str(error)})
                self._problem = str(error)
            await self.clock.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Try once what is due: a few runs of a check, one after the other, and several checks at once."""
        now = self.clock.wall_s()
        plans = {(check.service, check.name): check for check in self._checks()}
        rows = await self._hopeful(now)
        self._tell_leaks(rows, plans, now)
        due = sorted((row for row in rows if row.next_attempt_at <= now), key=_check_of)
        work: list[tuple[CheckPlan, list[PendingCleanup]]] = []
        for name, of_check in groupby(due, key=_check_of):
            if name in plans:
                work.append((plans[name], [await self._begun(row) for row in islice(of_check, RUNS_AT_ONCE)]))
        slots = asyncio.Semaphore(CHECKS_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for plan, begun in work:
                group.create_task(self._clean_all(plan, begun, slots))

    async def _hopeful(self, now: float) -> list[PendingCleanup]:
        """What is pending, oldest first, without what was tried for too long: that is forgotten."""
        hopeful = []
        for row in await self.store.cleanups():
            if now - row.since_at <= TRIED_FOR_S:
                hopeful.append(row)
                continue
            what = f"gave up cleaning up after {row.service}/{row.name}: {', '.join(row.steps)}"
            await self.store.note("watchdog", what, row.run_id, now)
            await self.store.settle_cleanup(row.run_id, (), "")
            log.error("gave up cleaning up", extra={**_named(row), "because": row.because})
        return hopeful

    async def _begun(self, row: PendingCleanup) -> PendingCleanup:
        """Counted before it is tried, so that what ends the process is not tried again at once for ever."""
        attempt = row.attempts + 1
        due_at = self.clock.wall_s() + delay_s(row.run_id, attempt)
        begun = replace(row, attempts=attempt, next_attempt_at=due_at)
        await self.store.keep_cleanup(begun)
        return begun

    async def _clean_all(
        self, plan: CheckPlan, rows: Sequence[PendingCleanup], slots: asyncio.Semaphore
    ) -> None:
        async with slots:
            for row in rows:
                result = await self.clean(plan, _told(row))
                because = "clean" if result.outcome == "pass" else result.because
                log.info("cleaned up again", extra={**_named(row), "try": row.attempts, "because": because})

    def _tell_leaks(
        self, rows: Sequence[PendingCleanup], plans: Mapping[tuple[str, str], CheckPlan], now: float
    ) -> None:
        leaks = [
            row
            for row in rows
            if _check_of(row) in plans and _scenario(plans[_check_of(row)]).is_leak(row.since_at, now)
        ]
        counts = Counter(map(_check_of, leaks))
        for name in plans:
            self.metrics.leaked_runs.labels(*name).set(counts[name])
        for leak in leaks:
            if leak.run_id not in self._leaked:
                log.error("leak", extra={**_named(leak), "because": leak.because})
        self._leaked = {leak.run_id for leak in leaks}

    def _checks(self) -> list[CheckPlan]:
        return [check for plan in self.plans.values() for check in plan.checks if _leaves_something(check)]


def cleanups_for(store: Store, plans: Mapping[str, ServicePlan], plan: CheckPlan) -> Cleanups | None:
    """What a check has to clean up, None for a check that creates nothing."""
    return KeptCleanups(store, plan, plans[plan.service].environment) if _leaves_something(plan) else None


def seen_cleanups_for(store: Reading, plan: CheckPlan) -> Cleanups | None:
    """The same beside a daemon."""
    return SeenCleanups(store, plan) if _leaves_something(plan) else None


def _leaves_something(plan: CheckPlan) -> bool:
    return isinstance(plan.check, ScenarioCheck) and bool(plan.check.cleanup)


def _scenario(plan: CheckPlan) -> ScenarioCheck:
    assert isinstance(plan.check, ScenarioCheck)
    return plan.check


def _told(row: PendingCleanup) -> Cleanup:
    return Cleanup(
        run_id=row.run_id,
        steps=row.steps,
        values=row.values,
        since_at=row.since_at,
        because=row.because,
    )


def _check_of(row: PendingCleanup) -> tuple[str, str]:
    return row.service, row.name


def _named(row: PendingCleanup) -> dict[str, object]:
    return {"service": row.service, "check": row.name, "run": row.run_id, "steps": row.steps}
