"""The whole way of one observation: observe -> keep -> judge -> decide and record.

Names arrive from the schedule. `observe` runs one check; `tick` reads the sources of one step size, takes
every open watch of that step size through judging and deciding, and then the services between their deploys.
Nothing is sent from here: what is to be sent is durable in the store before the outbox is woken.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from detectors.model import Verdict
from watchdog.alerts.messages import Routes
from watchdog.board import LastRun, LiveBoard
from watchdog.checking.run import Checker
from watchdog.clock import Clock
from watchdog.incidents.between import Between
from watchdog.incidents.checkalerts import CheckAlerts
from watchdog.judging.bench import Bench
from watchdog.judging.seat import Seat
from watchdog.keeper import Batch, Keeper
from watchdog.metrics import Metrics
from watchdog.model import OPEN_WATCH_STATES, Facts, Ruling
from watchdog.plan import CheckPlan
from watchdog.rollback.protocol import Target
from watchdog.ruling import rule
from watchdog.store.protocol import Store, StoreDead, StoreUnavailable

log = logging.getLogger("watchdog.pipeline")


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """Steps 1 to 4 for every observation. checks, batches: by the name the schedule knows them under."""

    clock: Clock
    checks: Mapping[str, CheckPlan]
    batches: Mapping[str, Batch]
    checker: Checker
    keeper: Keeper
    bench: Bench
    between: Between
    check_alerts: CheckAlerts
    store: Store
    targets: Mapping[str, Target]
    routes: Routes
    board: LiveBoard
    metrics: Metrics
    lag_s: float
    blind_page_after_s: float
    wake_outbox: Callable[[], None]
    report: Callable[[str], None]

    async def observe(self, name: str) -> None:
        """1 observe and 2 keep, for one check."""
        plan = self.checks[name]
        result = await self.checker.run(plan)
        at = self.clock.wall_s()
        self.keeper.add(plan.service, plan.name, result, at)
        self.metrics.checks.count(plan.service, plan.name, result.outcome)
        runs = self.board.services[plan.service].runs
        before = runs.get(plan.name)
        runs[plan.name] = LastRun(at, result)
        await self.check_alerts.take(plan, result, at)
        is_news = before is None or before.result.because != result.because
        if result.outcome == "error" and is_news:
            log.warning(
                "check could not tell",
                extra={"service": plan.service, "check": plan.name, "because": result.because},
            )

    async def tick(self, name: str) -> None:
        """1 observe and 2 keep for one batch of a source, then 3 judge and 4 decide for its open watches."""
        batch = self.batches[name]
        now = self.clock.wall_s()
        grid_at = self._grid_at(batch, now)
        await self.keeper.read(batch, grid_at, now)
        seats = self.bench.of(batch.judged)
        # Suspects first: nobody's rollback waits for the judging of those who are well.
        for seat in sorted(seats, key=lambda seat: seat.watch.state != "suspect"):
            async with seat.lock:
                await self._judge(seat, grid_at)
            # What was just decided goes out while the next is judged.
            await asyncio.sleep(0)
        for plan in batch.services:
            await self.between.tick(plan.name, grid_at)
        await self.keeper.mirror(batch, grid_at)
        self.metrics.last_tick_at.labels(name).set(grid_at)
        self.metrics.open_watches.set(self.bench.count)
        self.board.bump()

    async def flush(self) -> None:
        """Keep what was observed, before the daemon ends."""
        now = self.clock.wall_s()
        for batch in self.batches.values():
            await self.keeper.mirror(batch, self._grid_at(batch, now), at_once=True)

    def _grid_at(self, batch: Batch, now: float) -> float:
        return math.floor((now - self.lag_s) / batch.step_s) * batch.step_s

    async def _judge(self, seat: Seat, grid_at: float) -> None:
        verdict = seat.tick(self.keeper.book, grid_at)
        if verdict is None:
            return
        is_blind_for_long = seat.blind_s() >= self.blind_page_after_s
        # A tick that says what the last one said writes nothing.
        signature = (verdict.state, verdict.reason, seat.stage(verdict), is_blind_for_long)
        if signature != seat.signature and await self._decide(seat, verdict, is_blind_for_long):
            seat.signature = signature

    async def _decide(self, seat: Seat, verdict: Verdict, is_blind_for_long: bool) -> bool:
        """One transaction: facts, decision, and everything it writes. False if the store cannot write now."""
        plan = seat.plan
        packet = seat.packet()
        now = self.clock.wall_s()

        def decide(facts: Facts) -> Ruling:
            return rule(
                verdict,
                facts,
                plan=plan,
                target=self.targets.get(plan.target) if plan.target else None,
                routes=self.routes,
                packet=packet,
                history_s=seat.history_s,
                are_controls_blind=seat.are_controls_blind(),
                is_over=seat.is_over,
                is_blind_for_long=is_blind_for_long,
                now=now,
            )

        try:
            ruling = await self.store.transact(seat.watch.id, decide, now)
        except StoreDead:
            raise
        except StoreUnavailable as error:
            # No action without a durable intent: keep still, stay unready, and decide again next tick.
            log.error("cannot record a decision", extra={"watch": seat.watch.id, "because": str(error)})
            return False
        self._tell(seat, verdict, ruling)
        return True

    def _tell(self, seat: Seat, verdict: Verdict, ruling: Ruling) -> None:
        log.info(
            "decision",
            extra={
                "deploy": seat.deploy.id,
                "service": seat.plan.name,
                "version": seat.deploy.to_version,
                "watch": ruling.watch.state,
                "verdict": verdict.state,
                "do": ruling.decision.do,
                "because": ruling.decision.because,
            },
        )
        seat.watch = ruling.watch
        if ruling.action is not None or ruling.alerts:
            self.wake_outbox()
        if ruling.watch.state not in OPEN_WATCH_STATES:
            self.metrics.verdicts.labels(seat.plan.name, ruling.watch.state).inc()
            self.bench.touch()
            if ruling.watch.state == "regressed":
                self.report(ruling.watch.id)
