"""The queues between the schedule and the work, and the workers that empty them.

Checks have a bounded queue and begin at once, up to a limit that targets which hang do not reach; ticks have
one worker per batch of a source, because a source may hang too and its steps must come in order; jobs (the
calendar's) have one.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from watchdog.metrics import Metrics

_QUEUE_MAX = 10_000


@dataclass(slots=True)
class Works:
    """observe, tick, job: the work behind a name. begin: tells the schedule that it begins, and how late.
    done: tells the schedule that the name may come again.

    peers: whom each check asks; at most `per_peer` checks of one are queued or running, its others stand
    aside. at_once: how many checks run at once.

    A name begins with the kind of its work: `tick:60:prom`, `job:retention`, or is a check's `service/name`.
    """

    metrics: Metrics
    observe: Callable[[str], Awaitable[None]]
    tick: Callable[[str], Awaitable[None]]
    job: Callable[[str], Awaitable[None]]
    begin: Callable[[str], float]
    done: Callable[[str], None]
    peers: Mapping[str, str] = field(default_factory=dict)
    per_peer: int = 16
    at_once: int = 1000
    _group: asyncio.TaskGroup | None = None
    _running: int = 0
    _checks: deque[str] = field(default_factory=deque)
    _aside: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    _admitted: Counter[str] = field(default_factory=Counter)
    _ticks: dict[str, asyncio.Queue[str]] = field(default_factory=dict)
    _jobs: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(100))

    def __post_init__(self) -> None:
        """Show how many checks wait, whenever somebody looks."""
        self.metrics.queue_depth.labels("checks").set_function(self._waiting)

    def add_tick(self, name: str) -> None:
        """Give one batch a queue and a worker of its own."""
        self._ticks[name] = asyncio.Queue(1)

    def put(self, name: str) -> bool:
        """Queue a due name; False when its queue is full."""
        if not name.startswith(("tick:", "job:")):
            return self._put_check(name)
        queue = self._ticks[name] if name.startswith("tick:") else self._jobs
        try:
            queue.put_nowait(name)
        except asyncio.QueueFull:
            return self._dropped(name.partition(":")[0])
        return True

    def _put_check(self, name: str) -> bool:
        if self._waiting() >= _QUEUE_MAX:
            return self._dropped("check")
        peer = self.peers.get(name, "")
        if peer and self._admitted[peer] >= self.per_peer:
            self._aside[peer].append(name)
        else:
            self._admitted[peer] += 1
            self._checks.append(name)
            self._start_checks()
        return True

    def _dropped(self, what: str) -> bool:
        self.metrics.drops.labels(what).inc()
        return False

    def _waiting(self) -> int:
        return len(self._checks) + sum(map(len, self._aside.values()))

    async def run(self) -> None:
        """Work on everything that is put, for ever."""
        async with asyncio.TaskGroup() as group:
            for name, queue in self._ticks.items():
                group.create_task(self._work(queue, self.tick), name=name)
            group.create_task(self._work(self._jobs, self.job))
            self._group = group
            self._start_checks()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                # A group that ends takes no more tasks.
                self._group = None

    async def _work(self, queue: asyncio.Queue[str], work: Callable[[str], Awaitable[None]]) -> None:
        while True:
            name = await queue.get()
            try:
                await work(name)
            finally:
                self.done(name)

    def _start_checks(self) -> None:
        """Begin as many as may run; nothing is begun before `run`."""
        while self._checks and self._group is not None and self._running < self.at_once:
            self._running += 1
            self._group.create_task(self._check(self._checks.popleft()))

    async def _check(self, name: str) -> None:
        self.metrics.start_lateness_s.observe(self.begin(name))
        try:
            await self.observe(name)
        finally:
            self._running -= 1
            self._leave(self.peers.get(name, ""))
            self.done(name)
        self._start_checks()

    def _leave(self, peer: str) -> None:
        """The next of that peer takes the place, or it becomes free."""
        aside = self._aside.get(peer)
        if aside:
            self._checks.append(aside.popleft())
            if not aside:
                del self._aside[peer]
        else:
            self._admitted[peer] -= 1
