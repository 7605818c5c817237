"""A plan, replays and reports made by hand, for tests of what follows from a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from detectors.model import Evidence, SeriesKind, SeriesSpec, Verdict, VerdictState
from tests.support.examples import DEPLOY, WATCH
from tests.support.sample_plan import a_plan
from watchdog.backtest.cases import Cases
from watchdog.backtest.decisions import Replayed
from watchdog.backtest.past import Recording
from watchdog.backtest.report import SCHEMA, Report, ServiceReport
from watchdog.backtest.summary import Tried, summarise
from watchdog.backtest.trial import Case, Outcome
from watchdog.backtest.watched import Watched
from watchdog.model import Decision, Deploy, Mode, WatchState
from watchdog.plan import SeriesPlan, ServicePlan

AT = 1_790_035_200.0
DAY_S = 86_400.0


def series(name: str, kind: SeriesKind = "latency", *, acts: bool = True) -> SeriesPlan:
    spec = SeriesSpec(name=name, kind=kind, unit="s", bad="up", step_s=60.0, acts=acts)
    return SeriesPlan(id=f"checkout/{name}", spec=spec)


def plan(*items: SeriesPlan, **changes: Any) -> ServicePlan:
    chosen = {"step_s": 60.0, "history_s": 7 * DAY_S, **changes}
    return a_plan(series=items or (series("latency"), series("queue")), **chosen)


def evidence(name: str, state: str = "steady", onset_at: float | None = None) -> Evidence:
    made: Any = {
        "series": name,
        "state": state,
        "because": "",
        "statistic": 0.0,
        "threshold": 1.0,
        "calibration": "own",
        "coverage": 1.0,
        "onset_at": onset_at,
    }
    return Evidence(**made)


def verdict(state: VerdictState = "healthy", at: float = AT, because: str = "steady all along") -> Verdict:
    reason: Any = "evidence" if state == "regressed" else "steady"
    return Verdict(state=state, reason=reason, because=because, at=at, calibration="own")


def outcome(
    state: WatchState = "healthy", *, fired: Mapping[str, float] | None = None, **changes: Any
) -> Outcome:
    said: Any = state if state in ("healthy", "regressed", "inconclusive", "blind") else "inconclusive"
    chosen: dict[str, Any] = {
        "deploy_id": "placebo",
        "watch": replace(WATCH, state=state),
        "verdict": verdict(said),
        "history_s": 7 * DAY_S,
        "are_controls_blind": False,
        "is_judge_broken": False,
        "fired": fired or {},
    }
    return Outcome(**{**chosen, **changes})


def replayed(deploy: Deploy, state: WatchState, **changes: Any) -> Replayed:
    watch = replace(WATCH, deploy_id=deploy.id, service=deploy.service, state="announced")
    at = (deploy.finished_at or deploy.started_at) + 300.0
    said: Any = state if state in ("healthy", "regressed") else "undecided"
    chosen: dict[str, Any] = {
        "deploy_id": deploy.id,
        "watch": replace(watch, state=state),
        "verdict": verdict(said, at),
    }
    ended = outcome(state, **{**chosen, **changes})
    return Replayed(Watched(deploy=deploy, watch=watch, suspects=()), ended)


def a_service(
    placebos: Sequence[Outcome],
    *,
    of: ServicePlan | None = None,
    deploys: Sequence[Replayed] = (),
    unjudged: Sequence[Watched] = (),
    days: float = 14.0,
    coverage: float = 1.0,
    decisions: Mapping[str, Mapping[Mode, Decision]] | None = None,
    problems: Mapping[str, str] | None = None,
) -> ServiceReport:
    """The report on those placebos and deploys, of a past of so many days in which that share has a value."""
    chosen = of or plan()
    starts = [AT + 7200.0 * i for i in range(len(placebos))]
    cases = Cases(
        plan=chosen,
        first_at=AT,
        last_at=AT + days * DAY_S - 60.0,
        room=2 * len(placebos),
        placebos=tuple(Case(deploy=replace(DEPLOY, started_at=at), watch=WATCH) for at in starts),
        replayed=tuple(one.watched for one in deploys),
        real=tuple(Case(deploy=one.watched.deploy, watch=one.watched.watch) for one in deploys),
        unjudged=tuple(unjudged),
    )
    values = np.ones((1000, 2))
    values[: round(1000 * (1.0 - coverage))] = np.nan
    recordings = {
        item.id: Recording(spec=item.spec, first_at=AT, values=values[:, : item.spec.width])
        for item in chosen.series
    }
    return summarise(
        Tried(cases=cases, placebos=placebos, deploys=deploys),
        recordings,
        problems or {},
        decisions=decisions or {},
        recorded={"d1": "healthy"},
    )


def a_report(*services: ServiceReport, notes: tuple[str, ...] = ()) -> Report:
    return Report(
        schema=SCHEMA,
        config="0123456789ab",
        environment="prod",
        since_at=AT,
        until_at=AT + 14 * DAY_S,
        took_s=12.3,
        deploy_log="deploys.jsonl",
        notes=notes,
        services=services,
    )
