"""What a channel is: somewhere an alert can be delivered."""

from __future__ import annotations

from typing import Protocol

from watchdog.model import Alert, Sent


class Channel(Protocol):
    """One configured channel. It renders the alert within the receiver's limits, escaped."""

    async def send(self, alert: Alert, *, now: float, timeout_s: float) -> Sent:
        """One attempt. The world's failure is a value; an exception is a bug."""
        ...

    async def close(self) -> None:
        """Release connections; may be called twice."""
        ...
