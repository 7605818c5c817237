"""The life of an alert: at least once, in order per incident, and never lost in silence."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.support.examples import NOW
from tests.watchdog.alerts.alert_examples import ALERT
from tests.watchdog.outbox.outbox_rig import GOAL, Rig, ScriptedChannel
from watchdog.model import Alert, Sent
from watchdog.store.protocol import StoreUnavailable

DOWN = Sent(outcome="retry", because="answered 500")
PAGE = replace(ALERT, channel="on-call", created_at=NOW)


def put(rig: Rig, *alerts: Alert) -> None:
    for alert in alerts:
        rig.store.outbox[alert.id] = alert


def alert(n: int, *, incident: str = "", channel: str = "team", page: bool = False) -> Alert:
    key = incident or f"s{n}|prod|d{n}"
    return replace(ALERT, id=f"a{n}", channel=channel, dedup_key=key, page=page, created_at=NOW)


async def test_an_alert_is_delivered_once_and_settled() -> None:
    rig = Rig()
    put(rig, PAGE)
    async with rig.running() as outbox:
        await rig.clock.advance(10)
        assert outbox.sent == 1
    assert rig.store.outbox[PAGE.id].state == "sent"
    assert rig.on_call.tried == [PAGE]
    assert rig.team.tried == []


async def test_a_channel_that_is_down_for_two_hours_loses_nothing() -> None:
    rig = Rig()
    rig.team.always = DOWN
    put(rig, *(alert(n) for n in range(50)))
    async with rig.running() as outbox:
        await rig.clock.advance(7200)
        assert rig.team.taken == []
        assert outbox.alerts.failing_since() == {"team": NOW}
        assert len(rig.team.tried) < 200, "a channel that is down is not hammered"
        rig.team.always = Sent(outcome="done", because="ok")
        await rig.clock.advance(900)
        assert outbox.alerts.failing_since() == {}
        assert outbox.dropped == 0
    assert {a.state for a in rig.store.outbox.values()} == {"sent"}
    assert sorted(a.id for a in rig.team.taken) == sorted(f"a{n}" for n in range(50))


async def test_a_resolve_never_leaves_before_its_trigger() -> None:
    rig = Rig()
    rig.on_call.answers = [DOWN] * 4
    trigger = alert(1, incident="i", channel="on-call")
    resolve = replace(alert(2, incident="i", channel="on-call"), event="resolve")
    put(rig, trigger, resolve, alert(3, incident="j", channel="on-call"))
    async with rig.running():
        await rig.clock.advance(120)
    taken = [a.id for a in rig.on_call.taken]
    assert sorted(taken) == ["a1", "a2", "a3"]
    assert taken.index("a1") < taken.index("a2")
    assert "a2" not in [a.id for a in rig.on_call.tried[: rig.on_call.tried.index(rig.on_call.taken[0])]]


async def test_an_alert_that_alone_fails_does_not_hold_up_the_others() -> None:
    rig = Rig()

    class Picky(ScriptedChannel):
        async def send(self, alert: Alert, *, now: float, timeout_s: float) -> Sent:
            self.tried.append(alert)
            if alert.id == "a0":
                return DOWN
            self.taken.append(alert)
            return Sent(outcome="done", because="ok")

    rig.channels["team"] = picky = Picky()
    put(rig, *(alert(n) for n in range(20)))
    async with rig.running():
        await rig.clock.advance(10)
    assert {a.id for a in picky.taken} == {f"a{n}" for n in range(1, 20)}


async def test_a_refused_page_is_lost_here_and_told_elsewhere() -> None:
    rig = Rig()
    rig.on_call.always = Sent(outcome="refused", because="answered 400: invalid key")
    put(rig, PAGE)
    async with rig.running() as outbox:
        await rig.clock.advance(10)
        assert outbox.dropped == 1
    assert rig.store.outbox[PAGE.id].state == "failed"
    (copy,) = rig.team.taken
    assert copy.text == f"(not delivered through on-call) {PAGE.text}"
    assert (copy.event, copy.dedup_key) == (PAGE.event, PAGE.dedup_key)


async def test_a_page_that_keeps_failing_goes_to_the_second_channel_after_five_minutes() -> None:
    rig = Rig()
    rig.on_call.always = DOWN
    put(rig, PAGE)
    async with rig.running():
        await rig.clock.advance(250)
        assert rig.team.taken == []
        await rig.clock.advance(450)
        assert [a.text for a in rig.team.taken] == [f"(not delivered through on-call) {PAGE.text}"]
        rig.on_call.always = Sent(outcome="done", because="ok")
        await rig.clock.advance(900)
    assert [a.id for a in rig.on_call.taken] == [PAGE.id]
    assert len(rig.team.taken) == 1


async def test_what_is_no_page_is_not_copied_and_given_up_after_a_day() -> None:
    rig = Rig()
    rig.team.always = DOWN
    put(rig, replace(alert(1), created_at=NOW - 86_000), alert(2))
    async with rig.running() as outbox:
        await rig.clock.advance(1200)
        assert outbox.dropped == 1
    assert [a.state for a in rig.store.outbox.values()] == ["failed", "pending"]
    assert rig.on_call.tried == []


async def test_an_alert_is_given_up_after_four_hundred_attempts() -> None:
    rig = Rig()
    rig.team.always = DOWN
    put(rig, replace(alert(1), attempts=398))
    async with rig.running():
        await rig.clock.advance(800)
    assert len(rig.team.tried) == 2
    assert rig.store.outbox["a1"].state == "failed"


async def test_all_channels_down_and_copies_do_not_multiply() -> None:
    rig = Rig()
    rig.team.always = rig.on_call.always = DOWN
    put(rig, PAGE)
    async with rig.running():
        await rig.clock.advance(7200)
    assert len(rig.store.outbox) == 2


async def test_a_slow_channel_delays_no_other() -> None:
    rig = Rig()
    rig.team.gate = asyncio.Event()
    put(rig, *(alert(n) for n in range(5)), PAGE)
    async with rig.running():
        assert len(rig.team.tried) == 1
        assert rig.on_call.taken == [PAGE]
        rig.team.gate.set()


async def test_a_flood_is_sixty_a_minute_and_complete() -> None:
    rig = Rig()
    put(rig, *(alert(n) for n in range(150)))
    async with rig.running():
        assert len(rig.team.taken) == 60
        await rig.clock.advance(59)
        assert len(rig.team.taken) == 60
        await rig.clock.advance(62)
        assert len(rig.team.taken) == 120 + (30 if rig.clock.wall_s() - NOW >= 120 else 0)
        await rig.clock.advance(60)
    assert {a.id for a in rig.team.taken} == {f"a{n}" for n in range(150)}


async def test_retry_after_pauses_the_whole_channel() -> None:
    rig = Rig()
    rig.team.answers = [Sent(outcome="retry", because="answered 429", retry_after_s=30)]
    put(rig, alert(1), alert(2))
    async with rig.running():
        await rig.clock.advance(29)
        assert [a.id for a in rig.team.tried] == ["a1"]
        await rig.clock.advance(15)
    assert {a.id for a in rig.team.taken} == {"a1", "a2"}


async def test_a_channel_that_is_configured_no_more_is_a_lost_alert() -> None:
    rig = Rig()
    put(rig, alert(1, channel="gone"))
    async with rig.running() as outbox:
        await rig.clock.advance(1)
        assert outbox.dropped == 1
    assert rig.store.outbox["a1"].state == "failed"


async def test_a_bug_in_a_channel_is_contained_and_tried_again() -> None:
    rig = Rig()
    rig.team.answers = [KeyError("x")]
    put(rig, alert(1), alert(2))
    async with rig.running():
        await rig.clock.advance(10)
    assert {a.id for a in rig.team.taken} == {"a1", "a2"}


async def test_a_delivery_is_stored_as_soon_as_the_store_takes_it() -> None:
    rig = Rig()
    is_full = True

    def full(step: str) -> None:
        if is_full:
            raise StoreUnavailable("no space left")

    rig.store.before = full
    put(rig, alert(1))
    async with rig.running():
        await rig.clock.advance(30)
        assert len(rig.team.taken) == 1
        is_full = False
        await rig.clock.advance(2)
    assert rig.store.outbox["a1"].state == "sent"
    assert len(rig.team.taken) == 1


async def test_a_dead_rollback_target_does_not_hold_up_alerts() -> None:
    rig = Rig()
    rig.target.gate = asyncio.Event()
    rig.put(GOAL)
    async with rig.running() as outbox:
        put(rig, alert(1))
        outbox.wake()
        await rig.clock.advance(0)
        assert len(rig.team.taken) == 1
        rig.target.gate.set()
