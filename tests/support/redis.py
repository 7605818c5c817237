"""A real Redis for tests, in memory only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.certificates import Pair
from tests.support.servers import binary, free_port, is_listening, running


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[int]:
    """The loopback port of a server; skips where it is not installed."""
    port = free_port()
    with _serving(folder, port, "--port", str(port), *options):
        yield port


@contextmanager
def redis_by_tls(folder: Path, pair: Pair, ca: Path, *, asks_for_certificate: bool = False) -> Iterator[int]:
    """The loopback port of a server that shows `pair`, and may ask for a certificate that `ca` signed."""
    port = free_port()
    tls = ["--tls-cert-file", str(pair.cert), "--tls-key-file", str(pair.key), "--tls-ca-cert-file", str(ca)]
    asks = ["--tls-auth-clients", "yes" if asks_for_certificate else "no"]
    with _serving(folder, port, "--port", "0", "--tls-port", str(port), *tls, *asks):
        yield port


@contextmanager
def _serving(folder: Path, port: int, *options: str) -> Iterator[None]:
    command = [binary("redis-server", "redis-server"), "--bind", "127.0.0.1", "--save", "", *options]
    command += ["--dir", str(folder)]
    with running(command, ready=lambda: is_listening(port), log=folder / "log"):
        yield
