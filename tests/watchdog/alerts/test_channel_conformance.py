"""Every kind of channel, against receivers that misbehave and texts that mean harm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import get_args

import pytest
from pydantic import SecretStr

from tests.support.examples import NOW
from tests.support.receivers import BEHAVIOURS, PagerDutyReceiver, Receiver, SlackReceiver, patience_s
from tests.watchdog.alerts.alert_examples import ALERT, HOSTILE
from watchdog.alerts.channels import CHANNELS
from watchdog.alerts.channels.pagerduty import PagerDutyChannel
from watchdog.alerts.channels.slack import SlackChannel
from watchdog.alerts.protocol import Channel
from watchdog.model import AlertEvent, AlertKind, SendOutcome

ROUTING_KEY = "0123456789abcdef0123456789CANARY"
MAKERS: dict[str, tuple[Callable[[], Receiver], Callable[[str], Channel]]] = {
    "slack": (
        SlackReceiver,
        lambda url: SlackChannel(webhook=SecretStr(f"{url}/services/T0CANARY/B0CANARY/XCANARYX")),
    ),
    "pagerduty": (
        PagerDutyReceiver,
        lambda url: PagerDutyChannel(routing_key=SecretStr(ROUTING_KEY), url=url),
    ),
}
# An alert may repeat but must not be lost: only a clear no ends it, and only the contract's own yes is one.
OUTCOMES: dict[str, set[SendOutcome]] = {name: {"retry", "unknown"} for name in BEHAVIOURS}
OUTCOMES |= {name: {"refused"} for name in BEHAVIOURS if name[:3] in ("301", "302", "307", "308")}
OUTCOMES |= {name: {"refused"} for name in ("400", "400 echo", "401", "403", "404", "409", "410")}
OUTCOMES["contract"] = {"done"}


def test_every_kind_is_tried() -> None:
    assert MAKERS.keys() == CHANNELS.keys()


# Slack's success is in the body, PagerDuty's in the status.
BY_STATUS = {"endless body", "body never ends", "compressed bomb"}


@pytest.mark.parametrize("behaviour", sorted(BEHAVIOURS))
@pytest.mark.parametrize("kind", sorted(CHANNELS))
async def test_a_misbehaving_receiver_gets_an_outcome_in_time(kind: str, behaviour: str) -> None:
    make_receiver, make_channel = MAKERS[kind]
    async with make_receiver() as receiver:
        receiver.always = behaviour
        channel = make_channel(receiver.url)
        started_s = asyncio.get_running_loop().time()
        sent = await channel.send(ALERT, now=NOW, timeout_s=patience_s(behaviour))
        assert asyncio.get_running_loop().time() - started_s < patience_s(behaviour) + 3.0
        expected = {"done"} if kind == "pagerduty" and behaviour in BY_STATUS else OUTCOMES[behaviour]
        if kind == "slack" and behaviour == "body never ends":
            expected = {"done"}
        assert sent.outcome in expected, sent
        assert "CANARY" not in repr(sent)
        assert "CANARY" not in repr(channel)
        assert len(sent.because) < 700
        await channel.close()
        await channel.close()


@pytest.mark.parametrize("kind", sorted(CHANNELS))
async def test_a_refused_connection_is_tried_again(kind: str) -> None:
    make_receiver, make_channel = MAKERS[kind]
    async with make_receiver() as receiver:
        url = receiver.url
    channel = make_channel(url)
    sent = await channel.send(ALERT, now=NOW, timeout_s=1.0)
    assert sent.outcome == "retry"
    assert "CANARY" not in sent.because
    await channel.close()


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", sorted(CHANNELS))
async def test_hostile_text_passes_the_receiver_s_contract(kind: str, text: str) -> None:
    make_receiver, make_channel = MAKERS[kind]
    async with make_receiver() as receiver:
        channel = make_channel(receiver.url)
        alert = replace(
            ALERT,
            text=f"checkout {text}",
            fields=dict.fromkeys(ALERT.fields, text),
            service=f"s{text}",
            dedup_key=f"{text}|prod|d1",
            to_version=text,
        )
        sent = await channel.send(alert, now=NOW, timeout_s=5.0)
        assert sent.outcome == "done", sent
        assert len(receiver.received) == 1, "taken at once, not through the fallback"
        assert b"<!channel>" not in receiver.received[0].body or kind == "pagerduty"
        await channel.close()


@pytest.mark.parametrize("kind", sorted(CHANNELS))
async def test_every_kind_of_alert_is_taken(kind: str) -> None:
    make_receiver, make_channel = MAKERS[kind]
    async with make_receiver() as receiver:
        channel = make_channel(receiver.url)
        bare = replace(ALERT, fields={}, link=None, from_version=None)
        for alert_kind, event in product(get_args(AlertKind), get_args(AlertEvent)):
            alert = replace(bare, kind=alert_kind, event=event)
            sent = await channel.send(alert, now=NOW, timeout_s=5.0)
            assert sent.outcome == "done", (alert_kind, event, sent)
        await channel.close()
