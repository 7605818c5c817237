"""Slack: the message, its escapes, and the second try as plain text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.examples import NOW
from tests.support.receivers import Received, Reply, SlackReceiver, slack_problem
from tests.watchdog.alerts.alert_examples import ALERT
from watchdog.alerts.channels.slack import SlackChannel, message, plain_message


def texts(payload: dict[str, Any]) -> list[str]:
    found = [payload["text"]]
    for block in payload.get("blocks", []):
        found += [block["text"]["text"]] if "text" in block else [e["text"] for e in block["elements"]]
    return found


def test_the_message_of_the_wireframe() -> None:
    payload = message(ALERT)
    assert slack_problem(payload) is None
    assert payload["text"].startswith(
        "! checkout 4.12.0 (prod) regressed, rollback 4.12.0 -&gt; 4.11.3 waits"
    )
    said = texts(payload)
    assert said[2] == "*What:* failed payments: 0.4 % -&gt; 3.1 % (+2.7 pt, 2.1 to 3.4)"
    assert said[-1] == "<https://watchdog.shop.example/d/d1|Evidence>"


@pytest.mark.parametrize(
    "text",
    [
        "<!channel>",
        "<!here|x>",
        "<@U1>",
        "<#C1>",
        "<!subteam^S1>",
        "<http://evil|Approve>",
        "&lt;!channel&gt;",
    ],
)
def test_nothing_from_outside_becomes_a_mention_or_a_link(text: str) -> None:
    alert = replace(ALERT, text=text, fields={"because": text}, link=None)
    for payload in (message(alert), plain_message(alert)):
        for said in texts(payload):
            assert "<" not in said
            assert ">" not in said
        for block in payload.get("blocks", []):
            assert block["text"]["verbatim"] is True


@pytest.mark.parametrize(
    "link", ["https://h/d/1|x>", "https://h/<!channel>", "javascript:alert(1)", "https://h/ a", "x" * 5000]
)
def test_a_link_that_could_end_early_is_left_out(link: str) -> None:
    assert not any("Evidence" in said for said in texts(message(replace(ALERT, link=link))))


class NoBlocks(SlackReceiver):
    """A Slack that has changed its mind about blocks."""

    def process(self, received: Received) -> Reply:
        if "blocks" in received.json:
            return Reply(status=400, body="invalid_blocks")
        return super().process(received)


async def test_refused_blocks_are_sent_again_as_text() -> None:
    async with NoBlocks() as receiver:
        channel = SlackChannel(webhook=SecretStr(f"{receiver.url}/services/T/B/X"))
        sent = await channel.send(ALERT, now=NOW, timeout_s=5.0)
        await channel.close()
    assert sent.outcome == "done"
    assert len(receiver.received) == 2
    assert "Safe to go back: yes" in receiver.messages[0]["text"]


@pytest.mark.parametrize(
    "webhook", ["", "hooks.slack.com/services/CANARY", "https://u:CANARY@hooks.slack.com/x"]
)
def test_a_webhook_that_is_no_url_is_refused_without_being_shown(webhook: str) -> None:
    with pytest.raises(ValueError, match=r"^webhook: ") as caught:
        SlackChannel(webhook=SecretStr(webhook))
    assert "CANARY" not in str(caught.value)
