"""Keeps what was observed: readings of sources and results of checks, onto the series' grids and to disk.

The rings hold what is judged; `samples.db` only lets them be refilled after a restart.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from checks.model import CheckResult
from detectors.model import FloatArray
from watchdog.board import LiveBoard
from watchdog.metrics import Metrics
from watchdog.plan import SeriesPlan, ServicePlan, ring_steps
from watchdog.readings import ReadingBook
from watchdog.series import HEAL_STEPS, Bins, SeriesBook, SeriesRing
from watchdog.sources.protocol import Grid, Source, SourceReading
from watchdog.store.samples import SampleStore

# A history read is for a judge that waits for it; it may take longer than a tick, but not for ever.
_HISTORY_TIMEOUT_S = 60.0
_READ_TIMEOUT_MAX_S = 10.0
_MIRROR_S = 10.0
# A source that honours its deadline never meets this one.
_GRACE_S = 1.0
# A history with less than this missing is not asked for again.
_MISSING_MAX = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is read together: the series of one source and one step size, and the services they belong to.

    judged: names of the services to judge after it: these, and those that have one of these as a control.
    source: None for the services that have checks only. A source that hangs delays its own batch alone.
    """

    source: str | None
    step_s: float
    series: tuple[SeriesPlan, ...]
    services: tuple[ServicePlan, ...]
    judged: frozenset[str]

    @property
    def name(self) -> str:
        """The name under which the schedule knows it."""
        return f"tick:{self.step_s:g}:{self.source or ''}"


