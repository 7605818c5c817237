"""Ended at every step between intent and the last alert: one effect, equal bytes, nothing forgotten.

The steps are found by running once; then the process "dies" at each of them, and at each pair of them, and
a new outbox goes on with what was durable.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.watchdog.outbox.outbox_rig import GOAL, OK, Rig
from watchdog.model import Sent

LOST = Sent(outcome="unknown", because="no answer")
BUSY = Sent(outcome="retry", because="answered 429")
POLLED = Sent(outcome="accepted", because="answered 202", poll_url="http://h/r/1")


class Crash(BaseException):
    """As kill -9: nothing of the process may catch it."""


class Steps:
    """Counts the steps of all processes of one story, and ends the process at the chosen ones."""

    def __init__(self, *crash_at: int) -> None:
        self.names: list[str] = []
        self.crash_at = crash_at

    def note(self, when: str) -> Callable[[str], None]:
        def step(name: str) -> None:
            self.names.append(f"{when} {name}")
            if len(self.names) - 1 in self.crash_at:
                raise Crash

        return step


async def story(rig: Rig, *crash_at: int) -> Steps:
    """Run until everything is over, starting anew after every crash."""
    steps = Steps(*crash_at)
    rig.store.before, rig.store.after = steps.note("before"), steps.note("after")
    rig.target.before = rig.team.before = rig.on_call.before = steps.note("at")
    for _ in range(len(crash_at) + 1):
        try:
            async with rig.running():
                await rig.clock.advance(60)
            break
        except* Crash:
            rig.store.reopen()
            # The next process begins a moment later.
            await rig.clock.advance(1)
    return steps


def scripted(*answers: Sent, idempotent: bool) -> Rig:
    rig = Rig(idempotent=idempotent)
    rig.target.answers, rig.target.always = list(answers), answers[-1]
    rig.put(GOAL)
    return rig


STORIES: dict[str, tuple[Sent, ...]] = {
    "at once": (OK,),
    "answers lost": (LOST, BUSY, LOST, OK),
    "refused": (Sent(outcome="refused", because="answered 404"),),
    "accepted": (POLLED,),
}


async def length(name: str, *, idempotent: bool) -> int:
    return len((await story(scripted(*STORIES[name], idempotent=idempotent))).names)


@pytest.mark.parametrize("name", sorted(STORIES))
async def test_an_idempotent_receiver_sees_one_effect_whatever_the_step(name: str) -> None:
    n_steps = await length(name, idempotent=True)
    assert n_steps >= 8
    for k in range(n_steps):
        rig = scripted(*STORIES[name], idempotent=True)
        steps = await story(rig, k)
        said = f"{name}, ended at step {k}: {steps.names[k]}"
        assert rig.target.effects[GOAL.key] == (0 if name == "refused" else 1), said
        assert {a.body for a in rig.target.sent} == {GOAL.body}, said
        assert {a.key for a in rig.target.sent} == {GOAL.key}, said
        assert rig.state == ("refused" if name == "refused" else "acked"), said
        assert {a.state for a in rig.store.outbox.values()} == {"sent"}, said
        assert len(rig.told("team")) == 1, said
        assert [a.epoch for a in rig.target.sent] == sorted(a.epoch for a in rig.target.sent), said


async def test_two_crashes_in_any_two_steps() -> None:
    n_steps = await length("at once", idempotent=True)
    for first in range(n_steps):
        for second in range(first + 1, n_steps + 2):
            rig = scripted(OK, idempotent=True)
            await story(rig, first, second)
            said = f"ended at steps {first} and {second}"
            assert rig.target.effects == {GOAL.key: 1}, said
            assert rig.state == "acked", said
            assert {a.state for a in rig.store.outbox.values()} == {"sent"}, said


@pytest.mark.parametrize("name", ["at once", "answers lost", "accepted"])
async def test_a_receiver_that_is_not_idempotent_is_sent_to_at_most_once(name: str) -> None:
    n_steps = await length(name, idempotent=False)
    n_unknown = 0
    for k in range(n_steps):
        rig = scripted(*STORIES[name], idempotent=False)
        steps = await story(rig, k)
        said = f"{name}, ended at step {k}: {steps.names[k]}"
        assert len(rig.target.sent) <= 1, said
        assert rig.target.effects[GOAL.key] <= 1, said
        assert rig.state in ("acked", "unknown"), said
        if rig.state == "unknown":
            n_unknown += 1
            assert rig.told("on-call") == ["unknown"], said
            assert [a.kind for a in rig.on_call.taken[-1:]] == ["unknown"], said
        else:
            assert len(rig.target.sent) == 1, said
    assert n_unknown > 0, "some steps cannot be told apart afterwards"


async def test_what_is_no_longer_valid_after_the_restart_is_not_sent_again() -> None:
    rig = scripted(OK, idempotent=True)
    steps = Steps(2)
    rig.store.before, rig.store.after = steps.note("before"), steps.note("after")
    rig.target.before = steps.note("at")
    with pytest.raises(BaseExceptionGroup):
        async with rig.running():
            await rig.clock.advance(1)
    assert steps.names[2] == "at send"
    rig.store.before = rig.store.after = rig.target.before = lambda _: None
    await rig.clock.advance(1000)
    async with rig.running():
        await rig.clock.advance(10)
    assert (rig.state, rig.target.sent) == ("unknown", [])
    assert rig.told("on-call") == ["unknown"]
