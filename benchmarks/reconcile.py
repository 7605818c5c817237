"""Kind `reconcile` beside reladiff on two tables of a million rows: `python -m benchmarks.reconcile`.

Both sides are databases of one PostgreSQL; each tool is asked in turn, round by round, so that a busy machine
is busy for both. reladiff is installed into a temporary virtual environment; its time is that of its call,
without starting Python. Ours has connecting, the catalogues and both looks in it, but not the wait between
them, which is the `settle` of the configuration.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr, TypeAdapter

from checks.databases.mysql import Mysql
from checks.databases.postgres import Postgres
from checks.model import Database, World
from checks.reconcile import ReconcileCheck
from tests.support.mariadb import mariadb_server
from tests.support.postgres import PostgresServer, postgres_server

ROWS = 1_000_000
ROUNDS = 3
CHANGED = 1_000
RELADIFF = "reladiff[postgresql]==0.6.0"

_POSTGRES = """
CREATE TABLE orders (id bigint PRIMARY KEY, customer int, amount numeric(12, 2), state text, updated timestamp);
INSERT INTO orders SELECT n, n % 1000, n % 10007, 'state ' || n % 7, timestamp '2026-01-01' + n * interval '1 s'
  FROM generate_series(1, 1000000) n;
CREATE INDEX ON orders (updated);
ANALYZE orders"""  # noqa: E501
_MARIADB = """
CREATE TABLE orders (id bigint PRIMARY KEY, customer int, amount decimal(12, 2), state varchar(20),
  updated datetime, KEY (updated));
