"""Kind ledger, on every kind of database: to the last digit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from checks.data.tables import Since
from checks.ledger import Balances, LedgerCheck
from checks.model import CheckResult, World
from checks.text import hidden
from tests.support.databases import AnyDatabase

NOW = 1_800_000_000.0

# SQLite has no decimals: amounts there are the same, in whole numbers of the smallest unit.
AMOUNT = {"mysql": "DECIMAL(40, 10)", "postgres": "NUMERIC(40, 10)", "sqlite": "INTEGER"}
UNIT = {"mysql": "0.0000000001", "postgres": "0.0000000001", "sqlite": "1"}
BOOKS = """
CREATE TABLE entries (tx INTEGER, account VARCHAR(20), currency VARCHAR(3), amount {amount},
                      debit {amount}, credit {amount}, at BIGINT);
CREATE TABLE accounts (name VARCHAR(20), balance {amount});
"""


class Books:
    """A ledger with entries in the smallest unit there is, and the world that looks at it."""

    def __init__(self, any_database: AnyDatabase, world: World) -> None:
        self.kind = any_database.kind
        self.execute = any_database.execute
        self.world = replace(world, databases={"books": any_database.database}, now_s=lambda: NOW)
        self.execute(BOOKS.format(amount=AMOUNT[self.kind]))

    def unit(self, n: int) -> str:
        """n units as the database has them."""
        return f"{n} * {UNIT[self.kind]}"

    def enter(
        self, tx: int | None, *entries: tuple[str, int], currency: str = "EUR", at: float = NOW
    ) -> None:
        """A transaction: amounts in the smallest unit by account."""
        rows = [
            f"({'NULL' if tx is None else tx}, '{account}', '{currency}', {self.unit(n)}, "
            f"{self.unit(n) if n > 0 else 'NULL'}, {self.unit(-n) if n < 0 else 'NULL'}, {at:.0f})"
            for account, n in entries
        ]
        self.execute("".join("INSERT INTO entries VALUES #;".replace("#", row) for row in rows))

    async def look(self, **params: Any) -> CheckResult:
        given = {"table": "entries", "transaction": "tx", **params}
        if "debit" not in given:
            given.setdefault("amount", "amount")
        return await LedgerCheck(database="books", **given).run(self.world)


@pytest.fixture
def books(any_database: AnyDatabase, world: World) -> Books:
    return Books(any_database, world)


# Beyond what a double can tell apart: 2^53 + 1 units, and a sum of tenths.
LARGE = 2**53


async def test_books_that_balance_pass_to_the_last_digit(books: Books) -> None:
    books.enter(1, ("cash", LARGE + 1), ("sales", -LARGE), ("tax", -1))
    books.enter(2, ("cash", 3), ("sales", -1), ("sales", -1), ("tax", -1))
    for form in ({}, {"debit": "debit", "credit": "credit"}):
        result = await books.look(**form)
        assert (result.outcome, result.because) == ("pass", "")
        assert {name: result.readings[name] for name in ("rows", "imbalanced", "imbalance_per_million")} == {
            "rows": 7.0,
            "imbalanced": 0.0,
            "imbalance_per_million": 0.0,
        }


async def test_one_unit_too_many_is_found_and_told(books: Books) -> None:
    books.enter(1, ("cash", LARGE + 1), ("sales", -LARGE))
    books.enter(2, ("cash", 10), ("sales", -10))
    books.enter(3, ("cash", 4), ("sales", -9))
    one, five, four = ("1", "-5", "-4") if books.kind == "sqlite" else (
        "0.0000000001", "-0.0000000005", "-0.0000000004"
    )  # fmt: skip
    for form in ({}, {"debit": "debit", "credit": "credit"}):
        result = await books.look(**form)
        assert result.outcome == "fail"
        assert result.because == (
            f"entries: 2 of 3 transactions are off (666667 per million), in total by {four}: "
            f"{hidden(3)} by {five}, {hidden(1)} by {one}"
        )
        assert (result.readings["imbalanced"], result.readings["rows"]) == (2.0, 6.0)


async def test_errors_that_cancel_out_are_still_errors(books: Books) -> None:
    books.enter(1, ("cash", 7))
    books.enter(2, ("cash", -7))
    result = await books.look()
    assert (result.outcome, result.readings["imbalanced"]) == ("fail", 2.0)
    assert "in total by 0" in result.because


async def test_currencies_do_not_make_up_for_each_other(books: Books) -> None:
    books.enter(1, ("cash", 5), currency="EUR")
    books.enter(1, ("sales", -5), currency="USD")
    assert (await books.look()).outcome == "pass"
    result = await books.look(currency="currency")
    assert (result.outcome, result.readings["imbalanced"]) == ("fail", 2.0)


async def test_a_tolerance_is_exact_too(books: Books) -> None:
    books.enter(1, ("cash", 5), ("sales", -3))
    two, less = ("2", "1.9") if books.kind == "sqlite" else ("0.0000000002", "0.00000000019")
    assert (await books.look(tolerance=two)).outcome == "pass"
    assert (await books.look(tolerance=less)).outcome == "fail"


async def test_old_entries_of_a_new_transaction_count(books: Books) -> None:
    books.enter(1, ("cash", 5), at=NOW - 7200)
    books.enter(1, ("sales", -5), at=NOW - 60)
    books.enter(2, ("cash", 9), at=NOW - 7200)
    result = await books.look(since=Since(column="at", epoch="s", window_s=3600.0))
    assert (result.outcome, result.readings["rows"]) == ("pass", 2.0)
    assert (await books.look()).outcome == "fail"


async def test_a_transaction_still_being_written_does_not_count(books: Books) -> None:
    books.enter(1, ("cash", 5), at=NOW - 10)
    since = Since(column="at", epoch="s", window_s=3600.0)
    assert (await books.look(since=since)).outcome == "fail"
    assert (await books.look(since=since, settle_s=30.0)).outcome == "pass"
    assert (await books.look(since=since, settle_s=5.0)).outcome == "fail"


async def test_a_watermark_that_is_no_time_is_ours(books: Books) -> None:
    books.enter(1, ("cash", 5), ("sales", -5))
    result = await books.look(since=Since(column="at", window_s=60.0))
    assert (result.outcome, result.because) == (
        "error",
        "entries.at holds numbers; write epoch: s or epoch: ms",
    )


async def test_only_rows_that_count_are_summed(books: Books) -> None:
    books.enter(1, ("cash", 5), ("sales", -5), ("draft", 3))
    assert (await books.look(where="account <> 'draft'")).outcome == "pass"
    assert (await books.look()).outcome == "fail"


async def test_entries_without_a_transaction_are_a_part_of_the_total(books: Books) -> None:
    books.enter(1, ("cash", 5), ("sales", -5))
    books.enter(None, ("cash", 7), ("sales", -7))
    assert (await books.look()).outcome == "pass"
    books.enter(None, ("cash", 5))
    result = await books.look()
    assert (result.outcome, result.readings["imbalanced"]) == ("fail", 1.0)
    assert "those without one by " in result.because
    since = Since(column="at", window_s=3600.0, epoch="s")
    assert (await books.look(since=since)).outcome == "pass"


async def test_an_empty_ledger_balances_and_claims_no_rate(books: Books) -> None:
    result = await books.look()
    assert (result.outcome, result.readings["rows"]) == ("pass", 0.0)
    assert "imbalance_per_million" not in result.readings


async def test_a_stored_balance_is_the_sum_of_its_entries(books: Books) -> None:
    books.enter(1, ("cash", 5), ("sales", -5), at=NOW - 7200)
    books.enter(2, ("cash", 2), ("tax", -2), at=NOW - 60)
    for name, n in (("cash", 7), ("sales", -4), ("tax", -2), ("unused", 0)):
        books.execute("INSERT INTO accounts VALUES ('#', ?)".replace("#", name).replace("?", books.unit(n)))
    stored: dict[str, Any] = {
        "account": "account",
        "balances": Balances(table="accounts", account="name", balance="balance"),
    }
    one = "1" if books.kind == "sqlite" else "0.0000000001"
    result = await books.look(**stored)
    assert result.because == (
        "entries: 1 of 4 balances are off (250000 per million), "
        f"in total by {one}: {hidden('sales')} by {one}"
    )
    assert (result.readings["imbalanced"], result.readings["imbalance_per_million"]) == (1.0, 1e6 / 6)
    recent = await books.look(**stored, since=Since(column="at", epoch="s", window_s=3600.0))
    assert recent.outcome == "pass"
    assert recent.details[1].startswith(" ok  2 balances, 3 entries, 0 off")


async def test_sums_that_are_not_exact_are_no_answer(books: Books) -> None:
    books.execute("CREATE TABLE approximate (tx INTEGER, amount DOUBLE PRECISION)")
    books.execute("INSERT INTO approximate VALUES (1, 0.1), (1, 0.2), (1, -0.3)")
    result = await books.look(table="approximate")
    assert result.outcome == "error"
    assert "floating-point" in result.because


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"transaction": "a b"}, "transaction: 'a b' is not a name"),
        ({"amount": "a b"}, "amount: 'a b' is not a name"),
        ({"amount": None, "debit": "a b", "credit": "c"}, "debit: 'a b' is not a name"),
        ({"amount": None, "debit": "d", "credit": "a b"}, "credit: 'a b' is not a name"),
        ({"currency": "a b"}, "currency: 'a b' is not a name"),
        ({"account": "a b"}, "account: 'a b' is not a name"),
        ({"amount": None}, "amount: write either amount, or both"),
        ({"amount": None, "debit": "d"}, "amount: write either amount, or both"),
        ({"debit": "d", "credit": "c"}, "amount: write either amount, or both"),
        ({"account": "a"}, "balances: write account and balances"),
        ({"settle_s": 5.0}, "settle: needs since"),
        (
            {"settle_s": 60.0, "since": Since(column="at", window_s=60.0)},
            "settle: needs since, with a window",
        ),
        (
            {"settle_s": -1.0, "since": Since(column="at", window_s=60.0)},
            "settle: needs since, with a window",
        ),
        ({"tolerance": "-1"}, "tolerance: write a decimal"),
        ({"tolerance": "much"}, "tolerance: write a decimal"),
        ({"tolerance": "nan"}, "tolerance: write a decimal"),
        ({"tolerance": "inf"}, "tolerance: write a decimal"),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        LedgerCheck(database="d", table="t", **{"transaction": "tx", "amount": "amount", **params})
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("key", ["table", "account", "balance"])
def test_bad_balances_name_their_key(key: str) -> None:
    with pytest.raises(ValueError, match=rf"^{key}: 'a b' is not a name"):
        Balances(**{"table": "t", "account": "a", "balance": "b", key: "a b"})
