"""Keeps what was observed: readings of sources and results of checks, onto the series' grids and to disk.

The rings hold what is judged; `samples.db` only lets them be refilled after a restart.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from checks.model import CheckResult
from watchdog.board import LiveBoard
from watchdog.metrics import Metrics
from watchdog.plan import SeriesPlan, ServicePlan
from watchdog.series import HEAL_STEPS, SeriesBook
from watchdog.sources.protocol import Grid, Source, SourceReading
from watchdog.store.samples import SampleStore

# A history read is for a judge that waits for it; it may take longer than a tick, but not for ever.
_HISTORY_TIMEOUT_S = 60.0
_READ_TIMEOUT_MAX_S = 10.0


class Keeper:
    """Reads sources onto the book, bins check results, and mirrors frozen steps to samples.db."""

    def __init__(
        self,
        plans: Mapping[str, ServicePlan],
        sources: Mapping[str, Source],
        book: SeriesBook,
        samples: SampleStore,
        board: LiveBoard,
        metrics: Metrics,
    ) -> None:
        self.plans = plans
        self.sources = sources
        self.book = book
        self.samples = samples
        self.board = board
        self.metrics = metrics
        self._by_check: dict[tuple[str, str], list[SeriesPlan]] = defaultdict(list)
        for plan in plans.values():
            for series in plan.series:
                book.add(series.id, series.spec, capacity=_capacity(plan))
                if series.check is not None:
                    self._by_check[plan.name, series.check].append(series)

    async def refill(self, now: float) -> None:
        """Fill the rings from samples.db; what was not kept stays missing."""
        for plan in self.plans.values():
            last_at = math.floor(now / plan.step_s) * plan.step_s
            first_at = last_at - (_capacity(plan) - 1) * plan.step_s
            for series in plan.series:
                values = await self.samples.load(series.id, plan.step_s, series.spec.width, first_at, last_at)
                self.book.backfill(series.id, first_at, values)

    async def backfill(self, plan: ServicePlan, end_at: float, now: float) -> None:
        """Ask the sources for the history before `end_at` that the rings do not have."""
        n = round(plan.history_s / plan.step_s)
        grid = Grid(first_at=end_at - (n - 1) * plan.step_s, last_at=end_at, step_s=plan.step_s)
        wanted = [
            series
            for series in plan.series
            if series.source is not None
            and self.book.missing_share(series.id, grid.first_at, grid.last_at) > 0.01
        ]
        for reading in await self._ask(wanted, grid, now=now, timeout_s=_HISTORY_TIMEOUT_S):
            self.book.backfill(reading.series_id, grid.first_at, reading.values)
            await self.samples.append(reading.series_id, plan.step_s, grid.first_at, reading.values)

    async def read(self, step_s: float, grid_at: float, now: float) -> None:
        """Read every source series of this step size up to `grid_at`, and close the check bins up to it."""
        plans = [plan for plan in self.plans.values() if plan.step_s == step_s]
        series = [item for plan in plans for item in plan.series]
        grid = Grid(first_at=grid_at - HEAL_STEPS * step_s, last_at=grid_at, step_s=step_s)
        sourced = [item for item in series if item.source is not None]
        timeout_s = min(_READ_TIMEOUT_MAX_S, max(1.0, 0.8 * step_s))
        readings = await self._ask(sourced, grid, now=now, timeout_s=timeout_s)
        for reading in readings:
            for i, row in enumerate(reading.values):
                self.book.write(reading.series_id, grid.first_at + i * step_s, row)
        for item in series:
            if item.check is not None:
                self.book.close_bin(item.id, grid_at)
        await self._mirror(series, step_s, grid_at)
        problems = {reading.series_id: reading.problem for reading in readings if reading.problem}
        for plan in plans:
            self._note(plan, grid_at, now, problems)

    def add(self, service: str, check: str, result: CheckResult, at: float) -> None:
        """Bin one check result; `error` is missing data."""
        for series in self._by_check[service, check]:
            if result.outcome == "error":
                continue
            if series.reading is None:
                self.book.count(series.id, at, failed=result.outcome == "fail")
            elif series.reading in result.readings:
                self.book.add_reading(series.id, at, result.readings[series.reading])

    async def _ask(
        self, series: Iterable[SeriesPlan], grid: Grid, *, now: float, timeout_s: float
    ) -> list[SourceReading]:
        by_source: dict[str, list[SeriesPlan]] = defaultdict(list)
        for item in series:
            if item.source is not None:
                by_source[item.source].append(item)

        async def ask(name: str, items: Sequence[SeriesPlan]) -> list[SourceReading]:
            queries = [item.query for item in items if item.query is not None]
            readings = await self.sources[name].read(queries, grid, now=now, timeout_s=timeout_s)
            problems = [reading.problem for reading in readings if reading.problem]
            self.board.sources[name] = problems[0] if problems else "ok"
            self.metrics.reads.labels(name, "problem" if problems else "ok").inc()
            return readings

        answers = await asyncio.gather(*(ask(name, items) for name, items in by_source.items()))
        return [reading for readings in answers for reading in readings]

    async def _mirror(self, series: Sequence[SeriesPlan], step_s: float, grid_at: float) -> None:
        frozen_at = grid_at - HEAL_STEPS * step_s
        for item in series:
            values = self.book.at(item.id, frozen_at)
            if not np.isnan(values).all():
                await self.samples.append(item.id, step_s, frozen_at, values[np.newaxis, :])

    def _note(self, plan: ServicePlan, grid_at: float, now: float, problems: Mapping[str, str]) -> None:
        note = self.board.services[plan.name]
        note.problems = sorted({problems[item.id] for item in plan.series if item.id in problems})
        sees = [not np.isnan(self.book.at(item.id, grid_at)).all() for item in plan.series if item.source]
        if not sees or any(sees):
            note.blind_since = None
        elif note.blind_since is None:
            note.blind_since = grid_at - plan.step_s
        self.metrics.blind_s.labels(plan.name).set(
            0.0 if note.blind_since is None else now - note.blind_since
        )


def _capacity(plan: ServicePlan) -> int:
    """Steps a ring holds: the history, the longest roll-out and the watch."""
    span_s = plan.history_s + plan.rollout_max_s + 2 * plan.judge.watch_s
    return math.ceil(span_s / plan.step_s) + HEAL_STEPS + 1
