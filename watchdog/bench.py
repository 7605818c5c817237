"""The seats of all open watches: opened from the store, kept in step with the intake, left when closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from watchdog.clock import Clock
from watchdog.keeper import Keeper
from watchdog.model import Deploy, Watch
from watchdog.plan import ServicePlan
from watchdog.seat import Seat
from watchdog.store.protocol import Store

log = logging.getLogger("watchdog.bench")

# Opening waits for a source's history: one that hangs must not keep the other watches from being judged.
_OPENING_MAX = 8
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
        self._touched = asyncio.Event()
        self._touched.set()
        self._slots = asyncio.Semaphore(_OPENING_MAX)

    def touch(self) -> None:
        """The intake or a ruling changed a watch: look again."""
        self._touched.set()

    def of(self, services: frozenset[str]) -> list[Seat]:
        """The seats of these services that can be judged now."""
        return [seat for seat in self._seats.values() if seat.plan.name in services]

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
        async with asyncio.TaskGroup() as group:
            while True:
                await self._touched.wait()
                self._touched.clear()
                for watch in await self._open_watches():
                    if watch.id in self._seats:
                        await self._update(self._seats[watch.id], watch)
                    elif watch.id not in opening:
                        opening.add(watch.id)
                        group.create_task(self._sit(watch, opening), name=f"open {watch.id}")

    async def _open_watches(self) -> list[Watch]:
        watches = [
            watch
            for watch in await self._store.watches(is_open=True, limit=_OPEN_WATCHES_MAX)
            if watch.service in self._plans
        ]
        for watch_id in self._seats.keys() - {watch.id for watch in watches}:
            del self._seats[watch_id]
        return watches

    async def _update(self, seat: Seat, watch: Watch) -> None:
        async with seat.lock:
            deploy, suspects = await self._deploys(watch)
            # A moved end means judging again: off the loop, like opening.
            await asyncio.to_thread(seat.update, watch, deploy, suspects)

    async def _sit(self, watch: Watch, opening: set[str]) -> None:
        async with self._slots:
            deploy, suspects = await self._deploys(watch)
            plan = self._plans[watch.service]
            seat = Seat(watch, deploy, plan)
            await self._keeper.backfill(
                plan, seat.judged_to_at, self._clock.wall_s(), timeout_s=_HISTORY_TIMEOUT_S
            )
            past = [
                other
                for other in await self._store.deploys(service=watch.service, limit=1000)
                if other.id not in watch.suspect_ids
            ]
            # Calibration costs tens of milliseconds a series.
            await asyncio.to_thread(seat.open, self._keeper.book, suspects, past)
            self._seats[watch.id] = seat
            opening.discard(watch.id)
            # What the intake changed meanwhile was not seen by a seat that did not exist.
            self.touch()
        log.info(
            "watch opened",
            extra={"service": plan.name, "watch": watch.id, "history_s": round(seat.history_s)},
        )

    async def _deploys(self, watch: Watch) -> tuple[Deploy, list[Deploy]]:
        deploy = await self._store.deploy(watch.deploy_id)
        if deploy is None:
            raise AssertionError(f"watch {watch.id} has no deploy {watch.deploy_id}")
        others = [await self._store.deploy(other) for other in watch.suspect_ids if other != deploy.id]
        return deploy, [other for other in others if other is not None]
