"""From what was said of every placebo and deploy to the numbers of one service. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detectors.model import Verdict
from watchdog.backtest.cases import Cases
from watchdog.backtest.chance import at_least, wilson
from watchdog.backtest.decisions import Replayed
from watchdog.backtest.injection import effects_of
from watchdog.backtest.past import Recording
from watchdog.backtest.report import (
    Placebo,
    Placebos,
    Power,
    RealDeploy,
    SeriesReport,
    ServiceReport,
    Share,
    Would,
)
from watchdog.backtest.suggestions import suggestions
from watchdog.backtest.trial import Outcome
from watchdog.backtest.watched import Watched, is_replayed
from watchdog.model import OPEN_WATCH_STATES, Decision, Mode, Watch, WatchState
from watchdog.plan import SeriesPlan

_MONTH_S = 30 * 86400.0
# Of the injected placebos; the smallest size found at least this often is reported.
_POWER_WANTED = 0.8
# A series is called noisy when chance explains its alarms this badly, over all series of the service.
_NOISY = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Everything that was replayed of one service. placebos: in the order of those of `cases`."""

    cases: Cases
    placebos: Sequence[Outcome]
    deploys: Sequence[Replayed]


def share_of(found: int, of: int) -> Share:
    """The share with its interval."""
    low, high = wilson(found, of)
    return Share(found=found, of=of, share=found / of if of else None, low=low, high=high)


def summarise(
    tried: Tried,
    recordings: Mapping[str, Recording],
    problems: Mapping[str, str],
    *,
    decisions: Mapping[str, Mapping[Mode, Decision]],
    recorded: Mapping[str, WatchState],
) -> ServiceReport:
    """The report of one service.

    problems: series id to why samples are missing. decisions: deploy id to what would have been done in each
    mode. recorded: deploy id to how its watch ended then.
    """
    cases, plan = tried.cases, tried.cases.plan
    past_s = cases.last_at - cases.first_at + plan.step_s
    monthly = _deploys_per_month(cases)
    placebos = _placebos(tried, monthly)
    acting = sum(item.spec.acts for item in plan.series)
    series = tuple(
        _series(item, tried, recordings[item.id], problems.get(item.id), acting) for item in plan.series
    )
    deploys = [
        *(_deploy(one.watched, one.outcome, decisions, recorded) for one in tried.deploys),
        *(_deploy(one, None, decisions, recorded) for one in cases.unjudged),
    ]
    return ServiceReport(
        service=plan.name,
        mode=plan.mode,
        step_s=plan.step_s,
        watch_s=plan.judge.watch_s,
        history_s=plan.history_s,
        past_s=past_s,
        budget=plan.judge.false_rollbacks,
        deploys_per_month=monthly,
        placebos=placebos,
        series=series,
        deploys=tuple(sorted(deploys, key=lambda one: one.started_at)),
        suggestions=suggestions(plan, past_s, placebos, series, monthly),
    )


def _deploys_per_month(cases: Cases) -> float | None:
    """Deploys that a watch follows; None if there was none."""
    followed = [one for one in (*cases.replayed, *cases.unjudged) if is_replayed(one.watch)]
    return len(followed) / (cases.last_at - cases.first_at) * _MONTH_S if followed else None


def _judged(tried: Tried) -> list[Outcome]:
    """Placebos of which something could be said: neither blind nor lost to a bug of ours."""
    return [
        one
        for one in tried.placebos
        if one.state != "blind" and one.state not in OPEN_WATCH_STATES and not one.is_judge_broken
    ]


def _placebos(tried: Tried, deploys_per_month: float | None) -> Placebos:
    judged = _judged(tried)
    alarms = share_of(sum(one.state == "regressed" for one in judged), len(judged))

    def per_month(share: float) -> float | None:
        return None if deploys_per_month is None or not judged else deploys_per_month * share

    own = [one.calibration == "own" for one in judged]
    starts = [case.deploy.started_at for case in tried.cases.placebos]
    in_time = sorted(zip(starts, tried.placebos, strict=True), key=lambda pair: pair[0])
    return Placebos(
        room=tried.cases.room,
        used=len(tried.placebos),
        broken=sum(one.is_judge_broken for one in tried.placebos),
        states=dict(sorted(Counter(one.state for one in tried.placebos).items())),
        false_alarms=alarms,
        per_month=per_month(alarms.share or 0.0),
        per_month_low=per_month(alarms.low),
        per_month_high=per_month(alarms.high),
        own_calibration=sum(own) / len(own) if own else None,
        each=tuple(
            Placebo(
                at=at,
                state=one.state,
                reason=one.reason,
                because=one.verdict.because if one.verdict is not None else "nothing was judged",
                fired=tuple(one.fired),
            )
            for at, one in in_time
        ),
    )


