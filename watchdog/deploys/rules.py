"""The numbers by which events become deploys and deploys get watches, and three words about deploys."""

from __future__ import annotations

from dataclasses import dataclass

from watchdog.model import Deploy, DeployKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Of the service an event is about; all in seconds but the share.

    rollout_max_s: how long a roll-out takes when only its end is told. watch_s, warm_up_s: of the service's
    configuration. merge_s: how long after its end a deploy of the same version is still the same one.
    late_share_min: least share of the watch that must be left when the end is told. future_max_s: how far
    ahead a sender's clock may be. rollout_limit_s: how far apart a start and an end told by two events may
    lie. own_rollback_s: how long after it was sent a rollback of ours may come back as a deploy.
    """

    rollout_max_s: float = 300.0
    watch_s: float = 2700.0
    warm_up_s: float = 0.0
    merge_s: float = 900.0
    late_share_min: float = 0.25
    future_max_s: float = 60.0
    rollout_limit_s: float = 6 * 3600.0
    own_rollback_s: float = 2 * 3600.0


def end_of(deploy: Deploy) -> float:
    """When it ended, or started while it is in progress: deploys follow one another in this order."""
    return deploy.started_at if deploy.finished_at is None else deploy.finished_at


def is_only_announced(deploy: Deploy) -> bool:
    """True while nobody has said that it started: it has changed nothing yet."""
    return deploy.is_start_assumed and deploy.finished_at is None


def line_of(deploy: Deploy) -> DeployKind:
    """Versions follow one another within a line: the code's next deploy did not come from a flag's name."""
    return "code" if deploy.kind == "rollback" else deploy.kind
