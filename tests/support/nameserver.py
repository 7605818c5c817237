"""A real name server: dnsmasq, which knows what it is told and asks nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import binary, free_port, is_listening, running

_ALONE = """\
no-resolv
no-hosts
bind-interfaces
listen-address=127.0.0.1,::1
"""


@contextmanager
def name_server(folder: Path, zone: str) -> Iterator[str]:
    """Address and port of a name server. zone: lines of dnsmasq's configuration."""
    dnsmasq = binary("dnsmasq", "dnsmasq-base")
    port = free_port()
    (folder / "dnsmasq.conf").write_text(f"{_ALONE}{zone}port={port}\n")
    command = [dnsmasq, "--keep-in-foreground", f"--conf-file={folder / 'dnsmasq.conf'}", "--pid-file"]
    with running([*command, "--user="], ready=lambda: is_listening(port), log=folder / "log"):
        yield f"127.0.0.1:{port}"
