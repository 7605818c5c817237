"""When things are due: one heap of names for everything with an interval.

Names with a calendar (cron, nightly jobs) come from APScheduler in `calendar.py`, which asks for a `turn`.
A name that is still waiting or being worked on when it falls due again is an overrun: counted, not queued
twice, so a slow check can delay only itself.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from watchdog.clock import Clock

_AT_ONCE = 16  # names handed out before anything else gets a turn
# With thousands of names the next is always due in a moment; falling asleep and waking up for each of them
# costs more than to hand it out.
_REST_S = 0.005


@dataclass(slots=True)
class _Entry:
    name: str
    interval_s: float = math.inf
    align_s: float | None = None
    is_busy: bool = False
    turn: int = 0
    due_s: float = 0.0


@dataclass(slots=True)
class Schedule:
    """Interval names on one heap.

    overruns, drops: counts since start. lateness_s: how late the newest due name was taken off the heap.
    """

    clock: Clock
    overruns: int = 0
    drops: int = 0
    lateness_s: float = 0.0
    _heap: list[tuple[float, int, str]] = field(default_factory=list)
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def every(self, name: str, interval_s: float, *, align_s: float | None = None) -> None:
        """Make `name` due each interval; calling again changes the interval from now on.

        align_s: None spreads names over the interval by a phase made from the name, so that neither a restart
        nor a burst fires everything at once; a number makes the name due that many seconds after each
        multiple of the interval on the wall clock (grid ticks).
        """
        if interval_s <= 0:
            raise ValueError(f"{name}: an interval must be positive, got {interval_s}")
        entry = self._entries.setdefault(name, _Entry(name))
        entry.interval_s, entry.align_s = interval_s, align_s
        phase = zlib.crc32(name.encode()) / 2**32
        delay_s = self._until_grid(entry) if align_s is not None else phase * interval_s
        self._push(entry, self.clock.mono_s() + delay_s)
        self._changed.set()

    def begin(self, name: str) -> float:
        """Say that the work behind `name` begins; seconds since it was due, 0 without an interval."""
        entry = self._entries.get(name)
        return 0.0 if entry is None else self.clock.mono_s() - entry.due_s

    def stop(self, name: str) -> None:
        """Make `name` due by no interval any more; a calendar may still give it a turn."""
        entry = self._entries.get(name)
        if entry is not None:
            entry.turn += 1

    def turn(self, name: str, put: Callable[[str], bool]) -> None:
        """Hand out `name` now, unless the work of its turn before still goes on."""
        entry = self._entries.setdefault(name, _Entry(name))
        entry.due_s = self.clock.mono_s()
        self._offer(entry, put)

    def _offer(self, entry: _Entry, put: Callable[[str], bool]) -> None:
        if entry.is_busy:
            self.overruns += 1
        elif put(entry.name):
            entry.is_busy = True
        else:
            self.drops += 1

    def done(self, name: str) -> None:
        """Say that the work behind `name` ended, so that its next due time counts again."""
        entry = self._entries.get(name)
        if entry is not None:
            entry.is_busy = False

    async def run(self, put: Callable[[str], bool]) -> None:
        """Hand out due names for ever; `put` returns False when its queue is full: the turn is dropped."""
        # Kept from one sleep to the next: with many names there are hundreds of them in a second.
        changing = asyncio.ensure_future(self._changed.wait())
        try:
            while True:
                if changing.done():
                    self._changed.clear()
                    changing = asyncio.ensure_future(self._changed.wait())
                due_s = self._heap[0][0] if self._heap else math.inf
                wait_s = due_s - self.clock.mono_s()
                if wait_s > 0:
                    await self._sleep_or_change(max(wait_s, _REST_S), changing)
                    continue
                for _ in range(_AT_ONCE):
                    self._hand_out(put)
                    if not self._heap or self._heap[0][0] > self.clock.mono_s():
                        break
                # Without this a burst of due names would keep the loop from everything else.
                await asyncio.sleep(0)
        finally:
            changing.cancel()

    def _hand_out(self, put: Callable[[str], bool]) -> None:
        due_s, turn, name = heapq.heappop(self._heap)
        entry = self._entries[name]
        if turn != entry.turn:
            return  # an older place of a name whose interval was changed or ended
        now_s = self.clock.mono_s()
        self.lateness_s = now_s - due_s
        if entry.align_s is not None:
            next_s = now_s + self._until_grid(entry)
        else:
            # Missed turns are folded into one: a late check runs once, not once per missed turn.
            next_s = max(due_s + entry.interval_s, now_s)
        self._push(entry, next_s)
        entry.due_s = due_s
        self._offer(entry, put)

    def _until_grid(self, entry: _Entry) -> float:
        wall_s = self.clock.wall_s() - (entry.align_s or 0.0)
        remaining_s = entry.interval_s - wall_s % entry.interval_s
        # Rounding may leave a sliver before the boundary that was just served.
        return remaining_s if remaining_s > 1e-3 * entry.interval_s else remaining_s + entry.interval_s

    def _push(self, entry: _Entry, due_s: float) -> None:
        entry.turn += 1
        heapq.heappush(self._heap, (due_s, entry.turn, entry.name))

    async def _sleep_or_change(self, wait_s: float, changing: asyncio.Future[Any]) -> None:
        if math.isinf(wait_s):
            await asyncio.wait({changing})
            return
        sleeping: asyncio.Future[Any] = asyncio.ensure_future(self.clock.sleep(wait_s))
        try:
            await asyncio.wait({sleeping, changing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
