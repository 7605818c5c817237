"""A whole backtest: read the past, put placebos into it, replay them and the real deploys, sum up."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from config import Loaded
from watchdog.backtest.cases import Cases, cases_of, placebo_count
from watchdog.backtest.decisions import Replayed, would_have_done
from watchdog.backtest.deploylog import DeployLog
from watchdog.backtest.openmetrics import OpenMetricsHistory
from watchdog.backtest.pool import Shelf, run_tasks, task_of
from watchdog.backtest.progress import Progress
from watchdog.backtest.reading import CannotRead, Read, read_past
from watchdog.backtest.report import SCHEMA, Report, ServiceReport
from watchdog.backtest.summary import Tried, summarise
from watchdog.backtest.trial import Outcome
from watchdog.backtest.watched import watched
from watchdog.plan import ServicePlan
from watchdog.sources.protocol import Source
from watchdog.store.samples import KeptSamples


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for. placebos: per service; None = chosen by the number of series. jobs: processes."""

    since_at: float
    until_at: float
    inject: bool = False
    placebos: int | None = None
    jobs: int = 1
    timeout_s: float = 300.0


async def read(
    loaded: Loaded,
    plans: Mapping[str, ServicePlan],
    services: Sequence[str],
    wanted: Wanted,
    *,
    file: OpenMetricsHistory | None,
    now: Callable[[], float],
    progress: Progress,
) -> Read:
    """The past of these services and of their controls. Raises CannotRead."""
    names = set(services) | {control for name in services for control in plans[name].control_services}
    chosen = [plan for plan in plans.values() if plan.name in names]
    sources: Mapping[str, Source] = loaded.sources
    kept = Path(loaded.settings.state_dir) / "samples.db"
    if file is not None:
        sources = {str(item.source): file for plan in chosen for item in plan.series if item.source}
    progress.begin("reading", sum(len(plan.series) for plan in chosen))
    samples = None
    try:
        samples = KeptSamples(kept) if file is None and kept.exists() else None
        return await read_past(
            chosen,
            sources,
            samples,
            since_at=wanted.since_at,
            until_at=wanted.until_at,
            now=now,
            timeout_s=wanted.timeout_s,
            on_read=lambda _: progress.advance(),
        )
    except sqlite3.Error as error:
        raise CannotRead(f"{kept}: {error}; move it away to go by the sources alone") from error
    finally:
        progress.end()
        if samples is not None:
            samples.close()
        for source in loaded.sources.values():
            await source.close()


def backtest(
    plans: Mapping[str, ServicePlan],
    services: Sequence[str],
    past: Read,
    log: DeployLog,
    wanted: Wanted,
    progress: Progress,
) -> list[ServiceReport]:
    """One report per service, in the order of `services`. Raises WorkerEnded."""
    every = watched(log.deploys, plans)
    placebos_max = placebo_count(wanted.placebos, sum(len(plans[name].series) for name in services))
    groups = [
        cases_of(
            plans[name],
            [past.recordings[item.id] for item in plans[name].series],
            every,
            placebos_max=placebos_max,
            inject=wanted.inject,
        )
        for name in services
    ]
    outcomes = iter(_replayed(groups, past, wanted, progress))
    tried = []
    for group in groups:
        placebos = [next(outcomes) for _ in group.placebos]
        real = [Replayed(each, next(outcomes)) for each in group.replayed]
        tried.append(Tried(cases=group, placebos=placebos, deploys=real))
    # Facts reach over services: a rollback of one counts against the limits of all.
    decisions = would_have_done([each for one in tried for each in one.deploys], plans, log.recorded)
    return [
        summarise(one, past.recordings, past.problems, decisions=decisions, recorded=log.recorded)
        for one in tried
    ]


def _replayed(groups: Sequence[Cases], past: Read, wanted: Wanted, progress: Progress) -> list[Outcome]:
    """The outcome of every case: of each group its placebos, then its real deploys."""
    with tempfile.TemporaryDirectory(prefix="deploy-watchdog-backtest-") as folder:
        shelf = Shelf.stock(Path(folder), past.recordings)
        tasks = [
            task_of(case, group.plan, shelf) for group in groups for case in (*group.placebos, *group.real)
        ]
        progress.begin("judging", len(tasks))
        try:
            return run_tasks(tasks, jobs=wanted.jobs, on_done=progress.advance)
        finally:
            progress.end()


def report_of(
    loaded: Loaded,
    wanted: Wanted,
    log: DeployLog,
    notes: Sequence[str],
    services: Sequence[ServiceReport],
    took_s: float,
) -> Report:
    """The whole report."""
    return Report(
        schema=SCHEMA,
        config=loaded.digest,
        environment=loaded.settings.environment,
        since_at=wanted.since_at,
        until_at=wanted.until_at,
        took_s=took_s,
        deploy_log=log.origin,
        notes=tuple(notes),
        services=tuple(services),
    )


def notes_on(plans: Mapping[str, ServicePlan], past: Read, log: DeployLog) -> list[str]:
    """What must be known before the report is believed: what could not be read, and what was left out."""
    notes = []
    for series_id, recording in past.recordings.items():
        problem = past.problems.get(series_id)
        if problem is not None or recording.coverage == 0.0:
            why = f": {problem}" if problem else ""
            notes.append(f"{series_id}: {100 * recording.coverage:.0f} % of the steps have a value{why}")
    if log.left_out:
        notes.append(f"{log.left_out} deploys are of services that are not configured, and were left out")
    return notes
