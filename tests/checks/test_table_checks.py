"""Kinds freshness, volume, rows and lag, on every kind of database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from checks.data.tables import Since
from checks.freshness import FreshnessCheck
from checks.lag import LagCheck
from checks.model import CheckResult, World
from checks.rows import RowsCheck
from checks.text import hidden
from checks.volume import VolumeCheck
from tests.support.databases import AnyDatabase

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC

# `Order` is reserved, has an upper-case letter, and a column called as a keyword.
TABLES = """
CREATE TABLE {q}Order{q} (
  id INTEGER, {q}group{q} VARCHAR(20), state VARCHAR(20), customer_id INTEGER,
  at TIMESTAMP NULL, at_s BIGINT, at_ms BIGINT
);
CREATE TABLE customers (id INTEGER);
INSERT INTO customers VALUES (1), (2);
INSERT INTO {q}Order{q} VALUES
  (1, 'a', 'paid', 1,    '2027-01-15 05:00:00', 1799989200, 1799989200000),
  (2, 'b', 'open', 2,    '2027-01-15 07:30:00', 1799998200, 1799998200000),
  (3, 'c', 'paid', NULL, '2027-01-15 07:59:00', 1799999940, 1799999940000);
"""


class Shop:
    """A database with orders, and the world that looks at it at `NOW`."""

    def __init__(self, any_database: AnyDatabase, world: World) -> None:
        self.kind = any_database.kind
        self.quote = "`" if any_database.kind == "mysql" else '"'
        self.world = replace(world, databases={"shop": any_database.database}, now_s=lambda: NOW)
        self._execute = any_database.execute
        self.execute(TABLES)

    def execute(self, sql: str) -> None:
        """Run statements, `{q}` is the engine's quote."""
        self._execute(sql.replace("{q}", self.quote))

    def order(self, values: str) -> None:
        """One more row."""
        self.execute("INSERT INTO {q}Order{q} VALUES (#)".replace("#", values))

    async def freshness(self, **params: Any) -> CheckResult:
        given = {"table": "Order", "column": "at", "max_age_s": 120.0, **params}
        return await FreshnessCheck(database="shop", **given).run(self.world)

    async def volume(self, **params: Any) -> CheckResult:
        given = {"table": "Order", "column": "at", "window_s": 3600.0, **params}
        return await VolumeCheck(database="shop", **given).run(self.world)

    async def lag(self, **params: Any) -> CheckResult:
        given = {"table": "Order", "column": "at", "max_lag_s": 3600.0, **params}
        return await LagCheck(database="shop", **given).run(self.world)

    async def rows(self, **params: Any) -> CheckResult:
        return await RowsCheck(database="shop", **{"table": "Order", **params}).run(self.world)


# A time, and the same as a number.
COLUMNS: tuple[dict[str, Any], ...] = (
    {"column": "at", "epoch": None},
    {"column": "at_s", "epoch": "s"},
    {"column": "at_ms", "epoch": "ms"},
)


@pytest.fixture
def shop(any_database: AnyDatabase, world: World) -> Shop:
    return Shop(any_database, world)


async def test_the_newest_row_has_an_age(shop: Shop) -> None:
    for column in COLUMNS:
        place = f"Order.{column['column']}"
        result = await shop.freshness(**column)
        assert (result.outcome, result.readings["age_s"]) == ("pass", 60.0)
        assert result.details == (f" ok  {place}: the newest row is 1 min old",)
        old = await shop.freshness(**column, max_age_s=59.0)
        assert (old.outcome, old.readings["age_s"]) == ("fail", 60.0)
        assert old.because == f"{place}: the newest row is 1 min old, more than 59 s"


async def test_only_rows_that_count_make_a_table_fresh(shop: Shop) -> None:
    result = await shop.freshness(where="state = 'open' -- the others do not matter")
    assert (result.outcome, result.readings["age_s"]) == ("fail", 1800.0)
    none = await shop.freshness(where="state = 'lost'")
    assert (none.outcome, none.because) == ("fail", "Order.at: there is no row with a time")
    assert "age_s" not in none.readings


