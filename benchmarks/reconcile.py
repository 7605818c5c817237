"""Kind `reconcile` beside reladiff on two tables of a million rows: `python -m benchmarks.reconcile`.

Both sides are databases of one PostgreSQL; both tools compare the same five columns, and both have to find
the same. Each is asked in turn, round by round; how many times faster one was is the median over the
rounds, each compared with itself, so that a machine that becomes busy is busy for both. Beside it stands
how much time the server's processors spent, which does not depend on who else uses them. reladiff is
installed into a temporary virtual environment; its time is that of its call, without starting Python, with
one thread a database, as ours has, and with the number of threads that was best in a round before. Ours has
connecting, the catalogues and both looks in it, but not the wait between them, which is the `settle` of the
configuration.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
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
ROUNDS = 5
THREADS = (1, 2, 4)
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


@dataclass(frozen=True, slots=True)
class Spent:
    """What one call took. server_s: of the processors, in the processes of the server that it used."""

    wall_s: float
    server_s: float


@dataclass(frozen=True, slots=True)
class Stores:
    """Two equal tables on one server, and who compares them. python: where reladiff is, if anywhere."""

    server: PostgresServer
    names: tuple[str, str]
    postmaster: int
    python: Path | None

    @property
    def databases(self) -> Mapping[str, Database]:
        """As a check has them."""
        return {
            side: Postgres(dsn=SecretStr(self.server.dsn(name)))
            for side, name in zip(("left", "right"), self.names, strict=True)
        }

    def spent(self, call: Callable[[], float]) -> Spent:
        """What a call took that gives its seconds and leaves no connection open."""
        before_s = self._server_s()
        wall_s = call()
        return Spent(wall_s, self._server_s() - before_s)

    def _server_s(self) -> float:
        # utime and stime of the children that have ended (proc(5)).
        fields = Path(f"/proc/{self.postmaster}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def measure() -> Iterator[str]:
    """One line per figure; nothing is asserted, because a busy machine is not a failure."""
    yield f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    with tempfile.TemporaryDirectory() as folder, postgres_server(Path(folder)) as server:
        names = (server.create(), server.create())
        for name in names:
            server.execute(_POSTGRES, name)
            server.execute("VACUUM ANALYZE orders", name)
        stores = Stores(server, names, server.pid, _with_reladiff(Path(folder)))
        yield from _beside(stores, "equal", found=0, mismatches=0)
        yield from _again(stores)
        server.execute("DELETE FROM orders WHERE id = 123456", names[1])
        server.execute("UPDATE orders SET amount = -1 WHERE id = 654321", names[1])
        # The changed row is one `-` and one `+` of reladiff's.
        yield from _beside(stores, "2 differences", found=3, mismatches=2)
        yield from _across_engines(Path(folder), server)
    yield f"load after: {os.getloadavg()[0]:.1f}"


def _beside(stores: Stores, what: str, *, found: int, mismatches: int) -> Iterator[str]:
    """Both tools in turn on tables that are not written to.

    Ours has one connection a database. So reladiff is also asked with one thread a database: where others use
    the processors too, eight connections get more of them than two.
    """
    settings = () if stores.python is None else sorted({1, _best_threads(stores, found)})
    ours: list[Spent] = []
    theirs: dict[int, list[Spent]] = {threads: [] for threads in settings}
    for _ in range(ROUNDS):
        ours.append(stores.spent(lambda: asyncio.run(_full(stores.databases, mismatches=mismatches))))
        for threads, spent in theirs.items():
            spent.append(stores.spent(partial(_reladiff, stores, threads, found)))
    yield _line(f"{what}, ours, first run", ours)
    if not theirs:
        yield f"{what}, reladiff: not measured ({RELADIFF} could not be installed)"
    for threads, spent in theirs.items():
        yield _line(f"{what}, reladiff {RELADIFF.rpartition('=')[2]}, threads a database: {threads}", spent)
        less = statistics.median(one.server_s for one in spent) / statistics.median(
            one.server_s for one in ours
        )
        yield f"  ours is {_ratio(spent, ours)} times faster, with {less:.1f} times less of the processors"


def _again(stores: Stores) -> Iterator[str]:
    """A run with memory, after the first that it is compared with."""
    for what, changed in (("nothing new", 0), (f"{CHANGED:,} changes on both sides", CHANGED)):
        rounds = [asyncio.run(_first_and_second(stores, n * changed, changed)) for n in range(ROUNDS)]
        first, second = ([Spent(seconds, 0.0) for seconds in each] for each in zip(*rounds, strict=True))
        yield _line(f"equal, second run with memory and an indexed watermark, {what}", second)
        yield f"  {_ratio(first, second)} times faster than the first run"


def _line(what: str, spent: Sequence[Spent]) -> str:
    every = ", ".join(f"{each.wall_s:.2f}" for each in spent)
    server_s = statistics.median(each.server_s for each in spent)
    processors = f"; {server_s:.2f} s of the server's processors" if server_s else ""
    middle_s = statistics.median(each.wall_s for each in spent)
    return f"{ROWS:,} rows a side, {what}: median {middle_s:.2f} s ({every}){processors}"


def _ratio(slow: Sequence[Spent], fast: Sequence[Spent]) -> str:
    """The median of what each round says, and the rounds."""
    each = [one.wall_s / other.wall_s for one, other in zip(slow, fast, strict=True)]
    return f"{statistics.median(each):.1f} ({', '.join(f'{ratio:.1f}' for ratio in each)})"


async def _first_and_second(stores: Stores, first_id: int, changed: int) -> tuple[float, float]:
    """A full look, then changes that both sides have, then the run with memory."""
    check, databases = _check(), stores.databases
    first_s = await _run(check, databases)
    if changed:
        at = f"to_timestamp({time.time() - 2}) AT TIME ZONE 'UTC'"
        which = f"id > {first_id} AND id <= {first_id + changed}"
        for name in stores.names:
            stores.server.execute(f"UPDATE orders SET customer = 5, updated = {at} WHERE {which}", name)  # noqa: S608
    return first_s, await _run(check, databases)


async def _full(databases: Mapping[str, Database], *, mismatches: int = 0) -> float:
    return await _run(_check(), databases, mismatches=mismatches)


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


def _best_threads(stores: Stores, found: int) -> int:
    """The number of threads with which reladiff is fastest here."""
    return min(THREADS, key=lambda threads: _reladiff(stores, threads, found))


def _reladiff(stores: Stores, threads: int, found: int) -> float:
    """Its seconds."""
    assert stores.python is not None, "only asked where it is installed"
    dsns = [stores.server.dsn(name) for name in stores.names]
    command = [stores.python, "-c", _RELADIFF, *dsns, str(threads)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(ran.stdout)
    assert told["found"] == found, told
    return float(told["s"])


def _across_engines(folder: Path, server: PostgresServer) -> Iterator[str]:
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
        yield _line("PostgreSQL to MariaDB, equal", [Spent(asyncio.run(_full(both)), 0.0)])
        mariadb.execute("DELETE FROM orders WHERE id = 123456", names[1])
        mariadb.execute("UPDATE orders SET amount = -1 WHERE id = 654321", names[1])
        seconds = asyncio.run(_full(both, mismatches=2))
        yield _line("PostgreSQL to MariaDB, 2 differences", [Spent(seconds, 0.0)])


if __name__ == "__main__":
    for line in measure():
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
