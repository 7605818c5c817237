"""The project's types as JSON: the same keys in every answer, times as epoch seconds, no secrets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from watchdog.model import Action, AuditRow, Deploy, SwitchState, Watch


def deploy_json(deploy: Deploy) -> dict[str, Any]:
    """Every field of a deploy."""
    return asdict(deploy)


def watch_json(watch: Watch | None) -> dict[str, Any] | None:
    """Every field of a watch."""
    return None if watch is None else asdict(watch)


def action_json(action: Action, attempts: Sequence[tuple[float, str]] | None = None) -> dict[str, Any]:
    """Every field of an action but its body, of which only size and digest are told."""
    found = asdict(action)
    body = found.pop("body")
    found["body_bytes"] = len(body)
    found["body_sha256"] = hashlib.sha256(body).hexdigest()
    if attempts is not None:
        found["attempt_log"] = [{"at": at, "what": what} for at, what in attempts]
    return found


def audit_json(row: AuditRow) -> dict[str, Any]:
    """Every field of an audit row."""
    return asdict(row)


def switch_json(state: SwitchState) -> dict[str, Any]:
    """The kill switch: `is_on`, `by`, `at`, `because`."""
    return {"is_on": state.is_on, "by": state.by, "at": state.at or None, "because": state.because}