async def test_a_row_from_the_future_makes_no_table_fresh(shop: Shop) -> None:
    shop.order("9, 'z', 'paid', 1, '2027-01-25 08:00:00', 1800864000, 1800864000000")
    for column in COLUMNS:
        result = await shop.freshness(**column, max_age_s=30.0)
        assert (result.outcome, result.readings["age_s"]) == ("fail", 60.0)
        assert result.details[1] == "note: there are rows of 10 d in the future"


async def test_a_column_that_holds_no_times_is_a_mistake_of_ours(shop: Shop) -> None:
    wrong = [
        await shop.freshness(column="at_s"),
        await shop.volume(column="at_s", at_least=0),
        await shop.lag(column="at_s"),
        await shop.rows(not_null=["id"], since=Since(column="at_s", window_s=60.0)),
    ]
    for result in wrong:
        assert result.outcome == "error"
        assert result.because == "Order.at_s holds numbers; write epoch: s or epoch: ms"
    assert (await shop.freshness(column="at_ms", epoch="s")).because == (
        "Order.at_ms holds numbers too large for epoch: s"
    )
    assert (await shop.freshness(epoch="s")).because == "Order.at does not hold numbers; leave out epoch"
    assert (await shop.freshness(column="state")).outcome == "error"


async def test_rows_of_the_window_are_counted(shop: Shop) -> None:
    for column in COLUMNS:
        result = await shop.volume(**column, at_least=2, at_most=2)
        assert (result.outcome, result.readings["rows"]) == ("pass", 2.0)
        assert result.readings["rows_per_minute"] == pytest.approx(2 / 60)
        few = await shop.volume(**column, at_least=3)
        assert (few.outcome, few.because) == ("fail", "Order: 2 rows in 1 h, expected at least 3")
        many = await shop.volume(**column, at_most=1)
        assert (many.outcome, many.because) == ("fail", "Order: 2 rows in 1 h, expected at most 1")


async def test_no_rows_come_with_when_the_last_one_was(shop: Shop) -> None:
    result = await shop.volume(window_s=30.0, at_least=1)
    assert result.because == "Order: 0 rows in 30 s (the last one 1 min ago), expected at least 1"
    empty = await shop.volume(where="state = 'lost'", at_least=1)
    assert empty.because == "Order: 0 rows in 1 h (the table is empty), expected at least 1"
    assert empty.readings["rows"] == 0


async def test_rows_that_keep_every_rule_pass(shop: Shop) -> None:
    result = await shop.rows(
        not_null=["id", "group"],
        unique=["id", ("group", "state")],
        accepted_values={"state": ("paid", "open"), "id": (1, 2, 3)},
        orphans={"customer_id": "customers.id"},
    )
    assert (result.outcome, result.because) == ("pass", "")
    assert {name: result.readings[name] for name in ("rows", "violations", "violations_per_million")} == {
        "rows": 3.0,
        "violations": 0.0,
        "violations_per_million": 0.0,
    }
    assert result.details[2] == " ok  unique id: 0 of 3 rows"


async def test_every_broken_rule_is_named_with_its_count_and_keys(shop: Shop) -> None:
    shop.order("4, NULL, 'lost', 7, NULL, NULL, NULL")
    shop.order("4, 'a', 'paid', 8, NULL, NULL, NULL")
    result = await shop.rows(
        not_null=["group", "id"],
        unique=["id", ("group", "state")],
        accepted_values={"state": ("paid", "open")},
        orphans={"customer_id": "customers.id"},
        key="id",
    )
    assert result.outcome == "fail"
    assert result.because == (
        "Order: 6 violations in 5 rows (1200000 per million): "
        f"not_null group: 1 ({hidden(4)}); unique id: 1 ({hidden(4)}); "
        f"unique group, state: 1 ({hidden('a, paid')}); accepted_values state: 1 ({hidden(4)}); "
        f"orphans customer_id: 2 ({hidden(4)}, {hidden(4)})"
    )
    assert (result.readings["violations"], result.readings["rows"]) == (6.0, 5.0)


async def test_without_a_key_the_value_itself_is_named(shop: Shop) -> None:
    shop.order("4, NULL, 'lost', 7, NULL, NULL, NULL")
    orphans = {"customer_id": "customers.id"}
    result = await shop.rows(not_null=["group"], accepted_values={"state": ("paid",)}, orphans=orphans)
    assert result.because.partition("): ")[2] == (
        f"not_null group: 1; accepted_values state: 2 ({hidden('lost')}, {hidden('open')}); "
        f"orphans customer_id: 1 ({hidden(7)})"
    )