INSERT INTO orders SELECT seq, seq % 1000, seq % 10007, concat('state ', seq % 7),
  '2026-01-01' + INTERVAL seq SECOND FROM seq_1_to_1000000"""
_COLUMNS = ["customer", "amount", "state", "updated"]
_SIDE = {"table": "orders", "key": "id", "updated": "updated", "columns": _COLUMNS}
_RELADIFF = """
import json, sys, time, reladiff
left, right = (
    reladiff.connect_to_table(dsn, "orders", "id", thread_count=int(sys.argv[3]),
        extra_columns=("customer", "amount", "state", "updated"))
    for dsn in sys.argv[1:3]
)
began_s = time.monotonic()
found = list(reladiff.diff_tables(left, right, max_threadpool_size=2 * int(sys.argv[3])))
print(json.dumps({"s": time.monotonic() - began_s, "found": len(found)}))
"""


def measure() -> Iterator[str]:
    """One line per figure; nothing is asserted, because a busy machine is not a failure."""
    yield f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    with tempfile.TemporaryDirectory() as folder, postgres_server(Path(folder)) as server:
        names = (server.create(), server.create())
        for name in names:
            server.execute(_POSTGRES, name)
            server.execute("VACUUM ANALYZE orders", name)
        python = _with_reladiff(Path(folder))
        databases: dict[str, Database] = {
            side: Postgres(dsn=SecretStr(server.dsn(name)))
            for side, name in zip(("left", "right"), names, strict=True)
        }
        dsns = [server.dsn(name) for name in names]
        ours, theirs, again = [], [], []
        for _ in range(ROUNDS):
            first_s, second_s = asyncio.run(_first_and_second(databases))
            ours.append(first_s)
            again.append(second_s)
            theirs += _reladiff(python, dsns, found=0)
        yield from _compared("equal", ours, theirs)
        yield _line("equal, second run with memory and an indexed watermark, nothing new", again)
        yield f"  {_ratio(ours, again)} times faster than the first run"
        again = [asyncio.run(_after_changes(server, names, databases, n)) for n in range(ROUNDS)]
        yield _line(f"equal, second run after {CHANGED:,} changes on both sides", again)
        yield f"  {_ratio(ours, again)} times faster than the first run"
        server.execute("DELETE FROM orders WHERE id = 123456", names[1])
        server.execute("UPDATE orders SET amount = -1 WHERE id = 654321", names[1])
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(asyncio.run(_full(databases, mismatches=2)))
            # The changed row is one `-` and one `+` of reladiff's.
            theirs += _reladiff(python, dsns, found=3)
        yield from _compared("2 differences", ours, theirs)
        yield from _across_engines(Path(folder), server, databases)
    yield f"load after: {os.getloadavg()[0]:.1f}"


def _compared(what: str, ours: list[float], theirs: list[float]) -> Iterator[str]:
    yield _line(f"{what}, ours, first run", ours)
    if theirs:
        yield _line(f"{what}, {RELADIFF.partition('[')[0]} {RELADIFF.rpartition('=')[2]}", theirs)
        yield f"  ours is {_ratio(theirs, ours)} times faster"
    else:
        yield f"{what}, reladiff: not measured ({RELADIFF} could not be installed)"


def _line(what: str, seconds: list[float]) -> str:
    every = ", ".join(f"{each:.2f}" for each in seconds)
    return f"{ROWS:,} rows a side, {what}: median {statistics.median(seconds):.2f} s ({every})"


def _ratio(slow: list[float], fast: list[float]) -> str:
    return f"{statistics.median(slow) / statistics.median(fast):.1f}"


async def _first_and_second(databases: Mapping[str, Database]) -> tuple[float, float]:
    check = _check()
    return await _run(check, databases), await _run(check, databases)


async def _full(databases: Mapping[str, Database], *, mismatches: int = 0) -> float:
    return await _run(_check(), databases, mismatches=mismatches)


async def _after_changes(
    server: PostgresServer, names: tuple[str, str], databases: Mapping[str, Database], n: int
) -> float:
    """A full look, then changes that both sides have, then the run that is measured."""
    check = _check()
    await _run(check, databases)
    at = f"to_timestamp({time.time() - 2}) AT TIME ZONE 'UTC'"
    first = n * CHANGED
    for name in names:
        server.execute(
            f"UPDATE orders SET customer = 5, updated = {at} WHERE id > {first} AND id <= {first + CHANGED}",  # noqa: S608
            name,
        )
    return await _run(check, databases)


def _check() -> ReconcileCheck:
    sides = {
        # `updated` is compared too, as reladiff does here.
        side: {**_SIDE, "database": side}
        for side in ("left", "right")
    }
    check: ReconcileCheck = TypeAdapter(ReconcileCheck).validate_python({**sides, "settle_s": 1.0})
    return check


async def _run(check: ReconcileCheck, databases: Mapping[str, Database], *, mismatches: int = 0) -> float:
    async def at_once(_: float) -> None:
        return

    async with aiohttp.ClientSession() as http:
        world = World(
            http=http,
            databases=databases,
            now_s=time.time,
            mono_s=time.monotonic,
            sleep=at_once,
            run_id="benchmark",
            timeout_s=300.0,
        )
        began_s = time.monotonic()
        result = await check.run(world)
        spent_s = time.monotonic() - began_s
    assert result.readings["mismatches"] == mismatches, result
    return spent_s


def _with_reladiff(folder: Path) -> Path | None:
    """A Python that has it, or None where it cannot be installed."""
    home = folder / "reladiff"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", RELADIFF], check=False, capture_output=True
    )
    return python if installed.returncode == 0 else None


def _reladiff(python: Path | None, dsns: list[str], *, found: int) -> list[float]:
    """Its seconds, of the better of one and two threads a database; none where it is not installed."""
    if python is None:
        return []
    seconds = []
    for threads in ("1", "2"):
        ran = subprocess.run(
            [python, "-c", _RELADIFF, *dsns, threads], check=True, capture_output=True, text=True
        )
        told: dict[str, Any] = json.loads(ran.stdout)
        assert told["found"] == found, told
        seconds.append(float(told["s"]))
    return [min(seconds)]


def _across_engines(folder: Path, server: PostgresServer, databases: Mapping[str, Database]) -> Iterator[str]:
    """PostgreSQL beside MariaDB: md5 of the canonical text on both."""
    with ExitStack() as stack:
        try:
            mariadb = stack.enter_context(mariadb_server(folder))
        except pytest.skip.Exception as error:
            yield f"PostgreSQL to MariaDB: not measured ({error})"
            return
        names = (server.create(), mariadb.create())
        server.execute(_POSTGRES, names[0])
        mariadb.execute(_MARIADB, names[1])
        both: dict[str, Database] = {
            "left": Postgres(dsn=SecretStr(server.dsn(names[0]))),
            "right": Mysql(dsn=SecretStr(mariadb.dsn(names[1]))),
        }
        yield _line("PostgreSQL to MariaDB, equal", [asyncio.run(_full(both))])
        mariadb.execute("DELETE FROM orders WHERE id = 123456", names[1])
        mariadb.execute("UPDATE orders SET amount = -1 WHERE id = 654321", names[1])
        yield _line("PostgreSQL to MariaDB, 2 differences", [asyncio.run(_full(both, mismatches=2))])


if __name__ == "__main__":
    for line in measure():
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
