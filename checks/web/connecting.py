"""How HTTP gets its connections: aiohttp's connectors, which tell the watcher of the task that connects.

aiohttp's tracing tells the same, but makes every request dearer by a tenth, a kept connection or not.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from checks.wire.watching import WATCHER


class _Watched(aiohttp.BaseConnector):
    # What every connector of aiohttp must define, so it is as stable as a public method.
    async def _create_connection(self, *args: Any, **kwargs: Any) -> ResponseHandler:
        watcher = WATCHER.get(None)
        if watcher is None:
            return await super()._create_connection(*args, **kwargs)
        watcher.connection_began()
        made = await super()._create_connection(*args, **kwargs)
        watcher.connection_ended()
        return made


class _Tcp(_Watched, aiohttp.TCPConnector):
    """To a host and a port."""


class _Unix(_Watched, aiohttp.UnixConnector):
    """To a socket of this machine."""


def shared_connector(
    resolver: AbstractResolver | None = None, *, use_dns_cache: bool = True
) -> aiohttp.BaseConnector:
    """For all hosts and any number of connections, or checks that hang would hold up the others.

    resolver: None = as the system resolves names.
    """
    inner = resolver or aiohttp.ThreadedResolver()
    return _Tcp(limit=0, resolver=_Watching(inner), use_dns_cache=use_dns_cache)


def socket_connector(path: str) -> aiohttp.BaseConnector:
    """To that socket, whatever the host."""
    return _Unix(path)


def fixed_connector(address: str) -> aiohttp.BaseConnector:
    """To that address, whatever the host."""
    return _Tcp(resolver=_Fixed(address), use_dns_cache=False)


class _Watching(AbstractResolver):
    """Tells how long another one takes."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver.resolve`."""
        watcher = WATCHER.get(None)
        if watcher is None:
            return await self._inner.resolve(host, port, family)
        watcher.name_began()
        found = await self._inner.resolve(host, port, family)
        watcher.name_ended()
        return found

    async def close(self) -> None:
        """Close the other one."""
        await self._inner.close()


class _Fixed(AbstractResolver):
    """Gives every name the same address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver.resolve`."""
        is_6 = ipaddress.ip_address(self._address).version == 6
        return [
            ResolveResult(
                hostname=host,
                host=self._address,
                port=port,
                family=socket.AF_INET6 if is_6 else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""
