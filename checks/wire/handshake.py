"""When a TLS handshake began and ended, on connections that a library makes.

The library reports the connection as a whole. Its TLS object belongs to us, though: a context builds the
class it is told to (`ssl.SSLContext.sslobject_class`), and the run that a handshake belongs to is found in
the context of the task that connects.
"""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from typing import Protocol


class Watcher(Protocol):
    """Who wants to know."""

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
