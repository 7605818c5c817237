"""A real PostgreSQL for tests: one cluster, a fresh database for whoever asks, nothing left behind.

with postgres_server(tmp_path_factory.mktemp("pg")) as server:
    dsn = server.dsn(server.create())
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.certificates import Pair
from tests.support.servers import binary, free_port, running

PACKAGE = "postgresql-15"
FOLDERS = [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
INITDB_OPTIONS = ("--no-sync", "--no-locale", "-E", "UTF8")
NOBODY = 65534  # PostgreSQL refuses to run as root


@dataclass(slots=True)
class PostgresServer:
    """A running cluster with trust authentication on loopback; superuser `postgres`.

    as_other: what to put before a command that must not run as root, empty for other users.
    """

    port: int
    as_other: tuple[str, ...]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def dsn(self, database: str = "postgres", *, user: str = "postgres", password: str = "") -> str:
        """URL of a database in it."""
        return f"postgresql://{user}{':' + password if password else ''}@127.0.0.1:{self.port}/{database}"

    def create(self) -> str:
        """A new empty database; returns its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run statements with psql, each in its own transaction; returns what it prints, unaligned."""
        psql = binary("psql", PACKAGE, also_in=FOLDERS)
        done = subprocess.run(
            [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", self.dsn(database)],
            input=sql,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def postgres_server(folder: Path, *, tls: Pair | None = None) -> Iterator[PostgresServer]:
    """A cluster, as another user when we are root; skips where PostgreSQL is not installed.

    folder: where its log goes. tls: what it shows to who asks for TLS.
    """
    initdb = binary("initdb", PACKAGE, also_in=FOLDERS)
    as_other = as_nobody()
    with home_of_server() as home:
        subprocess.run(
            [*as_other, initdb, "-D", str(home / "data"), "-A", "trust", "-U", "postgres", *INITDB_OPTIONS],
            check=True,
            capture_output=True,
            cwd=home,
        )
        options = [] if tls is None else _tls_options(home, tls)
        with _serving(home / "data", as_other, folder / "postgres.log", options) as server:
            yield server


@contextmanager
def postgres_replica(primary: PostgresServer, folder: Path) -> Iterator[PostgresServer]:
    """A streaming replica of that cluster; its log goes to `folder`."""
    basebackup = binary("pg_basebackup", PACKAGE, also_in=FOLDERS)
    with home_of_server() as home:
        command = [*primary.as_other, basebackup, "-D", str(home / "data"), "-h", "127.0.0.1"]
        command += ["-p", str(primary.port), "-U", "postgres"]
        command += ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd=home)
        with _serving(home / "data", primary.as_other, folder / "postgres.log") as server:
            yield server


@contextmanager
def _serving(
    data: Path, as_other: tuple[str, ...], log: Path, options: Sequence[str] = ()
) -> Iterator[PostgresServer]:
    """The server of a data folder, until it has ended."""
    port = free_port()
    command = [*as_other, binary("postgres", PACKAGE, also_in=FOLDERS), "-D", str(data), "-p", str(port)]
    command += ["-h", "127.0.0.1", "-k", "", "-F", "-c", "shared_buffers=16MB", "-c", "timezone=UTC"]
    command += options
    ready = [binary("pg_isready", PACKAGE, also_in=FOLDERS), "-q", "-h", "127.0.0.1", "-p", str(port)]

    def is_ready() -> bool:
        return subprocess.run(ready, check=False).returncode == 0

    with running(command, ready=is_ready, log=log, cwd=data.parent) as process:
        try:
            yield PostgresServer(port=port, as_other=as_other)
        finally:
            # Fast shutdown: SIGTERM would wait for sessions a failed test left open.
            process.send_signal(signal.SIGINT)


def _tls_options(home: Path, tls: Pair) -> list[str]:
    """Options that turn TLS on, with files that belong to the server, because it insists."""
    options = ["-c", "ssl=on"]
    for setting, source in (("ssl_cert_file", tls.cert), ("ssl_key_file", tls.key)):
        file = home / source.name
        file.write_bytes(source.read_bytes())
        file.chmod(0o600)
        shutil.chown(file, home.owner())
        options += ["-c", f"{setting}={file}"]
    return options


def as_nobody() -> tuple[str, ...]:
    """What to put before a command that must not run as root; empty for other users."""
    if os.geteuid() != 0:
        return ()
    setpriv = binary("setpriv", "util-linux")
    return (setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


@contextmanager
def home_of_server() -> Iterator[Path]:
    """A temporary folder of the user that `as_nobody` stands for, where that user may go.

    Not one of pytest's: those of root are private, and every pytest that root starts makes them so again.
    """
    with tempfile.TemporaryDirectory(prefix="server-") as name:
        home = Path(name)
        if os.geteuid() == 0:
            shutil.chown(home, NOBODY, NOBODY)
        yield home