def _series(
    item: SeriesPlan, tried: Tried, recording: Recording, problem: str | None, acting: int
) -> SeriesReport:
    name = item.spec.name
    # Of a series that only informs the judge never says `worse`.
    judged = _judged(tried) if item.spec.acts else []
    fired = share_of(sum(name in one.fired for one in judged), len(judged))
    allowed = tried.cases.plan.judge.false_rollbacks / max(acting, 1)
    power = _power(item, judged)
    visible = [one.smallest_visible[name] for one in _judged(tried) if name in one.smallest_visible]
    found = [each for each in power if (each.found.share or 0.0) >= _POWER_WANTED]
    return SeriesReport(
        series=name,
        kind=item.spec.kind,
        unit=item.spec.effect_unit,
        acts=item.spec.acts,
        coverage=recording.coverage,
        problem=problem,
        fired=fired,
        allowed=allowed if item.spec.acts else 0.0,
        is_noisy=at_least(fired.found, fired.of, allowed) < _NOISY / max(acting, 1),
        power=power,
        smallest_found=found[0].label if found else None,
        smallest_visible=statistics.median(visible) if visible else None,
    )


def _power(item: SeriesPlan, judged: Sequence[Outcome]) -> tuple[Power, ...]:
    """What was found of each size, at placebos at which the series did not call one by itself."""
    name = item.spec.name
    quiet = [one for one in judged if one.injected and name not in one.fired and name in one.injected[0]]
    if not quiet:
        return ()
    powers = []
    for i, effect in enumerate(effects_of(item.spec)):
        delays = [delay for one in quiet if (delay := one.injected[i][name]) is not None]
        powers.append(
            Power(
                label=effect.label,
                size=effect.size,
                found=share_of(len(delays), len(quiet)),
                delay_s=statistics.median(delays) if delays else None,
            )
        )
    return tuple(powers)


def _deploy(
    watched: Watched,
    outcome: Outcome | None,
    decisions: Mapping[str, Mapping[Mode, Decision]],
    recorded: Mapping[str, WatchState],
) -> RealDeploy:
    """outcome: None for one that was not replayed."""
    deploy = watched.deploy
    watch = watched.watch if outcome is None else outcome.watch
    is_judged = outcome is not None and outcome.state not in OPEN_WATCH_STATES | {"superseded"}
    verdict = outcome.verdict if outcome is not None and is_judged else None
    ended_at = deploy.started_at if deploy.finished_at is None else deploy.finished_at
    worst = verdict.evidence[0] if verdict is not None and verdict.evidence else None
    return RealDeploy(
        deploy=deploy.id,
        to_version=deploy.to_version,
        from_version=deploy.from_version,
        kind=deploy.kind,
        started_at=deploy.started_at,
        finished_at=deploy.finished_at,
        state="open" if watch.state in OPEN_WATCH_STATES else watch.state,
        reason=verdict.reason if verdict is not None else "",
        because=_because(watch, verdict),
        recorded=recorded.get(deploy.id),
        history_s=outcome.history_s if outcome is not None and is_judged else None,
        decided_at=verdict.at if verdict is not None else None,
        delay_s=verdict.at - ended_at if verdict is not None else None,
        onset_at=worst.onset_at if worst is not None else None,
        would=tuple(
            Would(mode=mode, do=decision.do, because=decision.because)
            for mode, decision in decisions.get(deploy.id, {}).items()
        ),
    )


def _because(watch: Watch, verdict: Verdict | None) -> str:
    if verdict is not None:
        return verdict.because
    return "The past ends before its watch." if watch.state in OPEN_WATCH_STATES else watch.because
