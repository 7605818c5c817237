"""The watches that follow from a deploy: its own, and those of the deploys around it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from watchdog.deploys.rules import Rules, end_of, is_only_announced, line_of
from watchdog.model import OPEN_WATCH_STATES, Deploy, Watch

# Shares among more deploys than this blame nobody; the newest are kept.
SUSPECTS_MAX = 16


def of_deploy(
    deploy: Deploy,
    watch: Watch | None,
    others: Sequence[Deploy],
    watches: Sequence[Watch],
    *,
    now: float,
    rules: Rules,
) -> Watch:
    """The watch of `deploy` after an event: made, moved with the deploy's end, or closed; else as it was.

    watch: the one there is; a closed one never changes. A new one has mode `observe` until the caller sets
    the service's own.
    """
    if watch is not None and watch.state not in OPEN_WATCH_STATES:
        return watch
    is_rollback = deploy.kind == "rollback"
    finished_at = deploy.finished_at
    fresh = watch or Watch(
        id="w" + deploy.id[1:],
        environment=deploy.environment,
        service=deploy.service,
        deploy_id=deploy.id,
        suspect_ids=(deploy.id,),
        state="announced",
        because="announced; not started yet" if is_only_announced(deploy) else "the roll-out is in progress",
        mode="observe",
        opened_at=now,
        observe_at=deploy.started_at,
        ends_at=_ends_at(deploy, rules),
    )
    moved = replace(
        fresh,
        suspect_ids=_suspects(deploy, others, watches, rules),
        observe_at=deploy.started_at if finished_at is None else finished_at + rules.warm_up_s,
        ends_at=_ends_at(deploy, rules),
        is_alert_only=is_rollback,
    )
    if deploy.is_failed:
        return replace(moved, state="cancelled", because="the deploy failed", closed_at=now)
    if finished_at is None or moved.state != "announced":
        return moved
    left_s = moved.ends_at - now
    if left_s < rules.late_share_min * rules.watch_s:
        because = (
            f"told {now - finished_at:.0f} s after its end: {max(left_s, 0.0):.0f} s of the "
            f"{rules.watch_s:.0f} s of the watch are left, {rules.late_share_min:.0%} are needed"
        )
        return replace(moved, state="missed", because=because, closed_at=now)
    return replace(moved, because=f"deployed; {left_s:.0f} s to watch")


def of_others(
    deploy: Deploy, others: Sequence[Deploy], watches: Sequence[Watch], *, now: float, rules: Rules
) -> tuple[Watch, ...]:
    """The other open watches that `deploy` changes: superseded by a rollback, or given one more suspect."""
    if is_only_announced(deploy):
        return ()
    by_id = {other.id: other for other in others}
    known = _known_ends(deploy, watches)
    changed = []
    for watch in watches:
        other = by_id.get(watch.deploy_id)
        if other is None or watch.state not in OPEN_WATCH_STATES:
            continue
        if _is_undone(other, deploy):
            because = f"rolled back to {deploy.to_version}" + (
                " by the watchdog" if deploy.rolls_back else f" by {deploy.author or 'its deployer'}"
            )
            changed.append(replace(watch, state="superseded", because=because, closed_at=now))
        elif deploy.id not in watch.suspect_ids and _may_have_caused(deploy, other, known, rules):
            # The watch's own deploy stays first whatever happens.
            first, rest = watch.suspect_ids[:1], (*watch.suspect_ids[1:], deploy.id)
            changed.append(replace(watch, suspect_ids=(*first, *rest[-(SUSPECTS_MAX - 1) :])))
    return tuple(changed)


def _ends_at(deploy: Deploy, rules: Rules) -> float:
    """Counted from the end; while that is not known, from the latest end expected."""
    if deploy.finished_at is None:
        return deploy.started_at + rules.rollout_max_s + rules.watch_s
    return deploy.finished_at + rules.watch_s


def _suspects(
    deploy: Deploy, others: Sequence[Deploy], watches: Sequence[Watch], rules: Rules
) -> tuple[str, ...]:
    if is_only_announced(deploy):
        return (deploy.id,)
    known = _known_ends(deploy, watches)
    found = [
        other
        for other in others
        if not is_only_announced(other) and _may_have_caused(other, deploy, known, rules)
    ]
    newest_first = sorted(found, key=lambda other: (end_of(other), other.id), reverse=True)
    return (deploy.id, *(other.id for other in newest_first[: SUSPECTS_MAX - 1]))


def _known_ends(deploy: Deploy, watches: Sequence[Watch]) -> dict[str, float]:
    """Deploy id to the end of its watch; without `deploy`, whose end is just being told."""
    return {watch.deploy_id: watch.ends_at for watch in watches if watch.deploy_id != deploy.id}


def _may_have_caused(cause: Deploy, deploy: Deploy, ends_at: Mapping[str, float], rules: Rules) -> bool:
    """Whether trouble seen in the watch of `deploy` may be the doing of `cause`: their spans overlap."""
    return (
        cause.environment == deploy.environment
        and (cause.service == deploy.service or cause.service in deploy.depends_on)
        and cause.started_at <= ends_at.get(deploy.id, _ends_at(deploy, rules))
        and deploy.started_at <= ends_at.get(cause.id, _ends_at(cause, rules))
    )


def _is_undone(other: Deploy, rollback: Deploy) -> bool:
    """Whether `rollback` took that deploy's version away."""
    return (
        rollback.kind == "rollback"
        and not rollback.is_failed
        and (other.environment, other.service) == (rollback.environment, rollback.service)
        and line_of(other) == "code"
        and other.to_version != rollback.to_version
        and not is_only_announced(other)
        and other.started_at <= end_of(rollback)
    )
