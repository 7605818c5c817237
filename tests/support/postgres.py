"""A real PostgreSQL for tests: one cluster, a fresh database for whoever asks, nothing left behind.

with postgres_server(tmp_path_factory.mktemp("pg")) as server:
    dsn = server.dsn(server.create())
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import Pair
from tests.support.database_server import DatabaseServer, as_nobody, home_of_server
from tests.support.servers import binary, completed, free_port, running

PACKAGE = "postgresql-15"
FOLDERS = [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
INITDB_OPTIONS = ("--no-sync", "--no-locale", "-E", "UTF8")


@dataclass(slots=True, kw_only=True)
class PostgresServer(DatabaseServer):
    """A running cluster with trust authentication on loopback; superuser `postgres`.

    as_other: what to put before a command that must not run as root, empty for other users. pid: of the
    process that all others of the server are children of.
    """

    as_other: tuple[str, ...]
    pid: int

    def dsn(self, database: str = "postgres", *, user: str = "postgres", password: str = "") -> str:
        """URL of a database in it."""
        return f"postgresql://{user}{':' + password if password else ''}@127.0.0.1:{self.port}/{database}"

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run statements with psql, each in its own transaction; returns what it prints, unaligned."""
        psql = binary("psql", PACKAGE, also_in=FOLDERS)
        options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        return completed([psql, *options, self.dsn(database)], given=sql)


@contextmanager
def postgres_server(folder: Path, *, tls: Pair | None = None) -> Iterator[PostgresServer]:
    """A cluster, as another user when we are root; skips where PostgreSQL is not installed.

    folder: where its log goes. tls: what it shows to who asks for TLS.
    """
    initdb = binary("initdb", PACKAGE, also_in=FOLDERS)
    as_other = as_nobody()
    with home_of_server() as home:
        where = ["-D", str(home / "data"), "-A", "trust", "-U", "postgres"]
        completed([*as_other, initdb, *where, *INITDB_OPTIONS], cwd=home)
        options = [] if tls is None else _tls_options(home, tls)
        with _serving(home / "data", as_other, folder / "postgres.log", options) as server:
            yield server


@contextmanager
def postgres_replica(primary: PostgresServer, folder: Path) -> Iterator[PostgresServer]:
    """A streaming replica of that cluster; its log goes to `folder`."""
    basebackup = binary("pg_basebackup", PACKAGE, also_in=FOLDERS)
    with home_of_server() as home:
        where = ["-D", str(home / "data"), "-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"]
        options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        completed([*primary.as_other, basebackup, *where, *options], cwd=home)
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
            yield PostgresServer(port=port, as_other=as_other, pid=process.pid)
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
