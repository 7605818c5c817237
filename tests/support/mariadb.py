"""A real MariaDB for tests: one server, a fresh database for whoever asks, nothing left behind.

with mariadb_server(tmp_path_factory.mktemp("mariadb")) as server:
    dsn = server.dsn(server.create())
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.postgres import NOBODY, as_nobody, home_of_server
from tests.support.servers import binary, free_port, is_listening, running

PACKAGE = "mariadb-server"
LOG_SIZE = "--innodb-log-file-size=4M"


@dataclass(slots=True)
class MariadbServer:
    """A running server on loopback with TLS; user `root` without a password.

    authority: the certificate of the server, which has signed itself.
    """

    port: int
    authority: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def dsn(
        self, database: str = "mysql", *, user: str = "root", password: str = "", options: str = ""
    ) -> str:
        """URL of a database in it."""
        login = f"{user}:{password}" if password else user
        return f"mysql://{login}@127.0.0.1:{self.port}/{database}?{options}"

    def create(self) -> str:
        """A new empty database; returns its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def execute(self, sql: str, database: str = "mysql") -> str:
        """Run statements with the mariadb client; returns what it prints, tab-separated."""
        client = binary("mariadb", "mariadb-client")
        done = subprocess.run(
            [
                client,
                "--no-defaults",
                "-h",
                "127.0.0.1",
                "-P",
                str(self.port),
                "-u",
                "root",
                "-N",
                "-B",
                database,
            ],
            input=sql,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def mariadb_server(folder: Path, *options: str) -> Iterator[MariadbServer]:
    """A server, as another user when we are root; skips where MariaDB is not installed.

    folder: where its log goes.
    """
    install = binary("mariadb-install-db", PACKAGE)
    mariadbd = binary("mariadbd", PACKAGE)
    as_other = as_nobody()
    with home_of_server() as home:
        certificate = _certificate(home)
        if as_other:
            for path in home.iterdir():
                shutil.chown(path, NOBODY, NOBODY)
        _run(
            *as_other,
            install,
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            LOG_SIZE,
            f"--datadir={home / 'data'}",
            cwd=home,
        )
        port = free_port()
        command = [
            *as_other,
            mariadbd,
            "--no-defaults",
            f"--datadir={home / 'data'}",
            f"--socket={home / 's'}",
        ]
        command += [f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={home / 'pid'}"]
        command += [
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=16M",
            "--skip-name-resolve",
        ]
        # A binary log, so that a test can start a replica of it.
        command += ["--server-id=1", f"--log-bin={home / 'binlog'}"]
        command += ["--innodb-fast-shutdown=3", LOG_SIZE]
        command += [f"--ssl-cert={certificate}", f"--ssl-key={home / 'key.pem'}", *options]
        with running(command, ready=lambda: is_listening(port), log=folder / "mariadb.log", cwd=home):
            yield MariadbServer(port=port, authority=certificate)


def _certificate(folder: Path) -> Path:
    openssl = binary("openssl", "openssl")
    made = folder / "certificate.pem"
    _run(
        *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        *("-keyout", str(folder / "key.pem"), "-out", str(made)),
        cwd=folder,
    )
    return made


def _run(*command: str, cwd: Path) -> None:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
