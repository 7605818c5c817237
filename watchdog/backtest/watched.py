"""The watches that deploys of the past would have had, by the intake's own rules. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from watchdog.deploys.rules import Rules, end_of, is_only_announced
from watchdog.deploys.watches import of_deploy, of_others
from watchdog.model import OPEN_WATCH_STATES, Deploy, Watch
from watchdog.plan import ServicePlan

# No roll-out takes longer; overlaps of longer ones are not looked for.
_ROLLOUT_S_MAX = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A real deploy and its watch. suspects: other deploys that may be to blame, as of the watch's end."""

    deploy: Deploy
    watch: Watch
    suspects: tuple[Deploy, ...]


def watched(deploys: Sequence[Deploy], plans: Mapping[str, ServicePlan]) -> list[Watched]:
    """Every deploy that happened with the watch it would have, oldest first; told when it ended.

    By the intake's own rules: suspects that join later, and watches that a rollback ends, included.
    """
    happened = sorted(
        (d for d in deploys if not is_only_announced(d)), key=lambda d: (end_of(d), d.started_at, d.id)
    )
    by_id = {deploy.id: deploy for deploy in happened}
    watches: dict[str, Watch] = {}
    recent: list[str] = []
    for deploy in happened:
        rules, now = intake_rules(plans[deploy.service]), end_of(deploy)
        # In order of their ends: one that ended long before cannot overlap any that is still to come.
        recent = [i for i in recent if watches[i].ends_at > deploy.started_at - _ROLLOUT_S_MAX]
        running = [watches[i] for i in recent if watches[i].ends_at > deploy.started_at]
        others = [by_id[watch.deploy_id] for watch in running]
        recent.append(deploy.id)
        watch = of_deploy(deploy, None, others, running, now=now, rules=rules)
        for changed in of_others(deploy, others, running, now=now, rules=rules):
            watches[changed.deploy_id] = changed
        watches[deploy.id] = replace(watch, mode=plans[deploy.service].mode)
    return [
        Watched(
            deploy=deploy,
            watch=watches[deploy.id],
            suspects=tuple(by_id[i] for i in watches[deploy.id].suspect_ids if i != deploy.id and i in by_id),
        )
        for deploy in sorted(happened, key=lambda d: (d.started_at, d.id))
    ]


def is_replayed(watch: Watch) -> bool:
    """True for a watch that judged, or would: not of a failed deploy."""
    return watch.state in OPEN_WATCH_STATES or watch.state == "superseded"


def intake_rules(plan: ServicePlan) -> Rules:
    """What the intake goes by for the deploys of that service."""
    return Rules(rollout_max_s=plan.rollout_max_s, watch_s=plan.judge.watch_s, warm_up_s=plan.judge.warm_up_s)
