"""Plans, a source and a store that a test scripts, around the real rings, seats and judges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from detectors.model import WIDTHS, FloatArray, JudgeSettings, SeriesKind, SeriesSpec
from tests.support.examples import DEPLOY, WATCH
from tests.support.memory_store import MemoryStore
from tests.support.sample_plan import a_plan
from watchdog.board import LiveBoard
from watchdog.keeper import Keeper
from watchdog.metrics import Metrics
from watchdog.model import Deploy, Facts, Ruling, Watch
from watchdog.plan import SeriesPlan, ServicePlan
from watchdog.series import SeriesBook
from watchdog.sources.protocol import Grid, Query, SourceReading
from watchdog.store.samples import SampleStore

STEP_S = 10.0
START = 1_800_000_000.0
JUDGE = JudgeSettings(false_rollbacks=0.05, watch_s=300.0, warm_up_s=20.0)
# 2 hours: enough for placebo deploys, and judged in milliseconds.
HISTORY_S = 7200.0

Value = Callable[[str, float], Sequence[float] | None]


def series(service: str, name: str, kind: SeriesKind = "gauge", **more: Any) -> SeriesPlan:
    """A series of a source, or of a check when `check` is given."""
    step_s = more.pop("step_s", STEP_S)
    series_id = f"{service}/{name}"
    spec = SeriesSpec(name=name, kind=kind, unit="", bad="up", step_s=step_s)
    if "check" in more:
        return SeriesPlan(id=series_id, spec=spec, **more)
    query = Query(series_id=series_id, kind=kind, query="x")
    return SeriesPlan(id=series_id, spec=spec, source=more.pop("source", "prom"), query=query)


def service(name: str = "checkout", *plans: SeriesPlan, **more: Any) -> ServicePlan:
    """A service watched by these series (one gauge unless told otherwise)."""
    chosen: dict[str, Any] = {
        "step_s": STEP_S,
        "history_s": HISTORY_S,
        "judge": JUDGE,
        "rollout_max_s": 100.0,
    }
    return a_plan(name=name, series=plans or (series(name, "load"),), **{**chosen, **more})


def noise(series_id: str, at: float) -> Sequence[float]:
    """A level of 100 with a deviation of 5; the same for the same step whenever it is asked for."""
    seed = sum(map(ord, series_id)) * 1_000_003 + round(at)
    return (100.0 + 5.0 * float(np.random.default_rng(seed).standard_normal()),)


@dataclass
class ScriptedSource:
    """value: the row of a step, None where there is none. hangs: it never answers, deadline or not.

    asked: the grids of all reads. running, running_max: reads at a time, and the most there were.
    """

    value: Value = noise
    problem: str | None = None
    hangs: bool = False
    asked: list[Grid] = field(default_factory=list)
    running: int = 0
    running_max: int = 0

    async def read(
        self, queries: Sequence[Query], grid: Grid, *, now: float, timeout_s: float
    ) -> list[SourceReading]:
        self.asked.append(grid)
        self.running += 1
        self.running_max = max(self.running, self.running_max)
        try:
            if self.hangs:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
        finally:
            self.running -= 1
        return [
            SourceReading(series_id=query.series_id, values=self.rows(query, grid), problem=self.problem)
            for query in queries
        ]

    def rows(self, query: Query, grid: Grid) -> FloatArray:
        values = np.full((grid.n, WIDTHS[query.kind]), np.nan)
        for i in range(grid.n):
            row = self.value(query.series_id, grid.first_at + i * grid.step_s)
            if row is not None:
                values[i] = row
        return values

    async def label_sets(self, selector: str, *, now: float, timeout_s: float) -> list[Mapping[str, str]]:
        return []

    async def close(self) -> None:
        return


class WatchStore(MemoryStore):
    """What a bench and a pipeline ask of the store. rulings: everything that was decided."""

    def __init__(self, *watched: tuple[Deploy, Watch]) -> None:
        super().__init__()
        self.known_deploys = [deploy for deploy, _ in watched]
        self.known_watches = {watch.id: watch for _, watch in watched}
        self.rulings: list[Ruling] = []

    async def watches(
        self, *, service: str | None = None, is_open: bool | None = None, limit: int = 100
    ) -> list[Watch]:
        return [
            watch
            for watch in self.known_watches.values()
            if service in (None, watch.service) and is_open in (None, watch.closed_at is None)
        ][:limit]

    async def transact(self, watch_id: str, decide: Callable[[Facts], Ruling], now: float) -> Ruling:
        watch = self.known_watches[watch_id]
        deploy = await self.deploy(watch.deploy_id)
        assert deploy is not None
        ruling = decide(Facts(watch=watch, deploy=deploy, epoch=1, live_deploy_id=deploy.id))
        self.known_watches[watch_id] = ruling.watch
        self.rulings.append(ruling)
        return ruling

    async def packet(self, watch_id: str) -> Mapping[str, Any] | None:
        return next((r.packet for r in reversed(self.rulings) if r.watch.id == watch_id and r.packet), None)


def watched(service: str = "checkout", **changes: Any) -> tuple[Deploy, Watch]:
    """A deploy of that service that started at START and took two steps, and its watch."""
    deploy = replace(
        DEPLOY,
        id=f"d-{service}",
        service=service,
        started_at=START,
        finished_at=START + 2 * STEP_S,
    )
    deploy = replace(deploy, **changes)
    watch = replace(
        WATCH,
        id=f"w-{service}",
        service=service,
        deploy_id=deploy.id,
        suspect_ids=(deploy.id,),
        opened_at=START,
        observe_at=(deploy.finished_at or START) + JUDGE.warm_up_s,
        ends_at=(deploy.finished_at or START + 100.0) + JUDGE.watch_s,
    )
    return deploy, watch


def a_book(*plans: ServicePlan) -> SeriesBook:
    """Empty rings for these services."""
    book = SeriesBook()
    for plan in plans:
        for item in plan.series:
            book.add(item.id, item.spec, capacity=2000)
    return book


def filled(plan: ServicePlan, *, until_at: float = START, value: Value = noise) -> SeriesBook:
    """Rings with the whole history and everything up to `until_at`."""
    book = a_book(plan)
    first_at = plan.history_grid(START).first_at
    n = round((until_at - first_at) / plan.step_s) + 1
    for item in plan.series:
        rows = np.full((n, item.spec.width), np.nan)
        for i in range(n):
            row = value(item.id, first_at + i * plan.step_s)
            if row is not None:
                rows[i] = row
        book.backfill(item.id, first_at, rows)
    return book


def a_keeper(
    folder: Path,
    plans: Sequence[ServicePlan],
    sources: Mapping[str, ScriptedSource],
) -> Keeper:
    """A keeper with empty rings over the samples in that folder; as at a start, but not yet refilled."""
    return Keeper(
        {plan.name: plan for plan in plans},
        sources,
        SeriesBook(),
        SampleStore(folder / "samples.db"),
        LiveBoard([plan.name for plan in plans], list(sources)),
        Metrics(),
    )


async def seen(condition: Callable[[], bool], what: str) -> None:
    """Let everything else run until the condition holds; fails with `what` after 10 seconds."""
    try:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  any state of any object, without an event of its own
                await asyncio.sleep(0)
    except TimeoutError:
        raise AssertionError(f"not seen: {what}") from None
