"""How long each stage of an HTTP exchange took."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from checks.wire.certificate import days_left, first_expiry_s

RESOLVING = "resolving the name"  # the one stage whose slowness is ours


@dataclass(slots=True)
class Stages:
    """In seconds, filled while the exchange goes on; implements `checks.wire.watching.Watcher`.

    dns_s, connect_s and tls_s are None where the stage did not happen (a kept connection, a cached name, an
    address, plain http). connect_s is the TCP connection alone, with a proxy until it has opened the tunnel.
    first_byte_s and total_s count from the start. certificate_days: to the first expiry in the presented
    chain, at certificate_end_s (epoch). tls_version: as `TLSv1.3`, empty without TLS.
    """

    mono_s: Callable[[], float]
    now_s: Callable[[], float]
    at: str = "waiting for the answer"
    dns_s: float | None = None
    connect_s: float | None = None
    tls_s: float | None = None
    first_byte_s: float | None = None
    total_s: float | None = None
    body_bytes: float | None = None
    certificate_days: float | None = None
    certificate_end_s: float | None = None
    tls_version: str = ""
    _began_s: float = field(init=False)
    # When the connection, and within it the name or the handshake, began.
    _connection_s: float = field(init=False, default=0.0)
    _part_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Time begins."""
        self._began_s = self.mono_s()

    def spent_s(self) -> float:
        """Seconds since the start."""
        return self.mono_s() - self._began_s

    def connection_began(self) -> None:
        """See `Watcher`."""
        self.at = "connecting"
        # What of the time of a connection belongs to other stages is left out at both ends.
        self._connection_s = self.mono_s() - self._of_connection_s()

    def connection_ended(self) -> None:
        """See `Watcher`."""
        self.at = "waiting for the answer"
        spent_s = self.mono_s() - self._connection_s - self._of_connection_s()
        self.connect_s = (self.connect_s or 0.0) + max(0.0, spent_s)

    def _of_connection_s(self) -> float:
        return (self.dns_s or 0.0) + (self.tls_s or 0.0)

    def name_began(self) -> None:
        """See `Watcher`."""
        self.at = RESOLVING
        self._part_s = self.mono_s()

    def name_ended(self) -> None:
        """See `Watcher`."""
        self.at = "connecting"
        self.dns_s = (self.dns_s or 0.0) + self.mono_s() - self._part_s

    def handshake_began(self) -> None:
        """See `Watcher`."""
        self.at = "in the TLS handshake"
        self._part_s = self.mono_s()

    def handshake_ended(self, tls: ssl.SSLObject) -> None:
        """See `Watcher`."""
        self.at = "connecting"
        self.tls_s = (self.tls_s or 0.0) + self.mono_s() - self._part_s
        self.tls_version = tls.version() or ""
        self.certificate_end_s = first_expiry_s(tls)
        self.certificate_days = days_left(self.certificate_end_s, self.now_s())

    def answer_began(self) -> None:
        """Called when status and headers are there."""
        self.at = "reading the body"
        self.first_byte_s = self.spent_s()

    def answer_ended(self, body: bytes | None) -> None:
        """Called when the body was read, or None of it because it was too long."""
        if body is not None:
            self.total_s, self.body_bytes = self.spent_s(), float(len(body))

    def readings(self) -> dict[str, float]:
        """The stages that happened, named with their unit."""
        told = {
            "dns_s": self.dns_s,
            "connect_s": self.connect_s,
            "tls_s": self.tls_s,
            "first_byte_s": self.first_byte_s,
            "total_s": self.total_s,
            "body_bytes": self.body_bytes,
            "certificate_days": self.certificate_days,
        }
        return {name: value for name, value in told.items() if value is not None}

    def line(self) -> str:
        """`dns 2 connect 3 first byte 120 total 131 ms`, of what happened."""
        named = {
            "dns": self.dns_s,
            "connect": self.connect_s,
            "tls": self.tls_s,
            "first byte": self.first_byte_s,
            "total": self.total_s,
        }
        parts = [f"{name} {value * 1000:.0f}" for name, value in named.items() if value is not None]
        return " ".join(parts) + " ms" if parts else ""
