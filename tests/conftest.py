"""What holds for all tests: their order, their examples, and the database servers, one for the session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.mariadb import MariadbServer, mariadb_server
from tests.support.postgres import PostgresServer, postgres_server

# The same examples in every run, and no limit on the time of one: another process may have the processor.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")
_NICE = 10  # a ninth of what others get, where there is not enough for all


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The end-to-end tests first: they mostly wait, so that what computes can go on beside them."""
    items.sort(key=lambda item: not _keeps_time(item))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A worker that is through with the end-to-end tests gives way to those of the other workers."""
    if hasattr(item.config, "workerinput") and not _keeps_time(item):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)


def _keeps_time(item: pytest.Item) -> bool:
    """Whether it has a daemon with steps of a second: one that gets no processor for a second misses them."""
    return "/e2e/" in item.nodeid


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
