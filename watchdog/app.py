"""The daemon: wires the parts from the configuration, runs them in one TaskGroup, ends them in order.

A part that returns or raises is a bug: the process says so and exits 70 to be restarted. SIGTERM and SIGINT
end it in order within 10 seconds: schedule, pipeline, outbox, API.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checks.model import Beat
from checks.peer import peer_of
from config import Loaded
from config.cron import Cron
from watchdog.alerts.messages import Routes
from watchdog.api.protocol import Ports
from watchdog.api.server import serve
from watchdog.board import LiveBoard
from watchdog.checking.cleanups import Cleaner, cleanups_for
from watchdog.checking.heartbeats import Heartbeats
from watchdog.checking.probing import Prober
from watchdog.checking.run import Checker, checker
from watchdog.checking.selfcheck import SelfCheck
from watchdog.clock import Clock, SystemClock
from watchdog.deploys.version import VersionReader
from watchdog.housekeeping import Housekeeping
from watchdog.incidents.between import Between
from watchdog.incidents.checkalerts import CheckAlerts
from watchdog.judging.bench import Bench
from watchdog.keeper import Keeper, batches
from watchdog.localtoken import write_local_token
from watchdog.metrics import Metrics
from watchdog.model import SwitchState
from watchdog.operations import Operations
from watchdog.opinion.reports import Reports
from watchdog.opinion.worker import Worker
from watchdog.outbox import Outbox
from watchdog.pipeline import Pipeline
from watchdog.plan import plan_services
from watchdog.pulse import Pulse
from watchdog.rollback.closing import Closing
from watchdog.rollback.killswitch import kill_switch_state
from watchdog.scheduling.bursts import Bursts
from watchdog.scheduling.calendar import run_calendar
from watchdog.scheduling.jobs import TIMES, Jobs
from watchdog.scheduling.schedule import Schedule
from watchdog.scheduling.works import Works
from watchdog.series import SeriesBook
from watchdog.store.protocol import Store
from watchdog.store.samples import SampleStore
from watchdog.store.sqlite import SqliteStore

log = logging.getLogger("watchdog.app")

_VERSION_TIMEOUT_S = 5.0
_CONFIRM_S = 900.0  # of a rollback whose service is no longer configured
_END_S = 2.0  # a part; the parts that take time to end stay within the promised 10 seconds


class CannotListen(Exception):
    """The address of the API is taken or not ours; the text says so with a remedy."""


async def run(loaded: Loaded, environ: Mapping[str, str]) -> None:
    """Run until SIGTERM or SIGINT. Raises StoreUnavailable at start; a bug comes out as ExceptionGroup."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    store = SqliteStore(Path(loaded.settings.state_dir) / "state.db")
    async with wired(loaded, environ, SystemClock(), store) as parts, asyncio.TaskGroup() as group:
        # What was made at start stays for ever. Looking through it again and again would find nothing, and
        # with thousands of checks take longer than a check may be late.
        gc.collect()
        gc.freeze()
        tasks = [group.create_task(_for_ever(name, part), name=name) for name, part in parts.all()]
        await stop.wait()
        log.info("ending", extra={"because": "told to by a signal"})
        for task in tasks:
            task.cancel()
            await asyncio.wait({task}, timeout=_END_S)
        await parts.pulse.note_end()
    log.info("ended in order")


async def _for_ever(name: str, part: Coroutine[Any, Any, None]) -> None:
    await part
    raise AssertionError(f"{name} returned; it must run for ever")


