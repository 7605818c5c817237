"""Kind reconcile: orders in one database, payments in another."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter

from checks.databases.postgres import Postgres
from checks.databases.sqlite import Sqlite
from checks.model import World, deadline_s
from checks.reconcile import ReconcileCheck
from tests.support.postgres import PostgresServer

NOW = 1_800_000_000.0
LEFT = "select id as key, amount from orders where at > :since and at <= :until"
RIGHT = "select order_id as key, amount from payments where at > :since"


class Books:
    """Two SQLite files and the world that looks at them; `during_settle` happens while the check waits."""

    def __init__(self, folder: Path, world: World) -> None:
        self.files = {"orders": folder / "orders.db", "payments": folder / "payments.db"}
        self.during_settle: list[tuple[str, str]] = []
        self.slept: list[float] = []
        self.write("orders", "CREATE TABLE orders (id, amount, at REAL)")
        self.write("payments", "CREATE TABLE payments (order_id, amount, at REAL)")
        databases = {name: Sqlite(path=str(path)) for name, path in self.files.items()}
        self.world = replace(
            world, databases=databases, now_s=lambda: NOW + sum(self.slept), sleep=self._settle
        )

    def write(self, name: str, sql: str, *values: float) -> None:
        with closing(sqlite3.connect(self.files[name], isolation_level=None)) as connection:
            connection.execute(sql, values)

    def order(self, key: int, amount: float = 5, at: float = NOW - 100) -> None:
        self.write("orders", "INSERT INTO orders VALUES (?, ?, ?)", key, amount, at)

    def payment(self, key: int, amount: float = 5, at: float = NOW - 100) -> None:
        self.write("payments", "INSERT INTO payments VALUES (?, ?, ?)", key, amount, at)

    async def _settle(self, seconds: float) -> None:
        self.slept.append(seconds)
        for name, sql in self.during_settle:
            self.write(name, sql)


@pytest.fixture
def books(tmp_path: Path, world: World) -> Books:
    return Books(tmp_path, world)


def built(**params: Any) -> ReconcileCheck:
    """As the loader builds it."""
    sides = {
        "left": {"database": "orders", "query": LEFT},
        "right": {"database": "payments", "query": RIGHT},
    }
    return TypeAdapter(ReconcileCheck).validate_python({**sides, **params})


async def test_equal_books_pass_without_a_second_look(books: Books) -> None:
    for key in range(10):
        books.order(key, amount=key)
        books.payment(key, amount=float(key))
    result = await built().run(books.world)
    assert (result.outcome, books.slept) == ("pass", [])
    assert result.readings["compared"] == 10
    assert result.readings["mismatches_per_million"] == 0


async def test_empty_books_pass_and_claim_no_rate(books: Books) -> None:
    result = await built().run(books.world)
    assert result.outcome == "pass"
    assert result.readings["compared"] == 0
    assert "mismatches_per_million" not in result.readings


async def test_every_way_to_disagree_is_counted(books: Books) -> None:
    for key in range(1, 8):
        books.order(key)
    for key in (1, 2, 3, 3, 4, 99):
        books.payment(key, amount=6 if key == 4 else 5)
    result = await built(settle_s=7.0).run(books.world)
    assert result.outcome == "fail"
    assert books.slept == [7.0]
    assert result.readings["compared"] == 8
    assert result.readings["mismatches"] == 6
    assert result.readings["mismatches_per_million"] == pytest.approx(750_000)
    told, _, keys = result.because.partition("; keys ")
    assert told.startswith("6 of 8 keys differ (750000 per million): 3 missing on the right")
    for kind in ("1 duplicated", "1 with other values", "1 missing on the left"):
        assert kind in told
    assert len(keys.split(", ")) == 5
    assert all(key.startswith("#") and len(key) == 9 for key in keys.split(", "))


async def test_rows_in_flight_do_not_count(books: Books) -> None:
    books.order(1)
    books.order(2, amount=5)
    books.payment(2, amount=4)
    books.during_settle = [
        ("payments", "INSERT INTO payments VALUES (1, 5, 1799999999)"),
        ("payments", "UPDATE payments SET amount = 5 WHERE order_id = 2"),
    ]
    result = await built().run(books.world)
    assert result.outcome == "pass"
    assert result.readings["mismatches"] == 0
    assert "2 were in flight" in result.details[0]


async def test_a_row_that_changes_between_the_looks_is_still_moving(books: Books) -> None:
    books.order(1, amount=5)
    books.payment(1, amount=6)
    books.during_settle = [("payments", "UPDATE payments SET amount = 7")]
    assert (await built().run(books.world)).outcome == "pass"


async def test_a_row_younger_than_settle_is_left_out_by_until(books: Books) -> None:
    books.order(1, at=NOW - 5)
    result = await built().run(books.world)
    assert (result.outcome, result.readings["compared"]) == ("pass", 0)


async def test_a_pair_across_the_edge_of_the_window_is_a_pair(books: Books) -> None:
    books.order(1, at=NOW - 3599)
    books.payment(1, at=NOW - 3601)
    assert (await built().run(books.world)).outcome == "pass"


async def test_more_rows_than_allowed_are_an_error(books: Books) -> None:
    for key in range(5):
        books.order(key)
    result = await built(rows_max=2).run(books.world)
    assert result.outcome == "error"
    assert "more than 4 rows" in result.because


async def test_sides_that_cannot_be_compared_are_an_error(books: Books) -> None:
    books.order(1)
    books.payment(1)
    no_key = await built(left={"database": "orders", "query": "select id from orders"}).run(books.world)
    assert no_key.outcome == "error"
    assert "no column named key" in no_key.because
    query = "select order_id as key, amount, at from payments"
    other = await built(right={"database": "payments", "query": query}).run(books.world)
    assert other.outcome == "error"
    assert "at is on one side only" in other.because


async def test_a_table_that_goes_away_fails_after_it_worked(books: Books) -> None:
    check = built()
    assert (await check.run(books.world)).outcome == "pass"
    books.write("payments", "DROP TABLE payments")
    assert (await check.run(books.world)).outcome == "fail"
    assert (await built().run(books.world)).outcome == "error"


async def test_postgres_and_sqlite_agree_on_what_is_equal(books: Books, postgres: PostgresServer) -> None:
    name = postgres.create()
    postgres.execute(
        "create table orders(id int, amount numeric(12, 2), paid bool, at timestamptz);"
        "insert into orders values (1, 24.90, true, to_timestamp(1799999900));"
        "insert into orders values (2, 1, false, to_timestamp(1799999900))",
        name,
    )
    books.write("payments", "ALTER TABLE payments ADD COLUMN paid")
    books.write("payments", "INSERT INTO payments VALUES (1, 24.9, ?, 1)", NOW)
    books.write("payments", "INSERT INTO payments VALUES (2, 1, ?, 0)", NOW)
    world = replace(
        books.world,
        databases={**books.world.databases, "orders": Postgres(dsn=SecretStr(postgres.dsn(name)))},
    )
    check = built(
        left={"database": "orders", "query": "select id as key, amount, paid from orders where at > :since"},
        right={
            "database": "payments",
            "query": "select order_id as key, amount, paid from payments where at > :since",
        },
    )
    result = await check.run(world)
    assert (result.outcome, result.readings["compared"]) == ("pass", 2)
    postgres.execute("update orders set amount = 24.91 where id = 1", name)
    assert (await check.run(world)).readings["mismatches"] == 1


def test_the_caller_knows_how_long_it_may_take() -> None:
    assert deadline_s(built(settle_s=30.0), 10.0) == pytest.approx(41.0)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"settle_s": 0}, "settle:"),
        ({"settle_s": 30, "window_s": 20}, "window:"),
        ({"rows_max": 0}, "rows_max:"),
        ({"left": {"database": "orders", "query": "select :from"}}, "query: :from has no value"),
        ({"left": {"database": "orders", "query": "drop table x"}}, "query: starts with drop"),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        built(**params)
    assert told in str(caught.value)
