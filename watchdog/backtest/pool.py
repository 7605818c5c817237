"""Replays many deploys in as many processes as there are processors, from recordings shared through files.

The recordings lie in a folder that the processes map into memory, so that a task is small and a past that
fits no memory twice is held once.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detectors.model import SeriesSpec
from watchdog.backtest.past import Recording
from watchdog.backtest.trial import Case, Outcome, replay
from watchdog.plan import ServicePlan


class WorkerEnded(Exception):
    """A process was ended from outside, mostly for want of memory; the text says so with a remedy."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Recordings in a folder. entries: series id to (spec, first_at, file name)."""

    folder: Path
    entries: Mapping[str, tuple[SeriesSpec, float, str]]

    @classmethod
    def stock(cls, folder: Path, recordings: Mapping[str, Recording]) -> Shelf:
        """Write the recordings to a folder that exists and outlives the tasks."""
        entries = {}
        for i, (series_id, recording) in enumerate(recordings.items()):
            name = f"{i}.npy"
            np.save(folder / name, recording.values, allow_pickle=False)
            entries[series_id] = (recording.spec, recording.first_at, name)
        return cls(folder, entries)

    def only(self, series_ids: frozenset[str]) -> Shelf:
        """The same shelf, of which only these are seen."""
        return Shelf(self.folder, {name: entry for name, entry in self.entries.items() if name in series_ids})

    def recordings(self) -> dict[str, Recording]:
        """The recordings, mapped and read when they are used."""
        return {
            name: Recording(
                spec=spec,
                first_at=first_at,
                values=np.load(self.folder / file, mmap_mode="r", allow_pickle=False),
            )
            for name, (spec, first_at, file) in self.entries.items()
        }


@dataclass(frozen=True, slots=True)
class Task:
    """One deploy to replay. plan: without its checks, which hold what must not leave the process."""

    case: Case
    plan: ServicePlan
    shelf: Shelf


def task_of(case: Case, plan: ServicePlan, shelf: Shelf) -> Task:
    """The task with no more than it needs."""
    needed = {series.id for series in plan.series} | {i for ids in plan.controls.values() for i in ids}
    return Task(case, replace(plan, checks=(), version=None), shelf.only(frozenset(needed)))


def run_tasks(tasks: Sequence[Task], *, jobs: int, on_done: Callable[[], None]) -> list[Outcome]:
    """The outcome of every task, in their order; on_done: called after each. Raises WorkerEnded."""
    if jobs <= 1 or len(tasks) <= 1:
        return [_counted(run_task(task), on_done) for task in tasks]
    outcomes: dict[int, Outcome] = {}
    # Not forked: a process with threads and an event loop cannot be copied safely.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context, initializer=_ignore_interrupts)
    try:
        # The long ones first, so that no process idles at the end.
        order = sorted(range(len(tasks)), key=lambda i: not tasks[i].case.effects)
        places = {pool.submit(run_task, tasks[i]): i for i in order}
        for future in as_completed(places):
            outcomes[places[future]] = _counted(future.result(), on_done)
    except BrokenProcessPool as error:
        raise WorkerEnded(
            "a process was ended from outside, mostly for want of memory: try --jobs 1, or fewer days"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
    return [outcomes[i] for i in range(len(tasks))]


def run_task(task: Task) -> Outcome:
    """Replay one task here; of a placebo's verdict only what is counted is kept."""
    outcome = replay(task.case, task.plan, task.shelf.recordings())
    if task.case.is_placebo and outcome.verdict is not None:
        outcome = replace(outcome, verdict=replace(outcome.verdict, evidence=()))
    return outcome


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; the one that waits for the others ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _counted(outcome: Outcome, on_done: Callable[[], None]) -> Outcome:
    on_done()
    return outcome
