"""The queues between the schedule and the work, and the workers that empty them.

Checks have a bounded queue and begin at once, up to a limit that targets which hang do not reach; ticks have
one worker per batch of a source, because a source may hang too and its steps must come in order; jobs (the
calendar's) have one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from watchdog.metrics import Metrics

# Of 10,000 targets a tenth can hang, and the rest is not held up. Each holds a connection, and so a file.
CHECKS_AT_ONCE = 1000
_QUEUE_MAX = 10_000


@dataclass(slots=True)
class Works:
    """observe, tick, job: the work behind a name. begin: tells the schedule that it begins, and how late.
    done: tells the schedule that the name may come again.

    A name begins with the kind of its work: `tick:60:prom`, `job:retention`, or is a check's `service/name`.
    """

    metrics: Metrics
    observe: Callable[[str], Awaitable[None]]
    tick: Callable[[str], Awaitable[None]]
    job: Callable[[str], Awaitable[None]]
    begin: Callable[[str], float]
    done: Callable[[str], None]
    _checks: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(_QUEUE_MAX))
    _ticks: dict[str, asyncio.Queue[str]] = field(default_factory=dict)
    _jobs: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(100))

    def __post_init__(self) -> None:
        """Show how many checks wait, whenever somebody looks."""
        self.metrics.queue_depth.labels("checks").set_function(self._checks.qsize)

    def add_tick(self, name: str) -> None:
        """Give one batch a queue and a worker of its own."""
        self._ticks[name] = asyncio.Queue(1)

    def put(self, name: str) -> bool:
        """Queue a due name; False when its queue is full."""
        if name.startswith("tick:"):
            queue = self._ticks[name]
        else:
            queue = self._jobs if name.startswith("job:") else self._checks
        try:
            queue.put_nowait(name)
        except asyncio.QueueFull:
            self.metrics.drops.labels(name.partition(":")[0] if ":" in name else "check").inc()
            return False
        return True

    async def run(self) -> None:
        """Work on everything that is put, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_checks(group))
            for name, queue in self._ticks.items():
                group.create_task(self._work(queue, self.tick), name=name)
            group.create_task(self._work(self._jobs, self.job))

    async def _start_checks(self, group: asyncio.TaskGroup) -> None:
        slots = asyncio.Semaphore(CHECKS_AT_ONCE)
        while True:
            name = await self._checks.get()
            await slots.acquire()
            group.create_task(self._check(name, slots))

    async def _check(self, name: str, slots: asyncio.Semaphore) -> None:
        self.metrics.start_lateness_s.observe(self.begin(name))
        try:
            await self.observe(name)
        finally:
            slots.release()
            self.done(name)

    async def _work(self, queue: asyncio.Queue[str], work: Callable[[str], Awaitable[None]]) -> None:
        while True:
            name = await queue.get()
            try:
                await work(name)
            finally:
                self.done(name)
