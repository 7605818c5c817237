"""Every kind of target, against receivers that misbehave: always a Sent, in time, without a secret in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest
from pydantic import SecretStr

from tests.support.examples import INTENT, NOW
from tests.support.receivers import BEHAVIOURS, RollbackReceiver, patience_s
from watchdog.model import SendOutcome
from watchdog.rollback.protocol import Order, Target
from watchdog.rollback.targets import TARGETS
from watchdog.rollback.targets.webhook import WebhookTarget

SECRET = "whsec_U0VDUkVUQ0FOQVJZLVNFQ1JFVENBTkFSWS0wMQ=="
TOKEN = "Token SECRETCANARY"
ORDER = Order(
    key=INTENT.key,
    environment="prod",
    service="checkout",
    deploy="d1",
    from_version="4.12.0",
    to_version="4.11.3",
    because="failed payments 0.4 % -> 3.1 %",
)


def webhook(url: str) -> Target:
    return WebhookTarget(
        url=f"{url}/rollback?token=QUERYCANARY",
        secret=SecretStr(SECRET),
        headers={"Authorization": SecretStr(TOKEN)},
    )


MAKERS: dict[str, Callable[[str], Target]] = {"webhook": webhook}

# What may have been acted on must never read `retry` (sent again even to a target that is not idempotent)
# and what was not taken must never read `done`.
OUTCOMES: dict[str, set[SendOutcome]] = {
    "contract": {"done"},
    "200 html": {"done"},
    "204": {"done"},
    "408": {"retry"},
    "425": {"retry"},
    "429": {"retry"},
    "429 seconds": {"retry"},
    "429 date": {"retry"},
    "429 garbage": {"retry"},
    "429 ages": {"retry"},
    "endless body": {"done"},
    "body never ends": {"done"},
    "compressed bomb": {"done"},
    "huge headers": {"unknown"},
}
MAY_HAVE_ACTED = {"500", "500 echo", "503", "hangs", "hangs after", "not http", "partial status"}
OUTCOMES |= {name: {"unknown"} for name in MAY_HAVE_ACTED | {"reset before", "reset after"}}
NO_ATTEMPT_HELPS = {"301", "302", "307", "308", "400", "400 echo", "401", "403", "404", "409", "410"}
OUTCOMES |= {name: {"refused"} for name in NO_ATTEMPT_HELPS}


def test_every_kind_and_every_behaviour_is_tried() -> None:
    assert MAKERS.keys() == TARGETS.keys()
    assert OUTCOMES.keys() == BEHAVIOURS.keys()


@pytest.mark.parametrize("behaviour", sorted(BEHAVIOURS))
@pytest.mark.parametrize("kind", sorted(TARGETS))
async def test_a_misbehaving_receiver_gets_an_outcome_in_time(kind: str, behaviour: str) -> None:
    async with RollbackReceiver(secret=SECRET, always=behaviour) as receiver:
        target = MAKERS[kind](receiver.url)
        action = replace(INTENT, body=target.render(ORDER))
        started_s = asyncio.get_running_loop().time()
        sent = await target.send(action, now=NOW, timeout_s=patience_s(behaviour))
        assert asyncio.get_running_loop().time() - started_s < patience_s(behaviour) + 3.0
        assert sent.outcome in OUTCOMES[behaviour], sent
        assert len(receiver.received) == 1, "one attempt is one request: nothing is followed or repeated"
        assert "CANARY" not in repr(sent)
        assert SECRET.removeprefix("whsec_") not in repr(sent)
        assert "v1," not in sent.because
        assert len(sent.because) < 700
        assert "CANARY" not in repr(target)
        await target.close()
        await target.close()


@pytest.mark.parametrize("kind", sorted(TARGETS))
async def test_a_refused_connection_was_certainly_not_acted_on(kind: str) -> None:
    async with RollbackReceiver() as receiver:
        url = receiver.url
    target = MAKERS[kind](url)
    sent = await target.send(INTENT, now=NOW, timeout_s=1.0)
    assert sent.outcome == "retry"
    assert "Connection refused" in sent.because
    await target.close()


@pytest.mark.parametrize("kind", sorted(TARGETS))
async def test_a_name_that_does_not_resolve_was_certainly_not_acted_on(kind: str) -> None:
    target = MAKERS[kind]("http://nowhere.invalid")
    sent = await target.send(INTENT, now=NOW, timeout_s=5.0)
    assert sent.outcome == "retry"
    assert "CANARY" not in sent.because
    await target.close()


@pytest.mark.parametrize("behaviour", sorted(BEHAVIOURS))
@pytest.mark.parametrize("kind", sorted(TARGETS))
async def test_progress_is_told_in_time_and_only_success_reads_succeeded(kind: str, behaviour: str) -> None:
    async with RollbackReceiver(always=behaviour) as receiver:
        target = MAKERS[kind](receiver.url)
        action = replace(INTENT, poll_url=f"{receiver.url}/rollbacks/{INTENT.key}")
        progress = await target.progress(action, now=NOW, timeout_s=patience_s(behaviour))
        known = {"contract", "body never ends"}
        assert progress == ("running" if behaviour in known else "unknown")
        await target.close()


@pytest.mark.parametrize("kind", sorted(TARGETS))
def test_equal_orders_give_equal_bytes(kind: str) -> None:
    target = MAKERS[kind]("http://127.0.0.1:1")
    other = MAKERS[kind]("http://127.0.0.1:1")
    assert target.render(ORDER) == other.render(replace(ORDER))
    assert target.render(ORDER) != target.render(replace(ORDER, to_version="4.11.2"))


@pytest.mark.parametrize("kind", sorted(TARGETS))
@pytest.mark.parametrize("text", ["\ud800", "\0", "{service}", '"', "x" * 100_000, "\u202e", "a\r\nHost: b"])
def test_no_text_in_an_order_breaks_the_body(kind: str, text: str) -> None:
    target = MAKERS[kind]("http://127.0.0.1:1")
    body = target.render(replace(ORDER, because=text, to_version=text[:256]))
    assert len(body) < 20_000


def test_the_outcomes_named_here_are_those_of_the_model() -> None:
    assert set().union(*OUTCOMES.values()) <= set(get_args(SendOutcome))
