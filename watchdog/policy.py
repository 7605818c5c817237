"""What is done about a verdict: pure, and every branch explains itself.

`decide` sees only the verdict, the facts read inside the write transaction, and the rules of the service.
Whatever is not clearly safe becomes a proposal to a person or an alert: only the last line rolls back.
"""

from __future__ import annotations

from dataclasses import dataclass

from detectors.model import Verdict
from watchdog.model import Decision, Facts, Limits, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the configuration says about acting for one service.

    target: name of the rollback target, None without one. has_version_signal: the running version can be
    read. is_single_instance: the configuration promises one daemon per store. are_controls_blind: there are
    control services, and too little was seen of them. history_s: judged history the
    verdict rests on; history_min_s: what mode auto needs. evidence_s_max: how old the last judged step may be
    when a rollback is sent unasked.
    """

    mode: Mode
    limits: Limits
    target: str | None
    has_version_signal: bool
    is_single_instance: bool
    are_controls_blind: bool
    history_s: float
    history_min_s: float
    evidence_s_max: float


def decide(verdict: Verdict, facts: Facts, rules: Rules, now: float) -> Decision:
    """The decision on a verdict. Only `regressed` can lead to a proposal or a rollback."""
    if verdict.state in ("undecided", "suspect"):
        return Decision(do="wait", because=verdict.because)
    if verdict.state == "healthy":
        return Decision(do="close", because=verdict.because)
    if verdict.state in ("inconclusive", "blind"):
        return Decision(do="alert", because=f"{verdict.because} Nothing is rolled back.")
    return _on_regression(verdict, facts, rules, now)


def _on_regression(verdict: Verdict, facts: Facts, rules: Rules, now: float) -> Decision:
    reason = _why_alert_only(facts, rules)
    if reason is not None:
        return Decision(do="alert", because=reason)
    reason = _why_a_person(verdict, facts, rules, now)
    if rules.mode == "observe":
        would = f"would have rolled back {facts.deploy.to_version} to {facts.deploy.from_version}"
        return Decision(
            do="alert",
            because=f"mode is observe: {would}" + (f" after approval, because {reason}" if reason else ""),
        )
    if reason is not None:
        return Decision(do="propose", because=reason)
    return Decision(
        do="roll_back",
        because=f"{facts.deploy.to_version} regressed, {facts.deploy.from_version} was healthy, "
        "mode is auto and every guard allows it",
    )


def _why_alert_only(facts: Facts, rules: Rules) -> str | None:
    """Why no rollback can even be offered, or None."""
    deploy = facts.deploy
    if facts.watch.is_alert_only or deploy.kind == "rollback":
        return "this deploy is itself a rollback, and a rollback is never rolled back"
    if facts.intent is not None:
        return (
            f"a rollback of this deploy was decided before ({facts.intent.state}): one per deploy, for ever"
        )
    if rules.target is None:
        return "no rollback target is configured for this service"
    if deploy.from_version is None:
        return "the version to go back to is not known: say from_version in the deploy event"
    if deploy.from_version == deploy.to_version:
        return "the version to go back to is the version that runs"
    if deploy.rollback_safe is False:
        return "the deploy was declared unsafe to roll back"
    if deploy.kind == "schema":
        return "a schema change cannot be undone by going back to the old code"
    return None


def _why_a_person(verdict: Verdict, facts: Facts, rules: Rules, now: float) -> str | None:
    """Why a person must approve the rollback, or None when it may go out by itself."""
    deploy, limits = facts.deploy, rules.limits
    if rules.mode == "approve":
        return "mode is approve"
    if facts.live_deploy_id != deploy.id:
        return "a newer deploy is live, so going back would undo that one too"
    if not rules.is_single_instance:
        return "mode auto over SQLite needs single_instance: true"
    if not rules.has_version_signal:
        return "without a version signal it cannot be seen which version runs"
    if facts.to_version_state != "healthy":
        seen = facts.to_version_state or "never watched"
        return f"{deploy.from_version} is not known to be good ({seen})"
    if rules.are_controls_blind:
        return "the control services could not be seen, so trouble that hits everybody is not excluded"
    if now - verdict.at > rules.evidence_s_max:
        return f"the evidence is {_span(now - verdict.at)} old: the daemon was not watching since"
    if rules.history_s < rules.history_min_s:
        return (
            f"the judge knows {_span(rules.history_s)} of history and mode auto needs "
            f"{_span(rules.history_min_s)} (calibration: {verdict.calibration})"
        )
    if facts.kill_switch is not None:
        return f"the kill switch is on: {facts.kill_switch}"
    if facts.disarmed is not None:
        return f"actions are disarmed: {facts.disarmed}"
    if facts.in_flight > 0:
        return "another rollback of this service is under way"
    if facts.services_regressed_10_min >= limits.services_regressed_max:
        return (
            f"{facts.services_regressed_10_min} other services regressed within 10 minutes: "
            "a shared cause is likelier than this deploy"
        )
    if facts.last_rollback_at is not None and now - facts.last_rollback_at < limits.cool_down_s:
        return f"this service was rolled back less than {_span(limits.cool_down_s)} ago"
    if facts.rollbacks_last_hour >= limits.rollbacks_per_hour:
        return f"{facts.rollbacks_last_hour} rollbacks in the last hour, limit {limits.rollbacks_per_hour}"
    if facts.rollbacks_last_day >= limits.rollbacks_per_day:
        return f"{facts.rollbacks_last_day} rollbacks in the last day, limit {limits.rollbacks_per_day}"
    return None


def _span(seconds: float) -> str:
    if seconds >= 86400:
        return f"{seconds / 86400:.3g} days"
    if seconds >= 3600:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.3g} min"
