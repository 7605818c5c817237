"""Reaching a host and a port: the name resolved, the first address that takes a connection.

Shared by the kinds that speak a protocol of their own over TCP.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def refuse_address(host: str, port: int) -> None:
    """ValueError for what is not a host name or address and a port."""
    if not 1 <= port <= 65535:
        raise ValueError(f"port: {port} is not a port; write 1 to 65535")
    if not host or "/" in host or host.count(":") == 1:
        raise ValueError(f"host: {host!r} is not a host name or address; the port has its own key")


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, in the order the system prefers; raises socket.gaierror."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def connect(
    addresses: list[str], port: int, *, tls: ssl.SSLContext | bool = False, server_name: str | None = None
) -> Streams:
    """A connection to the first address that takes one; raises OSError with what the last one says.

    server_name: the name that the certificate must carry, with `tls` only.
    """
    for address in addresses[:-1]:
        with suppress(OSError):
            return await asyncio.open_connection(address, port, ssl=tls or None, server_hostname=server_name)
    return await asyncio.open_connection(addresses[-1], port, ssl=tls or None, server_hostname=server_name)
