"""What every Store must keep, whatever it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.watchdog.store.store_material import (
    NOW,
    STORES,
    action_of,
    alert,
    deploy_of,
    event,
    roll_back,
    ruling,
    settle_as,
    watch_of,
    with_watch,
)
from watchdog.model import (
    Facts,
    Heartbeat,
    HeartbeatState,
    Incident,
    PendingCleanup,
    Ruling,
    SeriesShift,
    SwitchState,
    action_key,
)
from watchdog.store.protocol import HEARTBEATS_MAX, Store, StoreUnavailable

Make = Callable[[], Store]


@pytest.fixture(params=sorted(STORES))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    return lambda: STORES[request.param](tmp_path)


@pytest.fixture
async def store(make: Make) -> AsyncIterator[Store]:
    made = make()
    await made.open(NOW)
    yield made
    await made.close()


def keep_facts(seen: list[Facts]) -> Callable[[Facts], Ruling]:
    def decide(facts: Facts) -> Ruling:
        seen.append(facts)
        return ruling(facts)

    return decide


async def facts_of(store: Store, watch_id: str, now: float = NOW) -> Facts:
    seen: list[Facts] = []
    await store.transact(watch_id, keep_facts(seen), now)
    return seen[0]


async def test_everything_is_there_after_reopening(make: Make) -> None:
    first = make()
    await first.open(NOW)
    watch = await with_watch(first)
    written = await first.transact(watch.id, lambda facts: roll_back(facts, [alert(1)]), NOW + 1)
    await first.set_kill_switch(SwitchState(is_on=True, by="anne", at=NOW, because="drill"))
    await first.disarm("3 crashes", NOW)
    before = (
        await first.deploys(),
        await first.watches(),
        await first.actions(),
        await first.alerts(),
        await first.audit(),
        await first.decisions(watch.id),
        await first.packet(watch.id),
    )
    await first.close()
    await first.close()

    second = make()
    await second.open(NOW)
    try:
        assert second.epoch == 2
        after = (
            await second.deploys(),
            await second.watches(),
            await second.actions(),
            await second.alerts(),
            await second.audit(),
            await second.decisions(watch.id),
            await second.packet(watch.id),
        )
        assert after == before
        assert after[0] == [deploy_of(event(), "d1")]
        assert after[1] == [written.watch]
        assert after[2] == [written.action]
        assert after[3] == [alert(1)]
        assert after[5] == [(NOW + 1, "roll_back", "errors rose")]
        assert after[6] == written.packet
        assert await second.kill_switch() == SwitchState(is_on=True, by="anne", at=NOW, because="drill")
        facts = await facts_of(second, watch.id)
        assert (facts.kill_switch, facts.disarmed, facts.epoch) == ("drill", "3 crashes", 2)
    finally:
        await second.close()


async def test_a_store_that_is_not_open_says_so(make: Make) -> None:
    with pytest.raises(StoreUnavailable, match="not open"):
        await make().deploys()


async def test_an_event_told_twice_changes_nothing(store: Store) -> None:
    watch = await with_watch(store)
    audit = await store.audit()

    def never(*given: object) -> None:
        raise AssertionError("a duplicate is not settled")

    again = await store.take_in(event(to_version="other"), never, NOW + 99)  # type: ignore[arg-type]  # the assertion is the test
    assert again.is_duplicate
    assert (again.deploy.id, again.watch) == ("d1", watch)
    assert await store.audit() == audit


async def test_the_same_id_of_another_sender_is_another_event(store: Store) -> None:
    await with_watch(store)
    deploy = deploy_of(event(2), "d2")
    told = event(1, sender="argo")
    assert not (await store.take_in(told, settle_as(deploy, watch_of(deploy)), NOW)).is_duplicate


async def test_what_settle_refuses_leaves_no_trace(store: Store) -> None:
    def refuse(*given: object) -> None:
        raise ValueError("started_at: in the future")

    with pytest.raises(ValueError, match="in the future"):
        await store.take_in(event(), refuse, NOW)  # type: ignore[arg-type]  # it never returns
    assert (await store.deploys(), await store.audit()) == ([], [])
    assert not (await with_watch(store)).closed_at


async def test_settle_sees_the_service_what_it_depends_on_and_every_open_watch(store: Store) -> None:
    await with_watch(store, 1)
    await with_watch(store, 2, service="payments")
    await with_watch(store, 3, service="elsewhere")
    await with_watch(store, 4, service="checkout", environment="staging")
    old = deploy_of(event(5, started_at=NOW - 40 * 86400, finished_at=NOW - 40 * 86400), "d5")
    await store.take_in(event(5), settle_as(old, watch_of(old, state="missed", closed_at=NOW)), NOW)
    closed = deploy_of(event(6, service="other"), "d6")
    await store.take_in(event(6), settle_as(closed, watch_of(closed, state="healthy", closed_at=NOW)), NOW)
    await store.transact("wd1", lambda facts: roll_back(facts), NOW)
    seen: dict[str, list[str]] = {}

    def settle(deploys: object, watches: object, actions: object) -> object:
        for name, given in (("deploys", deploys), ("watches", watches), ("actions", actions)):
            seen[name] = [each.deploy_id if name == "actions" else each.id for each in given]  # type: ignore[attr-defined]
        deploy = deploy_of(event(7), "d7")
        return settle_as(deploy, watch_of(deploy))(deploys, watches, actions)

    await store.take_in(event(7), settle, NOW)  # type: ignore[arg-type]  # typed loosely to look at all three
    # d3 only because its watch is open; d4 is of another environment, d5 too old, d6 nothing to us.
    assert seen == {"deploys": ["d3", "d2", "d1"], "watches": ["wd3", "wd2", "wd1"], "actions": ["d1"]}


async def test_one_watch_per_deploy(store: Store) -> None:
    await with_watch(store)
    deploy = deploy_of(event(), "d1")
    with pytest.raises(Exception, match="UNIQUE"):
        await store.take_in(event(2), settle_as(deploy, watch_of(deploy, id="another")), NOW)


async def test_one_intent_per_deploy_for_ever(store: Store) -> None:
    watch = await with_watch(store)
    await store.transact(watch.id, roll_back, NOW)
    key = action_key("prod", "checkout", "d1", "1")
    for to in ("sending", "acked", "confirmed"):
        moved = await store.move_action(
            key, expect=("intended", "sending", "acked"), to=to, because="", who="outbox", now=NOW
        )
        assert moved is not None
    before = await store.audit()

    def another_step(facts: Facts) -> Ruling:
        assert facts.intent is not None
        return replace(roll_back(facts), action=action_of(facts, step="2", key="f" * 64))

    for decide in (roll_back, another_step):
        with pytest.raises(ValueError, match="one intent per deploy"):
            await store.transact(watch.id, decide, NOW)
    assert [action.state for action in await store.actions()] == ["confirmed"]
    assert await store.audit() == before


async def test_a_ruling_that_fails_is_undone_as_a_whole(store: Store) -> None:
    watch = await with_watch(store)
    audit = await store.audit()

    def bad(facts: Facts) -> Ruling:
        return replace(roll_back(facts, [alert(1)]), packet={"at": float("nan")})

    with pytest.raises(ValueError, match="JSON"):
        await store.transact(watch.id, bad, NOW)
    assert await store.watch(watch.id) == watch
    assert (await store.actions(), await store.alerts(), await store.decisions(watch.id)) == ([], [], [])
    assert await store.audit() == audit


async def test_an_exception_of_decide_reaches_its_caller_and_no_other(store: Store) -> None:
    watch = await with_watch(store)

    def bug(facts: Facts) -> Ruling:
        raise ZeroDivisionError

    answers = await asyncio.gather(
        store.note("me", "before", "", NOW),
        store.transact(watch.id, bug, NOW),
        store.note("me", "after", "", NOW),
        return_exceptions=True,
    )
    assert [type(answer).__name__ for answer in answers] == ["NoneType", "ZeroDivisionError", "NoneType"]
    assert [row.what for row in await store.audit(limit=2)] == ["after", "before"]


async def test_an_unknown_watch_is_a_lookup_error(store: Store) -> None:
    with pytest.raises(LookupError, match="no watch w9"):
        await store.transact("w9", ruling, NOW)


async def test_a_ruling_about_another_watch_is_refused(store: Store) -> None:
    watch = await with_watch(store)
    other = await with_watch(store, 2)
    with pytest.raises(ValueError, match="wd2"):
        await store.transact(watch.id, lambda facts: replace(ruling(facts), watch=other), NOW)


async def test_facts_count_what_has_been_decided(store: Store) -> None:
    first = await with_watch(store, 1)
    for number, service in ((2, "checkout"), (3, "cart"), (4, "search")):
        await with_watch(store, number, service=service)
    await store.transact(first.id, roll_back, NOW - 7200)
    await store.transact("wd3", roll_back, NOW - 1800)
    await store.transact("wd4", lambda facts: ruling(facts, "regressed", "alert"), NOW - 60)
    facts = await facts_of(store, "wd2")
    assert facts.intent is None
    assert facts.in_flight == 1
    assert facts.last_rollback_at == NOW - 7200
    assert (facts.rollbacks_last_hour, facts.rollbacks_last_day) == (1, 2)
    assert (await store.rollbacks_since(NOW - 3600), await store.rollbacks_since(NOW - 86400)) == (1, 2)
    assert facts.services_regressed_10_min == 1
    assert (await facts_of(store, first.id)).intent is not None


async def test_a_proposal_is_no_rollback_until_it_is_intended(store: Store) -> None:
    watch = await with_watch(store)
    await store.transact(
        watch.id, lambda facts: replace(roll_back(facts), action=action_of(facts, "awaiting_approval")), NOW
    )
    facts = await facts_of(store, watch.id)
    assert (facts.in_flight, facts.last_rollback_at, facts.rollbacks_last_hour) == (0, None, 0)
    key = action_key("prod", "checkout", "d1", "1")
    await store.move_action(
        key, expect=("awaiting_approval",), to="intended", because="approved", who="anne", now=NOW + 5
    )
    facts = await facts_of(store, watch.id, NOW + 5)
    assert (facts.in_flight, facts.last_rollback_at, facts.rollbacks_last_hour) == (1, NOW + 5, 1)


async def test_the_live_deploy_is_the_newest_that_happened(store: Store) -> None:
    watch = await with_watch(store, 1)
    failed = deploy_of(event(2, started_at=NOW + 10, finished_at=NOW + 20), "d2")
    announced = deploy_of(event(3, started_at=NOW + 30, finished_at=None), "d3")
    for number, deploy in (
        (2, replace(failed, is_failed=True)),
        (3, replace(announced, is_start_assumed=True)),
    ):
        await store.take_in(event(number), settle_as(deploy, None), NOW)
    assert (await facts_of(store, watch.id)).live_deploy_id == "d1"
    await store.take_in(event(4), settle_as(announced, None), NOW)
    assert (await facts_of(store, watch.id)).live_deploy_id == "d3"


async def test_the_state_of_the_version_to_go_back_to(store: Store) -> None:
    old = await with_watch(store, 1)
    watch = await with_watch(store, 2, from_version="4.9.1")
    assert (await facts_of(store, watch.id)).to_version_state is None
    await store.transact(old.id, lambda facts: ruling(facts, "healthy", "close"), NOW)
    assert (await facts_of(store, watch.id)).to_version_state == "healthy"


async def test_waiting_leaves_one_decision_row(store: Store) -> None:
    watch = await with_watch(store)
    for second in range(5):
        await store.transact(watch.id, lambda f, s=second: ruling(f, because=f"{s} s"), NOW + second)  # type: ignore[misc]
    await store.transact(watch.id, lambda facts: ruling(facts, "suspect", because="high"), NOW + 5)
    await store.transact(watch.id, lambda facts: ruling(facts, "healthy", "close", "calm"), NOW + 6)
    assert await store.decisions(watch.id) == [
        (NOW + 4, "wait", "4 s"),
        (NOW + 5, "wait", "high"),
        (NOW + 6, "close", "calm"),
    ]
    assert [each.id for each in await store.watches(is_open=True)] == []
    assert [each.id for each in await store.watches(is_open=False, service="checkout")] == [watch.id]


async def test_annotations_are_added_beside_what_the_verdict_rests_on(store: Store) -> None:
    watch = await with_watch(store)
    with pytest.raises(LookupError, match=watch.id):
        await store.annotate(watch.id, {"second_opinion": 1})
    written = await store.transact(watch.id, roll_back, NOW)
    await store.annotate(watch.id, {"second_opinion": 1})
    await store.annotate(watch.id, {"note": "by hand"})
    assert await store.packet(watch.id) == {
        **(written.packet or {}),
        "annotations": {"second_opinion": 1, "note": "by hand"},
    }


async def test_a_move_needs_the_expected_state(store: Store) -> None:
    watch = await with_watch(store)
    await store.transact(watch.id, roll_back, NOW)
    key = action_key("prod", "checkout", "d1", "1")
    moves = [
        store.move_action(
            key,
            expect=("intended",),
            to="sending",
            because="first",
            who="outbox",
            now=NOW,
            changes={"attempts": 1},
            alerts=(alert(1),),
            attempt="POST",
        )
        for _ in range(20)
    ]
    won = [moved for moved in await asyncio.gather(*moves) if moved is not None]
    assert len(won) == 1
    assert won[0] == await store.action(key)
    assert (won[0].state, won[0].attempts, won[0].body) == ("sending", 1, b'{"to": "4.9.0"}\x00\xff')
    assert await store.attempts(key) == [(NOW, "POST")]
    assert [each.id for each in await store.alerts()] == ["alert-1"]
    assert [row.what for row in await store.audit() if row.key == key] == ["intended -> sending: first"]
    assert await store.actions(states=("intended",)) == []
    assert len(await store.actions(states=("sending", "acked"), service="checkout")) == 1
    with pytest.raises(ValueError, match="body"):
        await store.move_action(
            key, expect=("sending",), to="acked", because="", who="", now=NOW, changes={"body": b""}
        )
    assert (
        await store.move_action("0" * 64, expect=("sending",), to="acked", because="", who="", now=NOW)
        is None
    )


async def test_alerts_of_one_incident_go_out_in_order(store: Store) -> None:
    await store.add_alerts([alert(1), alert(2), alert(3, channel="pager"), alert(4, dedup_key="other")])
    await store.add_alerts([alert(1, text="written again")])

    async def due(now: float) -> list[str]:
        return [each.id for each in await store.due_alerts(now)]

    assert (await store.alerts())[-1].text == "alert 1"
    assert await due(NOW) == ["alert-1", "alert-3", "alert-4"]
    await store.settle_alert("alert-1", state="pending", because="503", next_attempt_at=NOW + 30, now=NOW)
    # alert-2 waits for alert-1, although its own time has come.
    assert await due(NOW) == ["alert-3", "alert-4"]
    assert await due(NOW + 30) == ["alert-1", "alert-3", "alert-4"]
    await store.settle_alert("alert-1", state="failed", because="gone", next_attempt_at=None, now=NOW)
    assert await due(NOW + 30) == ["alert-2", "alert-3", "alert-4"]
    await store.settle_alert("alert-2", state="sent", because="202", next_attempt_at=None, now=NOW)
    assert await due(NOW + 30) == ["alert-3", "alert-4"]
    assert {each.id: each.attempts for each in await store.alerts()}["alert-1"] == 2
    assert await store.attempts("alert-1") == [(NOW, "pending: 503"), (NOW, "failed: gone")]
    with pytest.raises(LookupError):
        await store.settle_alert("alert-9", state="sent", because="", next_attempt_at=None, now=NOW)
    with pytest.raises(ValueError, match="state"):
        await store.settle_alert("alert-3", state="gone", because="", next_attempt_at=None, now=NOW)


async def test_lists_are_newest_first_and_bounded(store: Store) -> None:
    for number in range(1, 6):
        await with_watch(store, number, started_at=NOW + number, finished_at=NOW + number)
    assert [each.id for each in await store.deploys(limit=2)] == ["d5", "d4"]
    assert [each.id for each in await store.watches(limit=2)] == ["wd5", "wd4"]
    assert await store.deploys(service="nobody") == []
    assert await store.deploys(limit=-1) == []


async def test_200_transactions_at_once_all_hold(store: Store) -> None:
    watch = await with_watch(store)
    seen: list[int] = []

    def decide(facts: Facts) -> Ruling:
        seen.append(len(seen))
        return ruling(facts, because=f"tick {len(seen)}", audit=f"tick {len(seen)}")

    await asyncio.gather(*(store.transact(watch.id, decide, NOW + n) for n in range(200)))
    rows = [row.what for row in await store.audit(limit=1000) if row.what.startswith("tick")]
    assert rows == [f"tick {n}" for n in range(200, 0, -1)]
    assert await store.verify_audit() is None


async def test_starts_that_did_not_end_in_order_are_counted(make: Make) -> None:
    crashes = []
    for at, is_orderly in ((NOW, False), (NOW + 60, True), (NOW + 120, False), (NOW + 700, False)):
        store = make()
        await store.open(at)
        crashes.append(await store.note_start(at))
        if is_orderly:
            await store.note_orderly_end(at + 1)
        await store.close()
    # The start at NOW is out of the 10 minutes at NOW + 700; the one at NOW + 60 ended in order.
    assert crashes == [0, 1, 1, 1]


async def test_the_switches_leave_an_audit_row(store: Store) -> None:
    assert await store.kill_switch() == SwitchState(is_on=False)
    await store.set_kill_switch(SwitchState(is_on=True, by="anne", at=NOW, because="drill"))
    await store.set_kill_switch(SwitchState(is_on=False, by="bert", at=NOW + 1))
    await store.disarm("3 crashes", NOW + 2)
    await store.disarm(None, NOW + 3)
    assert [(row.who, row.what) for row in reversed(await store.audit())] == [
        ("anne", "kill switch on: drill"),
        ("bert", "kill switch off"),
        ("watchdog", "disarmed: 3 crashes"),
        ("watchdog", "armed"),
    ]
    watch = await with_watch(store)
    facts = await facts_of(store, watch.id)
    assert (facts.kill_switch, facts.disarmed) == (None, None)


async def test_a_cancelled_caller_disturbs_nobody(store: Store) -> None:
    waiting = [asyncio.ensure_future(store.note("me", f"{n}", "", NOW)) for n in range(50)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(answer is None for answer in answers[1::2])
    written = {row.what for row in await store.audit(limit=1000)}
    assert {str(n) for n in range(1, 50, 2)} <= written
    assert await store.verify_audit() is None


async def test_an_incident_is_durable_with_its_alerts_and_there_is_one_at_a_time(store: Store) -> None:
    shift = SeriesShift(before=0.01, now=0.2, onset_at=NOW - 60.0, told_at=NOW, because="errors rose")
    first = Incident(
        id="i1",
        environment="prod",
        service="checkout",
        state="raised",
        because="errors rose",
        series={"errors": shift},
        opened_at=NOW,
        onset_at=NOW - 60.0,
    )
    await store.put_incident(first, [alert(1)], NOW)
    await store.put_incident(first, [alert(1)], NOW + 1)
    assert await store.incidents(service="checkout", is_open=True) == [first]
    assert len(await store.alerts()) == 1
    with pytest.raises(ValueError, match="one at a time"):
        await store.put_incident(replace(first, id="i2"), [alert(2)], NOW + 2)
    assert len(await store.alerts()) == 1

    over = replace(first, state="resolved", closed_at=NOW + 60.0, series={})
    await store.put_incident(over, [], NOW + 60.0)
    again = replace(first, id="i3", opened_at=NOW + 90.0)
    await store.put_incident(again, [], NOW + 90.0)
    assert await store.incidents() == [again, over]
    assert await store.incidents(service="checkout", is_open=False) == [over]
    assert await store.incidents(service="stock") == []
    assert await store.verify_audit() is None


async def test_incidents_of_checks_are_apart_and_one_of_each_is_open(store: Store) -> None:
    of_series = Incident(
        id="i1",
        environment="prod",
        service="checkout",
        state="raised",
        because="errors rose",
        series={},
        opened_at=NOW,
        onset_at=NOW,
    )
    home = replace(of_series, id="c1", check_name="home", state="held", held="maintenance", is_page=True)
    order = replace(home, id="c2", check_name="order", opened_at=NOW + 1, held="", is_page=False)
    for incident in (of_series, home, order):
        await store.put_incident(incident, [], NOW)
    assert await store.incidents(service="checkout", is_open=True) == [of_series]
    assert await store.incidents(is_open=True, of_checks=True) == [order, home]
    with pytest.raises(ValueError, match="one at a time"):
        await store.put_incident(replace(home, id="c3"), [], NOW + 2)
    await store.put_incident(replace(home, state="resolved", closed_at=NOW + 3), [], NOW + 3)
    await store.put_incident(replace(home, id="c3", opened_at=NOW + 4), [], NOW + 4)
    assert [i.id for i in await store.incidents(is_open=True, of_checks=True)] == ["c3", "c2"]


def heartbeat(
    at: float, run: str = "", state: HeartbeatState = "success", name: str = "nightly"
) -> Heartbeat:
    return Heartbeat(environment="prod", service="checkout", name=name, state=state, at=at, run=run)


async def test_heartbeats_are_durable_in_the_order_in_which_they_were_heard(make: Make) -> None:
    first = make()
    await first.open(NOW)
    awaited = heartbeat(NOW, "", "awaited")
    told = [
        heartbeat(NOW + 1, "a", "start"),
        replace(heartbeat(NOW + 2, "a", "fail"), exit_code=3),
        heartbeat(NOW + 3),
        heartbeat(NOW + 3),
    ]
    await first.await_heartbeats([awaited])
    assert [await first.hear(beat) for beat in told] == [True] * 4
    await first.close()

    second = make()
    await second.open(NOW)
    await second.await_heartbeats([replace(awaited, at=NOW + 9)])
    assert await second.heartbeats("checkout", "nightly") == [awaited, *told]
    assert await second.heartbeats("checkout", "hourly") == []
    await second.close()


async def test_a_heartbeat_of_a_named_run_is_kept_once(store: Store) -> None:
    assert await store.hear(heartbeat(NOW, "a"))
    assert not await store.hear(heartbeat(NOW + 5, "a"))
    assert await store.hear(heartbeat(NOW, "a", "start"))
    assert await store.hear(heartbeat(NOW, "a", name="hourly"))
    assert [beat.at for beat in await store.heartbeats("checkout", "nightly")] == [NOW, NOW]


async def test_the_oldest_heartbeats_go_and_the_waiting_stays(store: Store) -> None:
    await store.await_heartbeats([heartbeat(NOW, "", "awaited"), heartbeat(NOW, "", "awaited", "hourly")])
    await store.hear(heartbeat(NOW, name="hourly"))
    await asyncio.gather(*(store.hear(heartbeat(NOW + n)) for n in range(HEARTBEATS_MAX + 3)))
    kept = await store.heartbeats("checkout", "nightly")
    assert [beat.state for beat in kept[:2]] == ["awaited", "success"]
    assert [beat.at for beat in kept[1:]] == [NOW + n for n in range(3, HEARTBEATS_MAX + 3)]
    assert len(await store.heartbeats("checkout", "hourly")) == 2


async def test_heartbeats_of_a_check_that_is_gone_are_forgotten(store: Store) -> None:
    await store.await_heartbeats([heartbeat(NOW, "", "awaited"), heartbeat(NOW, "", "awaited", "hourly")])
    await store.await_heartbeats([heartbeat(NOW + 1, "", "awaited", "hourly")])
    assert await store.heartbeats("checkout", "nightly") == []
    assert [beat.at for beat in await store.heartbeats("checkout", "hourly")] == [NOW]


def pending(run_id: str, since_at: float = NOW, name: str = "order") -> PendingCleanup:
    return PendingCleanup(
        run_id=run_id,
        environment="prod",
        service="checkout",
        name=name,
        steps=("DELETE https://shop/orders/{order}", "DELETE https://shop/carts/{cart}"),
        values={"order": 17, "cart": "c-1", "tags": ["a", {"b": None}]},
        since_at=since_at,
        attempts=0,
        because="",
        next_attempt_at=since_at + 30.0,
    )


async def test_what_is_to_be_cleaned_up_is_durable_until_it_is_settled(make: Make) -> None:
    first = make()
    await first.open(NOW)
    one, two, other = pending("one", NOW + 1), pending("two", NOW), pending("three", name="cart")
    for row in (one, two, other):
        await first.keep_cleanup(row)
    await first.close()

    second = make()
    await second.open(NOW)
    assert await second.cleanups("checkout", "order") == [two, one]
    assert len(await second.cleanups()) == 3
    tried = replace(one, attempts=1, next_attempt_at=NOW + 90.0)
    await second.keep_cleanup(tried)
    await second.settle_cleanup("one", one.steps[1:], "500")
    assert await second.cleanups("checkout", "order") == [
        two,
        replace(tried, steps=one.steps[1:], because="500"),
    ]
    await second.settle_cleanup("one", (), "")
    await second.settle_cleanup("never kept", ("x",), "500")
    assert await second.cleanups() == [other, two]
    await second.close()
