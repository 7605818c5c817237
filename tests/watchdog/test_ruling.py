"""What one decision writes: action, alerts and audit hang together, and quiet ticks write nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from config.schema import VersionSignal
from detectors.model import Verdict, VerdictState
from tests.support.examples import DEPLOY, NOW, SAFE
from tests.support.sample_plan import a_plan
from watchdog.alerts.messages import Routes
from watchdog.model import Facts, Ruling, action_key
from watchdog.rollback.targets.webhook import WebhookTarget
from watchdog.ruling import evidence_digest, rule

TARGET = WebhookTarget(url="http://127.0.0.1:1/rollback")
ROUTES = Routes(default=("team",), page=("on-call",), public_url="https://watchdog.example")
PLAN = a_plan(version=VersionSignal(http="http://127.0.0.1:1/version"))
PACKET = {"schema": "x", "numbers": [1.5, 2.0]}


def ruled(
    state: VerdictState, *, facts: Facts = SAFE, is_over: bool = True, is_blind: bool = False
) -> Ruling:
    return rule(
        Verdict(state=state, reason="", because=f"It is {state}.", at=NOW),
        facts,
        plan=PLAN,
        target=TARGET,
        routes=ROUTES,
        packet=PACKET,
        history_s=7 * 86400.0,
        are_controls_blind=False,
        is_over=is_over,
        is_blind_for_long=is_blind,
        now=NOW,
    )


def test_a_regression_in_mode_auto_becomes_an_intent_with_its_bytes() -> None:
    ruling = ruled("regressed")
    assert ruling.watch.state == "regressed"
    assert ruling.action is not None
    assert ruling.action.state == "intended"
    assert ruling.action.key == action_key("prod", "checkout", "d1", "1")
    body = json.loads(ruling.action.body)
    assert (body["from_version"], body["to_version"]) == ("4.12.0", "4.11.3")
    assert ruling.action.evidence_digest == evidence_digest(PACKET)
    assert ruling.action.valid_until_at == NOW + PLAN.valid_s
    assert {alert.kind for alert in ruling.alerts} == {"rolling_back"}
    assert "roll_back" in ruling.audit


def test_the_body_never_changes_between_two_rulings() -> None:
    assert ruled("regressed").action == ruled("regressed").action


def test_a_closed_watch_is_left_alone() -> None:
    facts = replace(SAFE, watch=replace(SAFE.watch, state="superseded"))
    ruling = ruled("regressed", facts=facts)
    assert ruling.watch == facts.watch
    assert (ruling.action, ruling.alerts, ruling.packet, ruling.audit) == (None, (), None, "")


@pytest.mark.parametrize("state", ["healthy", "inconclusive", "blind", "undecided", "suspect"])
@pytest.mark.parametrize("is_over", [True, False])
def test_only_a_regression_has_an_action(state: VerdictState, is_over: bool) -> None:
    assert ruled(state, is_over=is_over).action is None


def test_healthy_closes_without_a_word_to_anybody() -> None:
    ruling = ruled("healthy")
    assert ruling.decision.do == "close"
    assert ruling.alerts == ()


def test_blindness_is_told_at_once_and_pages_only_when_it_lasts() -> None:
    first = ruled("blind", is_over=False)
    assert {alert.channel for alert in first.alerts} == {"team"}
    later = ruled("blind", is_over=False, is_blind=True)
    assert "on-call" in {alert.channel for alert in later.alerts}
    assert not {alert.id for alert in first.alerts} & {alert.id for alert in later.alerts}


def test_the_same_ruling_has_the_same_alert_ids() -> None:
    assert [a.id for a in ruled("regressed").alerts] == [a.id for a in ruled("regressed").alerts]


def test_an_undecided_tick_waits() -> None:
    facts = replace(SAFE, deploy=replace(DEPLOY, finished_at=NOW - 500))
    ruling = ruled("undecided", facts=facts, is_over=False)
    assert ruling.decision.do == "wait"
    assert ruling.alerts == ()
