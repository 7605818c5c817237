"""The API's application and its server, with a limit on everything a caller can spend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from watchdog.api.auth import Doorkeeper, is_loopback
from watchdog.api.bodies import Bounds
from watchdog.api.context import BOUNDS, DOOR, PORTS, STREAMS
from watchdog.api.gate import add_headers, gate
from watchdog.api.live import Streams
from watchdog.api.protocol import Ports
from watchdog.api.routes import ROUTES

SHUTDOWN_S = 3.0
LINGER_S = 1.0
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\n"
    b"Content-Length: 22\r\nConnection: close\r\n\r\nToo many connections.\n"
)


def make_app(ports: Ports, bounds: Bounds | None = None) -> web.Application:
    """The application of `ROUTES`. Limits on connections and headers hold only under `serve`."""
    bounds = bounds or Bounds()
    app = web.Application(middlewares=[gate], client_max_size=bounds.body_bytes_max)
    app[PORTS], app[BOUNDS] = ports, bounds
    app[DOOR], app[STREAMS] = Doorkeeper(ports), Streams(ports)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, route.handler)
    app.on_response_prepare.append(add_headers)

    async def end_streams(app: web.Application) -> None:
        app[STREAMS].end()

    app.on_shutdown.append(end_streams)
    return app


def refuse_open_door(host: str, ports: Ports) -> None:
    """Raise ValueError for an address beyond loopback while nobody has a token."""
    if ports.settings.api.tokens or host == "localhost" or is_loopback(host):
        return
    raise ValueError(
        f"api.listen: {host} can be reached by others and api.tokens is empty. "
        "Make a token with `deploy-watchdog token`, or listen on 127.0.0.1."
    )


class _Door(asyncio.Protocol):
    """Counts connections before the HTTP protocol exists, then hands the transport over for good."""

    def __init__(self, server: web.Server, connections_max: int) -> None:
        self._server = server
        self._connections_max = connections_max

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if len(self._server.connections) >= self._connections_max:
            transport.write(_FULL)
            transport.close()
            return
        handler = self._server()
        transport.set_protocol(handler)
        handler.connection_made(transport)


@asynccontextmanager
async def serve(ports: Ports, *, host: str, port: int, bounds: Bounds | None = None) -> AsyncIterator[int]:
    """Listen until the block ends; gives the bound port, which matters for port 0.

    Raises OSError when the address cannot be taken, ValueError when it lies beyond loopback and no token is
    configured (S-5).
    """
    bounds = bounds or Bounds()
    refuse_open_door(host, ports)
    # keepalive_timeout also runs while headers come in: it closes whoever has no request in progress.
    runner = web.AppRunner(
        make_app(ports, bounds),
        access_log=None,
        keepalive_timeout=bounds.header_s,
        max_headers=bounds.headers_max,
        max_line_size=8190,
        max_field_size=8190,
        # How long a refused body is still read, so that the answer is not lost with the connection.
        lingering_time=LINGER_S,
        shutdown_timeout=SHUTDOWN_S,
    )
    await runner.setup()
    try:
        server = runner.server
        assert server is not None
        listener = await asyncio.get_running_loop().create_server(
            lambda: _Door(server, bounds.connections_max), host, port, backlog=128
        )
        try:
            yield int(listener.sockets[0].getsockname()[1])
        finally:
            listener.close()
    finally:
        await runner.cleanup()
