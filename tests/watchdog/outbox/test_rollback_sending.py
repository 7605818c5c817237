"""The life of a rollback from intent to acknowledgement, guard by guard."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.support.examples import DEPLOY, NOW
from tests.watchdog.outbox.outbox_rig import GOAL, OFF, OK, ON, Rig, ScriptedTarget, intent
from watchdog.model import Sent, SwitchState
from watchdog.store.protocol import StoreDead, StoreUnavailable

RETRY = Sent(outcome="retry", because="connection refused")
LOST = Sent(outcome="unknown", because="no answer within 10 s")


async def test_an_intent_is_sent_acknowledged_and_told() -> None:
    rig = Rig()
    rig.store.epoch = 4
    rig.put(GOAL)
    async with rig.running() as outbox:
        assert rig.state == "acked"
        assert outbox.sent >= 1
    assert [(frm, to) for _, frm, to in rig.store.moves] == [("intended", "sending"), ("sending", "acked")]
    (sent,) = rig.target.sent
    assert (sent.attempts, sent.body, sent.epoch) == (1, GOAL.body, 4), (
        "the epoch of the store that sends, not of the intent"
    )
    assert (rig.action.acked_at, rig.action.deadline_at) == (NOW, NOW + 600)
    assert rig.told() == ["rolling_back"]
    assert (
        rig.team.taken[0].text == "checkout (prod): rolling back 4.12.0 -> 4.11.3: failed payments rose (w1)"
    )
    assert rig.told("on-call") == []


async def test_wake_sends_without_waiting_for_the_next_look() -> None:
    rig = Rig()
    async with rig.running() as outbox:
        rig.put(GOAL)
        await rig.clock.advance(0)
        assert rig.target.sent == []
        outbox.wake()
        await rig.clock.advance(0)
        assert len(rig.target.sent) == 1


async def test_an_intent_nobody_told_of_is_found() -> None:
    rig = Rig()
    async with rig.running():
        rig.put(GOAL)
        await rig.clock.advance(1.0)
        assert rig.state == "acked"


async def test_retries_keep_key_and_bytes_and_grow_apart() -> None:
    rig = Rig()
    rig.target.answers = [RETRY, LOST, RETRY, LOST, OK]
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(30)
    assert rig.state == "acked"
    assert {(a.key, a.body) for a in rig.target.sent} == {(GOAL.key, GOAL.body)}
    assert [a.attempts for a in rig.target.sent] == [1, 2, 3, 4, 5]
    gaps = [b - a for a, b in zip(rig.target.times, rig.target.times[1:], strict=False)]
    for gap, nominal in zip(gaps, (1, 2, 4, 8), strict=True):
        # Up to 25 % of jitter; 0.02 s because a look may come a hair too early and look again.
        assert nominal <= gap <= nominal * 1.25 + 0.02
    assert rig.target.effects == {GOAL.key: 1}


@pytest.mark.parametrize(("asked_s", "least", "most"), [(7.0, 7, 8.8), (10**9, 300, 375.1), (0.0, 1, 1.3)])
async def test_retry_after_is_honoured_up_to_a_cap(asked_s: float, least: float, most: float) -> None:
    rig = Rig()
    rig.target.answers = [Sent(outcome="retry", because="answered 429", retry_after_s=asked_s)]
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(400)
    assert least <= rig.target.times[1] - rig.target.times[0] <= most


async def test_a_receiver_that_never_answers_ends_unknown_and_pages() -> None:
    rig = Rig()
    rig.target.always = LOST
    rig.put(GOAL)
    async with rig.running() as outbox:
        await rig.clock.advance(1200)
        assert outbox.dropped == 1
    assert rig.state == "unknown"
    assert rig.told("on-call") == ["unknown"]
    assert rig.on_call.taken[0].page
    assert all(at < GOAL.valid_until_at for at in rig.target.times)


async def test_not_idempotent_is_sent_at_most_once() -> None:
    rig = Rig(idempotent=False)
    rig.target.always = LOST
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(1200)
    assert len(rig.target.sent) == 1
    assert rig.state == "unknown"
    assert rig.told("on-call") == ["unknown"]


async def test_not_idempotent_is_tried_again_when_nothing_was_taken() -> None:
    rig = Rig(idempotent=False)
    rig.target.answers = [RETRY, RETRY, OK]
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(30)
    assert rig.state == "acked"
    assert rig.target.effects == {GOAL.key: 1}


async def test_a_refusal_ends_it_and_pages_with_the_answer() -> None:
    rig = Rig()
    rig.target.always = Sent(outcome="refused", because="answered 404: no such thing")
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(600)
    assert rig.state == "refused"
    assert len(rig.target.sent) == 1
    (page,) = rig.on_call.taken
    assert page.text == "checkout (prod): rollback 4.12.0 -> 4.11.3 refused: answered 404: no such thing"
    assert page.fields["because"] == "failed payments rose (w1)"


async def test_a_bug_in_a_target_is_contained() -> None:
    rig = Rig(idempotent=False)
    rig.target.answers = [ZeroDivisionError("secret")]
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(10)
    assert rig.state == "unknown"
    assert rig.action.because == "a bug in the target: ZeroDivisionError"


async def test_a_target_without_a_deadline_is_cut_off() -> None:
    rig = Rig(idempotent=False)
    rig.target.gate = asyncio.Event()
    rig.put(GOAL)
    is_over = asyncio.Event()
    rig.store.after = lambda step: is_over.set() if step == "move to unknown" else None
    async with asyncio.timeout(5), rig.running():
        await is_over.wait()
    assert rig.action.because == "the target kept no deadline"


# Guards before the wire


async def test_the_kill_switch_holds_and_lets_go() -> None:
    rig = Rig()
    rig.switch = lambda: ON
    rig.put(GOAL)
    async with rig.running() as outbox:
        await rig.clock.advance(60)
        assert (rig.state, outbox.held, rig.target.sent) == ("intended", 1, [])
        assert outbox.oldest_intent_age_s(rig.clock.wall_s()) == 60.0
        assert rig.store.moves == []
        rig.switch = lambda: OFF
        await rig.clock.advance(1.0)
        assert (rig.state, outbox.held) == ("acked", 0)
        await rig.clock.advance(1.0)
        assert outbox.oldest_intent_age_s(rig.clock.wall_s()) == 0.0


async def test_a_held_action_expires_and_pages() -> None:
    rig = Rig()
    rig.switch = lambda: ON
    rig.put(GOAL)
    async with rig.running() as outbox:
        await rig.clock.advance(901)
        assert outbox.held == 0
    assert (rig.state, rig.target.sent) == ("expired", [])
    assert rig.told("on-call") == ["expired"]


async def test_a_switch_thrown_while_the_step_is_written_still_stops_the_send() -> None:
    rig = Rig()
    is_thrown = False

    def throw(step: str) -> None:
        nonlocal is_thrown
        is_thrown = is_thrown or step == "move to sending"

    rig.store.after = throw
    rig.switch = lambda: ON if is_thrown else OFF
    rig.put(GOAL)
    async with rig.running() as outbox:
        await rig.clock.advance(5)
        assert (rig.state, rig.action.attempts, rig.target.sent) == ("intended", 0, [])
        assert outbox.held == 1
        is_thrown = False
        rig.store.after = lambda _: None
        await rig.clock.advance(2)
    assert (rig.state, len(rig.target.sent)) == ("acked", 1)


async def test_the_kill_switch_holds_retries_too() -> None:
    rig = Rig()
    rig.target.always = LOST
    rig.put(GOAL)
    async with rig.running():
        rig.switch = lambda: ON
        await rig.clock.advance(60)
    assert (rig.state, len(rig.target.sent)) == ("retry_wait", 1)


async def test_a_guard_that_fails_stops_everything() -> None:
    rig = Rig()

    def broken() -> SwitchState:
        raise RuntimeError("no switch")

    rig.switch = broken
    rig.put(GOAL)
    with pytest.raises(ExceptionGroup):
        async with rig.running():
            await rig.clock.advance(1)
    assert (rig.state, rig.target.sent) == ("intended", [])


async def test_what_is_no_longer_valid_is_not_sent() -> None:
    rig = Rig()
    rig.put(replace(GOAL, valid_until_at=NOW))
    async with rig.running():
        await rig.clock.advance(1)
    assert (rig.state, rig.target.sent) == ("expired", [])
    assert rig.told() == rig.told("on-call") == ["expired"]
    assert "not sent in time" in rig.action.because


async def test_after_the_clock_was_set_back_the_age_of_an_intent_is_not_known() -> None:
    rig = Rig()
    rig.put(GOAL)
    rig.clock.step_wall(-7200)
    async with rig.running():
        await rig.clock.advance(1)
    assert (rig.state, rig.target.sent) == ("expired", [])
    assert "the clock was set back" in rig.action.because


async def test_a_clock_set_back_between_attempts_delays_nothing_and_sends_nothing() -> None:
    rig = Rig()
    rig.target.always = LOST
    rig.put(GOAL)
    async with rig.running():
        rig.clock.step_wall(-7200)
        await rig.clock.advance(5)
    assert (rig.state, len(rig.target.sent)) == ("unknown", 1)


async def test_a_small_correction_of_the_clock_changes_nothing() -> None:
    rig = Rig()
    rig.put(GOAL)
    rig.clock.step_wall(-3)
    async with rig.running():
        await rig.clock.advance(1)
    assert rig.state == "acked"


@pytest.mark.parametrize(
    ("running", "because"), [("4.11.3", "already at 4.11.3"), ("4.13.0", "superseded by 4.13.0")]
)
async def test_what_another_change_has_overtaken_is_not_sent(running: str, because: str) -> None:
    rig = Rig()
    rig.running_version = running
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(1)
    assert (rig.state, rig.action.because, rig.target.sent) == ("expired", because, [])
    assert rig.told() == ["expired"]
    assert rig.told("on-call") == [], "nobody is woken for what is already over"


async def test_a_lost_answer_whose_rollback_took_effect_is_acknowledged() -> None:
    rig = Rig()
    rig.target.answers = [LOST]
    rig.put(GOAL)
    async with rig.running():
        rig.running_version = "4.11.3"
        await rig.clock.advance(5)
    assert rig.state == "acked"
    assert rig.action.deadline_at is not None
    assert len(rig.target.sent) == 1
    assert "earlier attempt took effect" in rig.action.because


@pytest.mark.parametrize(
    ("change", "is_sent"),
    [
        ({}, False),
        ({"is_failed": True}, True),
        ({"environment": "staging"}, True),
        ({"rolls_back": "d1", "to_version": "4.11.3"}, True),
        ({"to_version": "4.11.3"}, True),
        ({"started_at": DEPLOY.started_at - 60}, True),
    ],
)
async def test_without_a_version_signal_a_newer_deploy_stops_it(
    change: dict[str, object], is_sent: bool
) -> None:
    rig = Rig()
    rig.running_version = None
    newer = replace(DEPLOY, id="d2", to_version="4.13.0", started_at=NOW - 5, finished_at=None)
    rig.store.known_deploys.append(replace(newer, **change))  # type: ignore[arg-type]  # the cases are the types
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(1)
    assert (len(rig.target.sent) == 1) == is_sent
    assert rig.state == ("acked" if is_sent else "expired")


async def test_a_version_that_cannot_be_read_in_time_counts_as_unknown() -> None:
    rig = Rig()

    async def hang(service: str) -> str | None:
        raise TimeoutError

    rig.version = hang
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(1)
    assert rig.state == "acked"


async def test_a_target_that_is_configured_no_more_is_refused() -> None:
    rig = Rig()
    rig.put(replace(GOAL, target="gone"))
    async with rig.running():
        await rig.clock.advance(1)
    assert (rig.state, rig.action.because) == ("refused", "no target `gone` is configured")


# Side by side


async def test_a_slow_target_delays_no_other() -> None:
    rig = Rig()
    slow = rig.targets["slow"] = ScriptedTarget(gate=asyncio.Event())
    rig.put(*(intent(f"s{n}", n, "slow") for n in range(10)), intent("checkout", 99))
    async with rig.running():
        assert len(slow.sent) == 4, "bounded per target"
        assert [a.service for a in slow.sent] == ["s0", "s1", "s2", "s3"], "oldest first"
        assert len(rig.target.sent) == 1
        assert slow.gate is not None
        slow.gate.set()
        await rig.clock.advance(1)
        assert len(slow.sent) == 10
    assert {a.state for a in rig.store.rows.values()} == {"acked"}


async def test_one_service_has_one_send_at_a_time() -> None:
    rig = Rig()
    rig.target.gate = asyncio.Event()
    rig.put(intent("checkout", 1), intent("checkout", 2))
    async with rig.running():
        assert [a.key for a in rig.target.sent] == [intent("checkout", 1).key]
        rig.target.gate.set()
        await rig.clock.advance(1)
        assert len(rig.target.sent) == 2


async def test_dead_channels_do_not_hold_up_a_rollback() -> None:
    rig = Rig()
    rig.team.gate = rig.on_call.gate = asyncio.Event()
    rig.put(intent("a", 1))
    async with rig.running() as outbox:
        assert len(rig.team.tried) == 1, "the alert of the first rollback hangs"
        rig.put(intent("b", 2))
        outbox.wake()
        await rig.clock.advance(0)
        assert len(rig.target.sent) == 2
        rig.team.gate.set()


# Accepted, and told later


async def test_an_accepted_rollback_is_polled_until_it_is_done() -> None:
    rig = Rig()
    rig.target.always = Sent(outcome="accepted", because="answered 202", poll_url="http://h/r/1")
    rig.target.progresses = ["running", "unknown", "succeeded"]
    rig.put(GOAL)
    async with rig.running():
        assert (rig.state, rig.action.poll_url) == ("acked", "http://h/r/1")
        await rig.clock.advance(60)
    assert (rig.state, rig.action.poll_url) == ("acked", None)
    assert rig.action.deadline_at == NOW + 600
    assert rig.target.times == pytest.approx([NOW, NOW, NOW + 5, NOW + 10], abs=2.0)
    assert rig.told("on-call") == []


async def test_an_accepted_rollback_that_fails_is_refused_and_pages() -> None:
    rig = Rig()
    rig.target.always = Sent(outcome="accepted", because="answered 202", poll_url="http://h/r/1")
    rig.target.progresses = ["running", "failed"]
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(60)
    assert rig.state == "refused"
    assert rig.told("on-call") == ["refused"]
    assert len(rig.target.sent) == 1


async def test_after_its_deadline_nothing_is_asked_any_more() -> None:
    rig = Rig()
    rig.target.always = Sent(outcome="accepted", because="answered 202", poll_url="http://h/r/1")
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(2000)
    assert rig.state == "acked", "unconfirmed is for the one who verifies"
    assert max(rig.target.times) < NOW + 600


# The store


async def test_no_durable_step_no_send() -> None:
    rig = Rig()
    is_full = True

    def full(step: str) -> None:
        if is_full:
            raise StoreUnavailable("no space left")

    rig.store.before = full
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(60)
        assert (rig.state, rig.target.sent) == ("intended", [])
        is_full = False
        await rig.clock.advance(6)
    assert (rig.state, len(rig.target.sent)) == ("acked", 1)


@pytest.mark.parametrize("hook", ["before", "reading"])
async def test_an_outcome_is_stored_as_soon_as_the_store_takes_it(hook: str) -> None:
    rig = Rig(idempotent=False)
    is_full = False

    def full(step: str = "") -> None:
        if is_full:
            raise StoreUnavailable("no space left")

    def fill(step: str) -> None:
        nonlocal is_full
        is_full = is_full or step == "answer"

    setattr(rig.store, hook, full)
    rig.target.before = fill
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(60)
        assert rig.state == "sending"
        is_full = False
        await rig.clock.advance(2)
    assert rig.state == "acked"
    assert len(rig.target.sent) == 1


async def test_a_store_that_cannot_be_read_is_asked_again() -> None:
    rig = Rig()
    rig.put(GOAL)

    def unreadable() -> None:
        raise StoreUnavailable("disk I/O error")

    rig.store.reading = unreadable
    async with rig.running():
        await rig.clock.advance(60)
        assert rig.target.sent == []
        rig.store.reading = lambda: None
        await rig.clock.advance(2)
    assert rig.state == "acked"


async def test_a_dead_store_ends_the_outbox() -> None:
    rig = Rig()

    def dead(step: str) -> None:
        raise StoreDead("fsync failed")

    rig.store.before = dead
    rig.put(GOAL)
    with pytest.raises(ExceptionGroup):
        async with rig.running():
            await rig.clock.advance(1)
    assert rig.target.sent == []


async def test_a_vetoed_action_is_left_alone() -> None:
    rig = Rig()
    rig.put(GOAL)

    def veto(step: str) -> None:
        if step == "move to sending":
            rig.store.rows[GOAL.key] = replace(GOAL, state="vetoed")

    rig.store.before = veto
    async with rig.running():
        await rig.clock.advance(5)
    assert (rig.state, rig.target.sent) == ("vetoed", [])


async def test_ending_lets_an_attempt_on_the_wire_be_recorded() -> None:
    rig = Rig(idempotent=False)
    rig.target.gate = asyncio.Event()
    rig.put(GOAL)
    async with rig.running():
        assert rig.state == "sending"
        asyncio.get_running_loop().call_later(0.05, rig.target.gate.set)
    assert rig.state == "acked"