async def test_no_more_than_five_keys_are_named(shop: Shop) -> None:
    for n in range(10, 17):
        shop.order(f"{n}, NULL, 'paid', 1, NULL, NULL, NULL")
    result = await shop.rows(not_null=["group"], key="id")
    assert result.because.count("#") == 5
    assert hidden(10) in result.because


async def test_since_looks_at_new_rows_and_still_finds_what_they_repeat(shop: Shop) -> None:
    rules: dict[str, Any] = {"unique": ["group"], "not_null": ["customer_id"]}
    recent = [Since(**column, window_s=3600.0) for column in COLUMNS]
    for key in (7, 8):
        shop.order(f"{key}, 'x', 'open', 1, NULL, NULL, NULL")
    for since in recent:
        # Two new rows, one of them without a customer; what only old ones repeat does not count.
        result = await shop.rows(**rules, since=since)
        assert (result.readings["rows"], result.readings["violations"]) == (2.0, 1.0)
    shop.order("9, 'a', 'paid', 1, '2027-01-15 07:58:00', 1799999880, 1799999880000")
    for since in recent:
        repeated = await shop.rows(**rules, since=since)
        assert (repeated.readings["rows"], repeated.readings["violations"]) == (3.0, 2.0)
        assert f"unique group: 1 ({hidden('a')})" in repeated.because
        elsewhere = await shop.rows(**rules, since=since, where="state <> 'paid' or id = 3")
        assert elsewhere.readings["violations"] == 1.0


async def test_an_empty_table_breaks_no_rule_and_claims_no_rate(shop: Shop) -> None:
    result = await shop.rows(not_null=["id"], unique=["id"], where="state = 'lost'")
    assert (result.outcome, result.readings["rows"], result.readings["violations"]) == ("pass", 0.0, 0.0)
    assert "violations_per_million" not in result.readings


async def test_as_many_violations_as_allowed_pass(shop: Shop) -> None:
    result = await shop.rows(not_null=["customer_id"], violations_max=1)
    assert (result.outcome, result.readings["violations"]) == ("pass", 1.0)
    assert (await shop.rows(not_null=["customer_id"])).outcome == "fail"


async def test_rows_that_wait_have_a_number_and_an_age(shop: Shop) -> None:
    for column in COLUMNS:
        result = await shop.lag(**column, where="state = 'open'")
        assert (result.outcome, result.readings["pending"], result.readings["lag_s"]) == ("pass", 1.0, 1800.0)
        late = await shop.lag(**column)
        assert (late.outcome, late.readings["pending"], late.readings["lag_s"]) == ("fail", 3.0, 10_800.0)
        assert late.because == "Order: 3 rows waiting, the oldest for 3 h, longer than 1 h"


async def test_more_rows_may_not_wait_than_allowed(shop: Shop) -> None:
    assert (await shop.lag(max_lag_s=86_400.0, max_pending=3)).outcome == "pass"
    result = await shop.lag(max_lag_s=86_400.0, max_pending=2)
    assert result.because == "Order: 3 rows waiting, the oldest for 3 h, more than 2"


async def test_nothing_that_waits_is_no_lag(shop: Shop) -> None:
    result = await shop.lag(where="state = 'lost'")
    assert (result.outcome, result.readings["pending"], result.readings["lag_s"]) == ("pass", 0.0, 0.0)


async def test_rows_that_wait_without_a_time_count_and_have_no_age(shop: Shop) -> None:
    shop.order("9, 'z', 'stuck', 1, NULL, NULL, NULL")
    result = await shop.lag(where="state = 'stuck'", max_pending=0)
    assert result.because == "Order: 1 row waiting, none with a time, more than 0"
    assert "lag_s" not in result.readings


async def test_a_table_that_goes_away_fails_after_it_worked(shop: Shop) -> None:
    check = RowsCheck(database="shop", table="Order", not_null=("id",))
    assert (await check.run(shop.world)).outcome == "pass"
    shop.execute("DROP TABLE {q}Order{q}")
    assert (await check.run(shop.world)).outcome == "fail"
    assert (await shop.rows(not_null=["id"])).outcome == "error"


