"""Reads the past of every series from where the daemon has it: its own samples, then its sources.

As the daemon does when it starts: what `samples.db` keeps is taken as it is, and a source is asked, through
the same chunked range reads, for a series that is still short. Whatever could not be read is said.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.model import FloatArray
from watchdog.backtest.past import Recording
from watchdog.plan import SeriesPlan, ServicePlan
from watchdog.sources.protocol import Grid, Source
from watchdog.sources.scrape import ScrapeSource
from watchdog.store.samples import KeptSamples

# Series asked for at a time; a Prometheus source itself sends four requests at most.
_AT_ONCE = 4
# As `keeper`: a history with less than this missing is not asked for again.
_MISSING_MAX = 0.01


class CannotRead(Exception):
    """There is no past to go by; the text says why, with the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What was read. problems: series id to why samples of it are missing, where a source said why."""

    recordings: Mapping[str, Recording]
    problems: Mapping[str, str]


def grid_of(plan: ServicePlan, since_at: float, until_at: float) -> Grid:
    """The whole steps of that service within the span. Raises ValueError when there is none."""
    step_s = plan.step_s
    first_at = (math.floor(since_at / step_s + 1e-9) + 1) * step_s
    last_at = math.floor(until_at / step_s + 1e-9) * step_s
    if last_at < first_at:
        raise ValueError(f"--since: no whole step of {step_s:g} s lies in the span; go further back")
    return Grid(first_at=first_at, last_at=last_at, step_s=step_s)


async def read_past(
    plans: Sequence[ServicePlan],
    sources: Mapping[str, Source],
    samples: KeptSamples | None,
    *,
    since_at: float,
    until_at: float,
    now: Callable[[], float],
    timeout_s: float,
    on_read: Callable[[str], None],
) -> Read:
    """The series of these services from since_at to until_at (epoch seconds).

    samples: what the daemon kept; None to go by the sources alone. now: the clock, for servers that ask to
    be left alone. timeout_s: for each series. on_read: called with the id of each series that is done.
    Raises CannotRead when no series has a single sample, and sqlite3.Error for damaged samples.
    """
    kept = _kept(plans, samples, since_at, until_at)
    problems: dict[str, str] = {}
    slots = asyncio.Semaphore(_AT_ONCE)

    async def read_one(plan: ServicePlan, series: SeriesPlan) -> None:
        async with slots:
            problem = await _complete(
                kept[series.id],
                series,
                sources.get(series.source) if series.source is not None else None,
                grid_of(plan, since_at, until_at),
                now=now(),
                timeout_s=timeout_s,
            )
            if problem is not None:
                problems[series.id] = problem
            on_read(series.id)

    async with asyncio.TaskGroup() as group:
        for plan in plans:
            for series in plan.series:
                group.create_task(read_one(plan, series))
    if all(np.isnan(values).all() for values in kept.values()):
        raise CannotRead(_nothing(problems))
    recordings = {
        series.id: Recording(
            spec=series.spec, first_at=grid_of(plan, since_at, until_at).first_at, values=kept[series.id]
        )
        for plan in plans
        for series in plan.series
    }
    return Read(recordings=recordings, problems=problems)


def _kept(
    plans: Sequence[ServicePlan], samples: KeptSamples | None, since_at: float, until_at: float
) -> dict[str, FloatArray]:
    """What the daemon kept of every series, by id; missing without a daemon."""
    kept = {}
    for plan in plans:
        grid = grid_of(plan, since_at, until_at)
        for series in plan.series:
            width = series.spec.width
            kept[series.id] = (
                np.full((grid.n, width), np.nan)
                if samples is None
                else samples.load(series.id, grid.step_s, width, grid.first_at, grid.last_at)
            )
    return kept


async def _complete(
    values: FloatArray,
    series: SeriesPlan,
    source: Source | None,
    grid: Grid,
    *,
    now: float,
    timeout_s: float,
) -> str | None:
    """Fill in `values` what its source has and the daemon did not keep; why some of it is missing."""
    missing = float(np.isnan(values).any(axis=1).mean())
    if series.check is not None:
        return "a check has no past but what the daemon kept of it" if missing == 1.0 else None
    if missing <= _MISSING_MAX or source is None or series.query is None:
        return None
    if isinstance(source, ScrapeSource):
        return f"{series.source} is a page that knows no past: only what the daemon kept was read"
    reading = (await source.read([series.query], grid, now=now, timeout_s=timeout_s))[0]
    is_news = np.isfinite(reading.values).all(axis=1) & ~np.isfinite(values).all(axis=1)
    values[is_news] = reading.values[is_news]
    return None if reading.problem is None else f"{series.source}: {reading.problem}"


def _nothing(problems: Mapping[str, str]) -> str:
    said = list(dict.fromkeys(problems.values()))
    shown = "; ".join(said[:3]) + (f"; and {len(said) - 3} more" if len(said) > 3 else "")
    return (
        f"no series has any data in this span: {shown or 'nothing was found'}. "
        "Look with `deploy-watchdog validate --online`, or choose another span with --since and --until."
    )