def batches(plans: Mapping[str, ServicePlan]) -> list[Batch]:
    """Every batch; each service is in one at least, so that its watches are judged and end."""
    found: dict[tuple[float, str | None], dict[str, list[SeriesPlan]]] = defaultdict(dict)
    for plan in plans.values():
        sourced = [series for series in plan.series if series.source is not None]
        for series in sourced:
            found[plan.step_s, series.source].setdefault(plan.name, []).append(series)
        if not sourced:
            found[plan.step_s, None].setdefault(plan.name, [])
    return [
        Batch(
            source=source,
            step_s=step_s,
            series=tuple(series for group in groups.values() for series in group),
            services=tuple(plans[name] for name in groups),
            judged=frozenset(groups)
            | {name for name in plans if plans[name].control_services & groups.keys()},
        )
        for (step_s, source), groups in found.items()
    ]


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
        self.readings = ReadingBook(plans)
        self._mirrored_to: dict[str, float] = {}
        # Series to what its last read said, because a service may be in the batches of several sources.
        self._problems: dict[str, str | None] = {}
        # Check to the reading (None: whether it failed) and the bins of each of its series.
        self._by_check: dict[tuple[str, str], list[tuple[str | None, Bins]]] = {}
        for plan in plans.values():
            for series in plan.series:
                book.add(series.id, series.spec, capacity=ring_steps(plan))
                if series.check is not None:
                    taken = self._by_check.setdefault((plan.name, series.check), [])
                    taken.append((series.reading, book.bins(series.id)))

    async def refill(self, now: float) -> None:
        """Fill the rings from samples.db; what was not kept stays missing."""
        for plan in self.plans.values():
            # No further: a ring refuses what is older than its newest steps, and those are still to be read.
            last_at = plan.settled_at(now)
            first_at = last_at - (ring_steps(plan) - 1) * plan.step_s
            for series in plan.series:
                values = await self.samples.load(series.id, plan.step_s, series.spec.width, first_at, last_at)
                self.book.backfill(series.id, first_at, values)

        self.readings.know(await self.samples.names())

    async def informing(self, plan: ServicePlan, now: float) -> Sequence[SeriesRing]:
        """What a watch of that service judges beside its series: rings filled with all that is known."""
        rings = self.readings.open(plan.name)
        # What a check told is settled when its step ends.
        last_at = plan.settled_at(now) + HEAL_STEPS * plan.step_s
        first_at = last_at - (ring_steps(plan) - 1) * plan.step_s
        for ring in rings:
            series_id = f"{plan.name}/{ring.spec.name}"
            ring.backfill(first_at, await self.samples.load(series_id, plan.step_s, 1, first_at, last_at))
        self.readings.fill(plan.name)
        return rings

    async def backfill(
        self, plan: ServicePlan, grid: Grid, now: float, *, timeout_s: float = _HISTORY_TIMEOUT_S
    ) -> None:
        """Ask the sources for the steps of `grid`, all settled, that the rings do not have."""
        by_source: dict[str, list[SeriesPlan]] = defaultdict(list)
        for series in plan.series:
            if series.source is None:
                continue
            if self.book.missing_share(series.id, grid.first_at, grid.last_at) > _MISSING_MAX:
                by_source[series.source].append(series)
        for source, wanted in by_source.items():
            for reading in await self._ask(source, wanted, grid, now=now, timeout_s=timeout_s):
                if self.book.backfill(reading.series_id, grid.first_at, reading.values):
                    await self.samples.append(reading.series_id, plan.step_s, grid.first_at, reading.values)

    async def read(self, batch: Batch, grid_at: float, now: float) -> None:
        """Read one batch up to `grid_at`, and close the check bins of its services up to there."""
        step_s = batch.step_s
        if batch.source is not None:
            grid = Grid(first_at=grid_at - HEAL_STEPS * step_s, last_at=grid_at, step_s=step_s)
            timeout_s = min(_READ_TIMEOUT_MAX_S, max(1.0, 0.8 * step_s))
            for reading in await self._ask(batch.source, batch.series, grid, now=now, timeout_s=timeout_s):
                for i, row in enumerate(reading.values):
                    self.book.write(reading.series_id, grid.first_at + i * step_s, row)
                self._problems[reading.series_id] = reading.problem
        for plan in batch.services:
            for series in plan.series:
                if series.check is not None:
                    self.book.close_bin(series.id, grid_at)
            self.readings.close(plan.name, grid_at)
            self._note(plan, grid_at, now)
            # With thousands of checks this takes longer than one of them may be late.
            await asyncio.sleep(0)

    async def mirror(self, batch: Batch, grid_at: float, *, at_once: bool = False) -> None:
        """Keep on disk the steps that can change no more; after judging, which must not wait for it.

        Small steps are kept some at a time (unless at_once): a crash loses the last `_MIRROR_S` at most.
        """
        for plan in batch.services:
            await self.samples.append_all(list(self.readings.due(plan.name, at_once=at_once)))
        self.metrics.informing.set(self.readings.count)
        self.metrics.dropped_readings.set(self.readings.dropped)
        step_s = batch.step_s
        last_at = grid_at - HEAL_STEPS * step_s
        first_at = self._mirrored_to.setdefault(batch.name, last_at - step_s) + step_s
        due_s = step_s if at_once else _MIRROR_S
        if last_at - first_at + step_s < due_s:
            return
        groups = [[item.id for item in batch.series]]
        groups += [[item.id for item in plan.series if item.check is not None] for plan in batch.services]
        rows: list[tuple[str, float, float, FloatArray]] = []
        for names in groups:
            found = [(name, step_s, first_at, self.book.read(name, first_at, last_at)) for name in names]
            rows += [row for row in found if not np.isnan(row[3]).all()]
            await asyncio.sleep(0)
        await self.samples.append_all(rows)
        self._mirrored_to[batch.name] = last_at

    def add(self, service: str, check: str, result: CheckResult, at: float) -> None:
        """Bin one check result; `error` is missing data."""
        if result.outcome == "error":
            return
        for reading, bins in self._by_check.get((service, check), ()):
            if reading is None:
                bins.add(at, float(result.outcome == "fail"))
            elif reading in result.readings:
                bins.add(at, result.readings[reading])
        self.readings.add(service, check, at, result.readings)

    async def _ask(
        self, source: str, series: Sequence[SeriesPlan], grid: Grid, *, now: float, timeout_s: float
    ) -> list[SourceReading]:
        queries = [item.query for item in series if item.query is not None]
        try:
            async with asyncio.timeout(timeout_s + _GRACE_S):
                readings = await self.sources[source].read(queries, grid, now=now, timeout_s=timeout_s)
        except TimeoutError:
            readings = [
                SourceReading(
                    series_id=item.id,
                    values=np.full((grid.n, item.spec.width), np.nan),
                    problem=f"the source kept no deadline ({timeout_s:g} s)",
                )
                for item in series
            ]
        problems = [reading.problem for reading in readings if reading.problem]
        self.board.sources[source] = problems[0] if problems else "ok"
        self.metrics.reads.labels(source, "problem" if problems else "ok").inc()
        return readings

    def _note(self, plan: ServicePlan, grid_at: float, now: float) -> None:
        note = self.board.services[plan.name]
        note.problems = sorted({self._problems.get(item.id) or "" for item in plan.series} - {""})
        first_at = grid_at - (HEAL_STEPS - 1) * plan.step_s
        sourced = [item.id for item in plan.series if item.source is not None]
        sees = [not np.isnan(self.book.read(name, first_at, grid_at)).all() for name in sourced]
        if not sees or any(sees):
            note.blind_since = None
        elif note.blind_since is None:
            note.blind_since = first_at - plan.step_s
        self.metrics.blind_s.labels(plan.name).set(
            0.0 if note.blind_since is None else now - note.blind_since
        )
