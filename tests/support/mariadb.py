"""A real MariaDB for tests: one server, a fresh database for whoever asks, nothing left behind.

with mariadb_server(tmp_path_factory.mktemp("mariadb")) as server:
    dsn = server.dsn(server.create())
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.database_server import DatabaseServer, as_nobody, give_to_nobody, home_of_server
from tests.support.servers import binary, completed, free_port, is_listening, running

PACKAGE = "mariadb-server"
LOG_SIZE = "--innodb-log-file-size=4M"


@dataclass(slots=True, kw_only=True)
class MariadbServer(DatabaseServer):
    """A running server on loopback with TLS; user `root` without a password.

    authority: the certificate of who signed the server's.
    """

    authority: Path

    def dsn(
        self, database: str = "mysql", *, user: str = "root", password: str = "", options: str = ""
    ) -> str:
        """URL of a database in it."""
        login = f"{user}:{password}" if password else user
        return f"mysql://{login}@127.0.0.1:{self.port}/{database}?{options}"

    def execute(self, sql: str, database: str = "mysql") -> str:
        """Run statements with the mariadb client; returns what it prints, tab-separated."""
        client = [binary("mariadb", "mariadb-client"), "--no-defaults", "-N", "-B"]
        where = ["-h", "127.0.0.1", "-P", str(self.port), "-u", "root", database]
        return completed([*client, *where], given=sql)


@contextmanager
def mariadb_server(folder: Path, *options: str) -> Iterator[MariadbServer]:
    """A server, as another user when we are root; skips where there is none. folder: of its log."""
    install = binary("mariadb-install-db", PACKAGE)
    mariadbd = binary("mariadbd", PACKAGE)
    as_other = as_nobody()
    with home_of_server() as home:
        authority = Authority.create(home)
        shown = authority.issue("localhost", names=["DNS:localhost"])
        give_to_nobody(home)
        installing = [
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            LOG_SIZE,
        ]
        completed([*as_other, install, *installing, f"--datadir={home / 'data'}"], cwd=home)
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
        command += [f"--ssl-cert={shown.cert}", f"--ssl-key={shown.key}", *options]
        with running(command, ready=lambda: is_listening(port), log=folder / "mariadb.log", cwd=home):
            yield MariadbServer(port=port, authority=authority.ca)
