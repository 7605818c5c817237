"""Two tables, compared inside their databases: checksums of buckets first, rows only where those differ.

A full look asks each side for one grouped scan: of every bucket of keys the number of its rows and the sum of
their hashes. The sum, because two equal rows would cancel each other in an XOR. A look with memory reads only
what changed since the last one. Either way the rows of the buckets in doubt are then read, and compared by
key. Everything that one look asks of a side is of one snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checks.blame import Problem
from checks.comparison import parts
from checks.comparison.agreement import Agreement, Disagreement, Wanted, agree, missed
from checks.comparison.engines import ENGINES
from checks.comparison.looks import Asking, Reader, Seen, together
from checks.comparison.rows import Both, fitting, keyed, unequal
from checks.comparison.statements import (
    COARSE,
    FINE,
    Buckets,
    Cut,
    Hashes,
    Keys,
    Ranges,
    Statements,
    ranges,
)
from checks.data.agreeing import moment
from checks.databases.asking import Unanswered, known
from checks.model import Outcome, Row

COLUMNS_MAX = 2_000
LOOKUPS_MAX = 500  # keys in one statement
MOMENT_S = 0.01  # a snapshot's limit was set from what was left then, so it ends that much before ours
SPAN_MAX = 1 << 62  # of integer keys, so that the difference of two of them is one too

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


@dataclass(frozen=True, slots=True)
class _Look:
    """Both sides, each as it was at one moment. Raises Unanswered."""

    asking: Asking
    readers: tuple[Reader, Reader]

    async def rows(self, left: Question, right: Question, *, rows_max: int) -> Both:
        """A statement on each side at once."""
        asked = (
            reader.rows(sql, params, rows_max=rows_max)
            for reader, (sql, params) in zip(self.readers, (left, right), strict=True)
        )
        return await together(*asked)

    async def throughout(
        self,
        sides: Sides,
        cut: Cut,
        ask: Callable[[Statements, str | None], str],
        *,
        rows_max: int,
        **seconds: float,
    ) -> Both:
        """A statement on each side at once, over the whole tables, part by part; `rows_max` of each part."""
        asked = (
            self._throughout(*each, cut, ask, rows_max, seconds)
            for each in zip(self.readers, sides, strict=True)
        )
        return await together(*asked)

    async def _throughout(
        self,
        reader: Reader,
        side: Statements,
        cut: Cut,
        ask: Callable[[Statements, str | None], str],
        rows_max: int,
        seconds: Mapping[str, float],
    ) -> Sequence[Row]:
        try:
            return await parts.read(
                reader,
                parts.parts(side, cut),
                lambda part: ask(side, part),
                side.params(**seconds),
                rows_max=rows_max,
                mono_s=self.asking.world.mono_s,
            )
        except Unanswered as error:
            if error.problem.outcome == "fail" or self.asking.left_s > MOMENT_S:
                raise
            limit = f"{self.asking.world.timeout_s:g} s"
            told = f"a look at the whole tables did not end within {limit} ({error.problem.because})"
            raise Unanswered(
                Problem("error", f"{told}; raise timeout, or narrow both sides with where")
            ) from None


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

    async def first(self, asking: Asking, now_s: float) -> Seen:
        """See `Comparison.first`."""
        async with asking.both(self.left.database, self.right.database) as readers:
            look = _Look(asking, readers)
            sides = await self._sides(look)
            until_s = now_s - self.settle_s
            suspects = await self._changed(look, sides, until_s)
            if suspects is None:
                suspects = await self._scanned(look, sides, until_s)
            self._run = _Run(sides, until_s, suspects)
            return await self._rows(look, self._run, suspects.read)

    async def second(self, asking: Asking, now_s: float, wrong: Collection[Any]) -> Seen:
        """See `Comparison.second`: the same question about these keys."""
        run = self._run
        assert run is not None, "the second look comes after the first"
        again = _keys(run.sides, run.places(wrong)) or run.suspects.read
        async with asking.both(self.left.database, self.right.database) as readers:
            return await self._rows(_Look(asking, readers), run, again)

    def conclude(self, wrong: Collection[Any]) -> None:
        """See `Comparison.conclude`."""
        run = self._run
        if run is None or run.agreed.updated is None or run.suspects.unread:
            self._memory = None
            return
        before = 0 if run.suspects.is_full or self._memory is None else self._memory.runs
        compared = run.suspects.compared
        self._memory = _Memory(run.agreed, run.until_s, compared, before + 1, run.places(wrong))

    async def _sides(self, look: _Look) -> Sides:
        """How to read both sides now; their tables may have changed since the last run."""
        world, has_succeeded = look.asking.world, look.asking.has_succeeded
        tables = self.left, self.right
        left, right = (ENGINES[known(world, table.database).dialect] for table in tables)
        wanted = self.left.wanted, self.right.wanted
        questions = left.catalogue(wanted[0].table), right.catalogue(wanted[1].table)
        rows = await look.rows(*questions, rows_max=COLUMNS_MAX)
        gone: Outcome = "fail" if has_succeeded else "error"
        for table, found in zip(tables, rows, strict=True):
            if not found:
                raise Unanswered(Problem(gone, f"{table.database}: there is no table {table.wanted.table}"))
        try:
            agreed = agree(wanted, (left.read(rows[0]), right.read(rows[1])))
        except Disagreement as error:
            raise Unanswered(Problem(gone if error.is_gone else "error", str(error))) from None
        if self._run is not None and (name := missed(self._run.agreed, agreed)):
            told = f"column {name}, compared before, is gone or of another type"
            raise Unanswered(Problem("fail", told))
        return (
            Statements(left, self.left.wanted.table, self.left.where, agreed, side=0),
            Statements(right, self.right.wanted.table, self.right.where, agreed, side=1),
        )

    async def _changed(self, look: _Look, sides: Sides, until_s: float) -> _Suspects | None:
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
        left, right = ((side.changed(limit), side.params(since=since_s)) for side in sides)
        rows = await look.rows(left, right, rows_max=limit)
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
        return Buckets(Hashes(FINE), read), len(expected) - len(read)

    async def _scanned(self, look: _Look, sides: Sides, until_s: float) -> _Suspects:
        """The buckets whose checksums differ."""
        cut = await self._cut(look, sides)
        differing, compared = await self._unequal(look, sides, cut, None, until_s)
        told = [f"{len(differing)} of {cut.count} buckets differ"]
        while sum(differing.values()) > self.rows_max and len(differing) <= COARSE:
            if (finer := cut.finer()) is None:
                break
            cut, within = finer, Buckets(cut, frozenset(differing))
            differing, _ = await self._unequal(look, sides, cut, within, until_s)
            told.append(f"{len(differing)} of {cut.count} small ones")
        read = fitting(differing, self.rows_max)
        return _Suspects(
            Buckets(cut, read),
            len(differing) - len(read),
            compared,
            is_full=True,
            told=f"whole tables: {', '.join(told)}",
        )

    async def _unequal(
        self, look: _Look, sides: Sides, cut: Cut, within: Buckets | None, until_s: float
    ) -> tuple[dict[int, int], int]:
        rows = await look.throughout(
            sides, cut, lambda side, part: side.scan(cut, within, part), rows_max=FINE, until=until_s
        )
        return await asyncio.to_thread(unequal, rows)

    async def _cut(self, look: _Look, sides: Sides) -> Cut:
        """Into which buckets the keys are put."""
        if not sides[0].agreed.is_by_number:
            return Hashes(COARSE)
        left, right = ((side.bounds(), side.params()) for side in sides)
        found = [row[0] for row in await look.rows(left, right, rows_max=1)]
        ends = [end for row in found for end in (row["low"], row["high"]) if end is not None]
        # An INTEGER of SQLite may hold texts in a table without row numbers.
        if not ends or not all(isinstance(end, int) for end in ends) or max(ends) - min(ends) > SPAN_MAX:
            return Hashes(COARSE)
        return ranges(min(ends), max(ends))

    async def _rows(self, look: _Look, run: _Run, read: Buckets | Keys) -> Seen:
        """What differs there, apart from what changed too lately to tell."""
        rows: Both = ((), ())
        # Rows may have come since they were counted.
        rows_max = 2 * self.rows_max
        if isinstance(read, Keys) or isinstance(read.cut, Ranges):
            # Found by an index.
            if read.keys if isinstance(read, Keys) else read.numbers:
                left, right = ((side.rows(read, None), side.params()) for side in run.sides)
                rows = await look.rows(left, right, rows_max=rows_max)
        elif read.numbers:
            rows = await look.throughout(
                run.sides, read.cut, lambda side, part: side.rows(read, part), rows_max=rows_max
            )
        seen = await asyncio.to_thread(keyed, rows, run.until_s)
        # A collation may find more keys than were asked for.
        keys = [key for key in seen.differing() if isinstance(read, Buckets) or key in read.keys]
        run.bucket_of.update((key, seen.bucket(key)) for key in keys)
        left_found, right_found = seen.found(keys)
        suspects, n = run.suspects, len(rows[0]) + len(rows[1]) + run.suspects.rows_read
        told = [f"{suspects.told}; {n} rows read"]
        if suspects.unread:
            told.append(f"{suspects.unread} buckets that differ not read: more than {self.rows_max} rows")
        if run.agreed.left_out:
            told.append(f"not compared: {', '.join(run.agreed.left_out)}")
        parts_read = len(read.numbers) if isinstance(read, Buckets) else 1
        return Seen(
            left=left_found,
            right=right_found,
            compared=suspects.compared,
            updated_s={key: at for key in keys if (at := seen.updated_s(key)) is not None},
            share=parts_read / (parts_read + suspects.unread) if suspects.unread else 1.0,
            details=tuple(told),
            readings={"read_rows": float(n)},
        )


def _keys(sides: Sides, places: Mapping[str, int]) -> Keys | None:
    """The keys as both sides can look them up, or None where only a scan of their buckets finds them."""
    if len(places) > LOOKUPS_MAX or not all(side.can_look_up(places) for side in sides):
        return None
    return Keys(frozenset(places))
