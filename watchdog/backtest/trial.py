"""Replays one deploy: the daemon's own seat, step by step over a past, and what it said.

Deploys that may share the blame come in when they started, as they do while the daemon runs.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from detectors.model import Calibration, FloatArray, Reason, Verdict
from watchdog.backtest.injection import effects_of, inject, level_of
from watchdog.backtest.past import AlteredBook, PastBook, Recording
from watchdog.judging.seat import Seat
from watchdog.metrics import Metrics
from watchdog.model import OPEN_WATCH_STATES, Deploy, Watch, WatchState
from watchdog.plan import ServicePlan
from watchdog.watch import advance


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One deploy to replay. suspects: may share the blame. past: what no placebo of the judge may touch.

    is_placebo: it never happened, so it is followed to the end of its watch whatever is said before.
    effects: also with every injected effect. seed: of the chance in them.
    """

    deploy: Deploy
    watch: Watch
    suspects: tuple[Deploy, ...] = ()
    past: tuple[Deploy, ...] = ()
    is_placebo: bool = False
    effects: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was said of one deploy.

    watch: as it ended. verdict: the first `regressed`, else the last; evidence included. fired: series to
    seconds from the end of the deploy to the first step at which that series alone was worse; in the order
    of their names. injected: per size (index as in `effects_of`) series to those seconds, and only series
    that could be given the effect; None where it was not found. smallest_visible: as of the last step.
    """

    deploy_id: str
    watch: Watch
    verdict: Verdict | None
    history_s: float
    are_controls_blind: bool
    is_judge_broken: bool
    fired: Mapping[str, float] = field(default_factory=dict)
    smallest_visible: Mapping[str, float] = field(default_factory=dict)
    injected: tuple[Mapping[str, float | None], ...] = ()

    @property
    def state(self) -> WatchState:
        """How the watch ended."""
        return self.watch.state

    @property
    def reason(self) -> Reason:
        """Why, in one word; empty when nothing was judged."""
        return self.verdict.reason if self.verdict is not None else ""

    @property
    def calibration(self) -> Calibration | None:
        """Whether the limits came from the past of the service itself."""
        return self.verdict.calibration if self.verdict is not None else None


def replay(case: Case, plan: ServicePlan, recordings: Mapping[str, Recording]) -> Outcome:
    """The outcome of one deploy, judged on these recordings (the series of `plan` and of its controls)."""
    book = PastBook(recordings)
    metrics = Metrics()
    seat = _seated(case, plan, book, metrics, at=case.deploy.started_at)
    fresh = seat.twin() if case.effects else None
    history_s = seat.history_s
    # A watch that a rollback ended is open until then.
    watch = replace(case.watch, state="announced", closed_at=None)
    regressed: Verdict | None = None
    newest: Verdict | None = None
    are_controls_blind = False
    fired: dict[str, float] = {}
    for at in _steps(case, plan, seat, recordings):
        if case.suspects and not seat.rests_on(case.deploy, _known(case, at)):
            seat = _seated(case, plan, book, metrics, at=at)
        verdict = seat.tick(book, at)
        if verdict is None:
            continue
        newest = verdict
        for evidence in verdict.evidence:
            if evidence.state == "worse":
                fired.setdefault(evidence.series, verdict.at - _finished_at(case.deploy, plan))
        if regressed is None:
            watch = advance(watch, case.deploy, verdict, is_over=seat.is_over, now=verdict.at)
            are_controls_blind = seat.are_controls_blind()
            regressed = verdict if verdict.state == "regressed" else None
        if regressed is not None and not case.is_placebo:
            break
    if watch.state in OPEN_WATCH_STATES and case.watch.state == "superseded":
        watch = case.watch
    final = regressed or newest
    return Outcome(
        deploy_id=case.deploy.id,
        watch=watch,
        verdict=final,
        history_s=history_s,
        are_controls_blind=are_controls_blind,
        is_judge_broken=bool(metrics.registry.get_sample_value(*_bugs(plan))),
        fired=dict(sorted(fired.items())),
        smallest_visible={
            evidence.series: evidence.smallest_visible
            for evidence in (newest.evidence if newest is not None else ())
            if evidence.smallest_visible is not None
        },
        injected=() if fresh is None else _injected(case, plan, recordings, fresh),
    )


def _injected(
    case: Case, plan: ServicePlan, recordings: Mapping[str, Recording], fresh: Seat
) -> tuple[Mapping[str, float | None], ...]:
    """Per size, what was found of an effect in every series at once.

    At once, because the evidence of a series rests on its own samples and its controls' alone (a test holds
    the judge to that), and one run per size is a fiftieth of one per size and series.
    """
    step_s = plan.step_s
    finished_at = _finished_at(case.deploy, plan)
    first_at = (math.floor(finished_at / step_s + 1e-9) + 1) * step_s
    n = math.ceil((case.watch.ends_at - first_at) / step_s) + 1
    n_before = math.ceil(plan.judge.watch_s / step_s)
    found: list[Mapping[str, float | None]] = []
    for size in range(max((len(effects_of(item.spec)) for item in plan.series), default=0)):
        altered: dict[str, FloatArray] = {}
        names: dict[str, str] = {}
        for item in plan.series:
            recording = recordings[item.id]
            before = recording.rows(first_at - n_before * step_s, n_before)
            level = level_of(item.spec, before)
            if level is not None:
                rng = np.random.default_rng([zlib.crc32(item.id.encode()), case.seed, size])
                effect = effects_of(item.spec)[size]
                altered[item.id] = inject(item.spec, recording.rows(first_at, n), effect, level, rng)
                names[item.spec.name] = item.id
        delays: dict[str, float | None] = dict.fromkeys(names)
        book, seat = AlteredBook(recordings, first_at, altered), fresh.twin()
        for at in _steps(case, plan, seat, recordings):
            verdict = seat.tick(book, at)
            if verdict is None:
                continue
            for evidence in verdict.evidence:
                if evidence.state == "worse" and delays.get(evidence.series, 0.0) is None:
                    delays[evidence.series] = verdict.at - finished_at
            if all(delay is not None for delay in delays.values()):
                break
        found.append(delays)
    return tuple(found)


def _seated(case: Case, plan: ServicePlan, book: PastBook, metrics: Metrics, *, at: float) -> Seat:
    seat = Seat(case.watch, case.deploy, _known(case, at), plan, metrics)
    seat.open(book, case.past)
    return seat


def _known(case: Case, at: float) -> list[Deploy]:
    """The suspects that had started by then."""
    return [other for other in case.suspects if other.started_at <= at]


def _steps(case: Case, plan: ServicePlan, seat: Seat, recordings: Mapping[str, Recording]) -> Sequence[float]:
    """Ends of the steps still to be judged: to the end of the watch, what closed it before, or the past's."""
    last_at = max(recordings[item.id].last_at for item in plan.series)
    closed_at = math.inf if case.watch.closed_at is None else case.watch.closed_at
    first = round(seat.judged_to_at / plan.step_s) + 1
    last = math.floor(min(case.watch.ends_at, closed_at, last_at) / plan.step_s + 1e-9)
    return [number * plan.step_s for number in range(first, last + 1)]


def _finished_at(deploy: Deploy, plan: ServicePlan) -> float:
    """When it finished; one that nobody said finished took the longest roll-out."""
    return deploy.started_at + plan.rollout_max_s if deploy.finished_at is None else deploy.finished_at


def _bugs(plan: ServicePlan) -> tuple[str, dict[str, str]]:
    return "watchdog_judge_bugs_total", {"service": plan.name}
