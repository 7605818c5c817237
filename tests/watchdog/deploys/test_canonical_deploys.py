"""Events of one deploy become one deploy and one watch; everything else stays apart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.deploys.canonical import Rules, settle
from watchdog.deploys.watches import SUSPECTS_MAX
from watchdog.model import Action, ActionState, Deploy, DeployEvent, Intake, Watch, action_key

T = 1_780_000_000.0
RULES = Rules(rollout_max_s=300.0, watch_s=2700.0, warm_up_s=60.0)


def told(state: str = "finished", version: str = "v2", **changes: Any) -> DeployEvent:
    made = DeployEvent(
        sender="ci",
        sender_id="1",
        received_at=changes.get("finished_at") or changes.get("started_at") or T,
        environment="prod",
        service="checkout",
        to_version=version,
        state=state,  # type: ignore[arg-type]  # a plain word in the tests
    )
    return replace(made, **changes)


@dataclass
class World:
    """What a store would keep between events."""

    deploys: dict[str, Deploy] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)

    def take(self, event: DeployEvent, now: float | None = None, rules: Rules = RULES) -> Intake:
        newest_first = sorted(self.deploys.values(), key=lambda deploy: -deploy.started_at)
        intake = settle(
            event,
            newest_first,
            list(self.watches.values()),
            self.actions,
            now=event.received_at if now is None else now,
            rules=rules,
        )
        self.deploys[intake.deploy.id] = intake.deploy
        for watch in (intake.watch, *intake.changed):
            if watch is not None:
                self.watches[watch.id] = watch
        return intake

    def watch_of(self, intake: Intake) -> Watch:
        return next(watch for watch in self.watches.values() if watch.deploy_id == intake.deploy.id)


def acted(state: ActionState = "acked", **changes: Any) -> Action:
    made = Action(
        key=action_key("prod", "checkout", "dbad", "1"),
        environment="prod",
        service="checkout",
        deploy_id="dbad",
        watch_id="wbad",
        step="1",
        target="deployer",
        from_version="v2",
        to_version="v1",
        body=b"",
        state=state,
        because="",
        created_at=T,
        valid_until_at=T + 900,
        epoch=1,
    )
    return replace(made, **changes)


def test_an_end_alone_is_judged_from_its_beginning() -> None:
    intake = World().take(told(finished_at=T))
    assert (intake.deploy.started_at, intake.deploy.finished_at) == (T - 300.0, T)
    assert intake.deploy.is_start_assumed
    watch = intake.watch
    assert watch is not None
    assert (watch.state, watch.observe_at, watch.ends_at) == ("announced", T + 60.0, T + 2700.0)
    assert watch.suspect_ids == (intake.deploy.id,)
    assert not watch.is_alert_only


def test_an_end_without_a_time_ended_when_it_was_told() -> None:
    assert World().take(told(received_at=T + 5)).deploy.finished_at == T + 5


def test_the_start_told_before_gives_the_interval_however_long_it_took() -> None:
    world = World()
    first = world.take(told("started", started_at=T))
    assert (first.deploy.finished_at, world.watch_of(first).ends_at) == (None, T + 3000.0)
    last = world.take(told(finished_at=T + 3 * 3600))
    assert last.deploy.id == first.deploy.id
    assert (last.deploy.started_at, last.deploy.finished_at) == (T, T + 3 * 3600)
    assert not last.deploy.is_start_assumed
    assert world.watch_of(last).ends_at == T + 3 * 3600 + 2700.0


def test_an_announcement_says_nothing_about_the_start() -> None:
    world = World()
    announced = world.take(told("announced", started_at=T - 3600, received_at=T - 3600))
    assert world.watch_of(announced).because == "announced; not started yet"
    last = world.take(told(finished_at=T))
    assert last.deploy.id == announced.deploy.id
    assert (last.deploy.started_at, last.deploy.finished_at) == (T - 300.0, T)


@pytest.mark.parametrize(("gap_s", "n_deploys"), [(899.0, 1), (900.0, 1), (901.0, 2)])
def test_the_same_version_again_is_a_new_deploy_after_15_minutes(gap_s: float, n_deploys: int) -> None:
    world = World()
    world.take(told(started_at=T - 60, finished_at=T))
    again = world.take(told(started_at=T + gap_s, finished_at=T + gap_s + 60))
    assert len(world.deploys) == n_deploys
    if n_deploys == 2:
        assert again.deploy.from_version == "v2"


def test_the_same_version_again_after_another_is_a_new_deploy_at_once() -> None:
    world = World()
    world.take(told(version="v2", started_at=T, finished_at=T + 10))
    world.take(told(version="v1", started_at=T + 60, finished_at=T + 70))
    again = world.take(told(version="v2", started_at=T + 120, finished_at=T + 130))
    assert len(world.deploys) == 3
    assert again.deploy.from_version == "v1"


def test_a_roll_out_that_was_rolled_back_half_way_and_comes_again_is_watched() -> None:
    world = World()
    first = world.take(told("started", version="v2", started_at=T))
    world.take(told(version="v1", kind="rollback", finished_at=T + 60))
    again = world.take(told(version="v2", finished_at=T + 120))
    assert world.watch_of(first).state == "superseded"
    assert world.watch_of(again).state == "announced"


def test_other_services_environments_and_versions_stay_apart() -> None:
    world = World()
    for changes in ({}, {"service": "cart"}, {"environment": "staging"}, {"to_version": "v3"}):
        world.take(told(finished_at=T, **changes))
    assert len(world.deploys) == 4
    assert len(world.watches) == 4


def test_from_version_is_what_ran_before_unless_it_is_told() -> None:
    world = World()
    assert world.take(told(version="v1", finished_at=T)).deploy.from_version is None
    world.take(told("failed", version="v1.5", finished_at=T + 1000))
    world.take(told(version="new-prices=on", kind="flag", finished_at=T + 1500))
    world.take(told("announced", version="v9", received_at=T + 1600))
    assert world.take(told(version="v2", finished_at=T + 2000)).deploy.from_version == "v1"
    told_it = world.take(told(version="v2", from_version="v1.9", finished_at=T + 2001))
    assert told_it.deploy.from_version == "v1.9"
    # Told late: it came after v1 and before v2.
    late = world.take(told(version="v1.7", finished_at=T + 1800), now=T + 2100)
    assert late.deploy.from_version == "v1"


def test_what_senders_add_is_kept() -> None:
    world = World()
    world.take(told(finished_at=T, author="anne", depends_on=("cart",), rollback_safe=True, kind="schema"))
    deploy = world.take(
        told(finished_at=T, sender="argo", link="https://x/", depends_on=("auth",), rollback_safe=False)
    ).deploy
    assert (deploy.author, deploy.link, deploy.kind) == ("anne", "https://x/", "schema")
    assert deploy.depends_on == ("auth", "cart")
    assert deploy.rollback_safe is False
    assert world.take(told(finished_at=T, rollback_safe=True)).deploy.rollback_safe is False


@pytest.mark.parametrize("key", ["started_at", "finished_at"])
def test_a_time_ahead_of_ours_is_refused(key: str) -> None:
    def ahead(seconds: float) -> DeployEvent:
        changes: dict[str, Any] = {key: T + seconds}
        return told(**changes)

    World().take(ahead(60.0), now=T)
    with pytest.raises(ValueError, match=f"{key}: 61 s ahead"):
        World().take(ahead(61.0), now=T)


@pytest.mark.parametrize(
    ("late_s", "state"), [(2025.0, "announced"), (2026.0, "missed"), (90000.0, "missed")]
)
def test_a_late_event_is_watched_only_if_a_quarter_of_the_watch_is_left(late_s: float, state: str) -> None:
    watch = World().take(told(finished_at=T), now=T + late_s).watch
    assert watch is not None
    assert (watch.state, watch.closed_at) == (state, None if state == "announced" else T + late_s)
    if state == "missed":
        assert f"told {late_s:.0f} s after its end" in watch.because


def test_a_watch_that_was_never_told_the_end_in_time_is_missed_and_one_that_runs_is_not() -> None:
    world = World()
    first = world.take(told("started", started_at=T))
    assert world.take(told(finished_at=T + 60), now=T + 9000).watch == replace(
        world.watch_of(first), state="missed"
    )
    running = World()
    watch = running.watch_of(running.take(told(finished_at=T)))
    running.watches[watch.id] = replace(watch, state="observing")
    assert running.take(told(finished_at=T + 9), now=T + 9000).watch == replace(
        watch, state="observing", observe_at=T + 69, ends_at=T + 2709
    )


def test_a_closed_watch_never_changes() -> None:
    world = World()
    watch = replace(world.watch_of(world.take(told(finished_at=T))), state="healthy", closed_at=T + 1)
    world.watches[watch.id] = watch
    assert world.take(told(finished_at=T + 60, sender="argo")).watch == watch
    assert world.take(told("failed", finished_at=T + 90)).watch == watch


@pytest.mark.parametrize("is_start_told", [True, False])
def test_a_failed_deploy_cancels_its_watch(is_start_told: bool) -> None:
    world = World()
    if is_start_told:
        world.take(told("started", started_at=T - 30))
    intake = world.take(told("failed", finished_at=T))
    assert intake.deploy.is_failed
    watch = world.watch_of(intake)
    assert (watch.state, watch.because, watch.closed_at) == ("cancelled", "the deploy failed", T)
    assert len(world.watches) == 1


@pytest.mark.parametrize("retry_starts_at", [T + 60, None])
def test_another_attempt_after_a_failure_is_watched(retry_starts_at: float | None) -> None:
    world = World()
    world.take(told("failed", started_at=T - 60, finished_at=T))
    if retry_starts_at is not None:
        world.take(told("started", started_at=retry_starts_at))
    intake = world.take(told(started_at=retry_starts_at, finished_at=T + 120))
    assert not intake.deploy.is_failed
    assert world.watch_of(intake).state == "announced"
    assert len(world.deploys) == 2


def test_two_attempts_told_with_one_start_have_two_ids() -> None:
    world = World()
    world.take(told("failed", started_at=T, finished_at=T + 10))
    world.take(told(started_at=T, finished_at=T + 60))
    assert len(world.deploys) == 2


@pytest.mark.parametrize(
    ("state", "is_ours"),
    [
        ("intended", True),
        ("sending", True),
        ("acked", True),
        ("retry_wait", True),
        ("unknown", True),
        ("confirmed", True),
        ("unconfirmed", True),
        ("proposed", False),
        ("vetoed", False),
        ("refused", False),
        ("awaiting_approval", False),
    ],
)
def test_our_own_rollback_is_recognised_when_it_comes_back(state: ActionState, is_ours: bool) -> None:
    world = World(actions=[acted(state)])
    intake = world.take(told(version="v1", finished_at=T + 30))
    watch = world.watch_of(intake)
    if is_ours:
        assert (intake.deploy.kind, intake.deploy.rolls_back, watch.is_alert_only) == (
            "rollback",
            "dbad",
            True,
        )
    else:
        assert (intake.deploy.kind, intake.deploy.rolls_back, watch.is_alert_only) == ("code", None, False)


@pytest.mark.parametrize(
    ("changes", "is_ours"),
    [
        ({"finished_at": T + 7200}, True),
        ({"finished_at": T + 7201}, False),
        ({"finished_at": T - 61}, False),
        ({"finished_at": T + 30, "to_version": "v1.1"}, False),
        ({"finished_at": T + 30, "service": "cart"}, False),
        ({"finished_at": T + 30, "environment": "staging"}, False),
        ({"state": "started", "started_at": T + 30, "kind": "rollback"}, True),
    ],
)
def test_own_rollback_needs_version_place_and_time(changes: dict[str, Any], is_ours: bool) -> None:
    world = World(actions=[acted()])
    intake = world.take(told(**({"version": "v1"} | changes)))
    assert (intake.deploy.rolls_back == "dbad") is is_ours


def test_an_own_rollback_may_come_back_long_after_it_was_proposed_if_it_was_sent_late() -> None:
    world = World(actions=[acted(acked_at=T + 5000)])
    assert world.take(told(version="v1", finished_at=T + 12_000)).deploy.rolls_back == "dbad"


def test_our_rollback_is_not_taken_for_the_first_deploy_of_its_version() -> None:
    world = World()
    first = world.take(told(version="v1", finished_at=T - 500))
    bad = world.take(told(version="v2", finished_at=T - 100))
    world.actions.append(acted(deploy_id=bad.deploy.id))
    back = world.take(told(version="v1", finished_at=T + 20))
    assert back.deploy.id != first.deploy.id
    assert (back.deploy.rolls_back, back.deploy.from_version) == (bad.deploy.id, "v2")
    again = world.take(told(version="v1", finished_at=T + 25, sender="argo"))
    assert again.deploy.id == back.deploy.id
    assert (again.deploy.kind, again.deploy.rolls_back) == ("rollback", bad.deploy.id)


def test_a_rollback_by_a_person_supersedes_the_watch_of_what_it_undid() -> None:
    world = World()
    old = world.take(told(version="v1", finished_at=T - 1000))
    bad = world.take(told(version="v2", started_at=T - 100, finished_at=T - 90))
    flag = world.take(told(version="flag", kind="flag", finished_at=T - 80))
    back = world.take(told("started", version="v1", kind="rollback", started_at=T, author="anne"))
    watch = world.watch_of(bad)
    assert (watch.state, watch.because) == ("superseded", "rolled back to v1 by anne")
    assert watch.closed_at == T
    assert world.watch_of(back).is_alert_only
    assert back.deploy.rolls_back is None
    assert world.watch_of(old).state == world.watch_of(flag).state == "announced"


@pytest.mark.parametrize("state", ["announced", "failed"])
def test_a_rollback_that_did_not_happen_supersedes_nothing(state: str) -> None:
    world = World()
    bad = world.take(told(version="v2", finished_at=T - 90))
    world.take(told(state, version="v1", kind="rollback"))
    assert world.watch_of(bad).state == "announced"


def test_a_rollback_supersedes_only_what_had_started_before_it() -> None:
    world = World()
    planned = world.take(told("announced", version="v4", received_at=T - 100))
    newer = world.take(told(version="v3", started_at=T + 60, finished_at=T + 70))
    world.take(told(version="v1", kind="rollback", started_at=T, finished_at=T + 5), now=T + 80)
    assert world.watch_of(planned).state == world.watch_of(newer).state == "announced"


def test_overlapping_deploys_share_their_suspects() -> None:
    world = World()
    first = world.take(told(version="v2", finished_at=T))
    second = world.take(told(version="v3", finished_at=T + 600))
    third = world.take(told(version="v4", finished_at=T + 2600))
    one, two, three = first.deploy.id, second.deploy.id, third.deploy.id
    assert world.watch_of(first).suspect_ids == (one, two, three)
    assert world.watch_of(second).suspect_ids == (two, one, three)
    assert world.watch_of(third).suspect_ids == (three, two, one)
    assert {watch.state for watch in world.watches.values()} == {"announced"}


def test_a_roll_out_that_took_longer_than_expected_gets_the_deploys_it_ran_into() -> None:
    world = World()
    slow = world.take(told("started", version="v2", started_at=T))
    quick = world.take(told(version="v3", started_at=T + 7200, finished_at=T + 7210))
    assert world.watch_of(slow).suspect_ids == (slow.deploy.id,)
    world.take(told(version="v2", finished_at=T + 9000))
    assert world.watch_of(slow).suspect_ids == (slow.deploy.id, quick.deploy.id)
    assert world.watch_of(quick).suspect_ids == (quick.deploy.id, slow.deploy.id)


def test_deploys_one_after_the_other_share_nothing() -> None:
    world = World()
    first = world.take(told(version="v2", started_at=T, finished_at=T))
    second = world.take(told(version="v3", started_at=T + 2701, finished_at=T + 2710))
    assert world.watch_of(first).suspect_ids == (first.deploy.id,)
    assert world.watch_of(second).suspect_ids == (second.deploy.id,)


@pytest.mark.parametrize("is_dependency_first", [True, False])
def test_a_deploy_of_a_dependency_is_a_suspect_and_not_the_other_way(is_dependency_first: bool) -> None:
    world = World()
    events = [
        told(version="p1", service="payments", finished_at=T + 5),
        told(version="v2", finished_at=T + 5, depends_on=("payments",)),
    ]
    found = {
        intake.deploy.service: intake
        for intake in map(world.take, events if is_dependency_first else reversed(events))
    }
    payments, checkout = found["payments"], found["checkout"]
    assert world.watch_of(checkout).suspect_ids == (checkout.deploy.id, payments.deploy.id)
    assert world.watch_of(payments).suspect_ids == (payments.deploy.id,)


def test_what_is_only_announced_is_no_suspect_until_it_starts() -> None:
    world = World()
    first = world.take(told(version="v2", finished_at=T))
    world.take(told("announced", version="v3", received_at=T + 10))
    assert world.watch_of(first).suspect_ids == (first.deploy.id,)
    second = world.take(told("started", version="v3", started_at=T + 20))
    assert world.watch_of(first).suspect_ids == (first.deploy.id, second.deploy.id)


def test_a_storm_keeps_the_newest_suspects_and_each_watch_its_own_first() -> None:
    world = World()
    intakes = [world.take(told(version=f"v{n}", finished_at=T + n)) for n in range(40)]
    for intake in intakes:
        suspects = world.watch_of(intake).suspect_ids
        assert (suspects[0], len(suspects)) == (intake.deploy.id, SUSPECTS_MAX)
        assert intakes[-1].deploy.id in suspects


def outcome(world: World) -> tuple[Deploy, tuple[Any, ...]]:
    """Everything but the ids, which the first event decides, and what only says when it was told."""
    (deploy,) = world.deploys.values()
    (watch,) = world.watches.values()
    kept = (watch.state, watch.observe_at, watch.ends_at, watch.is_alert_only, len(watch.suspect_ids))
    return replace(deploy, id=""), kept


TRUTH = [
    told("announced", received_at=T - 7200),
    told("started", started_at=T),
    told("started", started_at=T + 4, sender="argo", author="anne"),
    told("finished", finished_at=T + 600),
    told("finished", started_at=T + 2, finished_at=T + 590, sender="argo", rollback_safe=False),
]


@pytest.mark.parametrize("failed", [(), (told("failed", finished_at=T + 601),)])
def test_every_order_of_the_events_gives_the_same_deploy(failed: tuple[DeployEvent, ...]) -> None:
    outcomes: set[tuple[Deploy, tuple[Any, ...]]] = set()
    for order in permutations((*TRUTH, *failed)):
        world = World()
        for event in order:
            world.take(event, now=T + 700)
        outcomes.add(outcome(world))
    assert len(outcomes) == 1
    ((deploy, watch),) = outcomes
    assert (deploy.started_at, deploy.finished_at) == (T, T + (601 if failed else 600))
    assert watch[0] == ("cancelled" if failed else "announced")


_TIMES = st.integers(min_value=0, max_value=240)


@st.composite
def _events_of_one_deploy(draw: st.DrawFn) -> list[DeployEvent]:
    """True tellings of a roll-out: nobody names a start after an end."""
    started = draw(st.lists(_TIMES.map(lambda s: told("started", started_at=T + s)), max_size=3))
    ends = _TIMES.map(lambda s: told("finished", finished_at=T + 240 + s))
    whole = st.builds(
        lambda s, f: told("finished", started_at=T + s, finished_at=T + 240 + f), _TIMES, _TIMES
    )
    announced = st.just(told("announced", received_at=T - 6000))
    finished = draw(st.lists(ends | whole | announced, min_size=1, max_size=4))
    return [replace(event, sender_id=str(n)) for n, event in enumerate((*started, *finished))]


@settings(max_examples=150)
@given(st.data())
def test_order_and_repetition_do_not_matter(data: st.DataObject) -> None:
    events = data.draw(_events_of_one_deploy())
    repeated = events + data.draw(st.lists(st.sampled_from(events), max_size=4))
    first, second = World(), World()
    for world, order in ((first, events), (second, data.draw(st.permutations(repeated)))):
        for event in order:
            world.take(event, now=T + 500)
    assert outcome(first) == outcome(second)


_ANY_EVENT = st.builds(
    lambda state, version, service, kind, start, length, lag, deps: told(
        state,
        version,
        service=service,
        kind=kind,
        started_at=None if start is None else T + start,
        finished_at=None
        if state in ("announced", "started") or length is None
        else T + (start or 0) + length,
        received_at=T + 8000 + lag,
        depends_on=deps if service == "checkout" else (),
    ),
    st.sampled_from(["announced", "started", "finished", "failed"]),
    st.sampled_from(["v1", "v2"]),
    st.sampled_from(["checkout", "cart"]),
    st.sampled_from(["code", "rollback", "flag"]),
    st.none() | st.integers(0, 6000),
    st.none() | st.integers(-50, 2000),
    st.integers(0, 100),
    st.sampled_from([(), ("cart",)]),
)


@settings(max_examples=200)
@given(st.lists(_ANY_EVENT, max_size=12), st.sampled_from([[], [acted(created_at=T + 3000)]]))
def test_whatever_is_told_intervals_stand_and_every_deploy_has_one_watch(
    events: list[DeployEvent], actions: list[Action]
) -> None:
    world = World(actions=actions)
    for event in events:
        world.take(event)
        assert sorted(w.deploy_id for w in world.watches.values()) == sorted(world.deploys)
        for deploy in world.deploys.values():
            assert deploy.finished_at is None or deploy.started_at <= deploy.finished_at
        for watch in world.watches.values():
            deploy = world.deploys[watch.deploy_id]
            assert watch.suspect_ids[0] == deploy.id
            assert len(set(watch.suspect_ids)) == len(watch.suspect_ids)
            assert set(watch.suspect_ids) <= set(world.deploys)
            assert watch.observe_at <= watch.ends_at
            assert (watch.closed_at is None) == (watch.state == "announced")
            if deploy.kind == "rollback" and watch.closed_at is None:
                assert watch.is_alert_only
