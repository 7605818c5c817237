"""Whom a TLS connection trusts, and who we are on it."""

from __future__ import annotations

import asyncio
import functools
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from checks.wire.watching import Watched

HTTP_1 = ("http/1.1",)

_Stamps = tuple[tuple[int, int, int], ...]


@dataclass(slots=True, kw_only=True)
class Tls:
    """How the other side is verified, and what we show it.

    The files are read with the configuration, and again at the run after they changed.
    ca_file: PEM file of the authorities that are trusted, instead of the system's. cert_file: PEM file of
    our own certificate and its chain, for servers that ask for one (mTLS). key_file: PEM file of its key,
    without a pass phrase. server_name: the name the certificate must carry, instead of the host's.
    """

    # What is spoken over the connection (RFC 7301); empty = not told.
    protocols: ClassVar[tuple[str, ...]] = HTTP_1

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    _context: ssl.SSLContext = field(init=False, repr=False, compare=False)
    _stamps: _Stamps = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            missing = "key_file" if self.key_file is None else "cert_file"
            raise ValueError(f"{missing}: write cert_file and key_file together")
        if self.server_name is not None and (not self.server_name or set("/:") & set(self.server_name)):
            raise ValueError(f"server_name: {self.server_name!r} is not a host name")
        self._stamps = _stamps(self._files())
        self._context = self._read()

    @property
    def current(self) -> ssl.SSLContext:
        """As it was read last."""
        return self._context

    async def context(self) -> ssl.SSLContext:
        """What connections are made with; raises ValueError when changed files cannot be used."""
        stamps = _stamps(self._files())
        if stamps != self._stamps:
            # Reading authorities takes tens of milliseconds, too long for the loop.
            self._context = await asyncio.to_thread(self._read)
            self._stamps = stamps
        return self._context

    def _files(self) -> dict[str, str]:
        named = {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file}
        return {key: path for key, path in named.items() if path is not None}

    def _read(self) -> ssl.SSLContext:
        if not self._files():
            return system_trust(self.protocols)
        for key, path in self._files().items():
            _refuse_unreadable(key, path)
        try:
            context = _verifying(self.ca_file, self.protocols)
        except ssl.SSLError:
            raise ValueError(f"ca_file: {self.ca_file} holds no certificate in PEM") from None
        if self.cert_file is not None:
            try:
                # Without a pass phrase OpenSSL would ask for one on the terminal.
                context.load_cert_chain(self.cert_file, self.key_file, password="")
            except ssl.SSLError as error:
                raise ValueError(
                    f"cert_file: {self.cert_file} and {self.key_file} are not a certificate in PEM and its "
                    f"key without a pass phrase ({error.reason or 'unreadable'})"
                ) from None
        return context


@functools.cache
def system_trust(protocols: tuple[str, ...] = HTTP_1) -> ssl.SSLContext:
    """Verified by the system's authorities; read once, because it takes tens of milliseconds."""
    return _verifying(None, protocols)


def _verifying(ca_file: str | None, protocols: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.sslobject_class = Watched
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def _stamps(files: dict[str, str]) -> _Stamps:
    """What changes when a file is written or replaced."""
    return tuple(_stamp(key, path) for key, path in files.items())


def _stamp(key: str, path: str) -> tuple[int, int, int]:
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as error:
        raise _unreadable(key, path, error) from None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _refuse_unreadable(key: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            return
    except OSError as error:
        raise _unreadable(key, path, error) from None


def _unreadable(key: str, path: str, error: Exception) -> ValueError:
    why = error.strerror if isinstance(error, OSError) else "not a path"
    return ValueError(f"{key}: {path} cannot be read ({why})")
