"""Two tables, compared inside their databases: checksums of buckets first, rows only where those differ.

A full look asks each side for one grouped scan: of every bucket of the key's hash the number of its rows and
the sum of their hashes. The sum, because two equal rows would cancel each other in an XOR. A look with memory
reads only what changed since the last one. Either way the rows of the buckets in doubt are then read, and
compared by key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checks.blame import Problem
from checks.comparison.agreement import Agreement, Disagreement, Wanted, agree, missed
from checks.comparison.engines import ENGINES
from checks.comparison.engines.engine import Engine
from checks.comparison.looks import Asking, Seen
from checks.comparison.rows import Both, fitting, keyed, unequal
from checks.comparison.statements import COARSE, FINE, Buckets, Keys, Statements
from checks.data.agreeing import moment
from checks.model import Outcome

COLUMNS_MAX = 2_000
LOOKUPS_MAX = 500  # keys in one statement

Sides = tuple[Statements, Statements]
Question = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Table:
    """One side."""

    database: str
    wanted: Wanted
    where: str | None


@dataclass(frozen=True, slots=True)
class _Memory:
    """What a run leaves to the next.

    until_s: all rows changed up to then agreed, but for the `doubtful` keys, each with its fine bucket. runs:
    since the last full look, that one counted. compared: rows that it counted.
    """

    agreed: Agreement
    until_s: float
    compared: int
    runs: int
    doubtful: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Suspects:
    """Where something may be wrong. read, unread: the parts of it that are read, and how many are not."""

    read: Buckets | Keys
    unread: int
    compared: int
    is_full: bool
    told: str
    rows_read: int = 0


@dataclass(frozen=True, slots=True)
class _Run:
    """One run between its two looks. bucket_of: the fine bucket of every key that differed."""

    sides: Sides
    until_s: float
    suspects: _Suspects
    bucket_of: dict[str, int] = field(default_factory=dict)

    @property
    def agreed(self) -> Agreement:
        """What was compared."""
        return self.sides[0].agreed

    def places(self, keys: Collection[Any]) -> dict[str, int]:
        """Keys that differed, with their fine buckets."""
        return {key: self.bucket_of[key] for key in keys}


@dataclass(slots=True)
class TableComparison:
    """Looks at two tables; see `Comparison`.

    rows_max: rows of a side that are read, of all changes and of what is in doubt each. full_every: runs from
    one full look to the next, where both sides have `updated`.
    """

    left: Table
    right: Table
    settle_s: float
    rows_max: int
    full_every: int
    _memory: _Memory | None = None
    _run: _Run | None = None

    async def first(self, asking: Asking, now_s: float) -> Seen | Problem:
        """See `Comparison.first`."""
        sides = await self._sides(asking)
        if isinstance(sides, Problem):
            return sides
        until_s = now_s - self.settle_s
        suspects = await self._changed(asking, sides, until_s)
        if suspects is None:
            suspects = await self._scanned(asking, sides, until_s)
        if isinstance(suspects, Problem):
            return suspects
        self._run = _Run(sides, until_s, suspects)
        return await self._rows(asking, self._run, suspects.read)

    async def second(self, asking: Asking, now_s: float, wrong: Collection[Any]) -> Seen | Problem:
        """See `Comparison.second`: the same question about these keys."""
        run = self._run
        assert run is not None, "the second look comes after the first"
        places = run.places(wrong)
        again = _keys(run.sides, places) or Buckets(FINE, frozenset(places.values()))
        return await self._rows(asking, run, again)

    def conclude(self, wrong: Collection[Any]) -> None:
        """See `Comparison.conclude`."""
        run = self._run
        if run is None or run.agreed.updated is None or run.suspects.unread:
            self._memory = None
            return
        before = 0 if run.suspects.is_full or self._memory is None else self._memory.runs
        compared = run.suspects.compared
        self._memory = _Memory(run.agreed, run.until_s, compared, before + 1, run.places(wrong))

    async def _sides(self, asking: Asking) -> Sides | Problem:
        """How to read both sides now; their tables may have changed since the last run."""
        databases = asking.world.databases
        for table in (self.left, self.right):
            if table.database not in databases:
                return Problem("error", f"there is no database {table.database}; name one under databases")
        left, right = (ENGINES[databases[table.database].dialect] for table in (self.left, self.right))
        agreed = await self._agree(asking, left, right)
        if isinstance(agreed, Problem):
            return agreed
        return (
            Statements(left, self.left.wanted.table, self.left.where, agreed, side=0),
            Statements(right, self.right.wanted.table, self.right.where, agreed, side=1),
        )

    async def _agree(self, asking: Asking, left: Engine, right: Engine) -> Agreement | Problem:
        """What the catalogues of both sides let us compare."""
        wanted = self.left.wanted, self.right.wanted
        questions = [left.catalogue(wanted[0].table), right.catalogue(wanted[1].table)]
        rows = await self._both(asking, questions, COLUMNS_MAX)
        if isinstance(rows, Problem):
            return rows
        gone: Outcome = "fail" if asking.has_succeeded else "error"
        for table, found in zip((self.left, self.right), rows, strict=True):
            if not found:
                return Problem(gone, f"{table.database}: there is no table {table.wanted.table}")
        try:
            agreed = agree(wanted, (left.read(rows[0]), right.read(rows[1])))
        except Disagreement as error:
            return Problem(gone if error.is_gone else "error", str(error))
        if self._run is not None and (name := missed(self._run.agreed, agreed)):
            return Problem("fail", f"column {name}, compared before, is gone or of another type")
        return agreed

    async def _changed(self, asking: Asking, sides: Sides, until_s: float) -> _Suspects | Problem | None:
        """The changed rows that have no equal on the other side; None if a full look is due.

        Rows are judged from one `settle_s` before the last watermark on, because a long transaction shows its
        rows late; the other half of a row may be stamped up to another `settle_s` apart.
        """
        memory = self._memory
        if memory is None or memory.runs >= self.full_every or memory.agreed != sides[0].agreed:
            return None
        judged_s = memory.until_s - self.settle_s
        limit = self.rows_max + 1
        since_s = judged_s - self.settle_s
        questions = [(side.changed(limit), side.params(since=since_s)) for side in sides]
        rows = await self._both(asking, questions, limit)
        if isinstance(rows, Problem):
            return rows
        if max(map(len, rows)) == limit:
            return None
        seen = await asyncio.to_thread(keyed, rows, until_s)
        places = {key: seen.bucket(key) for key in seen.differing() if seen.is_later(key, judged_s)}
        number = f"run {memory.runs + 1} of {self.full_every}"
        read, unread = self._read(sides, {**memory.doubtful, **places}, memory.compared)
        return _Suspects(
            read,
            unread,
            memory.compared,
            is_full=False,
            told=f"changes since {moment(judged_s)} ({number}): {len(rows[0])} and {len(rows[1])} rows",
            rows_read=len(rows[0]) + len(rows[1]),
        )

    def _read(self, sides: Sides, places: Mapping[str, int], compared: int) -> tuple[Buckets | Keys, int]:
        """How to read these keys, and how many of their buckets are too much to read."""
        if (keys := _keys(sides, places)) is not None:
            return keys, 0
        expected = dict.fromkeys(sorted(places.values()), compared // FINE + 1)
        read = fitting(expected, self.rows_max)
        return Buckets(FINE, read), len(expected) - len(read)

    async def _scanned(self, asking: Asking, sides: Sides, until_s: float) -> _Suspects | Problem:
        """The buckets whose checksums differ."""
        questions = [(side.scan(COARSE), side.params(until=until_s)) for side in sides]
        rows = await self._scan(asking, questions)
        if isinstance(rows, Problem):
            return rows
        of, (differing, compared) = COARSE, await asyncio.to_thread(unequal, rows)
        told = f"whole tables: {len(differing)} of {COARSE} buckets differ"
        if sum(differing.values()) > self.rows_max:
            within = Buckets(COARSE, frozenset(differing))
            questions = [(side.scan(FINE, within), side.params(until=until_s)) for side in sides]
            rows = await self._scan(asking, questions)
            if isinstance(rows, Problem):
                return rows
            of, (differing, _) = FINE, await asyncio.to_thread(unequal, rows)
            told = f"{told}, {len(differing)} of {FINE} small ones"
        read = fitting(differing, self.rows_max)
        return _Suspects(Buckets(of, read), len(differing) - len(read), compared, is_full=True, told=told)

    async def _scan(self, asking: Asking, questions: Sequence[Question]) -> Both | Problem:
        rows = await self._both(asking, questions, FINE)
        if isinstance(rows, Problem) and rows.outcome == "error" and asking.left_s <= 0:
            spent = f"a look at the whole tables did not end within {asking.world.timeout_s:g} s"
            return Problem("error", f"{spent}; raise timeout, or narrow both sides with where")
        return rows

    async def _rows(self, asking: Asking, run: _Run, read: Buckets | Keys) -> Seen | Problem:
        """What differs there, apart from what changed too lately to tell."""
        rows: Both | Problem = ((), ())
        if read.numbers if isinstance(read, Buckets) else read.keys:
            # Twice as many: rows may have come since they were counted.
            questions: list[Question] = [(side.rows(read), {}) for side in run.sides]
            rows = await self._both(asking, questions, 2 * self.rows_max)
        if isinstance(rows, Problem):
            return rows
        seen = await asyncio.to_thread(keyed, rows, run.until_s)
        # A collation may find more keys than were asked for.
        keys = [key for key in seen.differing() if isinstance(read, Buckets) or key in read.keys]
        run.bucket_of.update((key, seen.bucket(key)) for key in keys)
        left, right = seen.found(keys)
        suspects, n = run.suspects, len(rows[0]) + len(rows[1]) + run.suspects.rows_read
        told = [f"{suspects.told}; {n} rows read"]
        if suspects.unread:
            told.append(f"{suspects.unread} buckets that differ not read: more than {self.rows_max} rows")
        if run.agreed.left_out:
            told.append(f"not compared: {', '.join(run.agreed.left_out)}")
        parts = len(read.numbers) if isinstance(read, Buckets) else 1
        return Seen(
            left=left,
            right=right,
            compared=suspects.compared,
            updated_s={key: at for key in keys if (at := seen.updated_s(key)) is not None},
            share=parts / (parts + suspects.unread) if suspects.unread else 1.0,
            details=tuple(told),
            readings={"read_rows": float(n)},
        )

    async def _both(self, asking: Asking, questions: Sequence[Question], rows_max: int) -> Both | Problem:
        """Both sides at once, in what is left of the time."""
        if (left_s := asking.left_s) <= 0:
            return Problem("error", f"stopped by our own limit of {asking.world.timeout_s:g} s")
        left, right = await asyncio.gather(
            *(
                asking.rows(side.database, sql, params, timeout_s=left_s, rows_max=rows_max)
                for side, (sql, params) in zip((self.left, self.right), questions, strict=True)
            )
        )
        if isinstance(left, Problem):
            return left
        if isinstance(right, Problem):
            return right
        return left, right


def _keys(sides: Sides, places: Mapping[str, int]) -> Keys | None:
    """The keys as both sides can look them up, or None where only a scan of their buckets finds them."""
    if len(places) > LOOKUPS_MAX or not all(side.can_look_up(places) for side in sides):
        return None
    return Keys(frozenset(places))
