"""One open watch being judged: feeds a DeployJudge its ticks, in order and each once.

A seat can be thrown away and rebuilt from the rings at any time with the same answers: that is how a watch
survives a restart, and how it follows a deploy whose start, end or suspects turn out to be others. A bug in
judging is contained here (docs/architecture.md): the watch ends inconclusive, because what cannot be judged
is unknown, and unknown never acts.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

import numpy as np

from detectors.judge import DeployJudge
from detectors.model import DeployInterval, FloatArray, History, Verdict
from detectors.packet import SCHEMA
from watchdog.metrics import Metrics
from watchdog.model import Deploy, Watch
from watchdog.plan import ServicePlan
from watchdog.series import SeriesRing

log = logging.getLogger("watchdog.judging.seat")


class Book(Protocol):
    """What a seat reads of the observed: the daemon's rings (`series.SeriesBook`), or a replayed past."""

    def history(self, series_id: str, *, end_at: float, n: int, name: str | None = None) -> History:
        """The n steps that end with `end_at`; `name` renames the spec."""
        ...

    def at(self, series_id: str, at: float) -> FloatArray:
        """The row of one step, shape (width,), NaN = missing."""
        ...

    def is_read(self, series_id: str, at: float) -> bool:
        """True if that step, or a later one, was written: as a value or as missing."""
        ...

    def is_frozen(self, series_id: str, at: float, grid_at: float) -> bool:
        """True if that step changes no more after the tick at `grid_at`."""
        ...


