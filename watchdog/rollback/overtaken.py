"""Whether a rollback that is about to be sent has been overtaken by another change: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from watchdog.model import Action, Deploy


def overtaken(
    action: Action, version: str | None, deploys: Sequence[Deploy]
) -> tuple[Literal["acked", "expired"], str] | None:
    """None if it is still wanted, else the state it ends in and why.

    version: what runs now, None when that cannot be told; then `deploys` (of the service, newest first) are
    asked for a newer change that does not itself go where we want to go. `acked`: it has worked already,
    through an attempt whose answer was lost, so it is verified like any other.
    """
    if version == action.to_version:
        if action.attempts > 0:
            return "acked", f"already at {version}: an earlier attempt took effect"
        return "expired", f"already at {version}"
    if version is None:
        newer = _newer(action, deploys)
        return None if newer is None else ("expired", f"superseded by {newer}")
    return None if version == action.from_version else ("expired", f"superseded by {version}")


def _newer(action: Action, deploys: Sequence[Deploy]) -> str | None:
    for deploy in deploys:
        if deploy.id == action.deploy_id:
            return None
        is_other = deploy.environment == action.environment and not deploy.is_failed
        if is_other and deploy.rolls_back is None and deploy.to_version != action.to_version:
            return deploy.to_version
    return None
