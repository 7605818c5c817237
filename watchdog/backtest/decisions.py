"""What policy would have done on each real deploy, in each mode: `policy.decide` on the facts of that time.

Pure. The facts follow from the replay itself: which version was found good before, which rollbacks would have
gone out in that mode. What a past cannot tell is taken as undisturbed: kill switch off, nothing under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from watchdog.backtest.trial import Outcome
from watchdog.backtest.watched import Watched
from watchdog.deploys.rules import end_of
from watchdog.model import OPEN_WATCH_STATES, Decision, Facts, Mode, WatchState
from watchdog.plan import ServicePlan
from watchdog.policy import decide

MODES: tuple[Mode, ...] = get_args(Mode)
# As the store counts them (store/facts.py).
_REGRESSED_S = 600.0


@dataclass(frozen=True, slots=True)
class Replayed:
    """A real deploy and what the replay made of it."""

    watched: Watched
    outcome: Outcome


def would_have_done(
    replayed: Sequence[Replayed],
    plans: Mapping[str, ServicePlan],
    recorded: Mapping[str, WatchState],
) -> dict[str, dict[Mode, Decision]]:
    """Deploy id to mode to decision; a deploy of which nothing was judged has none.

    recorded: deploy id to how its watch ended, for deploys that were not replayed.
    """
    done: dict[str, dict[Mode, Decision]] = {}
    for mode in MODES:
        rollbacks: list[tuple[float, str]] = []
        for each in sorted(replayed, key=_decided_at):
            verdict, deploy = each.outcome.verdict, each.watched.deploy
            if verdict is None or each.outcome.state in OPEN_WATCH_STATES | {"superseded"}:
                continue
            plan = plans[deploy.service]
            now = verdict.at + plan.lag_s
            rules = plan.rules(each.outcome.history_s, are_controls_blind=each.outcome.are_controls_blind)
            facts = _facts(each, replayed, recorded, rollbacks, now)
            decision = decide(verdict, facts, replace(rules, mode=mode), now)
            done.setdefault(deploy.id, {})[mode] = decision
            if decision.do == "roll_back":
                rollbacks.append((now, deploy.service))
    return done


def _decided_at(each: Replayed) -> float:
    verdict = each.outcome.verdict
    return each.watched.watch.ends_at if verdict is None else verdict.at


def _facts(
    each: Replayed,
    replayed: Sequence[Replayed],
    recorded: Mapping[str, WatchState],
    rollbacks: Sequence[tuple[float, str]],
    now: float,
) -> Facts:
    deploy = each.watched.deploy
    ours = [one for one in replayed if one.watched.deploy.service == deploy.service]
    live = [
        one.watched.deploy
        for one in ours
        if one.watched.deploy.started_at <= now and not one.watched.deploy.is_failed
    ]
    regressed = {
        one.watched.deploy.service
        for one in replayed
        if one.outcome.state == "regressed" and now - _REGRESSED_S < _decided_at(one) <= now
    }
    mine = [at for at, service in rollbacks if service == deploy.service]
    return Facts(
        watch=each.watched.watch,
        deploy=deploy,
        epoch=1,
        live_deploy_id=max(live, key=lambda one: (end_of(one), one.started_at)).id if live else None,
        last_rollback_at=max(mine, default=None),
        rollbacks_last_hour=sum(now - at < 3600.0 for at, _ in rollbacks),
        rollbacks_last_day=sum(now - at < 86400.0 for at, _ in rollbacks),
        services_regressed_10_min=len(regressed - {deploy.service}),
        to_version_state=_state_before(each, ours, recorded),
    )


def _state_before(
    each: Replayed, ours: Sequence[Replayed], recorded: Mapping[str, WatchState]
) -> WatchState | None:
    """How the newest closed watch of the version to go back to had ended by then; None if there is none."""
    decided_at = _decided_at(each)
    found = [
        one
        for one in ours
        if one.watched.deploy.to_version == each.watched.deploy.from_version
        and one is not each
        and _decided_at(one) <= decided_at
    ]
    if not found:
        return None
    newest = max(found, key=_decided_at)
    state = newest.outcome.state
    return recorded.get(newest.watched.deploy.id) if state in OPEN_WATCH_STATES else state
