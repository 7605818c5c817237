"""Kind `ledger`: do debits and credits balance, to the last digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from checks.blame import Problem
from checks.data.tables import Look, Since, TableCheck, Told, refuse, select
from checks.dialect import as_stored, refuse_unless_name
from checks.model import Row
from checks.text import hidden, sign

SAMPLES_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Balances:
    """Where the balance of each account is stored.

    table: `accounts` or `shop.accounts`. account: its column of accounts. balance: its column of balances.
    """

    table: str
    account: str
    balance: str

    def __post_init__(self) -> None:
        refuse("table", refuse_unless_name, self.table, parts_max=2)
        refuse("account", refuse_unless_name, self.account)
        refuse("balance", refuse_unless_name, self.balance)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Groups of entries and how far they are off zero.

    source: for FROM; columns k (whose), n (entries) and off. what: how the groups are called.
    """

    source: str
    what: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Found:
    """How many groups and entries there are, how many groups are off, and by how much in all."""

    what: str
    groups: int
    entries: int
    wrong: int
    off: Any
    because: str = ""


@dataclass(slots=True, kw_only=True)
class LedgerCheck(TableCheck):
    """Every transaction of a double-entry ledger sums to zero; stored balances are the sums of their entries.

    Sums are made by the database and compared exactly: a column of floating-point numbers is an `error`; in
    SQLite amounts are whole numbers of the smallest unit. Rows without a transaction sum to zero together, so
    that all entries do; with `since` they do not count.
    transaction: the column that holds an entry's transaction. amount: the column of signed amounts.
    debit, credit: instead of `amount`, two columns of amounts without sign; NULL counts as zero.
    currency: the column of an amount's currency; each currency of a transaction sums to zero by itself.
    account: the column that holds an entry's account; needed for `balances`.
    since: only transactions and accounts with an entry of the last while, each with all its entries.
    settle_s: how old the last entry of a transaction is before it counts, where they are not written at once;
    needs `since`. tolerance: how far off is let pass, a decimal in quotes.
    Readings: rows, imbalanced (transactions and balances), imbalance_per_million (none if there are none),
    total_s.
    """

    transaction: str
    amount: str | None = None
    debit: str | None = None
    credit: str | None = None
    currency: str | None = None
    account: str | None = None
    balances: Balances | None = None
    since: Since | None = None
    settle_s: float = 0.0
    tolerance: str = "0"

    def __post_init__(self) -> None:
        TableCheck.__post_init__(self)
        for key in ("transaction", "amount", "debit", "credit", "currency", "account"):
            if (column := getattr(self, key)) is not None:
                refuse(key, refuse_unless_name, column)
        given = (self.amount is not None, self.debit is not None, self.credit is not None)
        if given not in ((True, False, False), (False, True, True)):
            raise ValueError("amount: write either amount, or both debit and credit")
        if (self.account is None) != (self.balances is None):
            raise ValueError("balances: write account and balances, or neither")
        if self.settle_s and (self.since is None or not 0 < self.settle_s < self.since.window_s):
            raise ValueError("settle: needs since, with a window that is longer")
        try:
            is_amount = Decimal(self.tolerance).is_finite() and Decimal(self.tolerance) >= 0
        except InvalidOperation:
            is_amount = False
        if not is_amount:
            raise ValueError("tolerance: write a decimal from 0, in quotes, as in '0.01'")

    async def observe(self, look: Look) -> Told | Problem:
        """See `TableCheck.observe`."""
        if self.since is not None:
            newest_s = await look.newest_s(self.since.column, self.since.epoch)
            if isinstance(newest_s, Problem):
                return newest_s
        found: list[_Found] = []
        for sums in (self._transactions(look), self._accounts(look)):
            part = await self._found(look, sums) if sums is not None else None
            if isinstance(part, Problem):
                return part
            if part is not None:
                found.append(part)
        groups, wrong = sum(part.groups for part in found), sum(part.wrong for part in found)
        readings = {"rows": float(found[0].entries), "imbalanced": float(wrong)}
        if groups:
            readings["imbalance_per_million"] = wrong / groups * 1e6
        because = "; ".join(part.because for part in found if part.because)
        details = [
            f"{sign('fail' if part.wrong else 'pass')} {part.groups} {part.what}, {part.entries} entries, "
            f"{part.wrong} off, in total by {_amount(part.off)}"
            for part in found
        ]
        return Told(
            "fail" if because else "pass", f"{self.table}: {because}" if because else "", readings, details
        )

    def _signed(self, look: Look) -> str:
        if self.amount is not None:
            return look.column(self.amount)
        debit, credit = look.column(str(self.debit)), look.column(str(self.credit))
        return f"coalesce({debit}, 0) - coalesce({credit}, 0)"

    def _transactions(self, look: Look) -> _Sums:
        """Each transaction (in each currency) with the sum of its entries.

        Of the whole table, those of none together as one more, so that the sums are those of all entries.
        """
        source, conditions = (
            (look.table, look.conditions())
            if self.since is None
            else look.related([self.transaction], self.since)
        )
        key = look.column(self.transaction)
        then = f"GROUP BY {key}" + (f", {look.column(self.currency)}" if self.currency else "")
        params: dict[str, Any] = look.since(self.since)
        if self.since is not None and self.settle_s:
            latest = f"max({look.column(self.since.column)})"
            then += f" HAVING {look.dialect.compared(latest, '<=', ':until', self.since.epoch)}"
            params["until"] = as_stored(look.world.now_s() - self.settle_s, self.since.epoch)
        sums = f"{key} AS k, count(*) AS n, sum({self._signed(look)}) AS off"
        return _Sums(f"({select(sums, source, conditions, then=then)}) AS s", "transactions", params)

    def _accounts(self, look: Look) -> _Sums | None:
        """Each stored balance with what it differs by from the sum of its entries."""
        if self.balances is None or self.account is None:
            return None
        source, conditions = look.related([self.account], self.since)
        key = look.column(self.account)
        sums = f"{key} AS k, count(*) AS n, sum({self._signed(look)}) AS held"
        entries = select(sums, source, conditions, then=f"GROUP BY {key}")
        account, balance = (
            f"b.{look.dialect.name(name)}" for name in (self.balances.account, self.balances.balance)
        )
        # Of all accounts, one without entries holds nothing; of the touched ones, each has an entry.
        join = "LEFT JOIN" if self.since is None else "JOIN"
        stored = f"{look.dialect.name(self.balances.table)} AS b {join} ({entries}) AS e ON e.k = {account}"
        off = f"coalesce({balance}, 0) - coalesce(e.held, 0)"
        compared = select(f"{account} AS k, coalesce(e.n, 0) AS n, {off} AS off", stored)
        return _Sums(f"({compared}) AS s", "balances", look.since(self.since))

    async def _found(self, look: Look, sums: _Sums) -> _Found | Problem:
        wrong = "abs(s.off) > :tolerance"
        params = {**sums.params, "tolerance": Decimal(self.tolerance)}
        counted = f"sum(CASE WHEN {wrong} THEN 1 ELSE 0 END) AS wrong"
        row = await look.row(
            select(f"count(*) AS n_groups, sum(s.n) AS n, {counted}, sum(s.off) AS off", sums.source), params
        )
        if isinstance(row, Problem):
            return row
        if isinstance(row["off"], float):
            told = "are floating-point numbers, whose sums are not exact"
            remedy = "make them numeric, or whole numbers of the smallest unit"
            return Problem("error", f"{self.table}: the amounts {told}; {remedy}")
        found = _Found(
            sums.what, int(row["n_groups"]), int(row["n"] or 0), int(row["wrong"] or 0), row["off"] or 0
        )
        if not found.wrong:
            return found
        then = f"ORDER BY abs(s.off) DESC, s.k LIMIT {SAMPLES_MAX}"
        worst = await look.rows(
            select("s.k, s.off", sums.source, [wrong], then=then), params, rows_max=SAMPLES_MAX
        )
        return replace(found, because=_because(found, [] if isinstance(worst, Problem) else worst))


def _because(found: _Found, worst: Sequence[Row]) -> str:
    share = f"{found.wrong / found.groups * 1e6:.0f} per million"
    told = f"{found.wrong} of {found.groups} {found.what} are off ({share}), in total by {_amount(found.off)}"
    keys = ", ".join(
        f"{'those without one' if row['k'] is None else hidden(row['k'])} by {_amount(row['off'])}"
        for row in worst
    )
    return f"{told}: {keys}" if keys else told


def _amount(value: Any) -> str:
    """With the digits the database gave it, never as 1E+3."""
    return f"{Decimal(value):f}"
