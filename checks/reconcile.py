"""Kind `reconcile`: two queries or tables that must agree by key; a second look lets go of rows in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from checks.comparison.agreement import Wanted
from checks.comparison.looks import Asking, Comparison, Seen
from checks.comparison.queries import Query, QueryComparison
from checks.comparison.tables import Table, TableComparison
from checks.data.agreeing import Words
from checks.data.tables import refuse
from checks.databases.asking import Unanswered
from checks.databases.statement import refuse_unless_asks, refuse_unless_condition
from checks.dialect import Epoch, refuse_unless_name
from checks.model import CheckResult, World
from checks.text import finish

PARAMETERS = frozenset({"since", "until"})
KEYS_MAX = 8
COLUMNS_MAX = 200

_WORDS = Words(left="on the left", right="on the right", things="keys", counted="compared")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side: a query, or a table.

    query: gives a column `key` and the columns to compare, named as on the other side. `:since` is where the
    window begins; `:until` (optional) is now - settle, for rows that have had time.
    table: `orders` or `shop.orders`, as the catalogue spells it; its rows are compared inside the databases,
    so it may have millions. key: of a table, the column or columns by which a row is known. columns: of a
    table, what is compared, in the same order on both sides; by default all columns that both sides have by
    name, but for those whose types cannot be compared. where: SQL condition on the rows of a table that
    count. updated: of a table, the column with the time of a row's last change (UTC where it has no zone),
    best with an index; on both sides or on neither. epoch: `updated` holds numbers: seconds (s) or
    milliseconds (ms) since 1970.
    """

    database: str
    query: str | None = None
    table: str | None = None
    key: str | tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    where: str | None = None
    updated: str | None = None
    epoch: Epoch | None = None

    def __post_init__(self) -> None:
        if (self.query is None) == (self.table is None):
            raise ValueError("query: write either a query or a table")
        if self.query is not None:
            self._refuse_query(self.query)
        else:
            self._refuse_table(str(self.table))

    @property
    def keys(self) -> tuple[str, ...]:
        """The key's columns."""
        return (self.key,) if isinstance(self.key, str) else self.key

    def wanted(self) -> Wanted:
        """What the table form names."""
        return Wanted(str(self.table), self.keys, self.columns, self.updated, self.epoch)

    def _refuse_query(self, query: str) -> None:
        for name in ("key", "columns", "where", "updated", "epoch"):
            if getattr(self, name):
                raise ValueError(f"{name}: belongs to a table; a query says that itself")
        refuse("query", refuse_unless_asks, query, may=PARAMETERS)

    def _refuse_table(self, table: str) -> None:
        if not 1 <= len(self.keys) <= KEYS_MAX:
            raise ValueError(f"key: write 1 to {KEYS_MAX} columns by which a row is known")
        if len(self.columns) > COLUMNS_MAX:
            raise ValueError(f"columns: write at most {COLUMNS_MAX}")
        if self.epoch is not None and self.updated is None:
            raise ValueError("epoch: says what the numbers in updated mean; write updated too")
        refuse("table", refuse_unless_name, table, parts_max=2)
        for key, names in (("key", self.keys), ("columns", self.columns)):
            for name in names:
                refuse(key, refuse_unless_name, name)
        if self.updated is not None:
            refuse("updated", refuse_unless_name, self.updated)
        if self.where is not None:
            refuse("where", refuse_unless_condition, self.where)