@dataclass(slots=True, kw_only=True)
class Parts:
    """Everything that runs for ever; the API is served for as long as these are wired."""

    schedule: Schedule
    times: Mapping[str, tuple[Cron, str]]
    works: Works
    bench: Bench
    between: Between
    pulse: Pulse
    reports: Reports
    cleaner: Cleaner
    outbox: Outbox
    port: int

    def all(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """Name and coroutine of every part, in the order in which they end."""
        return [
            ("schedule", self.schedule.run(self.works.put)),
            ("calendar", run_calendar(self.times, lambda name: self.schedule.turn(name, self.works.put))),
            ("works", self.works.run()),
            ("bench", self.bench.run()),
            ("between", self.between.run()),
            ("pulse", self.pulse.run()),
            ("reports", self.reports.run()),
            ("cleaner", self.cleaner.run()),
            ("outbox", self.outbox.run()),
        ]


@asynccontextmanager
async def wired(
    loaded: Loaded, environ: Mapping[str, str], clock: Clock, store: Store
) -> AsyncIterator[Parts]:
    """Everything open and connected, the API serving, nothing running yet; closed in order on the way out."""
    settings = loaded.settings
    state_dir = Path(settings.state_dir)
    now = clock.wall_s()
    metrics = Metrics()
    plans = plan_services(loaded)
    board = LiveBoard(list(plans), list(loaded.sources))
    book = SeriesBook()
    async with AsyncExitStack() as stack:
        await store.open(now)
        stack.push_async_callback(store.close)
        samples = SampleStore(state_dir / "samples.db")
        await samples.open()
        stack.push_async_callback(samples.close)
        for kind in (loaded.sources, loaded.databases, loaded.targets, loaded.channels):
            for plug_in in kind.values():
                stack.push_async_callback(plug_in.close)
        versions = {
            name: VersionReader(plan.version, loaded.sources) for name, plan in plans.items() if plan.version
        }
        for reader in versions.values():
            stack.push_async_callback(reader.close)
        worker = Worker()
        stack.push_async_callback(worker.close)

        async def kill_switch() -> SwitchState:
            return await kill_switch_state(store, state_dir, environ)

        async def hold() -> SwitchState:
            """What holds rollbacks back: the kill switch, or actions disarmed after a crash loop."""
            switch = await kill_switch()
            because = None if switch.is_on else await store.disarmed()
            return switch if because is None else SwitchState(is_on=True, by="watchdog", because=because)

        keeper = Keeper(plans, loaded.sources, book, samples, board, metrics)
        await keeper.refill(now)
        bench = Bench(plans, store, keeper, clock)
        board.packet_of = bench.packet
        board.readings_of = keeper.readings.told
        routes = _routes(loaded)
        reports = Reports(store, worker, clock)
        ticks = {batch.name: batch for batch in batches(plans)}

        async def running_version(service: str) -> str | None:
            reader = versions.get(service)
            return None if reader is None else await reader.read(clock.wall_s(), _VERSION_TIMEOUT_S)

        outbox = Outbox(
            store=store,
            clock=clock,
            targets=loaded.targets,
            channels=loaded.channels,
            kill_switch=hold,
            running_version=running_version,
            confirm_within_s=lambda action: (
                plans[action.service].confirm_s if action.service in plans else _CONFIRM_S
            ),
            routes=routes,
        )
        closing = Closing(
            plans=plans,
            store=store,
            clock=clock,
            book=book,
            running_version=running_version,
            routes=routes,
            lag_s=settings.lag,
            wake_outbox=outbox.wake,
        )
        between = Between(
            plans,
            book=book,
            store=store,
            bench=bench,
            clock=clock,
            routes=routes,
            board=board,
            metrics=metrics,
            wake_outbox=outbox.wake,
        )
        heartbeats = Heartbeats(plans=plans, store=store)
        await heartbeats.await_all(now)
        check_alerts = CheckAlerts(
            plans=plans, store=store, bench=bench, clock=clock, routes=routes, wake_outbox=outbox.wake
        )
        await check_alerts.load()
        checking = await stack.enter_async_context(
            checker(
                loaded.databases,
                clock,
                heartbeats.beats_for,
                SelfCheck(settings.self_check.targets, clock),
                lambda check: cleanups_for(store, plans, check),
                wants_details=False,
            )
        )
        cleaner = Cleaner(plans=plans, store=store, clock=clock, metrics=metrics, clean=checking.clean)
        await cleaner.release(now)
        pipeline = Pipeline(
            clock=clock,
            checks={check.due_name: check for plan in plans.values() for check in plan.checks},
            batches=ticks,
            checker=checking,
            keeper=keeper,
            bench=bench,
            between=between,
            check_alerts=check_alerts,
            store=store,
            targets=loaded.targets,
            routes=routes,
            board=board,
            metrics=metrics,
            lag_s=settings.lag,
            blind_page_after_s=settings.alerts.blind_page_after,
            wake_outbox=outbox.wake,
            report=reports.put,
        )
        stack.push_async_callback(pipeline.flush)
        schedule = Schedule(clock)
        jobs = Jobs(clock=clock, store=store, samples=samples, keeper=keeper, plans=plans)
        peers = {check.due_name: peer_of(check.check) for plan in plans.values() for check in plan.checks}
        works = Works(
            metrics,
            pipeline.observe,
            pipeline.tick,
            jobs.do,
            schedule.begin,
            schedule.done,
            peers=peers,
            per_peer=settings.concurrency.per_host,
            at_once=settings.concurrency.checks,
        )
        for plan in plans.values():
            for check in plan.checks:
                if check.interval_s is not None:
                    schedule.every(check.due_name, check.interval_s)
        for batch in ticks.values():
            works.add_tick(batch.name)
            schedule.every(batch.name, batch.step_s, align_s=settings.lag % batch.step_s)
        # The history is wanted before the first deploy is told, and does not hold up being ready.
        works.put("job:history")
        bursts = Bursts(plans, schedule, peers, settings.concurrency.bursts_per_host)
        housekeeping = Housekeeping(
            plans=plans, store=store, clock=clock, routes=routes, wake_outbox=outbox.wake
        )
        await housekeeping.retire_services()
        pulse = Pulse(
            clock=clock,
            store=store,
            schedule=schedule,
            outbox=outbox,
            closing=closing,
            housekeeping=housekeeping,
            bursts=bursts,
            metrics=metrics,
            kill_switch=kill_switch,
            rollbacks_per_day=settings.limits.rollbacks_per_day,
        )
        await pulse.note_start(now)

        def changed() -> None:
            bench.touch()
            board.bump()

        operations = Operations(
            plans=plans,
            store=store,
            clock=clock,
            routes=routes,
            kill_switch=kill_switch,
            config_digest=loaded.digest,
            on_change=changed,
            on_deploy=lambda deploy, watch: bursts.start(deploy.service, clock.wall_s()),
            wake_outbox=outbox.wake,
        )

        async def hear(service: str, name: str, beat: Beat) -> bool:
            is_new = await heartbeats.hear(service, name, beat)
            # Looked at at once: nobody should hear of a failed job later than the daemon does.
            schedule.turn(f"{service}/{name}", works.put)
            return is_new

        ports = Ports(
            settings=settings,
            store=store,
            clock=clock,
            board=board,
            registry=metrics.registry,
            local_token=write_local_token(state_dir),
            submit=operations.submit,
            approve=operations.approve,
            veto=operations.veto,
            hear=hear,
            kill_switch=kill_switch,
            set_kill_switch=store.set_kill_switch,
            readiness=pulse.problems,
            probe=_probe(loaded, checking),
            is_alive=pulse.is_alive,
        )
        host, _, port = settings.api.listen.rpartition(":")
        try:
            bound = await stack.enter_async_context(serve(ports, host=host.strip("[]"), port=int(port)))
        except OSError as error:
            raise CannotListen(
                f"cannot listen on {settings.api.listen}: {error.strerror or error}. "
                "Stop what listens there, or change api.listen"
            ) from None
        log.info(
            "ready",
            extra={
                "listen": f"{host}:{bound}",
                "configuration": loaded.digest,
                "services": len(plans),
                "epoch": store.epoch,
            },
        )
        by_cron = {
            check.due_name: (check.cron, check.zone)
            for plan in plans.values()
            for check in plan.checks
            if check.cron is not None and check.interval_s is None
        }
        yield Parts(
            schedule=schedule,
            times={**TIMES, **by_cron},
            works=works,
            bench=bench,
            between=between,
            pulse=pulse,
            reports=reports,
            cleaner=cleaner,
            outbox=outbox,
            port=bound,
        )


def _probe(loaded: Loaded, checking: Checker) -> Callable[[str, str, float | None], Awaitable[bytes]] | None:
    if not loaded.modules:
        return None
    return Prober(loaded.modules, checking, at_once_max=loaded.settings.probe.concurrency).probe


def _routes(loaded: Loaded) -> Routes:
    alerts = loaded.settings.alerts
    only = tuple(loaded.channels) if len(loaded.channels) == 1 else ()
    return Routes(
        default=alerts.default or only,
        page=alerts.page,
        public_url=loaded.settings.public_url,
    )
