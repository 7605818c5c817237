"""Between deploys: every service's series judged at every tick, its limits learned off the loop.

The judge is rebuilt from the rings and the store at any time with the same answers, so that a restart loses
nothing: what was told is durable, what is off is found again. A bug in judging is contained here as in a
seat: the service is not judged between deploys until its judge is built anew.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from detectors.always_on import AlwaysOn, Pause
from detectors.model import FloatArray, History
from watchdog.alerts.messages import Routes
from watchdog.board import LiveBoard
from watchdog.clock import Clock
from watchdog.incidents.incident import Told, advance, alerts_of
from watchdog.judging.bench import Bench
from watchdog.metrics import Metrics
from watchdog.model import Incident
from watchdog.plan import ServicePlan
from watchdog.series import SeriesBook
from watchdog.store.protocol import Store, StoreDead, StoreUnavailable

log = logging.getLogger("watchdog.incidents.between")

_LEARN_EVERY_S = 86_400.0  # the past moves by a day; learning costs 0.1 s a series
_LEARN_AGAIN_TICKS = 60  # while there is too little past
_PAUSES_MAX = 200


@dataclass(slots=True)
class _Post:
    """One service. judge: None before it is built, or after a bug. learn_at: when to build it anew."""

    plan: ServicePlan
    judge: AlwaysOn | None = None
    incident: Incident | None = None
    is_watched: bool = False
    learn_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Between:
    """Judges the services that have `always_on` enabled. It can alert, not act: it is given no targets."""

    def __init__(
        self,
        plans: Mapping[str, ServicePlan],
        *,
        book: SeriesBook,
        store: Store,
        bench: Bench,
        clock: Clock,
        routes: Routes,
        board: LiveBoard,
        metrics: Metrics,
        wake_outbox: Callable[[], None],
    ) -> None:
        self._posts = {
            name: _Post(plan) for name, plan in plans.items() if plan.always_on.is_enabled and plan.series
        }
        self._book, self._store, self._bench, self._clock = book, store, bench, clock
        self._routes, self._board, self._metrics = routes, board, metrics
        self._wake_outbox = wake_outbox
        self._to_learn: asyncio.Queue[str] = asyncio.Queue()
        self._asked: set[str] = set()

    async def run(self) -> None:
        """Build the judges that ticks have asked for, one after another and off the loop, for ever."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="always-on") as thread:
            while True:
                post = self._posts[await self._to_learn.get()]
                await self._learn(post, thread)
                self._asked.discard(post.plan.name)

    async def tick(self, service: str, grid_at: float) -> None:
        """Judge every step of that service up to `grid_at` that is ready, and record what follows."""
        post = self._posts.get(service)
        if post is None:
            return
        async with post.lock:
            if grid_at >= post.learn_at and service not in self._asked:
                self._asked.add(service)
                self._to_learn.put_nowait(service)
            try:
                await self._judge(post, grid_at)
            except StoreDead:
                raise
            except StoreUnavailable as error:
                # Nothing was told, nothing is remembered: the next tick comes to the same.
                log.error("cannot record an incident", extra={"service": service, "because": str(error)})
            self._show(post)

    async def _judge(self, post: _Post, grid_at: float) -> None:
        plan = post.plan
        is_watched = self._bench.is_watched(plan.name)
        if post.judge is not None and is_watched != post.is_watched:
            post.judge.pauses = await self._pauses(plan)
            post.is_watched = _has_open(post.judge.pauses)
        while post.judge is not None and post.judge.judged_to_at + plan.step_s <= grid_at:
            at = post.judge.judged_to_at + plan.step_s
            values = {item.spec.name: self._book.at(item.id, at) for item in plan.series}
            if self._is_waiting(plan, values, at, grid_at):
                return
            after = self._advanced(post, at, values)
            if after is not post.incident and after is not None:
                await self._record(post, after)

    def _advanced(self, post: _Post, at: float, values: Mapping[str, FloatArray]) -> Incident | None:
        """The incident after that step; a bug leaves it as it was and the service unjudged."""
        judge = post.judge
        if judge is None:
            return post.incident
        try:
            off = judge.tick(at, values)
            # The watch judges while it is open: it neither begins nor ends anything here.
            if post.is_watched:
                return post.incident
            return advance(post.incident, off, judge, post.plan)
        except Exception:  # noqa: BLE001  containment 2 of 3
            self._give_up(post)
            return post.incident

    async def _record(self, post: _Post, after: Incident) -> None:
        before, now = post.incident, self._clock.wall_s()
        is_news = before is None or after.closed_at is not None
        deploys = await self._store.deploys(service=post.plan.name, limit=1) if is_news else []
        told = Told(
            channels=self._routes.default,
            public_url=self._routes.public_url,
            last_deploy=deploys[0] if deploys else None,
        )
        alerts = alerts_of(after, told, now) if is_news else ()
        await self._store.put_incident(after, alerts, now)
        post.incident = after if after.closed_at is None else None
        if not is_news:
            return
        self._wake_outbox()
        log.info(
            "incident",
            extra={"service": after.service, "state": after.state, "because": after.because},
        )
        if post.judge is not None and after.closed_at is not None:
            post.judge.pauses = await self._pauses(post.plan)

    async def _learn(self, post: _Post, thread: ThreadPoolExecutor) -> None:
        plan = post.plan
        pauses = await self._pauses(plan)
        end_at = plan.settled_at(self._clock.wall_s())
        n = plan.history_grid(end_at).n
        histories = [
            self._book.history(item.id, end_at=end_at, n=n, name=item.spec.name) for item in plan.series
        ]
        loop = asyncio.get_running_loop()
        judge = await loop.run_in_executor(thread, self._built, plan, histories, pauses)
        async with post.lock:
            # What closed meanwhile has closed after the history that the judge was built on.
            pauses = await self._pauses(plan)
            post.is_watched = _has_open(pauses)
            incidents = await self._store.incidents(service=plan.name, is_open=True, limit=1)
            post.incident = incidents[0] if incidents else None
            if judge is not None:
                judge.pauses = pauses
            post.judge = judge
            is_ready = judge is not None and bool(judge.judged)
            wait_s = _LEARN_EVERY_S if is_ready else _LEARN_AGAIN_TICKS * plan.step_s
            post.learn_at = end_at + wait_s
            self._show(post)

    def _built(
        self, plan: ServicePlan, histories: list[History], pauses: tuple[Pause, ...]
    ) -> AlwaysOn | None:
        try:
            return AlwaysOn(histories, plan.always_on.settings, pauses)
        except Exception:
            # The same containment as in `_advanced`.
            self._metrics.judge_bugs.labels(plan.name).inc()
            log.exception("always-on judge raised", extra={"service": plan.name})
            return None

    async def _pauses(self, plan: ServicePlan) -> tuple[Pause, ...]:
        """The watches of the service, and the ends of its incidents; what was accepted there is usual now."""
        watches = await self._store.watches(service=plan.name, limit=_PAUSES_MAX)
        incidents = await self._store.incidents(service=plan.name, is_open=False, limit=_PAUSES_MAX)
        # The store is told of a deploy when it is over, sometimes; what it broke was off before that.
        deploys = await self._store.deploys(service=plan.name, limit=_PAUSES_MAX)
        started = {deploy.id: deploy.started_at for deploy in deploys}
        ends = [incident.closed_at for incident in incidents if incident.closed_at is not None]
        return (
            *(
                (
                    min(watch.opened_at, started.get(watch.deploy_id, math.inf)),
                    math.inf if watch.closed_at is None else watch.closed_at,
                )
                for watch in watches
            ),
            *((end, end) for end in ends),
        )

    def _is_waiting(
        self, plan: ServicePlan, values: Mapping[str, FloatArray], at: float, grid_at: float
    ) -> bool:
        return any(
            item.source is not None
            and bool(np.isnan(values[item.spec.name]).all())
            and not self._book.is_frozen(item.id, at, grid_at)
            for item in plan.series
        )

    def _give_up(self, post: _Post) -> None:
        self._metrics.judge_bugs.labels(post.plan.name).inc()
        log.exception("always-on judge raised", extra={"service": post.plan.name})
        post.judge = None
        post.learn_at = self._clock.wall_s() + _LEARN_AGAIN_TICKS * post.plan.step_s

    def _show(self, post: _Post) -> None:
        name, judge = post.plan.name, post.judge
        self._metrics.incident_open.labels(name).set(post.incident is not None)
        self._metrics.always_on_series.labels(name).set(len(judge.judged) if judge else 0)
        self._board.services[name].always_on = _state(post)


def _has_open(pauses: tuple[Pause, ...]) -> bool:
    return any(to == math.inf for _, to in pauses)


def _state(post: _Post) -> str:
    """One sentence for people."""
    if post.incident is not None:
        return f"worse without a deploy: {post.incident.because}"
    if post.judge is None or not post.judge.judged:
        return "between deploys: not judged yet, too little history"
    if post.is_watched:
        return "between deploys: paused, a watch is open"
    few = f", {len(post.judge.learning)} still learning" if post.judge.learning else ""
    limit = "its own past" if post.judge.calibration == "own" else "a wide limit, the history is short"
    return f"between deploys: {len(post.judge.judged)} series calm{few}; {limit}"
