"""What people are told, to whom, and when somebody is woken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from tests.support.examples import DEPLOY, INTENT, NOW, WATCH
from tests.watchdog.alerts.alert_examples import ALERT, HOSTILE, VERDICT
from watchdog.alerts.messages import FIELDS, Routes, alerts_for
from watchdog.model import Action, Alert, AlertKind, Decision, Mode

KINDS: tuple[AlertKind, ...] = get_args(AlertKind)
ACTION = replace(INTENT, state="sending", attempts=2, valid_until_at=NOW + 900)
ROUTES = Routes(default=("team",), page=("on-call",), public_url="https://w.example")


def tell(kind: AlertKind, mode: Mode = "auto", **more: Any) -> tuple[Alert, ...]:
    given: dict[str, Any] = {
        "watch": replace(WATCH, mode=mode),
        "deploy": DEPLOY,
        "routes": ROUTES,
        "now": NOW,
    }
    return alerts_for(kind, **(given | more))


def test_the_proposal_of_the_wireframe() -> None:
    assert ALERT.text == (
        "checkout 4.12.0 (prod) regressed, rollback 4.12.0 -> 4.11.3 waits for approval: "
        "failed payments 0.4 % -> 3.1 % since 08:53 UTC, 96 % this deploy"
    )
    assert ALERT.fields == {
        "what": "failed payments: 0.4 % -> 3.1 % (+2.7 pt, 2.1 to 3.4)",
        "since": "07:53 UTC (07:52 to 07:55), 2 min after the deploy",
        "blame": "96 % this deploy, 3 % deploy d0, 1 % no change at all",
        "impact": "206 failed payments so far, about 41 a minute",
        "done": "Nothing was sent to a rollback target.",
        "because": "mode is approve and the rollback is safe",
        "not_seen": "order latency: 59 % of points missing",
        "safe_to_go_back": "yes: 4.11.3 was healthy; no schema change",
    }
    assert (ALERT.event, ALERT.page, ALERT.severity) == ("trigger", True, "critical")
    assert ALERT.link == "https://watchdog.shop.example/d/d1"
    assert ALERT.dedup_key == "checkout|prod|d1"


PAGES = {"proposed", "unconfirmed", "unknown", "refused", "expired"}


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("kind", KINDS)
def test_somebody_is_woken_only_when_a_person_must_act(kind: AlertKind, mode: Mode) -> None:
    alerts = tell(kind, mode, action=ACTION, verdict=VERDICT)
    heard = {alert.channel: alert for alert in alerts}
    if mode == "observe":
        assert set(heard) == (set() if kind == "deployed" else {"team"})
        assert not any(a.page or a.event == "trigger" for a in alerts)
        assert all(a.text.startswith("observe: ") for a in alerts)
    elif kind in PAGES:
        assert set(heard) == {"team", "on-call"}
        assert all(a.event == "trigger" and a.page for a in alerts)
    elif kind == "recovered":
        assert {name: a.event for name, a in heard.items()} == {"team": "resolve", "on-call": "resolve"}
        assert not any(a.page for a in alerts)
    elif kind == "deployed":
        assert {name: a.event for name, a in heard.items()} == {"on-call": "change"}
    else:
        assert {name: a.event for name, a in heard.items()} == {"team": "update"}


@pytest.mark.parametrize(
    ("do", "pages"), [("alert", True), ("propose", True), ("roll_back", False), ("wait", False)]
)
def test_a_regression_pages_when_nothing_will_be_done_by_itself(do: Any, pages: bool) -> None:
    alerts = tell("regressed", decision=Decision(do=do, because="b"), verdict=VERDICT)
    assert any(a.page for a in alerts) == pages
    assert not any(a.page for a in tell("regressed", "observe", decision=Decision(do=do, because="b")))


def test_blindness_pages_when_told_to_and_is_then_another_alert() -> None:
    quiet, loud = tell("blind"), tell("blind", page=True)
    assert not any(a.page for a in quiet)
    assert [a.severity for a in loud if a.page] == ["warning", "warning"]
    assert not {a.id for a in quiet} & {a.id for a in loud}
    assert not any(a.page for a in tell("blind", "observe", page=True))


def test_without_a_paging_channel_the_default_one_is_told_to_trigger() -> None:
    assert [
        (a.channel, a.event) for a in tell("unknown", action=ACTION, routes=replace(ROUTES, page=()))
    ] == [("team", "trigger")]
    both = tell("unknown", action=ACTION, routes=replace(ROUTES, default=("one",), page=("one",)))
    assert [a.channel for a in both] == ["one"]


def test_the_same_rows_again_after_a_retried_transaction() -> None:
    first, again = tell("refused", action=ACTION), tell("refused", action=ACTION, now=NOW + 60)
    assert [a.id for a in first] == [a.id for a in again]
    assert len({a.id for kind in KINDS for a in tell(kind, action=ACTION)}) == sum(
        len(tell(kind, action=ACTION)) for kind in KINDS
    )
    assert {a.id for a in first}.isdisjoint(a.id for a in tell("refused", action=ACTION, extra="2"))
    assert all(len(a.id) == 32 for a in first)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verdict", [None, VERDICT])
@pytest.mark.parametrize("action", [None, ACTION])
def test_a_headline_stands_alone_and_the_fields_keep_their_order(
    kind: AlertKind, verdict: Any, action: Any
) -> None:
    for alert in tell(kind, verdict=verdict, action=action, because="the receiver said no"):
        assert alert.text.startswith("checkout")
        assert "prod" in alert.text
        assert ("4.12.0" in alert.text) or kind == "internal"
        assert list(alert.fields) == [name for name in FIELDS if name in alert.fields]
        assert all(alert.fields.values())


@pytest.mark.parametrize(("kind", "said"), [
    ("rolling_back", "Version check, then recovery by 08:15 UTC, else a page."),
    ("proposed", "Nothing until someone approves; the offer ends at 08:15 UTC."),
    ("unknown", "No second rollback happens by itself. A person is needed."),
    ("blind", "Judged again by itself when data returns. Not cleared, and nothing will be rolled back."),
])  # fmt: skip
def test_what_happens_next_is_said(kind: AlertKind, said: str) -> None:
    action: Action = replace(ACTION, deadline_at=NOW + 900, acked_at=NOW)
    assert tell(kind, action=action)[0].fields["next"] == said
    assert tell(kind, action=action, next_step="Watch it.")[0].fields["next"] == "Watch it."


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_is_bounded_and_on_one_line(kind: AlertKind, text: str) -> None:
    deploy = replace(DEPLOY, to_version=text, author=text, service=text)
    for alert in tell(
        kind, deploy=deploy, because=text, impact=text, action=replace(ACTION, to_version=text)
    ):
        alert.text.encode("utf-8")
        for line in (alert.text, *alert.fields.values()):
            assert len(line) <= 1500
            assert not set(line) & set("\0\r\n\x1b\u202e")


@pytest.mark.parametrize(
    ("onset", "said"),
    [
        (NOW - 400, "100 s after the deploy"),
        (NOW - 550, "during the deploy"),
        (NOW - 1200, "10 min before the deploy"),
    ],
)
def test_the_onset_is_told_against_the_deploy(onset: float, said: str) -> None:
    evidence = replace(VERDICT.evidence[0], onset_at=onset, onset_low_at=None, onset_high_at=None)
    alerts = tell("regressed", verdict=replace(VERDICT, evidence=(evidence,)))
    assert alerts[0].fields["since"].endswith(said)