@dataclass(slots=True, kw_only=True)
class ReconcileCheck:
    """Every key of one side is on the other side, once, with equal values.

    1 look at both sides; 2 if they differ, wait `settle_s`; 3 look again at what differed; 4 report the keys
    that were wrong in both looks with the same values: the rest was in flight. Queries are read whole, over
    the last `window_s`, the second time over twice as much, so that a row whose other half lies just before
    the first window finds it. Tables are compared by the checksums of buckets, and only the rows of buckets
    that differ are read; with `updated` a row changed less than `settle_s` ago does not count yet, and a run
    looks only at the rows changed since the last one, but every `full_every` runs, and first, at all of them.
    A row that was deleted, or changed without a new time in `updated`, is seen by a full look only.
    Numbers are compared exactly across types (1 = 1.0 = Decimal("1.00")), times as instants.
    settle_s: longer than rows take to the other side. window_s: how far back queries look. rows_max: how many
    rows of a side are read: of a query, of the changes to a table, of the buckets of a table that differ.
    full_every: how many runs from one full look at tables to the next; 1 = each. The first run after a start
    is one.
    Readings: mismatches, compared (distinct keys; of tables the rows at the last full look),
    mismatches_per_million (none for nothing compared), read_rows (of tables), total_s without the wait.
    """

    left: Side
    right: Side
    settle_s: float = 30.0
    window_s: float = 3600.0
    rows_max: int = 20_000
    full_every: int = 20
    _comparison: Comparison = field(init=False, repr=False, compare=False)
    _has_succeeded: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._has_succeeded = False
        if not 0 < self.settle_s <= 600:
            raise ValueError("settle: write a duration above 0 and up to 10m")
        if self.window_s <= self.settle_s:
            raise ValueError("window: must be longer than settle, else no row is ever settled")
        if not 1 <= self.rows_max <= 200_000:
            raise ValueError("rows_max: write a number from 1 to 200000")
        if not 1 <= self.full_every <= 1000:
            raise ValueError("full_every: write a number from 1 to 1000")
        self._comparison = self._compared()

    @property
    def beyond_s(self) -> float:
        """How much longer than its timeout a run may take; see `deadline_s`."""
        return self.settle_s

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        try:
            return await self._reconcile(world)
        except Unanswered as error:
            return finish(error.problem.outcome, error.problem.because, readings={})

    async def _reconcile(self, world: World) -> CheckResult:
        began_s, now_s = world.mono_s(), world.now_s()
        asking = Asking(world, began_s + world.timeout_s, self._has_succeeded)
        first = await self._comparison.first(asking, now_s)
        self._has_succeeded = True
        spent_s = world.mono_s() - began_s
        wrong = await asyncio.to_thread(_WORDS.differing, first.left, first.right)
        confirmed: Mapping[Any, str] = wrong
        unsettled: Set[Any] = wrong.keys()
        if wrong:
            await asking.settle(self.settle_s)
            began_s = world.mono_s()
            second = await self._comparison.second(asking, world.now_s(), wrong)
            spent_s += world.mono_s() - began_s
            confirmed, unsettled = await asyncio.to_thread(_again, wrong, first, second)
        self._comparison.conclude(unsettled)
        return _WORDS.tell(
            confirmed,
            compared=first.compared,
            in_flight=len(wrong) - len(confirmed),
            total_s=spent_s,
            share=first.share,
            changed_s=first.updated_s,
            readings=first.readings,
            details=first.details,
        )

    def _compared(self) -> Comparison:
        left, right = self.left, self.right
        if left.query is not None and right.query is not None:
            return QueryComparison(
                Query(left.database, left.query),
                Query(right.database, right.query),
                self.settle_s,
                self.window_s,
                self.rows_max,
            )
        if left.query is not None or right.query is not None:
            raise ValueError("right: one side is a query, the other a table; write two of the same")
        if len(left.keys) != len(right.keys):
            raise ValueError("right: key has not as many columns as that of left")
        if left.columns and right.columns and len(left.columns) != len(right.columns):
            raise ValueError("right: columns are not as many as those of left")
        if (left.updated is None) != (right.updated is None):
            raise ValueError("right: write updated on both sides or on neither")
        return TableComparison(
            Table(left.database, left.wanted(), left.where),
            Table(right.database, right.wanted(), right.where),
            self.settle_s,
            self.rows_max,
            self.full_every,
        )


def _again(wrong: Mapping[Any, str], first: Seen, second: Seen) -> tuple[dict[Any, str], Set[Any]]:
    """What was wrong in both looks with the same values; and all that is still wrong, with whichever."""
    after = (second.left, second.right)
    confirmed = _WORDS.confirmed(wrong, (first.left, first.right), after)
    return confirmed, wrong.keys() & _WORDS.differing(*after).keys()
