"""Kind schema: a shop's database that is migrated under it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter

import config
from checks.databases.postgres import Postgres
from checks.databases.sqlite import Sqlite
from checks.model import CheckResult, World
from checks.schema import SchemaCheck
from tests.support.postgres import PostgresServer
from watchdog.kinds import KINDS
from watchdog.plan import plan_services


def built(**params: Any) -> SchemaCheck:
    """As the loader builds it."""
    return TypeAdapter(SchemaCheck).validate_python({"database": "shop", **params})


class Shop:
    """A SQLite file, the world that looks at it, and a clock that is set by hand."""

    def __init__(self, folder: Path, world: World) -> None:
        self.path = folder / "shop.db"
        self.now_s = 1000.0
        database = Sqlite(path=str(self.path))
        self.world = replace(world, databases={"shop": database}, mono_s=lambda: self.now_s)
        self.migrate(
            "create table orders (id integer primary key, note text, state text not null default 'x')"
        )

    def migrate(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(f"pragma synchronous = off; {sql}")


@pytest.fixture
def shop(tmp_path: Path, world: World) -> Shop:
    return Shop(tmp_path, world)


def counts(result: CheckResult) -> tuple[str, float, float, float]:
    """The outcome with the readings that say why."""
    readings = result.readings
    return result.outcome, readings["changes"], readings["unsafe"], readings["unknown"]


async def test_the_first_run_takes_the_schema_as_it_is(shop: Shop) -> None:
    check = built()
    first, second = await check.run(shop.world), await check.run(shop.world)
    assert counts(first) == counts(second) == ("pass", 0, 0, 0)
    assert first.readings["total_s"] >= 0
    assert first.details == ("1 tables and views, with which the next runs compare",)
    assert second.details == (
        "1 tables and views, 0 changes: 0 unsafe, 0 unknown, 0 safe for the previous version",
    )


async def test_an_unsafe_change_fails_and_says_which(shop: Shop) -> None:
    check = built()
    await check.run(shop.world)
    shop.migrate("alter table orders drop column note; create table more (id int)")
    result = await check.run(shop.world)
    assert counts(result) == ("fail", 2, 1, 0)
    assert result.because == (
        "the previous version cannot run on this schema: "
        "orders.note: column dropped (TEXT), statements that name it are refused"
    )
    assert result.details[1:] == (
        "unsafe  orders.note: column dropped (TEXT), statements that name it are refused",
        "safe    more: table added, nothing that it sends names it",
    )
    assert "total_s" not in result.readings


async def test_what_cannot_be_told_passes_and_is_in_the_details(shop: Shop) -> None:
    check = built()
    await check.run(shop.world)
    shop.migrate("create trigger t after insert on orders begin select 1; end")
    result = await check.run(shop.world)
    assert counts(result) == ("pass", 1, 0, 1)
    assert result.details[1].startswith("unknown orders.t: trigger added")


async def test_a_change_in_several_steps_is_compared_with_before_the_first(shop: Shop) -> None:
    check = built(accept_after_s=3600.0)
    await check.run(shop.world)
    shop.migrate("alter table orders drop column note")
    assert counts(await check.run(shop.world)) == ("fail", 1, 1, 0)
    shop.now_s += 3000
    shop.migrate("create table more (id int)")
    assert counts(await check.run(shop.world)) == ("fail", 2, 1, 0)
    shop.now_s += 3000
    assert counts(await check.run(shop.world)) == ("fail", 2, 1, 0)
    shop.now_s += 600
    assert counts(await check.run(shop.world)) == ("pass", 0, 0, 0)


async def test_a_change_after_a_long_quiet_time_is_compared_with_that_time(shop: Shop) -> None:
    check = built(accept_after_s=3600.0)
    await check.run(shop.world)
    shop.migrate("alter table orders drop column note")
    await check.run(shop.world)
    shop.now_s += 7200
    shop.migrate("create table more (id int)")
    assert counts(await check.run(shop.world)) == ("pass", 1, 0, 0)


async def test_a_change_that_was_taken_back_is_none(shop: Shop) -> None:
    check = built()
    await check.run(shop.world)
    shop.migrate("alter table orders rename to gone")
    assert (await check.run(shop.world)).outcome == "fail"
    shop.migrate("alter table gone rename to orders")
    assert counts(await check.run(shop.world)) == ("pass", 0, 0, 0)


async def test_only_the_tables_that_are_named_count(shop: Shop) -> None:
    shop.migrate("create table order_lines (id int); create table secret (id int)")
    check = built(tables=["order*"])
    assert (await check.run(shop.world)).details[0].startswith("2 tables")
    shop.migrate("drop table secret")
    assert counts(await check.run(shop.world)) == ("pass", 0, 0, 0)
    shop.migrate("drop table order_lines")
    assert counts(await check.run(shop.world)) == ("fail", 1, 1, 0)


async def test_only_the_schemas_that_are_named_count(world: World, postgres: PostgresServer) -> None:
    name = postgres.create()
    postgres.execute(
        "create schema shop; create table shop.orders (id int); create table logs (id int)", name
    )
    seen = replace(world, databases={"shop": Postgres(dsn=SecretStr(postgres.dsn(name)))})
    everything, chosen, table = built(), built(schemas=["shop"]), built(tables=["shop.ord*"])
    for check in (everything, chosen, table):
        assert (await check.run(seen)).outcome == "pass"
    postgres.execute("drop table logs", name)
    assert [(await check.run(seen)).outcome for check in (everything, chosen, table)] == [
        "fail",
        "pass",
        "pass",
    ]


async def test_many_unsafe_changes_are_counted_after_the_first_three(shop: Shop) -> None:
    names = [f"t{number}" for number in range(120)]
    shop.migrate("".join(f"create table {name} ({name} int);" for name in names))
    check = built()
    await check.run(shop.world)
    shop.migrate("".join(f"drop table {name};" for name in names))
    result = await check.run(shop.world)
    assert counts(result) == ("fail", 120, 120, 0)
    assert result.because.endswith("; and 117 more")
    assert len(result.details) == 100


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"tables": ["nosuch"]}, "there is no table or view to see"),
        ({"schemas": ["public"]}, "SQLite has no schemas"),
        ({"rows_max": 2}, "more than 2 rows"),
        ({"database": "nosuch"}, "there is no database nosuch"),
    ],
)
async def test_what_it_cannot_look_at_is_an_error(shop: Shop, params: dict[str, Any], told: str) -> None:
    result = await built(**params).run(shop.world)
    assert result.outcome == "error"
    assert told in result.because
    assert result.readings == {}


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"schemas": [""]}, "schemas: an empty name"),
        ({"tables": ["orders", ""]}, "tables: an empty name"),
        ({"accept_after_s": 0}, "accept_after:"),
        ({"rows_max": 0}, "rows_max:"),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        built(**params)


@pytest.fixture
def planned(tmp_path: Path) -> Callable[[str], dict[str, bool]]:
    """The series of a check as configured, and whether each may lead to a rollback."""

    def plan(check: str) -> dict[str, bool]:
        file = tmp_path / "watchdog.yaml"
        file.write_text(
            f"""
databases: {{shop: {{kind: sqlite, path: {tmp_path}/shop.db}}}}
services: {{checkout: {{checks: {{seen: {check}}}}}}}
"""
        )
        file.chmod(0o600)
        series = plan_services(config.load([file], KINDS, {}))["checkout"].series
        return {one.spec.name: one.spec.acts for one in series}

    return plan


def test_a_warning_about_rollbacks_never_causes_one(planned: Callable[[str], dict[str, bool]]) -> None:
    assert planned("{kind: schema, database: shop, acts: true, judge: [unsafe]}") == {
        "seen": False,
        "seen.unsafe": False,
    }
    query = "{kind: sql, database: shop, query: select 1, expect: size(rows) == 1"
    assert planned(f"{query}}}") == {"seen": True}
    assert planned(f"{query}, acts: false}}") == {"seen": False}
