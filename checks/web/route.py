"""By which way a request gets to its host."""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass

import aiohttp
from yarl import URL

from checks.web.connecting import fixed_connector, socket_connector


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Straight to the host, or one way round.

    tls: verifies the host. server_name: the name its certificate must carry, None = the host's.
    proxy: URL with its credentials. unix_socket: path. resolve: address instead of those the name has.
    """

    tls: ssl.SSLContext
    server_name: str | None = None
    proxy: URL | None = None
    unix_socket: str | None = None
    resolve: str | None = None

    def is_straight(self) -> bool:
        """True if it leads to the address that the host's name has."""
        return self.proxy is None and self.unix_socket is None and self.resolve is None

    def connector(self) -> aiohttp.BaseConnector | None:
        """A connector of its own, to be closed after use; None = any connector will do."""
        if self.unix_socket is not None:
            return socket_connector(self.unix_socket)
        if self.resolve is not None:
            return fixed_connector(self.resolve)
        return None


def refuse_route(url: str, *, proxy: str | None, unix_socket: str | None, resolve: str | None) -> None:
    """ValueError for ways that exclude each other, or that do not lead to the URL's host."""
    ways = {"proxy": proxy, "unix_socket": unix_socket, "resolve": resolve}
    written = [key for key, way in ways.items() if way is not None]
    if len(written) > 1:
        raise ValueError(f"{written[-1]}: write only one of {', '.join(ways)}; found {' and '.join(written)}")
    if proxy is not None:
        _refuse_proxy(proxy)
    if unix_socket is not None and (not unix_socket.startswith("/") or "\0" in unix_socket):
        raise ValueError("unix_socket: write the whole path of a socket, as in /run/app.sock")
    if unix_socket is not None and url.startswith("https:"):
        raise ValueError("unix_socket: takes plain http; write the URL with http://")
    if resolve is not None:
        _refuse_address(resolve, URL(re.sub("[{}]", "", url)).host or "")


def _refuse_proxy(proxy: str) -> None:
    try:
        url = URL(proxy)
    except ValueError:
        url = URL()
    if url.scheme != "http" or not url.host or url.path not in ("", "/") or url.query_string:
        # The text may hold a password, so it cannot be part of the message.
        raise ValueError("proxy: not the URL of an HTTP proxy; write http://host:port")


def _refuse_address(resolve: str, host: str) -> None:
    if not _is_address(resolve):
        raise ValueError(f"resolve: {resolve!r} is not an IP address")
    if _is_address(host):
        raise ValueError("resolve: the URL already holds an address; write the host's name there")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
