"""Kind `heartbeat`: a dead man's switch. The job reports; a report that does not come is the failure."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar

from checks.duration import show_span
from checks.model import Beat, Beats, BeatState, CheckResult, DatabaseUnable, World
from checks.text import finish, sign

# A run started by the other machine's clock may end a moment before ours says it was due.
_SKEW_S = 30.0
_SHOWN_RUNS = 10
_AT_MOST = 100


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the job, first heard of at `at` and last at `last_at`.

    state: of its newest report; `start` means that it goes on. is_begun: its start was reported.
    """

    state: BeatState
    at: float
    last_at: float
    is_begun: bool
    exit_code: int | None = None

    @property
    def took_s(self) -> float | None:
        """How long it took, None where that is not known."""
        return self.last_at - self.at if self.is_begun and self.state != "start" else None


@dataclass(slots=True, kw_only=True)
class HeartbeatCheck:
    """Wait for a job that reports over the API, or is run by `deploy-watchdog heartbeat`.

    `every` or `cron` says when the job is due; what it reported is looked at twice a minute, and at once.
    It never causes a rollback: each look at a failed run sees the same one failure again.

    grace_s: how long after it was due its success may still be reported.
    runs_min_s: a run that took less is a failure; the job must report its starts.
    runs_max_s: a run that takes longer is a failure, ended or not; the job must report its starts.
    at_most: more runs than that within `at_most_per` are a failure.
    at_most_per_s: goes with `at_most`.
    Readings: age_s (since the newest success), run_s (how long that run took); only while all is well.
    """

    every_s: float | None = None
    cron: str | None = None
    grace_s: float = 300.0
    runs_min_s: float | None = None
    runs_max_s: float | None = None
    at_most: int | None = None
    at_most_per_s: float | None = None
    looks_every_s: ClassVar[float] = 30.0
    may_act: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.every_s is None and self.cron is None:
            raise ValueError("every: it is not said when the job is due; write every: 1d or cron: 30 2 * * *")
        for key, value in (("runs_max_s", self.runs_max_s), ("at_most_per_s", self.at_most_per_s)):
            if value == 0:
                raise ValueError(f"{key}: write a duration above 0s")
        if self.runs_min_s is not None and self.runs_min_s >= (self.runs_max_s or math.inf):
            raise ValueError("runs_min_s: no run could be right; write less than runs_max")
        if (self.at_most is None) != (self.at_most_per_s is None):
            raise ValueError("at_most: it goes with at_most_per; write at_most: 3 and at_most_per: 1h")
        if self.at_most is not None and not 1 <= self.at_most <= _AT_MOST:
            raise ValueError(f"at_most: write a number from 1 to {_AT_MOST}")

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        if world.beats is None:
            return finish("error", "reports are kept by the daemon, and none has run here", readings={})
        try:
            async with asyncio.timeout(world.timeout_s):
                beats = await world.beats.heard()
        except TimeoutError:
            return finish("error", f"our store did not answer within {world.timeout_s:g} s", readings={})
        except DatabaseUnable as error:
            return finish("error", str(error), readings={})
        now, runs = world.now_s(), runs_of(beats)
        details = [_line(run, now) for run in runs[-_SHOWN_RUNS:]]
        if because := self._wrong(runs, now) or self._late(beats, runs, world.beats, now):
            return finish("fail", because, readings={}, details=details)
        good = _newest(runs, "success")
        if good is None:
            return finish("error", _first_due(beats, world.beats), readings={}, details=details)
        readings = {"age_s": now - good.last_at}
        if good.took_s is not None:
            readings["run_s"] = good.took_s
        return finish("pass", readings=readings, details=details)

    def _wrong(self, runs: Sequence[Run], now: float) -> str:
        """What is wrong with the runs there were, empty if nothing."""
        good, bad = _newest(runs, "success"), _newest(runs, "fail")
        good_at = good.last_at if good else -math.inf
        if bad and bad.last_at > good_at:
            code = "" if bad.exit_code is None else f" with exit code {bad.exit_code}"
            return f"the run that ended {_clock(bad.last_at)} failed{code}"
        long_s, short_s = self.runs_max_s or math.inf, self.runs_min_s or 0.0
        for run in runs:
            # One that never ended is forgotten when a later one ends well.
            if run.state == "start" and run.at > good_at and now - run.at > long_s:
                return f"the run that began {_clock(run.at)} has not ended (runs_max is {show_span(long_s)})"
        if good and good.took_s is not None and not short_s <= good.took_s <= long_s:
            limit = "runs_min" if good.took_s < short_s else "runs_max"
            limit_s = show_span(short_s if good.took_s < short_s else long_s)
            return f"the newest run took {show_span(good.took_s)} ({limit} is {limit_s})"
        return self._too_often(runs, now)

    def _too_often(self, runs: Sequence[Run], now: float) -> str:
        if self.at_most is None or self.at_most_per_s is None:
            return ""
        n = sum(run.at > now - self.at_most_per_s for run in runs)
        if n <= self.at_most:
            return ""
        return f"{n} runs in the last {show_span(self.at_most_per_s)} (at_most is {self.at_most})"

    def _late(self, beats: Sequence[Beat], runs: Sequence[Run], due: Beats, now: float) -> str:
        """That a success is overdue, empty if it is not."""
        good, awaited = _newest(runs, "success"), _awaited(beats)
        if good is not None:
            last_at, skew_s = good.last_at, _SKEW_S if self.cron else 0.0
            since = f"no success for {show_span(now - last_at)}"
        elif awaited is not None:
            last_at, skew_s, since = awaited.at, 0.0, "no success was ever reported"
        else:
            return ""
        due_at = due.due_after(last_at + skew_s)
        if now <= due_at + self.grace_s:
            return ""
        going = ""
        if runs and runs[-1].state == "start":
            going = f"; a run that began {_clock(runs[-1].at)} has not ended"
        return f"{since}, one was due {_clock(due_at)} (grace is {show_span(self.grace_s)}){going}"


