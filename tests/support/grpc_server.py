"""A real gRPC server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2_grpc


@asynccontextmanager
async def serving(servicer: Any, credentials: Any = None) -> AsyncIterator[int]:
    """A gRPC server on a free port; without a servicer it serves nothing."""
    server = grpc.aio.server()
    if servicer is not None:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    address = "127.0.0.1:0"
    port = (
        server.add_insecure_port(address)
        if credentials is None
        else server.add_secure_port(address, credentials)
    )
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)