async def test_an_unknown_database_is_ours(world: World) -> None:
    result = await RowsCheck(database="shop", table="t", not_null=("id",)).run(world)
    assert (result.outcome, result.because) == (
        "error",
        "there is no database shop; name one under databases",
    )


@pytest.mark.parametrize("name", ["a b", 'a"b', "a`b", "a.b.c", "", "a'", "a;", "t--\n", "x" * 64, ".t"])
def test_a_name_that_could_be_more_than_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^table: .* is not a name"):
        RowsCheck(database="d", table=name, not_null=("id",))


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("", "write a condition"),
        ("where a = 1", "without WHERE"),
        ("a = 1; delete from t", "`;`"),
        ("a = 'x", "quote"),
        ("a = 1 /* ", "comment"),
        ("a = 1) or (1 = 1", "brackets"),
        ("(a = 1", "brackets"),
        ("a in (select 1 into x)", "INTO"),
        ("at > :since", ":since has no value"),
    ],
)
def test_a_condition_is_one_condition(where: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"^where: ") as caught:
        RowsCheck(database="d", table="t", where=where, not_null=("id",))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "params", "told"),
    [
        (FreshnessCheck, {"column": "a.b", "max_age_s": 1.0}, "column: 'a.b' is not a name"),
        (FreshnessCheck, {"column": "a", "max_age_s": 0.0}, "max_age: write a duration"),
        (VolumeCheck, {"column": "a", "window_s": 0.0, "at_least": 1}, "window: write a duration"),
        (VolumeCheck, {"column": "a b", "window_s": 1.0, "at_least": 1}, "column: 'a b' is not a name"),
        (VolumeCheck, {"column": "a", "window_s": 1.0}, "at_least: write at_least, at_most or both"),
        (VolumeCheck, {"column": "a", "window_s": 1.0, "at_least": -1}, "at_least: write a number"),
        (
            VolumeCheck,
            {"column": "a", "window_s": 1.0, "at_least": 2, "at_most": 1},
            "at_least: write a number",
        ),
        (LagCheck, {"column": "a b", "max_lag_s": 1.0}, "column: 'a b' is not a name"),
        (LagCheck, {"column": "a", "max_lag_s": 0.0}, "max_lag: write a duration"),
        (LagCheck, {"column": "a", "max_lag_s": 1.0, "max_pending": -1}, "max_pending: write a number"),
        (RowsCheck, {}, "not_null: write 1 to 50 rules"),
        (RowsCheck, {"not_null": ("a",) * 51}, "not_null: write 1 to 50 rules"),
        (RowsCheck, {"not_null": ("a b",)}, "not_null: 'a b' is not a name"),
        (RowsCheck, {"unique": ("a b",)}, "unique: 'a b' is not a name"),
        (RowsCheck, {"unique": ((),)}, "unique: write a column"),
        (RowsCheck, {"unique": (("a", "a"),)}, "unique: write a column"),
        (RowsCheck, {"accepted_values": {"a b": ("x",)}}, "accepted_values: 'a b' is not a name"),
        (RowsCheck, {"accepted_values": {"a": ()}}, "accepted_values: write 1 to 200 values for a"),
        (RowsCheck, {"orphans": {"a b": "t.id"}}, "orphans: 'a b' is not a name"),
        (RowsCheck, {"orphans": {"a": "id"}}, "orphans: 'id' names no column; write a: table.column"),
        (RowsCheck, {"orphans": {"a": "t.i d"}}, "orphans: 'i d' is not a name"),
        (RowsCheck, {"orphans": {"a": "d.s.t.id"}}, "orphans: 'd.s.t' is not a name"),
        (RowsCheck, {"not_null": ("a",), "key": "a b"}, "key: 'a b' is not a name"),
        (RowsCheck, {"not_null": ("a",), "violations_max": -1}, "violations_max: write a number"),
    ],
)
def test_bad_configuration_names_its_key(kind: Any, params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        kind(database="d", table="t", **params)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("params", "told"),
    [({"column": "a b", "window_s": 1.0}, "column:"), ({"column": "a", "window_s": 0.0}, "window:")],
)
def test_bad_since_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Since(**params)
