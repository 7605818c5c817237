"""Policy, exhaustively over its small enumerations: what may lead to a rollback, and what never does."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, get_args

import pytest

from detectors.model import Verdict, VerdictState
from tests.support.examples import DEPLOY, INTENT, NOW, SAFE, WATCH
from watchdog.model import DeployKind, Limits, Mode, WatchState, action_key
from watchdog.policy import Rules, decide


def a_verdict(state: VerdictState) -> Verdict:
    return Verdict(state=state, reason="", because=f"because it is {state}.", at=NOW)


AUTO = Rules(
    mode="auto",
    limits=Limits(),
    target="deployer",
    has_version_signal=True,
    is_single_instance=True,
    are_controls_blind=False,
    history_s=8 * 86400.0,
    history_min_s=7 * 86400.0,
    evidence_s_max=900.0,
)


def test_the_safe_case_rolls_back() -> None:
    decision = decide(a_verdict("regressed"), SAFE, AUTO, NOW)
    assert decision.do == "roll_back"
    assert "4.11.3" in decision.because


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("state", [state for state in get_args(VerdictState) if state != "regressed"])
def test_only_regressed_can_act(state: VerdictState, mode: Mode) -> None:
    decision = decide(a_verdict(state), SAFE, replace(AUTO, mode=mode), NOW)
    assert decision.do in ("wait", "close", "alert")
    assert decision.because


# Each entry breaks one guard; none of them, alone or together, may leave a rollback standing.
ALERT_ONLY: dict[str, dict[str, Any]] = {
    "own rollback": {"watch": replace(WATCH, is_alert_only=True)},
    "kind rollback": {"deploy": replace(DEPLOY, kind="rollback")},
    "intent before": {"intent": INTENT},
    "no from-version": {"deploy": replace(DEPLOY, from_version=None)},
    "same version": {"deploy": replace(DEPLOY, from_version="4.12.0")},
    "declared unsafe": {"deploy": replace(DEPLOY, rollback_safe=False)},
    "schema": {"deploy": replace(DEPLOY, kind="schema")},
}
TO_A_PERSON: dict[str, dict[str, Any]] = {
    "newer deploy": {"live_deploy_id": "d2"},
    "from-version regressed": {"to_version_state": "regressed"},
    "from-version unknown": {"to_version_state": None},
    "kill switch": {"kill_switch": "storm"},
    "disarmed": {"disarmed": "crash loop"},
    "in flight": {"in_flight": 1},
    "shared cause": {"services_regressed_10_min": 3},
    "cool-down": {"last_rollback_at": NOW - 6 * 3600 + 1},
    "hourly limit": {"rollbacks_last_hour": 2},
    "daily limit": {"rollbacks_last_day": 6},
}
RULES_TO_A_PERSON: dict[str, dict[str, Any]] = {
    "approve": {"mode": "approve"},
    "two instances": {"is_single_instance": False},
    "no version signal": {"has_version_signal": False},
    "blind controls": {"are_controls_blind": True},
    "short history": {"history_s": 7 * 86400.0 - 1},
}


@pytest.mark.parametrize("name", ALERT_ONLY)
def test_what_can_never_be_offered_is_an_alert(name: str) -> None:
    assert decide(a_verdict("regressed"), replace(SAFE, **ALERT_ONLY[name]), AUTO, NOW).do == "alert"


def test_without_a_target_it_is_an_alert() -> None:
    assert decide(a_verdict("regressed"), SAFE, replace(AUTO, target=None), NOW).do == "alert"


@pytest.mark.parametrize("name", TO_A_PERSON)
def test_what_is_not_clearly_safe_is_proposed(name: str) -> None:
    decision = decide(a_verdict("regressed"), replace(SAFE, **TO_A_PERSON[name]), AUTO, NOW)
    assert decision.do == "propose"


@pytest.mark.parametrize("name", RULES_TO_A_PERSON)
def test_rules_that_ask_for_a_person_propose(name: str) -> None:
    decision = decide(a_verdict("regressed"), SAFE, replace(AUTO, **RULES_TO_A_PERSON[name]), NOW)
    assert decision.do == "propose"


def test_old_evidence_is_for_a_person() -> None:
    assert decide(a_verdict("regressed"), SAFE, AUTO, NOW + 900).do == "roll_back"
    assert decide(a_verdict("regressed"), SAFE, AUTO, NOW + 901).do == "propose"


def test_two_broken_guards_never_repair_each_other() -> None:
    everything = {**ALERT_ONLY, **TO_A_PERSON}
    for one, other in itertools.combinations(everything, 2):
        facts = replace(replace(SAFE, **everything[one]), **everything[other])
        assert decide(a_verdict("regressed"), facts, AUTO, NOW).do != "roll_back", (one, other)


@pytest.mark.parametrize("name", [*ALERT_ONLY, *TO_A_PERSON])
def test_observe_only_ever_alerts(name: str) -> None:
    facts = replace(SAFE, **{**ALERT_ONLY, **TO_A_PERSON}[name])
    assert decide(a_verdict("regressed"), facts, replace(AUTO, mode="observe"), NOW).do == "alert"


def test_observe_says_what_it_would_have_done() -> None:
    decision = decide(a_verdict("regressed"), SAFE, replace(AUTO, mode="observe"), NOW)
    assert "would have rolled back 4.12.0 to 4.11.3" in decision.because


@pytest.mark.parametrize("kind", get_args(DeployKind))
@pytest.mark.parametrize("seen", [*get_args(WatchState), None])
def test_only_a_version_seen_healthy_is_gone_back_to_unasked(
    kind: DeployKind, seen: WatchState | None
) -> None:
    facts = replace(SAFE, deploy=replace(DEPLOY, kind=kind), to_version_state=seen)
    decision = decide(a_verdict("regressed"), facts, AUTO, NOW)
    may_act = seen == "healthy" and kind not in ("rollback", "schema")
    assert (decision.do == "roll_back") == may_act


def test_every_decision_says_why() -> None:
    reasons = set()
    for broken in [*ALERT_ONLY.values(), *TO_A_PERSON.values()]:
        reasons.add(decide(a_verdict("regressed"), replace(SAFE, **broken), AUTO, NOW).because)
    # One sentence per guard: two guards with the same words could not be told apart at 3 a.m.
    # (Two from-version states share a sentence with another word in it; both kinds of rollback share one.)
    assert len(reasons) >= len(ALERT_ONLY) + len(TO_A_PERSON) - 2


def test_the_key_holds_neither_time_nor_version() -> None:
    assert action_key("prod", "checkout", "d1", "1") == INTENT.key
    assert len(INTENT.key) == 64
    parts = [("prod", "check", "outd1", "1"), ("prodcheck", "out", "d1", "1")]
    assert len({action_key(*part) for part in parts}) == 2
