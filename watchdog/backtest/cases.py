"""What is replayed of one service: its real deploys, and placebos where the past has room for them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from watchdog.backtest.past import Recording
from watchdog.backtest.placebo import placebo_times
from watchdog.backtest.trial import Case
from watchdog.backtest.watched import Watched, intake_rules, is_replayed
from watchdog.deploys.rules import end_of
from watchdog.deploys.watches import of_deploy
from watchdog.model import Deploy
from watchdog.plan import ServicePlan

# Placebos of a service: enough to see 1 in 50; fewer where many series would keep a person waiting, so that
# two cores are done in a minute with fifty series (benchmarks/backtest_speed.py).
_PLACEBOS_MAX, _PLACEBOS_MIN = 200, 10
_SERIES_REPLAYS = 500
# Of them, how many get the injected effects: each takes up to four more runs.
_INJECTED_SHARE = 0.25
_INJECTED_MIN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """What is replayed of one service.

    first_at, last_at: ends of the first and the last step that was read. room: how many placebos there is
    room for. real: one case per deploy of `replayed`, in its order. unjudged: deploys that no watch followed.
    """

    plan: ServicePlan
    first_at: float
    last_at: float
    room: int
    placebos: tuple[Case, ...]
    replayed: tuple[Watched, ...]
    real: tuple[Case, ...]
    unjudged: tuple[Watched, ...]


def placebo_count(asked: int | None, n_series: int) -> int:
    """How many placebos each service gets at most. n_series: of all services together."""
    fitting = min(_PLACEBOS_MAX, _SERIES_REPLAYS // max(n_series, 1))
    return asked if asked is not None else max(_PLACEBOS_MIN, fitting)


def injected_count(placebos: int) -> int:
    """How many of a service's placebos are replayed with effects too."""
    return min(placebos, max(_INJECTED_MIN, round(_INJECTED_SHARE * placebos)))


def cases_of(
    plan: ServicePlan,
    recordings: Sequence[Recording],
    every: Sequence[Watched],
    *,
    placebos_max: int,
    inject: bool,
) -> Cases:
    """The cases of one service. recordings: its series. every: the real deploys of all services."""
    first_at = min(recording.first_at for recording in recordings)
    last_at = max(recording.last_at for recording in recordings)
    ours = [w for w in every if w.deploy.service == plan.name]
    near = [w for w in every if w.deploy.service in (plan.name, *plan.depends_on)]
    inside = [w for w in ours if first_at < w.deploy.started_at <= last_at]
    rollout_s = _usual_rollout_s([w.deploy for w in inside], plan)
    # Half of a short past is kept to compare with, so that a young installation can be tried too.
    head_s = min(plan.history_s, (last_at - first_at) / 2)
    times = placebo_times(
        first_at + head_s,
        last_at,
        plan.step_s,
        rollout_s + plan.judge.watch_s,
        [(w.deploy.started_at, w.watch.ends_at) for w in near],
    )
    chosen = times[:placebos_max]
    n_injected = injected_count(len(chosen)) if inject else 0
    deploys = [w.deploy for w in ours]
    replayed = [w for w in inside if is_replayed(w.watch)]
    return Cases(
        plan=plan,
        first_at=first_at,
        last_at=last_at,
        room=len(times),
        placebos=tuple(
            _placebo(plan, at, rollout_s, deploys, i, is_injected=i < n_injected)
            for i, at in enumerate(chosen)
        ),
        replayed=tuple(replayed),
        real=tuple(
            Case(deploy=w.deploy, watch=w.watch, suspects=w.suspects, past=_past(w, deploys))
            for w in replayed
        ),
        unjudged=tuple(w for w in inside if w not in replayed),
    )


def _usual_rollout_s(deploys: Sequence[Deploy], plan: ServicePlan) -> float:
    """How long a roll-out of this service takes, whole steps: the median of the log, else one step."""
    taken = [end_of(d) - d.started_at for d in deploys if d.finished_at is not None and not d.is_failed]
    return round(statistics.median(taken) / plan.step_s) * plan.step_s if taken else plan.step_s


def _placebo(
    plan: ServicePlan, at: float, rollout_s: float, ours: Sequence[Deploy], seed: int, *, is_injected: bool
) -> Case:
    deploy = Deploy(
        id=f"placebo-{seed}",
        environment=plan.environment,
        service=plan.name,
        kind="code",
        to_version="placebo",
        from_version=None,
        started_at=at,
        finished_at=at + rollout_s,
    )
    watch = of_deploy(deploy, None, [], [], now=at + rollout_s, rules=intake_rules(plan))
    return Case(
        deploy=deploy,
        watch=replace(watch, mode=plan.mode),
        past=tuple(other for other in ours if other.started_at < at),
        is_placebo=True,
        effects=is_injected,
        seed=seed,
    )


def _past(each: Watched, ours: Sequence[Deploy]) -> tuple[Deploy, ...]:
    """What the daemon knew when it opened the seat: the service's earlier deploys that are no suspects."""
    suspects = {each.deploy.id, *(other.id for other in each.suspects)}
    return tuple(d for d in ours if d.id not in suspects and d.started_at <= end_of(each.deploy))
