"""Carries out recorded rollbacks: every guard before the wire, one durable step before and after it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from watchdog.alerts.messages import Routes, alerts_for
from watchdog.alerts.text import clock_time
from watchdog.clock import Clock
from watchdog.model import Action, ActionState, Alert, AlertKind, Decision, Progress, Sent, SwitchState
from watchdog.retrying import DELAY_MAX_S, delay_s, until_stored
from watchdog.rollback.overtaken import overtaken
from watchdog.rollback.protocol import Target
from watchdog.store.protocol import Store, StoreDead, StoreUnavailable

log = logging.getLogger("watchdog.rollback")

_WAITING: tuple[ActionState, ...] = ("intended", "retry_wait")
_OPEN_MAX = 1000
_VERSION_TIMEOUT_S = 5.0
_HELD_S = 0.5
_STORE_PAUSE_S = 5.0
_POLL_EVERY_S = 5.0
# A clock that is corrected by less is no reason for doubt (reliability model F-17).
_CLOCK_STEP_S = 5.0
# A target that honours its deadline never meets this one.
_GRACE_S = 1.0


@dataclass(slots=True, kw_only=True)
class RollbackSender:
    """Takes actions from `intended` to `acked`, `unknown`, `refused` or `expired`.

    running_version: of a service, None when it cannot be told. confirm_within_s: how long an acked rollback
    may take to be confirmed. per_target: sends at one target at a time; a service has at most one.
    sent: attempts that were acknowledged. dropped: actions that ended without. held: actions that the kill
    switch holds back now. next_at: when the next of those that wait is due, as of the last look.
    """

    store: Store
    clock: Clock
    targets: Mapping[str, Target]
    kill_switch: Callable[[], Awaitable[SwitchState]]
    running_version: Callable[[str], Awaitable[str | None]]
    confirm_within_s: Callable[[Action], float]
    routes: Routes
    timeout_s: float
    per_target: int

    sent: int = field(init=False, default=0)
    dropped: int = field(init=False, default=0)
    oldest_intent_at: float | None = field(init=False, default=None)
    next_at: float | None = field(init=False, default=None)
    _held: set[str] = field(init=False, default_factory=set)
    _not_before: dict[str, float] = field(init=False, default_factory=dict)
    _busy: dict[str, Action] = field(init=False, default_factory=dict)

    @property
    def held(self) -> int:
        """How many actions the kill switch holds back."""
        return len(self._held)

    async def recover(self) -> None:
        """Decide about every action that a crash left in `sending`: what was sent cannot be known.

        An idempotent target gets the same key and bytes again, if every guard still lets them pass; another
        one is asked nothing more, and a person is paged.
        """
        for action in await self.store.actions(states=("sending",), limit=_OPEN_MAX):
            target = self.targets.get(action.target)
            now = self.clock.wall_s()
            if target is not None and target.idempotent:
                because = "the process ended while it was sent; the same key and bytes go out again"
                await self._move(action, to="retry_wait", because=because, changes={"next_attempt_at": now})
            else:
                because = "the process ended while it was sent; whether it was taken cannot be told"
                await self._end(action, "unknown", because)

    async def due(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """Name and work of everything that may start now; the caller runs them side by side.

        Oldest first; never two for one service, and not more than `per_target` for one target.
        """
        now = self.clock.wall_s()
        waiting = await self.store.actions(states=_WAITING, limit=_OPEN_MAX)
        acked = await self.store.actions(states=("acked",), limit=_OPEN_MAX)
        self._forget({a.key for a in (*waiting, *acked)})
        self.oldest_intent_at = min((a.created_at for a in waiting), default=None)
        started: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self.next_at = None
        at_target = Counter(a.target for a in self._busy.values())
        for action in sorted((*waiting, *acked), key=lambda a: (a.created_at, a.key)):
            is_poll = action.state == "acked"
            name = f"poll {action.key}" if is_poll else f"send {action.environment}/{action.service}"
            if is_poll and not self._is_polled(action, now):
                continue
            if name in self._busy or at_target[action.target] >= self.per_target:
                continue
            due_at = self._due_at(action, now)
            if due_at > now:
                self.next_at = due_at if self.next_at is None else min(self.next_at, due_at)
                continue
            self._busy[name] = action
            at_target[action.target] += 1
            started.append((name, partial(self._run, name, action, is_poll)))
        return started

    async def _run(self, name: str, action: Action, is_poll: bool) -> None:
        try:
            await (self._poll(action) if is_poll else self._carry_out(action))
        except StoreDead:
            raise
        except StoreUnavailable as error:
            # No durable step, no send: the action stays where it is.
            self._not_before[action.key] = self.clock.wall_s() + _STORE_PAUSE_S
            log.warning("rollback waits for the store", extra={"key": action.key, "because": str(error)})
        finally:
            del self._busy[name]

    async def _carry_out(self, action: Action) -> None:
        """1 switch off, 2 wanted, 3 valid, 4 durable `sending`, 5 a last look, 6 send, 7 record."""
        if await self._is_held(action):
            return
        if await self._is_outdated(action):
            return
        target = self.targets.get(action.target)
        if target is None:
            await self._end(action, "refused", f"no target `{action.target}` is configured")
            return
        now = self.clock.wall_s()
        if not _is_valid(action, now):
            await self._give_up(action, now)
            return
        sending = await self._move(
            action,
            to="sending",
            because=f"attempt {action.attempts + 1}",
            changes={"attempts": action.attempts + 1, "epoch": self.store.epoch, "next_attempt_at": None},
            attempt=f"attempt {action.attempts + 1} starts",
        )
        if sending is None:
            return
        if await self._is_held(sending):
            # The switch went on while the step was written: nothing has left, so it is undone.
            because = "held back by the kill switch; nothing was sent"
            changes = {"attempts": action.attempts, "next_attempt_at": action.next_attempt_at}
            await self._conclude(sending, to=action.state, because=because, changes=changes)
            return
        await self._record(sending, target, await self._attempt(target, sending))

    async def _is_held(self, action: Action) -> bool:
        switch = await self.kill_switch()
        if not switch.is_on:
            self._held.discard(action.key)
            return False
        now = self.clock.wall_s()
        if action.state != "sending" and not _is_valid(action, now):
            await self._give_up(action, now)
            return True
        if action.key not in self._held:
            log.warning("action held", extra={"key": action.key, "because": f"kill switch: {switch.because}"})
        self._held.add(action.key)
        self._not_before[action.key] = now + _HELD_S
        return True

    async def _is_outdated(self, action: Action) -> bool:
        """Ends an action that another change has overtaken since it was decided; nobody is paged for that."""
        version = await self._read_version(action.service)
        ended = overtaken(action, version, await self.store.deploys(service=action.service))
        if ended is None:
            return False
        state, because = ended
        if state == "acked":
            await self._acknowledge(action, because, poll_url=None)
        else:
            await self._end(action, "expired", because, page=False)
        return True

    async def _read_version(self, service: str) -> str | None:
        try:
            async with asyncio.timeout(_VERSION_TIMEOUT_S):
                return await self.running_version(service)
        except TimeoutError:
            return None

    async def _give_up(self, action: Action, now: float) -> None:
        until = f"it was valid until {clock_time(action.valid_until_at, now)}"
        if now < action.valid_until_at:
            until = "the clock was set back since it was decided"
        if action.attempts == 0:
            await self._end(action, "expired", f"not sent in time: {until}")
        else:
            await self._end(action, "unknown", f"no acknowledgement in {action.attempts} attempt(s); {until}")

    async def _attempt(self, target: Target, action: Action) -> Sent:
        try:
            async with asyncio.timeout(self.timeout_s + _GRACE_S):
                return await target.send(action, now=self.clock.wall_s(), timeout_s=self.timeout_s)
        except TimeoutError:
            return Sent(outcome="unknown", because="the target kept no deadline")
        except Exception as bug:
            # One of the three containments: one target's bug must not stop the other rollbacks.
            log.exception("bug in a target", extra={"key": action.key, "target": action.target})
            return Sent(outcome="unknown", because=f"a bug in the target: {type(bug).__name__}")

    async def _record(self, action: Action, target: Target, sent: Sent) -> None:
        attempt = f"attempt {action.attempts}: {sent.outcome}, {sent.because}"
        if sent.outcome in ("done", "accepted"):
            await self._acknowledge(action, sent.because, poll_url=sent.poll_url, attempt=attempt)
        elif sent.outcome == "refused":
            await self._end(action, "refused", sent.because, attempt=attempt)
        elif sent.outcome == "retry" or target.idempotent:
            wait_s = delay_s(action.key, action.attempts, sent.retry_after_s)
            next_at = min(self.clock.wall_s() + wait_s, action.valid_until_at)
            await self._conclude(
                action,
                to="retry_wait",
                because=sent.because,
                changes={"next_attempt_at": next_at},
                attempt=attempt,
            )
        else:
            await self._end(action, "unknown", sent.because, attempt=attempt)

    async def _acknowledge(
        self, action: Action, because: str, *, poll_url: str | None, attempt: str | None = None
    ) -> None:
        now = self.clock.wall_s()
        changes: dict[str, Any] = {
            "acked_at": now,
            "deadline_at": now + self.confirm_within_s(action),
            "poll_url": poll_url,
            "next_attempt_at": None,
        }
        await self._conclude(
            action, to="acked", because=because, changes=changes, kind="rolling_back", attempt=attempt
        )
        self.sent += 1

    async def _poll(self, action: Action) -> None:
        target = self.targets.get(action.target)
        progress = await self._progress(target, action) if target is not None else "unknown"
        if progress == "succeeded":
            because = "the target says that it is done"
            await self._move(action, to="acked", because=because, changes={"poll_url": None})
        elif progress == "failed":
            await self._end(action, "refused", "accepted first, but the target says that it failed")
        else:
            self._not_before[action.key] = self.clock.wall_s() + _POLL_EVERY_S

    async def _progress(self, target: Target, action: Action) -> Progress:
        try:
            async with asyncio.timeout(self.timeout_s + _GRACE_S):
                return await target.progress(action, now=self.clock.wall_s(), timeout_s=self.timeout_s)
        except TimeoutError:
            return "unknown"
        except Exception:
            # The same containment as in `_attempt`: not being told how far it is decides nothing.
            log.exception("bug in a target", extra={"key": action.key, "target": action.target})
            return "unknown"

    async def _end(
        self,
        action: Action,
        to: ActionState,
        because: str,
        *,
        page: bool | None = None,
        attempt: str | None = None,
    ) -> None:
        """Into `expired`, `unknown` or `refused`, with the alerts that say so."""
        kind: AlertKind = "expired" if to == "expired" else "refused" if to == "refused" else "unknown"
        await self._conclude(action, to=to, because=because, kind=kind, page=page, attempt=attempt)
        self.dropped += 1

    async def _told(
        self, kind: AlertKind, action: Action, because: str, *, page: bool | None = None
    ) -> tuple[Alert, ...]:
        watch = await self.store.watch(action.watch_id)
        deploy = await self.store.deploy(action.deploy_id)
        assert watch is not None, "an action is stored with its watch"
        assert deploy is not None, "an action is stored with its deploy"
        decisions = await self.store.decisions(action.watch_id)
        decided = next((said for _, do, said in reversed(decisions) if do in ("roll_back", "propose")), "")
        return alerts_for(
            kind,
            watch=watch,
            deploy=deploy,
            decision=Decision(do="roll_back", because=decided),
            action=action,
            routes=self.routes,
            now=self.clock.wall_s(),
            because=because or decided,
            page=page,
        )

    async def _conclude(
        self,
        action: Action,
        *,
        to: ActionState,
        because: str,
        changes: Mapping[str, Any] | None = None,
        kind: AlertKind | None = None,
        page: bool | None = None,
        attempt: str | None = None,
    ) -> None:
        """Record what has already happened, with the alerts that say so; tried until it is durable."""
        changed = replace(action, **(changes or {}))
        said = "" if kind == "rolling_back" else because

        async def write() -> None:
            alerts = await self._told(kind, changed, said, page=page) if kind else ()
            await self._move(action, to=to, because=because, changes=changes, alerts=alerts, attempt=attempt)

        await until_stored(write, self.clock)

    async def _move(
        self,
        action: Action,
        *,
        to: ActionState,
        because: str,
        changes: Mapping[str, Any] | None = None,
        alerts: Sequence[Alert] = (),
        attempt: str | None = None,
    ) -> Action | None:
        moved = await self.store.move_action(
            action.key,
            expect=(action.state,),
            to=to,
            because=because,
            who="outbox",
            now=self.clock.wall_s(),
            changes=changes,
            alerts=alerts,
            attempt=attempt,
        )
        if moved is not None:
            log.info(
                "action",
                extra={"key": moved.key, "service": moved.service, "state": moved.state, "because": because},
            )
        return moved

    def _is_polled(self, action: Action, now: float) -> bool:
        return action.poll_url is not None and (action.deadline_at is None or now < action.deadline_at)

    def _due_at(self, action: Action, now: float) -> float:
        due_at = max(action.next_attempt_at or 0.0, self._not_before.get(action.key, 0.0))
        # No wait is that long: it was written before the clock was set back.
        return due_at if due_at - now <= 2 * DELAY_MAX_S else now

    def _forget(self, open_keys: set[str]) -> None:
        self._held &= open_keys
        for key in self._not_before.keys() - open_keys:
            del self._not_before[key]


def _is_valid(action: Action, now: float) -> bool:
    """Whether the evidence is still fresh enough to act on; after a clock was set back nobody knows."""
    return action.created_at - _CLOCK_STEP_S <= now < action.valid_until_at
