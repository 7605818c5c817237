"""The seats of all open watches: opened from the store, kept in step with the intake, left when closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from watchdog.clock import Clock
from watchdog.judging.seat import Seat
from watchdog.keeper import Keeper
from watchdog.model import Deploy, Watch
from watchdog.plan import ServicePlan
from watchdog.sources.protocol import Grid
from watchdog.store.protocol import Store

log = logging.getLogger("watchdog.judging.bench")

_HISTORY_TIMEOUT_S = 15.0
_OPEN_WATCHES_MAX = 1000


class Bench:
    """Open watches and their judges. `touch` after anything changed the store's deploys or watches."""

    def __init__(self, plans: Mapping[str, ServicePlan], store: Store, keeper: Keeper, clock: Clock) -> None:
        self._plans = plans
        self._store = store
        self._keeper = keeper
        self._clock = clock
        self._seats: dict[str, Seat] = {}
        self._watched: frozenset[str] = frozenset()
        self._touched = asyncio.Event()
        self._touched.set()
        # One thread: calibration is all computing, and each further thread would keep its garbage in a heap
        # of its own. Histories are awaited before, so that a source that hangs keeps nobody waiting here.
        self._calibration = ThreadPoolExecutor(max_workers=1, thread_name_prefix="calibration")

    def touch(self) -> None:
        """The intake or a ruling changed a watch: look again."""
        self._touched.set()

    def of(self, services: frozenset[str]) -> list[Seat]:
        """The seats of these services that can be judged now."""
        return [seat for seat in self._seats.values() if seat.plan.name in services]

    def is_watched(self, service: str) -> bool:
        """Whether a watch of that service is open, judged already or not."""
        return service in self._watched

    @property
    def count(self) -> int:
        """How many watches are being judged."""
        return len(self._seats)

    def packet(self, watch_id: str) -> Mapping[str, Any] | None:
        """The packet of an open watch as of its last tick."""
        seat = self._seats.get(watch_id)
        return seat.packet() if seat is not None and seat.verdict is not None else None

    async def run(self) -> None:
        """Keep the seats in step with the store, for ever."""
        opening: set[str] = set()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._touched.wait()
                    self._touched.clear()
                    for watch in await self._open_watches():
                        if watch.id not in opening and not await self._follows(watch):
                            opening.add(watch.id)
                            group.create_task(self._sit(watch, opening), name=f"open {watch.id}")
        finally:
            self._calibration.shutdown(wait=False, cancel_futures=True)

    async def _open_watches(self) -> list[Watch]:
        watches = [
            watch
            for watch in await self._store.watches(is_open=True, limit=_OPEN_WATCHES_MAX)
            if watch.service in self._plans
        ]
        self._watched = frozenset(watch.service for watch in watches)
        self._keeper.readings.keep_open(self._watched)
        for watch_id in self._seats.keys() - {watch.id for watch in watches}:
            del self._seats[watch_id]
        return watches

    async def _follows(self, watch: Watch) -> bool:
        """Give the watch's seat the newest of its watch; False if there is none, or it must be built anew."""
        seat = self._seats.get(watch.id)
        if seat is None:
            return False
        deploy, others = await self._deploys(watch)
        if not seat.rests_on(deploy, others):
            return False
        seat.watch, seat.deploy = watch, deploy
        return True

    async def _sit(self, watch: Watch, opening: set[str]) -> None:
        deploy, others = await self._deploys(watch)
        plan = self._plans[watch.service]
        seat = Seat(watch, deploy, others, plan, self._keeper.metrics)
        # The last step before the deploy is read `lag_s` after its end. Without it a fault that came just
        # before could not be told from one that came with it; nothing is judged before the step after it.
        read_at = seat.judged_to_at + plan.lag_s + 0.5 * plan.step_s
        await self._clock.sleep(max(0.0, read_at - self._clock.wall_s()))
        await self._complete(seat)
        readings = await self._keeper.informing(plan, self._clock.wall_s())
        known = await self._store.deploys(service=watch.service, limit=1000)
        past = [each for each in known if each.id not in watch.suspect_ids]
        # Tens of milliseconds a series: off the loop.
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._calibration, seat.open, self._keeper.book, past, readings)
        # One that is built anew was judging as before until now.
        self._seats[watch.id] = seat
        opening.discard(watch.id)
        # What the intake changed meanwhile was not seen by this seat.
        self.touch()
        log.info(
            "watch opened",
            extra={"service": plan.name, "watch": watch.id, "history_s": round(seat.history_s)},
        )

    async def _complete(self, seat: Seat) -> None:
        """Fetch what the rings lack of the history, and of the watch so far if the daemon was not there."""
        plan, now = seat.plan, self._clock.wall_s()
        grids = [plan.history_grid(seat.judged_to_at)]
        if plan.settled_at(now) > seat.judged_to_at:
            first_at = seat.judged_to_at + plan.step_s
            grids.append(Grid(first_at=first_at, last_at=plan.settled_at(now), step_s=plan.step_s))
        for grid in grids:
            await self._keeper.backfill(plan, grid, now, timeout_s=_HISTORY_TIMEOUT_S)

    async def _deploys(self, watch: Watch) -> tuple[Deploy, list[Deploy]]:
        deploy = await self._store.deploy(watch.deploy_id)
        if deploy is None:
            raise AssertionError(f"watch {watch.id} has no deploy {watch.deploy_id}")
        others = [await self._store.deploy(other) for other in watch.suspect_ids if other != deploy.id]
        return deploy, [other for other in others if other is not None]
