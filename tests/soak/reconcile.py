"""Kind `reconcile` beside two databases that are always written to: `python -m tests.soak.reconcile 10`.

One database takes inserts, updates and deletes; a copy of it gets them two seconds later. As long as that is
all, no key may be named. Then rows are deleted from the copy alone: one full look must name each of them, and
nothing else. Where the machine is too busy for the copy to get a change within `settle`, naming it is no
mistake of the check: such a run proves nothing, and says so.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from pydantic import SecretStr, TypeAdapter

from checks.databases.postgres import Postgres
from checks.model import CheckResult, World
from checks.reconcile import ReconcileCheck
from checks.text import hidden
from tests.support.postgres import PostgresServer, postgres_server

TRANSACTIONS_PER_S = 500
REPLICATION_DELAY_S = 2.0
SETTLE_S = 5.0
WRITERS = 4  # each with rows of its own, so that the copy has the changes to a row in their order
ROWS = 50_000
LOST = range(1, 21)  # rows that nobody writes to, deleted from the copy
FULL_EVERY = 4

_TABLE = """
CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(12, 2) NOT NULL, state text NOT NULL,
  updated_at timestamptz NOT NULL);
INSERT INTO orders SELECT n, n / 100.0, 'new', '2026-01-01 00:00:00+00' FROM generate_series(1, {rows}) n;
CREATE INDEX ON orders (updated_at);
ANALYZE orders"""
_INSERT = "INSERT INTO orders VALUES ($1, $2, 'new', clock_timestamp()) RETURNING *"
_UPDATE = "UPDATE orders SET amount = $2, updated_at = clock_timestamp() WHERE id = $1 RETURNING *"
_DELETE = "DELETE FROM orders WHERE id = $1 RETURNING id"
_LOSE = "DELETE FROM orders WHERE id = $1"
_COPY = """
INSERT INTO orders VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO UPDATE SET amount = $2, state = $3, updated_at = $4"""


@dataclass(slots=True)
class Soaked:
    """What came of it.

    settle_s: of the check. slowest_s: that a change took to the copy. false: keys named that were in order.
    found_after_runs: until all lost were named.
    """

    settle_s: float
    transactions: int = 0
    spent_s: float = 0.0
    slowest_s: float = 0.0
    runs: list[CheckResult] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    found_after_runs: int | None = None

    @property
    def is_fair(self) -> bool:
        """True if the copy had every change in time."""
        return self.slowest_s < self.settle_s

    @property
    def is_good(self) -> bool:
        """True if nothing else and everything lost was named, in time."""
        found = self.found_after_runs
        return not self.false and found is not None and found <= FULL_EVERY

    def __str__(self) -> str:
        looks = [run.details[1] for run in self.runs if len(run.details) > 1]
        full = sum(line.startswith("whole tables") for line in looks)
        found = "not all" if self.found_after_runs is None else f"all after {self.found_after_runs} runs"
        rate = f"{self.transactions / self.spent_s:.0f}/s"
        return (
            f"{self.transactions} transactions in {self.spent_s:.0f} s ({rate}), each on the copy "
            f"within {self.slowest_s:.1f} s{'' if self.is_fair else ', which proves nothing'}; "
            f"{len(self.runs)} runs ({full} full): "
            f"{len(self.false)} false mismatches; of {len(LOST)} rows lost {found} named"
        )


async def soak(
    server: PostgresServer,
    for_s: float,
    told: Callable[[str], None] = lambda _: None,
    *,
    delay_s: float = REPLICATION_DELAY_S,
    settle_s: float = SETTLE_S,
) -> Soaked:
    """Write and check for so long, the rows being lost half-way."""
    names = (server.create(), server.create())
    for name in names:
        server.execute(_TABLE.format(rows=ROWS), name)
    soaked, over = Soaked(settle_s), asyncio.Event()
    on_the_way: asyncio.Queue[tuple[float, Any]] = asyncio.Queue()
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        new_ids = itertools.count(ROWS + 1)
        for number in range(WRITERS):
            group.create_task(_write(server.dsn(names[0]), soaked, on_the_way, over, number, new_ids))
        group.create_task(_replicate(server.dsn(names[1]), soaked, on_the_way, over, delay_s))
        await _check(server, names, soaked, for_s, told)
        over.set()
    soaked.spent_s = time.monotonic() - began_s
    return soaked


async def _check(
    server: PostgresServer, names: tuple[str, str], soaked: Soaked, for_s: float, told: Callable[[str], None]
) -> None:
    """Run the check again and again; it is its own clock."""
    sides = [{"database": name, "table": "orders", "key": "id", "updated": "updated_at"} for name in names]
    check = TypeAdapter(ReconcileCheck).validate_python(
        {"left": sides[0], "right": sides[1], "settle_s": soaked.settle_s, "full_every": FULL_EVERY}
    )
    lost = {hidden(key) for key in LOST}
    begin_s, lost_at_run = time.monotonic(), None
    async with aiohttp.ClientSession() as http:
        world = World(
            http=http,
            databases={name: Postgres(dsn=SecretStr(server.dsn(name))) for name in names},
            now_s=time.time,
            mono_s=time.monotonic,
            sleep=asyncio.sleep,
            run_id="soak",
            timeout_s=20.0,
        )
        while time.monotonic() - begin_s < for_s or soaked.found_after_runs is None:
            result = await check.run(world)
            soaked.runs.append(result)
            told(f"{result.outcome} {result.because} | {' | '.join(result.details[:2])}")
            named = {line.split()[0] for line in result.details if line.startswith("#")}
            assert result.outcome != "error", result
            soaked.false += sorted(named - lost if lost_at_run is not None else named)
            if lost_at_run is None:
                if time.monotonic() - begin_s >= for_s / 2:
                    lost_at_run = len(soaked.runs)
                    await asyncio.to_thread(server.execute, _lose(), names[1])
            elif soaked.found_after_runs is None:
                if lost <= named:
                    soaked.found_after_runs = len(soaked.runs) - lost_at_run
                elif len(soaked.runs) - lost_at_run > 2 * FULL_EVERY:
                    break
            await asyncio.sleep(min(1.0, for_s / 60))


def _lose() -> str:
    return f"DELETE FROM orders WHERE id BETWEEN {LOST.start} AND {LOST.stop - 1}"  # noqa: S608 two numbers


async def _write(
    dsn: str,
    soaked: Soaked,
    on_the_way: asyncio.Queue[tuple[float, Any]],
    over: asyncio.Event,
    number: int,
    new_ids: Iterator[int],
) -> None:
    """Single-row transactions at an even rate: seven updates, two inserts, one delete of ten; seed 1."""
    rng, written = random.Random(number + 1), 0  # noqa: S311 not a secret
    connection = await asyncpg.connect(dsn)
    began_s = time.monotonic()
    try:
        while not over.is_set():
            at_s = time.monotonic()
            row = await _transaction(connection, rng, number, new_ids)
            if row is not None:
                on_the_way.put_nowait((at_s, row))
            written += 1
            soaked.transactions += 1
            ahead_s = written * WRITERS / TRANSACTIONS_PER_S - (time.monotonic() - began_s)
            await asyncio.sleep(max(0.0, ahead_s))
    finally:
        await connection.close()


def _transaction(connection: Any, rng: random.Random, number: int, new_ids: Iterator[int]) -> Awaitable[Any]:
    kind = rng.randrange(10)
    amount = rng.randrange(10_000) / 100
    if kind < 2:
        return connection.fetchrow(_INSERT, next(new_ids), amount)  # type: ignore[no-any-return]  # asyncpg has no types
    one = LOST.stop + WRITERS * rng.randrange((ROWS - LOST.stop) // WRITERS) + number
    if kind < 9:
        return connection.fetchrow(_UPDATE, one, amount)  # type: ignore[no-any-return]
    return connection.fetchrow(_DELETE, one)  # type: ignore[no-any-return]


async def _replicate(
    dsn: str,
    soaked: Soaked,
    on_the_way: asyncio.Queue[tuple[float, Any]],
    over: asyncio.Event,
    delay_s: float,
) -> None:
    """Apply to the copy what is due, the newest change of each row, in one transaction."""
    connection = await asyncpg.connect(dsn)
    waiting: deque[tuple[float, Any]] = deque()
    try:
        while not over.is_set():
            await asyncio.sleep(0.02)
            while not on_the_way.empty():
                waiting.append(on_the_way.get_nowait())
            due: dict[int, Any] = {}
            oldest_s = None
            while waiting and waiting[0][0] + delay_s <= time.monotonic():
                at_s, row = waiting.popleft()
                oldest_s = at_s if oldest_s is None else oldest_s
                due[row["id"]] = row
            if oldest_s is None:
                continue
            async with connection.transaction():
                await connection.executemany(_COPY, [tuple(row) for row in due.values() if len(row) > 1])
                await connection.executemany(_LOSE, [tuple(row) for row in due.values() if len(row) == 1])
            soaked.slowest_s = max(soaked.slowest_s, time.monotonic() - oldest_s)
    finally:
        await connection.close()


def main() -> int:
    """Exit 0 if nothing but what was lost was named, 1 if not, 2 if the machine was too busy to tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.reconcile", description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=10.0)
    minutes: float = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder, postgres_server(Path(folder)) as server:
        soaked = asyncio.run(soak(server, 60.0 * minutes, _say))
    _say(str(soaked))
    if not soaked.is_fair:
        return 2
    return 0 if soaked.is_good else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