class Seat:
    """The judge of one watch and how far it has judged.

    verdict: the newest, None before the first tick. signature: what was last decided on, so that a tick that
    changes nothing writes nothing. lock: held from judging to recording, so that decisions keep their order.
    """

    def __init__(
        self, watch: Watch, deploy: Deploy, others: Sequence[Deploy], plan: ServicePlan, metrics: Metrics
    ) -> None:
        """others: the deploys that share the blame."""
        self.watch = watch
        self.deploy = deploy
        self.plan = plan
        self.verdict: Verdict | None = None
        self.signature: tuple[object, ...] = ()
        self.lock = asyncio.Lock()
        self.judged_to_at: float
        self.history_s = 0.0
        self._metrics = metrics
        self._control_ids = sorted({name for ids in plan.controls.values() for name in ids})
        self._intervals = self._intervals_of(deploy, others)
        self._judge: DeployJudge | None = None
        self._past: Sequence[Deploy] = ()
        self._readings: Mapping[str, SeriesRing] = {}
        # Of those, what nothing is said of: quiet ones would only make a packet ten times as long.
        self._quiet: frozenset[str] = frozenset()
        self._failure: Verdict | None = None
        self._ticks: int
        self._ticks_with_controls: int
        self._blind_from_at: float | None
        self._rewind()

    @property
    def is_over(self) -> bool:
        """True once the last step of the watch has been judged, or judging failed."""
        return self._failure is not None or self.judged_to_at >= self._last_step_at()

    def open(self, book: Book, past: Sequence[Deploy], readings: Sequence[SeriesRing] = ()) -> None:
        """Build the judge on the history up to the deploy's start: tens of milliseconds a series.

        past: deploys of the service that no placebo may overlap. readings: judged beside the series of the
        plan, and told of from when they got worse.
        """
        self._rewind()
        self._past = past
        self._readings = {ring.spec.name: ring for ring in readings}
        self._quiet = frozenset(self._readings)
        try:
            histories = [self._history(book, plan.id, plan.spec.name) for plan in self.plan.series]
            n = self.plan.history_grid(self.judged_to_at).n
            controls = {
                name: [self._history(book, control_id, control_id) for control_id in ids]
                for name, ids in self.plan.controls.items()
                if ids
            }
            self.history_s = max((_span_s(history) for history in histories), default=0.0)
            judged, *others = self._intervals.values()
            self._judge = DeployJudge(
                deploy=judged,
                others=others,
                histories=[
                    *histories,
                    *(ring.history(end_at=self.judged_to_at, n=n) for ring in readings),
                ],
                settings=self.plan.judge,
                controls=controls,
                past_deploys=[self._interval(deploy) for deploy in past],
            )
        except Exception as error:  # noqa: BLE001  containment 2 of 3
            self._contain(error, book)

    def twin(self) -> Seat:
        """A second seat that has judged the same so far and goes on alone: cheaper than opening another."""
        other = copy.copy(self)
        other.lock = asyncio.Lock()
        other._judge = copy.deepcopy(self._judge)  # noqa: SLF001  of its own class
        return other

    def rests_on(self, deploy: Deploy, others: Sequence[Deploy]) -> bool:
        """True while these deploys are what the seat was built on; otherwise it is to be built anew."""
        return self._intervals == self._intervals_of(deploy, others)

    def tick(self, book: Book, grid_at: float) -> Verdict | None:
        """Judge every step up to `grid_at` that is ready; the newest verdict, None when no step was.

        A step is ready when each of its source series has a value or is too old to get one.
        """
        newest = self._failure
        if newest is None:
            try:
                newest = self._tick(book, grid_at)
            except Exception as error:  # noqa: BLE001  containment 2 of 3
                self._contain(error, book)
                return self.tick(book, grid_at)
        if newest is not None:
            self.verdict = newest
        return newest

    def are_controls_blind(self) -> bool:
        """True if there are controls and too little was seen of them to tell a shock that hits everybody."""
        enough = self.plan.judge.coverage_min * self._ticks
        return bool(self._control_ids) and self._ticks_with_controls < enough

    def blind_s(self) -> float:
        """How long the verdict has been blind without a break, in judged time."""
        return 0.0 if self._blind_from_at is None else self.judged_to_at - self._blind_from_at

    def stage(self, verdict: Verdict) -> str:
        """Which part of the watch `verdict` falls in: a change of stage is worth recording."""
        if self.is_over:
            return "over"
        if self.deploy.finished_at is None:
            return "announced"
        return "warming" if verdict.at < self.watch.observe_at else "observing"

    def packet(self) -> dict[str, Any]:
        """The evidence packet as of the last tick; of a judge that failed, only its verdict."""
        if self._failure is not None or self._judge is None:
            verdict = asdict(self._failure) if self._failure is not None else {}
            return {"schema": SCHEMA, "series": [], "evidence": [], "verdict": verdict}
        return self._judge.packet(without=self._quiet)

    def _tick(self, book: Book, grid_at: float) -> Verdict | None:
        if self._judge is None:
            raise AssertionError("a seat is opened before it is used")
        newest = None
        step_s = self.plan.step_s
        while self.judged_to_at + step_s <= min(grid_at, self._last_step_at()):
            at = self.judged_to_at + step_s
            values = {plan.spec.name: book.at(plan.id, at) for plan in self.plan.series}
            told = {name: ring.at(at) for name, ring in self._readings.items()}
            if self._is_waiting(book, values, at, grid_at):
                break
            controls = {name: book.at(name, at) for name in self._control_ids}
            self._ticks += 1
            self._ticks_with_controls += any(not np.isnan(row).all() for row in controls.values())
            newest = self._without_quiet(self._judge.tick(at, {**values, **told}, controls))
            self.judged_to_at = at
            self._note_blindness(newest)
            if newest.state == "regressed":
                return newest
        return self._without_quiet(self._judge.close()) if newest is not None and self.is_over else newest

    def _without_quiet(self, verdict: Verdict) -> Verdict:
        """Without the readings that never got worse in this watch."""
        self._quiet -= {said.series for said in verdict.evidence if said.state == "suspect"}
        return replace(verdict, evidence=tuple(e for e in verdict.evidence if e.series not in self._quiet))

    def _is_waiting(self, book: Book, values: Mapping[str, FloatArray], at: float, grid_at: float) -> bool:
        """A series may still get its value; a control that was not read yet says nothing of its service."""
        is_late = any(
            plan.source is not None
            and bool(np.isnan(values[plan.spec.name]).all())
            and not book.is_frozen(plan.id, at, grid_at)
            for plan in self.plan.series
        )
        return is_late or any(
            not book.is_read(name, at) and not book.is_frozen(name, at, grid_at) for name in self._control_ids
        )

    def _last_step_at(self) -> float:
        return math.floor(self.watch.ends_at / self.plan.step_s) * self.plan.step_s

    def _rewind(self) -> None:
        """Stand before the first step."""
        self.judged_to_at = math.floor(self.deploy.started_at / self.plan.step_s) * self.plan.step_s
        self._ticks = 0
        self._ticks_with_controls = 0
        self._blind_from_at = None

    def _contain(self, error: Exception, book: Book) -> None:
        """Judge from the start again without what only informs; if that was left out already, give up."""
        self._metrics.judge_bugs.labels(self.plan.name).inc()
        log.exception("judge raised", extra={"service": self.plan.name, "watch": self.watch.id})
        if self._readings:
            # It is nobody's choice what a check tells, so it must not blind what acts.
            self.open(book, self._past)
            return
        because = f"The judge of this watch failed, so nothing can be said ({type(error).__name__}: {error})."
        self._failure = Verdict(
            state="inconclusive", reason="coverage", because=because, at=self.judged_to_at
        )

    def _note_blindness(self, verdict: Verdict) -> None:
        if verdict.state != "blind":
            self._blind_from_at = None
        elif self._blind_from_at is None:
            self._blind_from_at = verdict.at

    def _history(self, book: Book, series_id: str, name: str) -> History:
        n = self.plan.history_grid(self.judged_to_at).n
        return book.history(series_id, end_at=self.judged_to_at, n=n, name=name)

    def _intervals_of(self, deploy: Deploy, others: Sequence[Deploy]) -> dict[str, DeployInterval]:
        return {each.id: self._interval(each) for each in (deploy, *others)}

    def _interval(self, deploy: Deploy) -> DeployInterval:
        """The deploy as the judge sees it; one still in progress may take up to the longest roll-out."""
        finished_at = deploy.finished_at
        if finished_at is None:
            finished_at = deploy.started_at + self.plan.rollout_max_s
        return DeployInterval(id=deploy.id, started_at=deploy.started_at, finished_at=finished_at)


def _span_s(history: History) -> float:
    """Seconds from the oldest sample with data to the end of the history."""
    seen = np.flatnonzero(~np.isnan(history.values).all(axis=1))
    if len(seen) == 0:
        return 0.0
    return float(len(history.values) - seen[0]) * history.spec.step_s
