"""The database servers that tests in several folders share: one each for the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.mariadb import MariadbServer, mariadb_server
from tests.support.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One real PostgreSQL for the session; `postgres.create()` is a fresh database."""
    with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    """One real MariaDB for the session; `mariadb.create()` is a fresh database."""
    with mariadb_server(tmp_path_factory.mktemp("mariadb")) as server:
        yield server
