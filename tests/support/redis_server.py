"""A redis-server of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from tests.support.servers import binary, free_port, is_listening, running


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running redis-server; `client` changes it from outside."""

    port: int
    client: Redis

    def url(self, user: str = "") -> str:
        """How a check reaches it. user: `name:password`, the server's own default without it."""
        return f"redis://{user}@127.0.0.1:{self.port}/0" if user else f"redis://127.0.0.1:{self.port}"


@contextmanager
def redis_server_in(folder: Path, *options: str) -> Iterator[RedisServer]:
    """Run one that keeps nothing; skips the test where it is not installed."""
    program = binary("redis-server", "redis-server")
    port = free_port()
    command = [
        program,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
        *options,
    ]
    with (
        running(command, ready=lambda: is_listening(port), log=folder / "log"),
        Redis(port=port, decode_responses=True) as client,
    ):
        yield RedisServer(port, client)
