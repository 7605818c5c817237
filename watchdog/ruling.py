"""What one decision writes: the decision with its watch, packet, action and alerts, as one Ruling.

`rule` runs inside the store's write transaction; it is pure and calls only pure code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from detectors.model import Verdict
from watchdog.alerts.messages import Routes, alerts_for
from watchdog.model import (
    OPEN_WATCH_STATES,
    Action,
    Alert,
    AlertKind,
    Decision,
    Facts,
    Ruling,
    Watch,
    action_key,
)
from watchdog.plan import ServicePlan
from watchdog.policy import decide
from watchdog.rollback.protocol import Order, Target
from watchdog.watch import advance

# The only step there is until plans over several services exist.
_STEP = "1"


def rule(
    verdict: Verdict,
    facts: Facts,
    *,
    plan: ServicePlan,
    target: Target | None,
    routes: Routes,
    packet: Mapping[str, Any],
    history_s: float,
    are_controls_blind: bool,
    is_over: bool,
    is_blind_for_long: bool,
    now: float,
) -> Ruling:
    """Advance the watch, decide, and say everything that follows from it.

    packet: the evidence packet as of this verdict. history_s: judged history it rests on.
    are_controls_blind: too little was seen of the control services. is_over: the last
    step of the watch has been judged. is_blind_for_long: a person is to be paged about the blindness.
    """
    if facts.watch.state not in OPEN_WATCH_STATES:
        # Superseded or cancelled while the tick was judged: nothing may follow from it.
        because = f"the watch is {facts.watch.state}"
        return Ruling(decision=Decision(do="wait", because=because), watch=facts.watch)
    watch = advance(facts.watch, facts.deploy, verdict, is_over=is_over, now=now)
    if watch.state in OPEN_WATCH_STATES and verdict.state not in ("suspect", "blind"):
        decision = Decision(do="wait", because=watch.because)
    else:
        decision = decide(verdict, facts, plan.rules(history_s, are_controls_blind=are_controls_blind), now)
    action = _action(decision, verdict, facts, plan, target, packet, now)
    alerts = _alerts(decision, verdict, watch, facts, action, routes, is_blind_for_long, now)
    is_quiet = decision.do == "wait" and watch.state == facts.watch.state
    return Ruling(
        decision=decision,
        watch=watch,
        packet=packet,
        action=action,
        alerts=alerts,
        audit="" if is_quiet else f"{watch.state}: {decision.do}, because {decision.because}",
    )


def evidence_digest(packet: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the packet's canonical JSON: what an approval is bound to."""
    return hashlib.sha256(json.dumps(packet, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _action(
    decision: Decision,
    verdict: Verdict,
    facts: Facts,
    plan: ServicePlan,
    target: Target | None,
    packet: Mapping[str, Any],
    now: float,
) -> Action | None:
    if decision.do not in ("propose", "roll_back"):
        return None
    deploy = facts.deploy
    if target is None or plan.target is None or deploy.from_version is None:
        raise AssertionError("policy offered a rollback without a target or a version to go back to")
    key = action_key(deploy.environment, deploy.service, deploy.id, _STEP)
    order = Order(
        key=key,
        environment=deploy.environment,
        service=deploy.service,
        deploy=deploy.id,
        from_version=deploy.to_version,
        to_version=deploy.from_version,
        because=verdict.because,
    )
    return Action(
        key=key,
        environment=deploy.environment,
        service=deploy.service,
        deploy_id=deploy.id,
        watch_id=facts.watch.id,
        step=_STEP,
        target=plan.target,
        from_version=deploy.to_version,
        to_version=deploy.from_version,
        body=target.render(order),
        state="intended" if decision.do == "roll_back" else "awaiting_approval",
        because=decision.because,
        created_at=now,
        valid_until_at=now + plan.valid_s,
        epoch=facts.epoch,
        evidence_digest=evidence_digest(packet),
    )


def _alerts(
    decision: Decision,
    verdict: Verdict,
    watch: Watch,
    facts: Facts,
    action: Action | None,
    routes: Routes,
    is_blind_for_long: bool,
    now: float,
) -> tuple[Alert, ...]:
    kind = _alert_kind(decision, verdict)
    if kind is None:
        return ()
    # Blindness is told at once and pages only when it lasts: the same kind twice, told apart by `extra`.
    pages = kind == "blind" and is_blind_for_long
    return alerts_for(
        kind,
        watch=watch,
        deploy=facts.deploy,
        verdict=verdict,
        decision=decision,
        action=action,
        routes=routes,
        now=now,
        page=True if pages else None,
        extra="page" if pages else "",
    )


def _alert_kind(decision: Decision, verdict: Verdict) -> AlertKind | None:
    if decision.do == "roll_back":
        return "rolling_back"
    if decision.do == "propose":
        return "proposed"
    if decision.do != "alert":
        return None
    if verdict.state == "regressed":
        return "regressed"
    return "blind" if verdict.state == "blind" else "inconclusive"
