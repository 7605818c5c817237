"""When a connection came through its stages, where a library makes it.

The library says when there is a connection, which is too little. What it makes one of belongs to us, though:
its connector and resolver (checks/web/connecting.py) and its TLS object (`ssl.SSLContext.sslobject_class`).
They find the run that a connection belongs to in the context of the task that connects.
"""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from typing import Protocol


class Watcher(Protocol):
    """Who wants to know. A connection that was kept is told of by nothing."""

    def connection_began(self) -> None:
        """Called when a new connection is wanted, before its name is resolved."""
        ...

    def connection_ended(self) -> None:
        """Called when there is one, its handshake included; not after a failure."""
        ...

    def name_began(self) -> None:
        """Called before a name is resolved; not for an address, nor for a name that is still known."""
        ...

    def name_ended(self) -> None:
        """Called when the name has addresses; not after a failure."""
        ...

    def handshake_began(self) -> None:
        """Called before the first byte is sent."""
        ...

    def handshake_ended(self, tls: ssl.SSLObject) -> None:
        """Called when both sides agreed and the certificate was verified; not after a failure."""
        ...


WATCHER: ContextVar[Watcher] = ContextVar("WATCHER")


class Watched(ssl.SSLObject):
    """Tells the watcher of the task that connects."""

    _has_begun = False

    def do_handshake(self) -> None:
        """Called until it no longer raises SSLWantReadError; see `ssl.SSLObject.do_handshake`."""
        watcher = WATCHER.get(None)
        if watcher is not None and not self._has_begun:
            self._has_begun = True
            watcher.handshake_began()
        super().do_handshake()
        if watcher is not None:
            watcher.handshake_ended(self)
