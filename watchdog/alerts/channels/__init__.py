"""The kinds of channels. A new kind is one file beside this one and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watchdog.alerts.channels.pagerduty import PagerDutyChannel
from watchdog.alerts.channels.slack import SlackChannel

CHANNELS: Mapping[str, type[Any]] = {
    "pagerduty": PagerDutyChannel,
    "slack": SlackChannel,
}
