"""What a rollback target is: something that can be told, once more and with the same key, to go back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from watchdog.model import Action, Progress, Sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a rollback says; the only names a body template may use."""

    key: str
    environment: str
    service: str
    deploy: str
    from_version: str
    to_version: str
    because: str


class Target(Protocol):
    """One configured rollback target. idempotent: it honours the key, so a resend does no harm."""

    @property
    def idempotent(self) -> bool:
        """True if sending the same key twice has one effect there."""
        ...

    def render(self, order: Order) -> bytes:
        """The exact bytes to send, made once when the intent is written. Raises nothing.

        Not called `body`: that is the YAML key, and so the field, of a target's template.
        """
        ...

    async def send(self, action: Action, *, now: float, timeout_s: float) -> Sent:
        """One attempt. The world's failure is a value; an exception is a bug."""
        ...

    async def progress(self, action: Action, *, now: float, timeout_s: float) -> Progress:
        """How far an accepted rollback is, asked at `action.poll_url` or the configured status URL."""
        ...

    async def close(self) -> None:
        """Release connections; may be called twice."""
        ...
