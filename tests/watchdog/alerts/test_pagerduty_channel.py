"""PagerDuty: triggers that stand alone, resolves of the same incident, and changes that page nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from pydantic import SecretStr

from tests.support.examples import NOW
from tests.support.receivers import PAGERDUTY_CHANGE, PAGERDUTY_EVENT, PagerDutyReceiver
from tests.watchdog.alerts.alert_examples import ALERT
from watchdog.alerts.channels.pagerduty import PagerDutyChannel, change_event, incident_event

KEY = "0123456789abcdef0123456789abcdef"


def test_the_trigger_of_the_wireframe() -> None:
    event = incident_event(ALERT, KEY)
    jsonschema.validate(event, PAGERDUTY_EVENT)
    assert event["dedup_key"] == "checkout|prod|d1"
    payload = event["payload"]
    assert payload["summary"] == ALERT.text
    assert (payload["severity"], payload["source"], payload["component"]) == (
        "critical",
        "checkout.prod",
        "checkout",
    )
    assert payload["class"] == "deploy-regression"
    assert payload["timestamp"] == "2027-01-15T08:00:00.000+00:00"
    assert payload["custom_details"]["versions"] == "4.11.3 -> 4.12.0"
    assert payload["custom_details"]["blame"].startswith("96 % this deploy")
    assert event["links"] == [{"href": "https://watchdog.shop.example/d/d1", "text": "Evidence"}]


async def test_trigger_resolve_and_change_go_where_they_belong() -> None:
    async with PagerDutyReceiver() as receiver:
        channel = PagerDutyChannel(routing_key=SecretStr(KEY), url=receiver.url)
        for event in ("trigger", "trigger", "resolve", "change", "update"):
            sent = await channel.send(replace(ALERT, event=event), now=NOW, timeout_s=5.0)
            assert sent.outcome == "done"
        await channel.close()
    assert [e["event_action"] for e in receiver.events] == ["trigger", "trigger", "resolve"]
    assert receiver.open == {}
    assert receiver.stray == []
    assert [c["payload"]["summary"] for c in receiver.changes] == [ALERT.text] * 2


async def test_a_key_that_takes_no_changes_still_pages() -> None:
    async with PagerDutyReceiver() as receiver:
        channel = PagerDutyChannel(routing_key=SecretStr("R" + KEY[1:]), url=receiver.url)
        change = await channel.send(replace(ALERT, event="change"), now=NOW, timeout_s=5.0)
        page = await channel.send(ALERT, now=NOW, timeout_s=5.0)
        await channel.close()
    assert (change.outcome, page.outcome) == ("done", "done")
    assert "not sent" in change.because
    assert len(receiver.received) == 1


def test_a_severity_can_be_mapped() -> None:
    event = incident_event(ALERT, KEY, {"critical": "error"})
    assert event["payload"]["severity"] == "error"


@pytest.mark.parametrize("key", ["x" * 255, "x" * 256, "é" * 300, "a\nb", "\ud800"])
def test_a_long_dedup_key_is_the_same_for_trigger_and_resolve(key: str) -> None:
    trigger = incident_event(replace(ALERT, dedup_key=key), KEY)
    resolve = incident_event(replace(ALERT, dedup_key=key, event="resolve"), KEY)
    assert trigger["dedup_key"] == resolve["dedup_key"]
    jsonschema.validate(resolve, PAGERDUTY_EVENT)
    other = incident_event(replace(ALERT, dedup_key=key + "!"), KEY)
    assert other["dedup_key"] != trigger["dedup_key"]


def test_a_change_event_is_one_even_without_a_link() -> None:
    event = change_event(replace(ALERT, link=None, from_version=None), KEY)
    jsonschema.validate(event, PAGERDUTY_CHANGE)
    assert event["payload"]["custom_details"]["versions"] == "unknown -> 4.12.0"


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"routing_key": SecretStr("short")}, "routing_key"),
        ({"routing_key": SecretStr("-" * 32)}, "routing_key"),
        ({"routing_key": SecretStr(KEY + "\n")}, "routing_key"),
        ({"url": "events.pagerduty.com"}, "url"),
    ],
)
def test_what_could_only_fail_later_is_refused_at_start(fields: Mapping[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}: "):
        PagerDutyChannel(**{"routing_key": SecretStr(KEY), **fields})
