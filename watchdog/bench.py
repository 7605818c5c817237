"""The seats of all open watches: opened from the store, kept in step with the intake, left when closed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from watchdog.keeper import Keeper
from watchdog.model import Watch
from watchdog.plan import ServicePlan
from watchdog.seat import Seat
from watchdog.series import SeriesBook
from watchdog.store.protocol import Store


class Bench:
    """Open watches and their judges. `touch` after anything changed the store's deploys or watches."""

    def __init__(
        self, plans: Mapping[str, ServicePlan], store: Store, keeper: Keeper, book: SeriesBook
    ) -> None:
        self.plans = plans
        self.store = store
        self.keeper = keeper
        self.book = book
        self.seats: dict[str, Seat] = {}
        self._is_stale = True
        self._refreshing = asyncio.Lock()

    def touch(self) -> None:
        """The intake or a ruling changed a watch: look again before the next tick."""
        self._is_stale = True

    def packet(self, watch_id: str) -> Mapping[str, Any] | None:
        """The packet of an open watch as of its last tick."""
        seat = self.seats.get(watch_id)
        return seat.packet() if seat is not None and seat.verdict is not None else None

    async def seated(self, step_s: float, now: float) -> list[Seat]:
        """The seats of this step size, each with a judge."""
        if self._is_stale:
            async with self._refreshing:
                self._is_stale = False
                await self._refresh(now)
        return [seat for seat in self.seats.values() if seat.plan.step_s == step_s]

    async def _refresh(self, now: float) -> None:
        watches = {
            watch.id: watch
            for watch in await self.store.watches(is_open=True, limit=1000)
            if watch.service in self.plans
        }
        for watch_id in self.seats.keys() - watches.keys():
            del self.seats[watch_id]
        for watch in watches.values():
            await self._sit(watch, now)

    async def _sit(self, watch: Watch, now: float) -> None:
        deploy = await self.store.deploy(watch.deploy_id)
        if deploy is None:
            raise AssertionError(f"watch {watch.id} has no deploy {watch.deploy_id}")
        suspects = [
            other
            for other_id in watch.suspect_ids
            if other_id != deploy.id and (other := await self.store.deploy(other_id)) is not None
        ]
        seat = self.seats.get(watch.id)
        if seat is not None:
            for other in suspects:
                if other.id not in seat.watch.suspect_ids:
                    seat.add_deploy(other)
            # A moved end means judging again: off the loop, like the calibration below.
            await asyncio.to_thread(seat.update, watch, deploy)
            return
        plan = self.plans[watch.service]
        seat = Seat(watch, deploy, plan)
        await self.keeper.backfill(plan, seat.judged_to_at, now)
        past = [
            other
            for other in await self.store.deploys(service=watch.service, limit=1000)
            if other.id != deploy.id and other.id not in watch.suspect_ids
        ]
        # Calibration costs tens of milliseconds a series: off the loop.
        await asyncio.to_thread(seat.open, self.book, suspects, past)
        self.seats[watch.id] = seat
