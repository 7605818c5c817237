"""Did the rollback help? The version is back and the series have recovered, or a person is paged.

Pure. Never leads to a second rollback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from detectors.recovery import Recovery
from watchdog.model import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What verification says now: `confirmed`, `unconfirmed` (for a person), or `wait`."""

    state: Literal["wait", "confirmed", "unconfirmed"]
    because: str


def verify(
    action: Action,
    *,
    running_version: str | None,
    has_version_signal: bool,
    recoveries: Sequence[Recovery],
    now: float,
) -> Verification:
    """What is known of an acknowledged rollback.

    running_version: as the version signal tells it now, None when it could not be read. recoveries: one per
    series that was worse; a series without data is not recovered.
    """
    version_is_back = not has_version_signal or running_version == action.to_version
    has_recovered = bool(recoveries) and all(recovery.state == "yes" for recovery in recoveries)
    if version_is_back and has_recovered:
        told = f"{action.to_version} runs" if has_version_signal else "no version signal is configured"
        return Verification(state="confirmed", because=f"{told}; {recoveries[0].because}")
    missing = []
    if not version_is_back:
        missing.append(f"the version is {running_version or 'not known'}, not {action.to_version}")
    missing += [recovery.because for recovery in recoveries if recovery.state != "yes"]
    because = "; ".join(missing) or "no series to see a recovery in"
    if action.deadline_at is not None and now > action.deadline_at:
        return Verification(state="unconfirmed", because=because)
    return Verification(state="wait", because=because)
