"""From what senders say to one canonical deploy and its watch: pure, and the same in any order of telling.

Several senders tell of one deploy, late, twice and out of order. What an event or a deploy says about time
is a `_Told`; two of them are the same deploy when `_is_same` says so, and `_join` makes one of two. Both are
symmetric, so that the order of arrival does not matter.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from watchdog.deploys.rules import Rules, end_of, is_only_announced, line_of
from watchdog.deploys.watches import of_deploy, of_others
from watchdog.model import Action, ActionState, Deploy, DeployEvent, DeployKind, Intake, Watch

__all__ = ["Rules", "settle"]

# The states of an action that went out, or may have: a deploy of its version is then our own doing.
_SENT_STATES: frozenset[ActionState] = frozenset(
    {"intended", "sending", "acked", "retry_wait", "unknown", "expired", "confirmed", "unconfirmed"}
)


def settle(
    event: DeployEvent,
    deploys: Sequence[Deploy],
    watches: Sequence[Watch],
    actions: Sequence[Action],
    *,
    now: float,
    rules: Rules,
) -> Intake:
    """What the event makes of the deploys and watches there are.

    deploys, watches, actions: as `Store.take_in` hands them over. Raises ValueError("key: sentence") for
    a time more than rules.future_max_s ahead of `now`.
    """
    _refuse_future(event, now, rules)
    told = _told_by(event, rules)
    ours = [d for d in deploys if (d.environment, d.service) == (event.environment, event.service)]
    rollback = _own_rollback(event, told, actions, rules)
    before = next((d for d in ours if _is_it(d, event, told, ours, rules)), None)
    deploy = _create(event, told, ours) if before is None else _merge(before, event, told)
    if deploy.from_version is None:
        deploy = replace(deploy, from_version=_previous_version(deploy, ours))
    if rollback is not None:
        deploy = replace(deploy, kind="rollback", rolls_back=rollback.deploy_id)
    others = [d for d in deploys if d.id != deploy.id]
    watch = next((w for w in watches if w.deploy_id == deploy.id), None)
    return Intake(
        deploy=deploy,
        watch=of_deploy(deploy, watch, others, watches, now=now, rules=rules),
        changed=of_others(deploy, others, watches, now=now, rules=rules),
        is_duplicate=False,
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """When: finished_at None = in progress; is_start_assumed = nobody said when it started."""

    started_at: float
    is_start_assumed: bool
    finished_at: float | None
    is_failed: bool

    @property
    def end_at(self) -> float:
        return self.started_at if self.finished_at is None else self.finished_at

    @property
    def is_announcement(self) -> bool:
        return self.is_start_assumed and self.finished_at is None

    @property
    def is_end_alone(self) -> bool:
        return self.is_start_assumed and self.finished_at is not None


def _told_by(event: DeployEvent, rules: Rules) -> _Told:
    if event.state == "announced":
        # The time of a plan is not the time of a start.
        return _Told(event.started_at or event.received_at, True, None, False)
    if event.state == "started":
        return _Told(event.started_at or event.received_at, False, None, False)
    finished_at = event.finished_at or event.received_at
    is_start_assumed = event.started_at is None
    started_at = finished_at - rules.rollout_max_s if event.started_at is None else event.started_at
    return _Told(min(started_at, finished_at), is_start_assumed, finished_at, event.state == "failed")


def _told_of(deploy: Deploy) -> _Told:
    return _Told(deploy.started_at, deploy.is_start_assumed, deploy.finished_at, deploy.is_failed)


def _is_it(deploy: Deploy, event: DeployEvent, told: _Told, ours: Sequence[Deploy], rules: Rules) -> bool:
    """Whether the event tells of that deploy of the same service and environment."""
    if deploy.to_version != event.to_version or not _is_same(_told_of(deploy), told, rules):
        return False
    # The end of a roll-out in progress is told, whatever other version came in between.
    is_finishing = deploy.finished_at is None and told.is_end_alone
    # Another version came after it and before what is told: the same version again is a new deploy.
    return not any(
        other.to_version != deploy.to_version
        and line_of(other) == line_of(deploy)
        and not other.is_failed
        and not is_only_announced(other)
        and not (is_finishing and other.kind != "rollback")
        and end_of(deploy) < end_of(other) < told.end_at
        for other in ours
    )


def _is_same(one: _Told, two: _Told, rules: Rules) -> bool:
    """Whether two tellings of one version of one service are of one deploy. Symmetric."""
    if one.is_failed != two.is_failed:
        failed, other = (one, two) if one.is_failed else (two, one)
        if other.end_at > failed.end_at:
            # A start or a success told after the failure is another attempt; it must be watched.
            return False
    for start, end in ((one, two), (two, one)):
        is_plan = start.is_announcement and not end.is_announcement
        if is_plan or (start.finished_at is None and end.is_end_alone):
            # One knows only when it was to start or started: the rest may come long after.
            return -rules.merge_s <= end.end_at - start.started_at <= rules.rollout_limit_s
    return (
        one.started_at <= _until(two, rules) + rules.merge_s
        and two.started_at <= _until(one, rules) + rules.merge_s
    )


def _until(told: _Told, rules: Rules) -> float:
    return told.started_at + rules.rollout_max_s if told.finished_at is None else told.finished_at


def _join(one: _Told, two: _Told) -> _Told:
    """One telling of two. A told start wins over an assumed one, and an end over none. Symmetric."""
    both = (one, two)
    finishes = [told.finished_at for told in both if told.finished_at is not None]
    finished_at = max(finishes, default=None)
    known = [told for told in both if not told.is_start_assumed]
    # A start assumed from an end is a better guess than the time of an announcement.
    guesses = [told for told in both if told.finished_at is not None] or both
    started_at = min(told.started_at for told in known or guesses)
    if finished_at is not None:
        # Clocks of two senders differ; an interval never ends before it starts.
        finished_at = max(finished_at, started_at)
    return _Told(started_at, not known, finished_at, any(told.is_failed for told in both))


def _create(event: DeployEvent, told: _Told, ours: Sequence[Deploy]) -> Deploy:
    taken = {deploy.id for deploy in ours}
    parts = (event.environment, event.service, event.to_version, repr(told.started_at))
    # Two attempts told with the same start: the second needs an id of its own.
    ids = (_deploy_id(*parts, *again) for again in ((), *((str(n),) for n in range(2, len(taken) + 3))))
    return Deploy(
        id=next(each for each in ids if each not in taken),
        environment=event.environment,
        service=event.service,
        kind=event.kind,
        to_version=event.to_version,
        from_version=event.from_version,
        started_at=told.started_at,
        finished_at=told.finished_at,
        rollback_safe=event.rollback_safe,
        depends_on=tuple(sorted(set(event.depends_on))),
        author=event.author,
        link=event.link,
        is_failed=told.is_failed,
        is_start_assumed=told.is_start_assumed,
    )


def _merge(deploy: Deploy, event: DeployEvent, told: _Told) -> Deploy:
    joined = _join(_told_of(deploy), told)
    # `code` is what a sender says who says nothing.
    kinds = {deploy.kind, event.kind} - {"code"}
    kind: DeployKind = "rollback" if "rollback" in kinds else min(kinds, default="code")
    safe = {deploy.rollback_safe, event.rollback_safe}
    return replace(
        deploy,
        kind=kind,
        from_version=event.from_version or deploy.from_version,
        started_at=joined.started_at,
        finished_at=joined.finished_at,
        # One sender who says that it is not safe to go back outweighs all who say it is.
        rollback_safe=False if False in safe else True if True in safe else None,
        depends_on=tuple(sorted({*deploy.depends_on, *event.depends_on})),
        author=deploy.author or event.author,
        link=deploy.link or event.link,
        is_failed=joined.is_failed,
        is_start_assumed=joined.is_start_assumed,
    )


def _deploy_id(*parts: str) -> str:
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return "d" + base64.b32encode(digest).decode().lower()[:12]


def _previous_version(deploy: Deploy, ours: Sequence[Deploy]) -> str | None:
    earlier = [
        other
        for other in ours
        if other.id != deploy.id
        and line_of(other) == line_of(deploy)
        and not other.is_failed
        and not is_only_announced(other)
        and end_of(other) <= end_of(deploy)
    ]
    return max(earlier, key=end_of).to_version if earlier else None


def _own_rollback(event: DeployEvent, told: _Told, actions: Sequence[Action], rules: Rules) -> Action | None:
    """The action of ours that this deploy carries out, told by its version and time; the newest first."""
    for action in actions:
        last_at = max(action.created_at, action.acked_at or 0.0)
        if (
            (action.environment, action.service) == (event.environment, event.service)
            and action.to_version == event.to_version
            and action.state in _SENT_STATES
            and action.created_at - rules.future_max_s <= told.end_at <= last_at + rules.own_rollback_s
        ):
            return action
    return None


def _refuse_future(event: DeployEvent, now: float, rules: Rules) -> None:
    for key, at in (("started_at", event.started_at), ("finished_at", event.finished_at)):
        if at is not None and at > now + rules.future_max_s:
            raise ValueError(
                f"{key}: {at - now:.0f} s ahead of this machine's clock, {rules.future_max_s:.0f} s are "
                "allowed: correct the sender's clock, or send the event when it happens"
            )
