"""Kind replay: the events of orders, and the table that is made of them."""

from __future__ import annotations

import json
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
from checks.replay import SAMPLE_MAX, ReplayCheck
from tests.support.postgres import PostgresServer

NOW = 1_800_000_000.0
SAMPLE = "select distinct order_id as aggregate from events where at > :since"
EVENTS = "select order_id as aggregate, seq, kind, amount from events where order_id in (:aggregates)"
STORED = "select id as aggregate, total, state from orders where id in (:aggregates)"
VERSIONED = "select id as aggregate, total, state, version from orders where id in (:aggregates)"
PYTHON = {"python": "tests.support.reducers:order"}
SQL = {
    "sql": """select aggregate, coalesce(sum(amount), 0) as total, max(seq) as version,
                     case when count(amount) > 0 then 'paid' else 'open' end as state
              from :events e group by aggregate; -- every order has a row"""
}


class Shop:
    """Events and projection in two SQLite files; `during_settle` happens while the check waits."""

    def __init__(self, folder: Path, world: World) -> None:
        self.files = {"events": folder / "events.db", "reads": folder / "reads.db"}
        self.during_settle: list[tuple[str, str]] = []
        self.slept: list[float] = []
        self.write("events", "create table events (order_id, seq, kind, amount, at)")
        self.write("reads", "create table orders (id, total, state, version)")
        databases = {name: Sqlite(path=str(path)) for name, path in self.files.items()}
        self.world = replace(world, databases=databases, now_s=lambda: NOW, sleep=self._settle)

    def write(self, name: str, sql: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.files[name], isolation_level=None)) as connection:
            connection.execute("pragma synchronous = off")
            connection.execute(sql, values)

    def event(
        self, order: int, seq: int, kind: str, amount: float | None = None, at: float = NOW - 60
    ) -> None:
        self.write("events", "insert into events values (?, ?, ?, ?, ?)", order, seq, kind, amount, at)

    def row(self, order: int, total: float, state: str, version: int = 2) -> None:
        self.write("reads", "insert into orders values (?, ?, ?, ?)", order, total, state, version)

    def paid(self, order: int, amount: float = 5, at: float = NOW - 60) -> None:
        """An order that was placed and paid, written in the other order."""
        self.event(order, 2, "paid", amount, at)
        self.event(order, 1, "placed", None, at)

    async def _settle(self, seconds: float) -> None:
        self.slept.append(seconds)
        for name, sql in self.during_settle:
            self.write(name, sql)


@pytest.fixture
def shop(tmp_path: Path, world: World) -> Shop:
    return Shop(tmp_path, world)


def built(stored: str = STORED, **params: Any) -> ReplayCheck:
    """As the loader builds it."""
    return TypeAdapter(ReplayCheck).validate_python(
        {
            "database": "events",
            "sample": SAMPLE,
            "events": EVENTS,
            "reducer": PYTHON,
            "projection": {"database": "reads", "query": stored},
            **params,
        }
    )


EITHER = pytest.mark.parametrize("reducer", [PYTHON, SQL], ids=["python", "sql"])


@EITHER
@pytest.mark.parametrize("stored", [STORED, VERSIONED], ids=["plain", "versioned"])
async def test_a_projection_that_follows_its_events_passes(
    shop: Shop, reducer: dict[str, str], stored: str
) -> None:
    for order in range(1, 6):
        shop.paid(order, amount=order)
        shop.row(order, float(order), "paid")
    shop.event(6, 1, "placed")
    shop.row(6, 0, "open", version=1)
    result = await built(stored, reducer=reducer).run(shop.world)
    assert (result.outcome, result.because, shop.slept) == ("pass", "", [])
    assert result.readings["replayed"] == 6
    assert result.readings["mismatches"] == result.readings["mismatches_per_million"] == 0


@EITHER
async def test_every_way_to_be_wrong_is_counted(shop: Shop, reducer: dict[str, str]) -> None:
    for order in range(1, 9):
        shop.paid(order)
    shop.row(1, 6, "paid")
    shop.row(2, 5, "open")
    for order in (4, 5, 5, 6, 7, 8):
        shop.row(order, 5, "paid")
    result = await built(reducer=reducer, settle_s=7.0).run(shop.world)
    assert result.outcome == "fail"
    assert shop.slept == [7.0]
    assert result.readings["replayed"] == 8
    assert result.readings["mismatches"] == 4
    assert result.readings["mismatches_per_million"] == pytest.approx(500_000)
    told, _, keys = result.because.partition("; keys ")
    share, _, kinds = told.rpartition(": ")
    assert share == "4 of 8 aggregates differ (500000 per million)"
    assert set(kinds.split(", ")) == {
        "2 with other values",
        "1 missing in the projection",
        "1 duplicated",
    }
    assert len(keys.split(", ")) == 4


async def test_nothing_touched_passes_and_claims_no_rate(shop: Shop) -> None:
    shop.paid(1, at=NOW - 7200)
    result = await built(window_s=3600.0).run(shop.world)
    assert (result.outcome, result.readings["replayed"]) == ("pass", 0)
    assert "mismatches_per_million" not in result.readings