def runs_of(beats: Iterable[Beat]) -> list[Run]:
    """The runs that were reported, in the order in which they were first heard of.

    An end belongs to the open run of the same name. Without names a job has one run at a time: a second
    start means that the first never ended.
    """
    runs: list[Run] = []
    is_open: dict[str, int] = {}
    for beat in beats:
        if beat.state == "start":
            is_open[beat.run] = len(runs)
            runs.append(Run("start", beat.at, beat.at, True))
        elif beat.state != "awaited":
            at = is_open.pop(beat.run, None)
            if at is None:
                runs.append(Run(beat.state, beat.at, beat.at, False, beat.exit_code))
            else:
                runs[at] = replace(runs[at], state=beat.state, last_at=beat.at, exit_code=beat.exit_code)
    return runs


def _newest(runs: Iterable[Run], state: BeatState) -> Run | None:
    """The run that was the last to end so."""
    return max((run for run in runs if run.state == state), key=lambda run: run.last_at, default=None)


def _awaited(beats: Iterable[Beat]) -> Beat | None:
    return next((beat for beat in beats if beat.state == "awaited"), None)


def _first_due(beats: Iterable[Beat], due: Beats) -> str:
    awaited = _awaited(beats)
    if awaited is None:
        return "no report is known, and the daemon has not begun to wait for one"
    return f"no success was reported yet, the first is due {_clock(due.due_after(awaited.at))}"


def _line(run: Run, now: float) -> str:
    began = f"began {_clock(run.at)}, " if run.is_begun else ""
    if run.state == "start":
        return f"wait {began}not ended after {show_span(now - run.at)}"
    ended = sign("pass" if run.state == "success" else "fail")
    took = "" if run.took_s is None else f", took {show_span(run.took_s)}"
    code = "" if run.exit_code is None else f", exit code {run.exit_code}"
    return f"{ended} {began}ended {_clock(run.last_at)}{took}{code}"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
