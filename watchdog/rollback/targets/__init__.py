"""The kinds of rollback targets. A new kind is one file beside this one and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watchdog.rollback.targets.webhook import WebhookTarget

TARGETS: Mapping[str, type[Any]] = {
    "webhook": WebhookTarget,
}