@EITHER
async def test_only_events_up_to_the_version_of_the_row_are_replayed(
    shop: Shop, reducer: dict[str, str]
) -> None:
    shop.paid(1)
    shop.event(1, 3, "paid", 100)
    shop.row(1, 5, "paid", version=2)
    assert (await built(VERSIONED, reducer=reducer).run(shop.world)).outcome == "pass"
    assert (await built(STORED, reducer=reducer).run(shop.world)).outcome == "fail"


@EITHER
async def test_a_row_ahead_of_its_events_is_wrong(shop: Shop, reducer: dict[str, str]) -> None:
    shop.paid(1)
    shop.row(1, 5, "paid", version=7)
    result = await built(VERSIONED, reducer=reducer).run(shop.world)
    assert result.outcome == "fail"
    assert "1 with other values" in result.because


@EITHER
async def test_a_row_that_is_missing_is_wrong_beside_rows_with_a_version(
    shop: Shop, reducer: dict[str, str]
) -> None:
    shop.paid(1)
    shop.paid(2)
    shop.row(1, 5, "paid", version=2)
    result = await built(VERSIONED, reducer=reducer).run(shop.world)
    assert result.because.startswith("1 of 2 aggregates differ (500000 per million): 1 missing in the proj")


@EITHER
async def test_a_projection_without_any_row_is_wrong(shop: Shop, reducer: dict[str, str]) -> None:
    shop.paid(1)
    assert (await built(reducer=reducer).run(shop.world)).readings["mismatches"] == 1
    shop.paid(2)
    shop.during_settle = [("reads", "insert into orders values (2, 5, 'paid', 2)")]
    result = await built(reducer=reducer).run(shop.world)
    assert result.because.startswith("1 of 2 aggregates differ")
    assert "1 were in flight" in result.details[0]


async def test_a_row_without_events_is_wrong_also_where_only_the_row_has_a_version(shop: Shop) -> None:
    reducer = {"sql": "select aggregate, 5 as total, 'paid' as state from :events e where seq = 2"}
    shop.paid(1)
    shop.event(2, 1, "placed")
    shop.row(1, 5, "paid", version=2)
    shop.row(2, 5, "paid", version=1)
    result = await built(VERSIONED, reducer=reducer).run(shop.world)
    assert result.because.startswith("1 of 2 aggregates differ (500000 per million): 1 missing in the events")


async def test_what_catches_up_while_we_wait_was_in_flight(shop: Shop) -> None:
    shop.paid(1)
    shop.paid(2)
    shop.row(2, 0, "open")
    shop.during_settle = [
        ("reads", "insert into orders values (1, 5, 'paid', 2)"),
        ("reads", "update orders set total = 5, state = 'paid' where id = 2"),
    ]
    result = await built().run(shop.world)
    assert (result.outcome, result.readings["mismatches"]) == ("pass", 0)
    assert result.details == ("2 aggregates replayed, 0 differ, 2 were in flight",)


async def test_what_still_moves_is_not_told(shop: Shop) -> None:
    shop.paid(1)
    shop.row(1, 0, "open")
    shop.during_settle = [("reads", "update orders set total = 1")]
    assert (await built().run(shop.world)).outcome == "pass"


async def test_an_aggregate_that_ended_has_no_row(shop: Shop) -> None:
    shop.paid(1)
    shop.event(1, 3, "deleted")
    check = built()
    assert (await check.run(shop.world)).outcome == "pass"
    shop.row(1, 5, "paid")
    result = await check.run(shop.world)
    assert result.outcome == "fail"
    assert "1 missing in the events" in result.because


async def test_of_many_aggregates_other_ones_are_chosen_each_time(shop: Shop) -> None:
    for order in range(40):
        shop.paid(order)
    shop.during_settle = []
    check = built(sample_max=10)
    seen = []
    for run_id in ("one", "two"):
        result = await check.run(replace(shop.world, run_id=run_id))
        assert result.readings["replayed"] == result.readings["mismatches"] == 10
        seen.append(result.because)
    assert seen[0] != seen[1]
    assert (await check.run(replace(shop.world, run_id="one"))).because == seen[0]


async def test_as_many_as_it_may_choose_fit_one_statement(shop: Shop) -> None:
    rows = json.dumps(list(range(SAMPLE_MAX)))
    for seq, kind, amount in ((1, "placed", None), (2, "paid", 5)):
        write = "insert into events select value, ?, ?, ?, ? from json_each(?)"
        shop.write("events", write, seq, kind, amount, NOW, rows)
    shop.write("reads", "insert into orders select value, 5, 'paid', 2 from json_each(?)", rows)
    result = await built(VERSIONED, reducer=SQL, sample_max=SAMPLE_MAX).run(shop.world)
    assert (result.outcome, result.readings["replayed"]) == ("pass", SAMPLE_MAX)


