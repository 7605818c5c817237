"""The webhook target: what it puts on the wire, what it refuses to be configured with, how it asks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from config.plugins import adapter
from tests.support.examples import INTENT, NOW
from tests.support.receivers import RollbackReceiver
from tests.watchdog.rollback.test_target_conformance import ORDER, SECRET
from watchdog.rollback.targets.webhook import StatusPoll, WebhookTarget
from watchdog.signing import SigningKeys

OTHER = "whsec_YW5vdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMgaGVyZSE="


async def test_what_is_on_the_wire() -> None:
    async with RollbackReceiver() as receiver:
        target = WebhookTarget(
            url=f"{receiver.url}/rollback",
            secret=(SecretStr(SECRET), SecretStr(OTHER)),
            headers={"Authorization": SecretStr("Bearer t")},
            body={"service": "{service}", "to": "{to_version}", "deep": [{"n": 1, "on": True, "x": None}]},
        )
        body = target.render(ORDER)
        for attempt in (1, 2):
            action = replace(INTENT, body=body, attempts=attempt, epoch=7)
            await target.send(action, now=NOW + attempt, timeout_s=2.0)
        await target.close()
    first, second = receiver.received
    assert (
        first.body
        == second.body
        == b'{"deep":[{"n":1,"on":true,"x":null}],"service":"checkout","to":"4.11.3"}'
    )
    assert first.headers["idempotency-key"] == second.headers["webhook-id"] == INTENT.key
    assert [r.headers["webhook-timestamp"] for r in (first, second)] == [f"{NOW + 1:.0f}", f"{NOW + 2:.0f}"]
    assert [r.headers["x-watchdog-attempt"] for r in (first, second)] == ["1", "2"]
    assert first.headers["x-watchdog-epoch"] == "7"
    assert first.headers["authorization"] == "Bearer t"
    assert first.headers["content-type"] == "application/json"
    for secret in (SECRET, OTHER):
        assert SigningKeys.parse([secret]).problem(first.headers, first.body, NOW) is None


async def test_the_default_body_says_everything() -> None:
    said = json.loads(WebhookTarget(url="http://h").render(ORDER))
    assert said == {name: getattr(ORDER, name) for name in said}
    assert len(said) == 7


async def test_410_disables_the_target() -> None:
    async with RollbackReceiver(always="410") as receiver:
        target = WebhookTarget(url=receiver.url)
        assert (await target.send(INTENT, now=NOW, timeout_s=2.0)).outcome == "refused"
        again = await target.send(INTENT, now=NOW, timeout_s=2.0)
        await target.close()
    assert again.outcome == "refused"
    assert "disabled" in again.because
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("behaviour", "seconds"),
    [
        ("429 seconds", 7),
        ("429 date", 20),
        ("429 garbage", None),
        ("429 ages", 10**9),
        ("503", 3),
        ("429", None),
    ],
)
async def test_retry_after_is_read(behaviour: str, seconds: float | None) -> None:
    async with RollbackReceiver(always=behaviour) as receiver:
        target = WebhookTarget(url=receiver.url)
        assert (await target.send(INTENT, now=NOW, timeout_s=2.0)).retry_after_s == seconds
        await target.close()


async def test_the_answer_is_quoted_without_secrets() -> None:
    async with RollbackReceiver(always="400 echo") as receiver:
        target = WebhookTarget(
            url=f"{receiver.url}/r?token=QUERYCANARY",
            secret=SecretStr(SECRET),
            headers={"X-Api": SecretStr("HEADERCANARY")},
        )
        sent = await target.send(INTENT, now=NOW, timeout_s=2.0)
        await target.close()
    assert "you sent" in sent.because
    assert "***" in sent.because
    assert "CANARY" not in sent.because


async def test_an_accepted_rollback_is_asked_about_at_its_location() -> None:
    async with RollbackReceiver(status=202) as receiver:
        target = WebhookTarget(url=f"{receiver.url}/rollback", headers={"X-Api": SecretStr("k")})
        sent = await target.send(INTENT, now=NOW, timeout_s=2.0)
        assert sent.outcome == "accepted"
        assert sent.poll_url == f"{receiver.url}/rollbacks/{INTENT.key}"
        action = replace(INTENT, poll_url=sent.poll_url)
        assert await target.progress(action, now=NOW, timeout_s=2.0) == "running"
        receiver.states[INTENT.key] = "succeeded"
        assert await target.progress(action, now=NOW, timeout_s=2.0) == "succeeded"
        receiver.states[INTENT.key] = "failed"
        assert await target.progress(action, now=NOW, timeout_s=2.0) == "failed"
        assert receiver.received[-1].headers["x-api"] == "k"
        async with RollbackReceiver() as stranger:
            stranger.states["x"] = "succeeded"
            strange = replace(INTENT, poll_url=f"{stranger.url}/rollbacks/x")
            assert await target.progress(strange, now=NOW, timeout_s=2.0) == "unknown"
            assert stranger.received == [], "our headers are not for others"
        assert await target.progress(INTENT, now=NOW, timeout_s=2.0) == "unknown"
        await target.close()


async def test_a_configured_status_url_is_asked_even_after_200() -> None:
    async with RollbackReceiver() as receiver:
        target = WebhookTarget(
            url=f"{receiver.url}/rollback",
            status=StatusPoll(url=f"{receiver.url}/rollbacks/{{key}}", done=("fine",)),
        )
        sent = await target.send(INTENT, now=NOW, timeout_s=2.0)
        assert (sent.outcome, sent.poll_url) == ("accepted", f"{receiver.url}/rollbacks/{INTENT.key}")
        receiver.states[INTENT.key] = "fine"
        action = replace(INTENT, poll_url=sent.poll_url)
        assert await target.progress(action, now=NOW, timeout_s=2.0) == "succeeded"
        await target.close()


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/", "//evil.example/", "http://[", "file:///etc/passwd"]
)
async def test_a_location_elsewhere_is_not_asked(location: str) -> None:
    class Strange(RollbackReceiver):
        def process(self, received: Any) -> Any:
            return replace(super().process(received), headers={"Location": location})

    async with Strange(status=202) as receiver:
        target = WebhookTarget(url=receiver.url)
        sent = await target.send(INTENT, now=NOW, timeout_s=2.0)
        await target.close()
    assert (sent.outcome, sent.poll_url) == ("accepted", None)


async def test_a_body_over_the_limit_is_not_sent() -> None:
    target = WebhookTarget(url="http://127.0.0.1:1")
    sent = await target.send(replace(INTENT, body=b"x" * 20_001), now=NOW, timeout_s=1.0)
    assert sent.outcome == "refused"


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"url": "deployer/rollback"}, "url"),
        ({"url": "ftp://h/r"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://["}, "url"),
        ({"url": "https://user:pw@h/"}, "url"),
        ({"url": "https://h/#x"}, "url"),
        ({"secret": SecretStr("hunter2")}, "secret"),
        ({"secret": ()}, "secret"),
        ({"timeout_s": 0.0}, "timeout"),
        ({"timeout_s": float("nan")}, "timeout"),
        ({"headers": {"Webhook-Id": SecretStr("x")}}, "headers.Webhook-Id"),
        ({"headers": {"Idempotency-Key": SecretStr("x")}}, "headers.Idempotency-Key"),
        ({"headers": {"Transfer-Encoding": SecretStr("x")}}, "headers.Transfer-Encoding"),
        ({"headers": {"X-A": SecretStr("a\r\nHost: b")}}, "headers.X-A"),
        ({"headers": {"X A": SecretStr("a")}}, "headers"),
        ({"body": {"x": "{services}"}}, "body.x"),
        ({"body": {"x": "{x.__class__}"}}, "body.x"),
        ({"body": {"x": "{service.__class__}"}}, "body.x"),
        ({"body": {"x": "{service!r}"}}, "body.x"),
        ({"body": {"x": "{0}"}}, "body.x"),
        ({"body": {"x": "{}"}}, "body.x"),
        ({"body": {"x": "{{7*7}}"}}, "body.x"),
        ({"body": {"x": ["a", {"y": "{{service}}"}]}}, r"body.x\[1\].y"),
        ({"body": {"x": "open {"}}, "body.x"),
        ({"body": {1: "x"}}, "body"),
        ({"body": {"x": float("nan")}}, "body.x"),
        ({"body": {"x": object()}}, "body.x"),
        ({"body": {"x": "y" * 30_000}}, "body"),
        ({"status": StatusPoll(url="http://h/r/{service}")}, "status.url"),
        ({"status": StatusPoll(url="http://other/r/{key}")}, "status.url"),
        ({"status": StatusPoll(url="http://h/{key}", path="$[")}, "status.path"),
        ({"status": StatusPoll(url="http://h/{key}", done=())}, "status"),
        ({"status": StatusPoll(url="http://h/{key}", done=("failed",))}, "status"),
    ],
)
def test_what_could_only_fail_later_is_refused_at_start(fields: Mapping[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}: ") as caught:
        WebhookTarget(**{"url": "http://h/r", **fields})
    assert "hunter2" not in str(caught.value)
    assert ":pw@" not in str(caught.value)


def test_a_placeholder_s_value_is_not_filled_again() -> None:
    target = WebhookTarget(url="http://h", body={"x": "{because}"})
    assert json.loads(target.render(replace(ORDER, because="{key} {x.__class__}"))) == {
        "x": "{key} {x.__class__}"
    }


def test_the_fields_are_read_as_the_loader_reads_them() -> None:
    target = adapter(WebhookTarget).validate_python(
        {
            "url": "https://deployer.example/rollback",
            "secret": [SECRET, OTHER],
            "headers": {"Authorization": "Bearer t"},
            "body": {"service": "{service}"},
            "idempotent": False,
            "status": {"url": "https://deployer.example/rollbacks/{key}", "done": ["ok"]},
            "timeout": "3s",
        }
    )
    assert target.idempotent is False
    assert target.timeout_s == 3.0
    assert target.status == StatusPoll(url="https://deployer.example/rollbacks/{key}", done=("ok",))
    assert "Bearer" not in repr(target)
