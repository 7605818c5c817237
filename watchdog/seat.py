"""One open watch being judged: feeds a DeployJudge its ticks, in order and each once.

A seat can be thrown away and rebuilt from the rings at any time with the same answers: that is how a watch
survives a restart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from detectors.judge import DeployJudge
from detectors.model import DeployInterval, History, Verdict
from detectors.packet import SCHEMA
from watchdog.model import Deploy, Watch
from watchdog.plan import ServicePlan
from watchdog.series import SeriesBook


class Seat:
    """The judge of one watch and how far it has judged.

    open_() may take tens of milliseconds per series: call it in a thread. verdict is the newest, None before
    the first tick. signature: what was last decided on, so that a tick that changes nothing writes nothing.
    """

    def __init__(
        self, watch: Watch, deploy: Deploy, plan: ServicePlan, verdict: Verdict | None = None
    ) -> None:
        self.watch = watch
        self.deploy = deploy
        self.plan = plan
        self.verdict = verdict
        self.signature: tuple[object, ...] = ()
        self._blind_from_at: float | None = None
        self._gave_up: Verdict | None = None
        self.judged_to_at = math.floor(deploy.started_at / plan.step_s) * plan.step_s
        self._judge: DeployJudge | None = None
        self._history_s = 0.0

    @property
    def is_open(self) -> bool:
        """True once the judge has been built."""
        return self._judge is not None

    @property
    def is_over(self) -> bool:
        """True once the last step of the watch has been judged."""
        return self._gave_up is not None or self.judged_to_at >= self._last_step_at()

    @property
    def history_s(self) -> float:
        """How much history the judge rests on: the longest of the acting series."""
        return self._history_s

    def open(self, book: SeriesBook, others: Sequence[Deploy], past: Sequence[Deploy]) -> None:
        """Build the judge on the history up to the deploy's start."""
        histories = [self._history(book, plan.id, plan.spec.name) for plan in self.plan.series]
        controls = {
            name: [self._history(book, control_id, control_id) for control_id in ids]
            for name, ids in self.plan.controls.items()
            if ids
        }
        self._history_s = max((_span_s(history) for history in histories), default=0.0)
        self._judge = DeployJudge(
            deploy=interval(self.deploy, self.plan.rollout_max_s),
            others=[interval(other, self.plan.rollout_max_s) for other in others],
            histories=histories,
            settings=self.plan.judge,
            controls=controls,
            past_deploys=[interval(deploy, self.plan.rollout_max_s) for deploy in past],
        )

    def tick(self, book: SeriesBook, grid_at: float) -> Verdict | None:
        """Judge every step up to `grid_at` that is ready; the newest verdict, None when no step was.

        A step is ready when each of its source series has a value or is too old to get one.
        """
        assert self._judge is not None
        newest = None
        step_s = self.plan.step_s
        while self.judged_to_at + step_s <= min(grid_at, self._last_step_at()):
            at = self.judged_to_at + step_s
            values = {plan.spec.name: book.at(plan.id, at) for plan in self.plan.series}
            is_waiting = any(
                plan.source is not None
                and bool(np.isnan(values[plan.spec.name]).all())
                and not book.is_frozen(plan.id, at, grid_at)
                for plan in self.plan.series
            )
            if is_waiting:
                break
            controls = {
                control_id: book.at(control_id, at)
                for ids in self.plan.controls.values()
                for control_id in ids
            }
            newest = self._judge.tick(at, values, controls)
            self.judged_to_at = at
            if newest.state == "regressed":
                break
        if newest is not None and self.is_over and newest.state != "regressed":
            newest = self._judge.close()
        if newest is not None:
            self.verdict = newest
            self._note_blindness(newest)
        return newest

    def blind_s(self) -> float:
        """How long the verdict has been blind without a break, in judged time."""
        return 0.0 if self._blind_from_at is None else self.judged_to_at - self._blind_from_at

    def give_up(self, because: str) -> Verdict:
        """The verdict of a judge that failed: inconclusive, and the watch is over."""
        self._gave_up = Verdict(
            state="inconclusive", reason="coverage", because=because, at=self.judged_to_at
        )
        self.verdict = self._gave_up
        return self.verdict

    def stage(self, verdict: Verdict) -> str:
        """Which part of the watch `verdict` falls in: a change of stage is worth recording."""
        if self.is_over:
            return "over"
        if self.deploy.finished_at is None:
            return "announced"
        return "warming" if verdict.at < self.watch.observe_at else "observing"

    def add_deploy(self, other: Deploy) -> None:
        """Another deploy overlaps from now on: it shares the onset posterior."""
        if self._judge is not None:
            self._judge.add_deploy(interval(other, self.plan.rollout_max_s))

    def update(self, watch: Watch, deploy: Deploy) -> None:
        """The intake changed the watch or the deploy's interval."""
        if deploy.finished_at is not None and deploy.finished_at != self.deploy.finished_at and self._judge:
            self._judge.finish(deploy.finished_at)
        self.watch, self.deploy = watch, deploy

    def packet(self) -> dict[str, Any]:
        """The evidence packet as of the last tick; of a judge that failed, only its verdict."""
        if self._gave_up is not None:
            return {"schema": SCHEMA, "series": [], "evidence": [], "verdict": asdict(self._gave_up)}
        assert self._judge is not None
        return self._judge.packet()

    def _note_blindness(self, verdict: Verdict) -> None:
        if verdict.state != "blind":
            self._blind_from_at = None
        elif self._blind_from_at is None:
            self._blind_from_at = verdict.at

    def _last_step_at(self) -> float:
        if self.deploy.finished_at is None:
            return math.inf
        return math.floor(self.watch.ends_at / self.plan.step_s) * self.plan.step_s

    def _history(self, book: SeriesBook, series_id: str, name: str) -> History:
        return book.history(
            series_id, end_at=self.judged_to_at, n=round(self.plan.history_s / self.plan.step_s), name=name
        )


def interval(deploy: Deploy, rollout_max_s: float) -> DeployInterval:
    """The deploy as the judge sees it; one still in progress may take up to `rollout_max_s`."""
    finished_at = deploy.finished_at
    return DeployInterval(
        id=deploy.id,
        started_at=deploy.started_at,
        finished_at=deploy.started_at + rollout_max_s if finished_at is None else finished_at,
    )


def _span_s(history: History) -> float:
    """Seconds from the oldest sample with data to the end of the history."""
    seen = np.flatnonzero(~np.isnan(history.values).all(axis=1))
    if len(seen) == 0:
        return 0.0
    return float(len(history.values) - seen[0]) * history.spec.step_s