@EITHER
async def test_events_in_postgres_and_the_projection_elsewhere(
    shop: Shop, postgres: PostgresServer, reducer: dict[str, str]
) -> None:
    name = postgres.create()
    postgres.execute(
        """create table events (order_id int, seq bigint, kind text, amount numeric(12, 2), at timestamptz);
           insert into events
             select n, seq, case seq when 1 then 'placed' else 'paid' end, case seq when 2 then 24.90 end,
                    to_timestamp(1799999900) from generate_series(1, 3) n, generate_series(1, 2) seq""",
        name,
    )
    for order in (1, 2, 3):
        shop.row(order, 24.9, "paid")
    databases = {**shop.world.databases, "events": Postgres(dsn=SecretStr(postgres.dsn(name)))}
    world = replace(shop.world, databases=databases)
    check = built(VERSIONED, reducer=reducer)
    result = await check.run(world)
    assert (result.outcome, result.readings["replayed"]) == ("pass", 3)
    postgres.execute("update events set amount = 24.91 where order_id = 2 and seq = 2", name)
    assert (await check.run(world)).readings["mismatches"] == 1


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"sample": "select order_id from events where at > :since"}, "sample: the query gives no column"),
        ({"events": EVENTS.replace(" seq,", "")}, "events: the query gives no column seq"),
        ({"events": EVENTS.replace(" as aggregate", "")}, "events: the query gives no column aggregate"),
        ({"stored": STORED.replace(" as aggregate", "")}, "projection: the query gives no column"),
        ({"reducer": {"sql": "select aggregate, 'x' as state from :events e"}}, "reducer: gives no total"),
        ({"reducer": {"sql": "select 1 as total from :events e"}}, "reducer: the query gives no column"),
        ({"reducer": {"python": "tests.support.reducers:without_total"}}, "reducer: gives no total"),
        ({"reducer": {"python": "tests.support.reducers:nothing_of_use"}}, "returned a list"),
        ({"rows_max": 1}, "more than 1 rows"),
    ],
)
async def test_what_cannot_be_replayed_is_an_error(shop: Shop, params: dict[str, Any], told: str) -> None:
    shop.paid(1)
    shop.row(1, 5, "paid")
    result = await built(**params).run(shop.world)
    assert result.outcome == "error"
    assert told in result.because
    assert result.readings == {}


async def test_a_state_that_loses_a_column_while_we_wait_is_an_error(shop: Shop) -> None:
    shop.paid(1)
    shop.paid(2)
    shop.row(1, 5, "paid")
    shop.event(2, 3, "audited")
    shop.during_settle = [("events", "update events set kind = 'forgotten' where kind = 'audited'")]
    result = await built().run(shop.world)
    assert (result.outcome, result.because.partition(";")[0]) == ("error", "reducer: gives no total")


async def test_what_a_reducer_raises_is_an_error_without_its_message(shop: Shop) -> None:
    shop.event(1, 1, "unheard")
    result = await built().run(shop.world)
    assert (result.outcome, result.because) == (
        "error",
        "tests.support.reducers:order raised ValueError",
    )


async def test_a_table_that_goes_away_fails_after_it_worked(shop: Shop) -> None:
    shop.paid(1)
    shop.row(1, 5, "paid")
    check = built()
    assert (await check.run(shop.world)).outcome == "pass"
    shop.write("reads", "drop table orders")
    assert (await check.run(shop.world)).outcome == "fail"
    assert (await built().run(shop.world)).outcome == "error"


def test_the_caller_knows_how_long_it_may_take() -> None:
    assert deadline_s(built(settle_s=30.0), 10.0) == pytest.approx(41.0)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"sample": "select 1"}, "sample: does not use :since"),
        ({"sample": "delete from events"}, "sample: starts with delete"),
        ({"events": "select 1"}, "events: does not use :aggregates"),
        ({"events": "select :since in (:aggregates)"}, "events: :since has no value; there is :aggregates"),
        ({"stored": "select 1"}, "query: does not use :aggregates"),
        ({"reducer": {}}, "reducer: write either sql or python"),
        ({"reducer": {**SQL, **PYTHON}}, "reducer: write either sql or python"),
        ({"reducer": {"sql": "select 1"}}, "sql: does not use :events"),
        ({"reducer": {"python": "os.path"}}, "python: 'os.path' is not of the form"),
        ({"reducer": {"python": "no_such_module:fold"}}, "python: cannot import no_such_module: Module"),
        ({"reducer": {"python": "os:system"}}, "python: os is a part of Python"),
        ({"reducer": {"python": "subprocess:run"}}, "python: subprocess is a part of Python"),
        (
            {"reducer": {"python": "aiohttp:request"}},
            "python: aiohttp does not offer request; write REDUCERS",
        ),
        (
            {"reducer": {"python": "tests.support.reducers:not_offered"}},
            'does not offer not_offered; write REDUCERS = {"not_offered": not_offered} there',
        ),
        (
            {"reducer": {"python": "tests.support.reducers:NOT_A_FUNCTION"}},
            "python: tests.support.reducers:NOT_A_FUNCTION is not a function",
        ),
        ({"settle_s": 0}, "settle:"),
        ({"window_s": 0}, "window:"),
        ({"sample_max": SAMPLE_MAX + 1}, "sample_max:"),
        ({"rows_max": 0}, "rows_max:"),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        built(**params)
    assert told in str(caught.value)
