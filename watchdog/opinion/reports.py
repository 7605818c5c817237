"""Annotates the packets of regressed watches with what the worker process says; never gates anything."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from detectors.model import FloatArray
from detectors.packet import decode_array, decode_spec
from detectors.parts import part_at
from watchdog.clock import Clock
from watchdog.opinion.habits import Habits, coarse
from watchdog.opinion.worker import Worker
from watchdog.store.protocol import Store, StoreDead, StoreUnavailable

log = logging.getLogger("watchdog.opinion.reports")

_TIMEOUT_S = 30.0
_PAUSE_S = 1.0
_BEFORE_STEPS = 120
# Far more than a watch of common length has, and still a message the worker takes.
_AFTER_STEPS_MAX = 10_000


@dataclass(slots=True)
class Reports:
    """put: a watch to report on. A full queue drops it: the verdict stands without a second opinion."""

    store: Store
    worker: Worker
    clock: Clock
    _queue: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(100))

    def put(self, watch_id: str) -> None:
        """Ask for a second opinion on this watch."""
        if self._queue.full():
            log.warning("second opinion dropped", extra={"watch": watch_id, "because": "too many wait"})
        else:
            self._queue.put_nowait(watch_id)

    async def run(self) -> None:
        """Report for ever."""
        while True:
            watch_id = await self._queue.get()
            # Reading a packet costs milliseconds, and the rollback is on its way out: that goes first.
            await self.clock.sleep(_PAUSE_S)
            packet = await self.store.packet(watch_id)
            if packet is not None:
                await self._report(watch_id, packet)

    async def _report(self, watch_id: str, packet: Mapping[str, Any]) -> None:
        opinions, habits = {}, {}
        worse = {item["series"]: item for item in packet["evidence"] if item["state"] == "worse"}
        for series in packet["series"]:
            spec = decode_spec(series["spec"])
            if spec.name not in worse:
                continue
            part = part_at(spec, worse[spec.name].get("bound"))
            history, ticks = (part.of(decode_array(series[side])) for side in ("history", "ticks"))
            opinion = await self.worker.second_opinion(
                history[-_BEFORE_STEPS:],
                ticks[-_AFTER_STEPS_MAX:],
                spec.step_s,
                timeout_s=_TIMEOUT_S,
                kind=part.spec.kind,
            )
            if opinion is not None:
                opinions[spec.name] = asdict(opinion)
            found = await self._habits(spec.step_s, history, len(ticks), worse[spec.name]["effect"])
            if found is not None:
                habits[spec.name] = asdict(found)
        if not opinions and not habits:
            return
        try:
            await self.store.annotate(watch_id, {"second_opinion": opinions, "habits": habits})
        except StoreDead:
            raise
        except StoreUnavailable as error:
            log.warning("second opinion lost", extra={"watch": watch_id, "because": str(error)})
        else:
            log.info("second opinion", extra={"watch": watch_id, "series": ", ".join({**opinions, **habits})})

    async def _habits(
        self, step_s: float, history: FloatArray, judged: int, effect: float | None
    ) -> Habits | None:
        if not effect or not len(history):
            return None
        past, bin_s = await asyncio.to_thread(coarse, history, step_s)
        size = round(bin_s / step_s)
        return await self.worker.habits(
            past,
            bin_s,
            size=abs(effect),
            before=math.ceil(min(_BEFORE_STEPS, len(history)) / size),
            after=max(1, math.ceil(judged / size)),
            timeout_s=_TIMEOUT_S,
        )
