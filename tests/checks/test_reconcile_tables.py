"""Kind reconcile over tables: compared inside their databases, across engines, with memory between runs."""

# ruff: noqa: S608 statements are put together here from what stands here

from __future__ import annotations

import itertools
import random
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter

from checks.comparison.engines import ENGINES
from checks.databases import DATABASES
from checks.databases.canonical import FLOAT_MAX, Kind, text
from checks.databases.postgres import Postgres
from checks.model import CheckResult, World
from checks.reconcile import ReconcileCheck
from checks.text import hidden
from tests.support.databases import AnyDatabase, server_database, sqlite_database
from tests.support.servers import free_port

NOW = 1_800_000_000.0
SETTLE_S = 30.0
OLD = NOW - 10_000


Make = Callable[[str], AnyDatabase]


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """`make("postgres")` is a new, empty database of that kind."""
    numbers = itertools.count()

    def made(kind: str) -> AnyDatabase:
        if kind == "sqlite":
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
            return sqlite_database(folder)
        return server_database(request.getfixturevalue({"mysql": "mariadb"}.get(kind, kind)))

    return made


class Shop:
    """Two stores and a check; `during_settle` happens while the check waits, `now_s` is when it runs."""

    def __init__(self, world: World, left: AnyDatabase, right: AnyDatabase, **params: Any) -> None:
        self.left, self.right = left, right
        self.now_s = NOW
        self.during_settle: list[Callable[[], object]] = []
        self.settled = 0
        self.world = replace(
            world,
            databases={"left": left.database, "right": right.database},
            now_s=lambda: self.now_s,
            sleep=self._settle,
        )
        self.check = built(**params)

    async def _settle(self, seconds: float) -> None:
        assert seconds == SETTLE_S
        self.settled += 1
        for happen in self.during_settle:
            happen()

    async def run(self, *, after_s: float = 60.0) -> CheckResult:
        self.now_s += after_s
        return await self.check.run(self.world)


def built(**params: Any) -> ReconcileCheck:
    """As the loader builds it; `left_` and `right_` begin the keys of one side."""
    sides: dict[str, dict[str, Any]] = {}
    for side in ("left", "right"):
        own = {
            name.removeprefix(f"{side}_"): value
            for name, value in params.items()
            if name.startswith(f"{side}_")
        }
        sides[side] = {"database": side, "table": "orders", "key": "id", **own}
        sides[side] = {name: value for name, value in sides[side].items() if value is not None}
    rest = {name: value for name, value in params.items() if not name.startswith(("left_", "right_"))}
    return TypeAdapter(ReconcileCheck).validate_python({"settle_s": SETTLE_S, **sides, **rest})


def timed(**params: Any) -> dict[str, Any]:
    """Both sides know when a row was changed."""
    return {"left_updated": "at", "left_epoch": "s", "right_updated": "at", "right_epoch": "s", **params}


ORDERS = "CREATE TABLE orders (id INTEGER, amount INTEGER, at REAL);"


def rows(*keys: int, amount: int = 5, at: float = OLD) -> str:
    """Statement that adds orders."""
    values = ", ".join(f"({key}, {amount}, {at})" for key in keys)
    return f"INSERT INTO orders VALUES {values};"


@pytest.fixture
def shop(make: Make, world: World) -> Callable[..., Shop]:
    """Two SQLite files with ten equal orders each."""

    def start(**params: Any) -> Shop:
        shop = Shop(world, make("sqlite"), make("sqlite"), **params)
        for store in (shop.left, shop.right):
            store.execute(ORDERS + rows(*range(10)))
        return shop

    return start


# What -> declared type and value by engine, and another value. A value is SQL.
Cell = tuple[str, str, str]
MATRIX: Mapping[str, Mapping[str, Cell]] = {
    "small_integer": {
        "mysql": ("tinyint", "-7", "8"),
        "postgres": ("smallint", "-7", "8"),
        "sqlite": ("INTEGER", "-7", "8"),
    },
    "integer": {
        "mysql": ("bigint", "9007199254740993", "9007199254740992"),
        "postgres": ("bigint", "9007199254740993", "9007199254740992"),
        "sqlite": ("INTEGER", "9007199254740993", "9007199254740992"),
    },
    "decimal_of_other_scale": {
        "mysql": ("decimal(12, 4)", "24.9", "24.91"),
        "postgres": ("numeric(12, 2)", "24.90", "24.91"),
        "sqlite": ("NUMERIC", "24.9", "24.91"),
    },
    "decimal_without_places": {
        "mysql": ("decimal(10, 0) unsigned zerofill", "100", "10"),
        "postgres": ("numeric(12, 0)", "100", "10"),
        "sqlite": ("NUMERIC", "100", "10"),
    },
    "decimal_beyond_doubles": {
        "mysql": ("decimal(40, 10)", "12345678901234567890.12", "12345678901234567890.13"),
        "postgres": ("numeric", "12345678901234567890.1200", "12345678901234567890.13"),
        "sqlite": ("TEXT", "'12345678901234567890.12'", "'12345678901234567890.13'"),
    },
    "negative_zero": {
        "mysql": ("decimal(5, 2)", "-0.00", "0.01"),
        "postgres": ("numeric(5, 2)", "-0.00", "0.01"),
        "sqlite": ("REAL", "-0.0", "0.01"),
    },
    "double": {
        "mysql": ("double", "0.1e0 + 0.2e0", "0.3"),
        "postgres": ("double precision", "0.1::float8 + 0.2::float8", "0.3"),
        "sqlite": ("REAL", "0.1 + 0.2", "0.3"),
    },
    "double_and_decimal": {
        "mysql": ("double", "0.1", "0.1001"),
        "postgres": ("numeric(12, 4)", "0.1000", "0.1001"),
        "sqlite": ("REAL", "0.1", "0.1001"),
    },
    "tiny_double": {
        "mysql": ("double", "1.5e-07", "1.6e-07"),
        "postgres": ("double precision", "1.5e-07", "1.6e-07"),
        "sqlite": ("REAL", "1.5e-07", "1.6e-07"),
    },
    "boolean": {
        "mysql": ("boolean", "true", "false"),
        "postgres": ("boolean", "true", "false"),
        "sqlite": ("BOOLEAN", "1", "0"),
    },
    "text": {
        "mysql": ("text CHARACTER SET utf8mb4", "'Zoë | 漢字 ''x'''", "'Zoe'"),
        "postgres": ("text", "'Zoë | 漢字 ''x'''", "'Zoe'"),
        "sqlite": ("TEXT", "'Zoë | 漢字 ''x'''", "'Zoe'"),
    },
    "empty_text": {
        "mysql": ("varchar(20)", "''", "' '"),
        "postgres": ("varchar(20)", "''", "' '"),
        "sqlite": ("TEXT", "''", "' '"),
    },
    "padded_text": {
        "mysql": ("char(8)", "'ab'", "'abc'"),
        "postgres": ("char(8)", "'ab'", "'abc'"),
        "sqlite": ("TEXT", "'ab'", "'abc'"),
    },
    "text_of_digits": {
        "mysql": ("varchar(5) CHARACTER SET latin1", "'007'", "'7'"),
        "postgres": ("text", "'007'", "'7'"),
        "sqlite": ("TEXT", "'007'", "'7'"),
    },
    "bytes": {
        "mysql": ("blob", "x'00ff1e1f'", "x'00ff'"),
        "postgres": ("bytea", r"'\x00ff1e1f'", r"'\x00ff'"),
        "sqlite": ("BLOB", "x'00ff1e1f'", "x'00ff'"),
    },
    "uuid": {
        "mysql": (
            "char(36)",
            "'0F8FAD5B-D9CB-469F-A165-70867728950E'",
            "'0F8FAD5B-D9CB-469F-A165-70867728950F'",
        ),
        "postgres": (
            "uuid",
            "'0f8fad5b-d9cb-469f-a165-70867728950e'",
            "'0f8fad5b-d9cb-469f-a165-70867728950f'",
        ),
        "sqlite": (
            "TEXT",
            "'0F8FAD5B-D9CB-469F-A165-70867728950E'",
            "'0F8FAD5B-D9CB-469F-A165-70867728950F'",
        ),
    },
    "uuid_in_bytes": {
        "mysql": ("binary(16)", "x'0f8fad5bd9cb469fa16570867728950e'", "x'0f8fad5bd9cb469fa16570867728950f'"),
        "postgres": (
            "uuid",
            "'0f8fad5b-d9cb-469f-a165-70867728950e'",
            "'0f8fad5b-d9cb-469f-a165-70867728950f'",
        ),
        "sqlite": ("BLOB", "x'0f8fad5bd9cb469fa16570867728950e'", "x'0f8fad5bd9cb469fa16570867728950f'"),
    },
    "date": {
        "mysql": ("date", "'2026-11-22'", "'2026-11-23'"),
        "postgres": ("date", "'2026-11-22'", "'2026-11-23'"),
        "sqlite": ("TEXT", "'2026-11-22'", "'2026-11-23'"),
    },
    "time_with_zone": {
        "mysql": ("datetime(6)", "'2026-11-22 08:00:00.123456'", "'2026-11-22 08:00:00.123457'"),
        "postgres": ("timestamptz", "'2026-11-22 10:00:00.123456+02'", "'2026-11-22 10:00:00.123457+02'"),
        "sqlite": ("TEXT", "'2026-11-22T08:00:00.123456Z'", "'2026-11-22T08:00:00.123457Z'"),
    },
    "time_without_zone": {
        "mysql": ("datetime", "'2026-11-22 10:00:00'", "'2026-11-22 10:00:01'"),
        "postgres": ("timestamp", "'2026-11-22 10:00:00'", "'2026-11-22 10:00:01'"),
        "sqlite": ("TEXT", "'2026-11-22 10:00:00'", "'2026-11-22 10:00:01'"),
    },
    "time_as_a_number": {
        "mysql": ("datetime(3)", "'2027-01-15 08:00:00.5'", "'2027-01-15 08:00:00.25'"),
        "postgres": ("timestamptz", "'2027-01-15 08:00:00.5+00'", "'2027-01-15 08:00:00.25+00'"),
        "sqlite": ("REAL", "1800000000.5", "1800000000.25"),
    },
    "time_of_lower_precision": {
        "mysql": ("datetime(6)", "'2026-11-22 10:00:00.5'", "'2026-11-22 10:00:00.4'"),
        "postgres": ("timestamptz(0)", "'2026-11-22 10:00:01+00'", "'2026-11-22 10:00:00+00'"),
        "sqlite": ("TEXT", "'2026-11-22 10:00:00.5'", "'2026-11-22 10:00:00.4'"),
    },
    "nothing": {
        "mysql": ("text", "NULL", "''"),
        "postgres": ("text", "NULL", "''"),
        "sqlite": ("TEXT", "NULL", "''"),
    },
}
PAIRS = sorted({tuple(sorted(pair)) for pair in itertools.product(next(iter(MATRIX.values())), repeat=2)})


def matrix_table(kind: str, *, is_changed: bool) -> str:
    """One row per column of the matrix; in the changed table, row and column of one number have the other."""
    cells = [by_engine[kind] for by_engine in MATRIX.values()]
    columns = ", ".join(f"a_{name} {cell[0]}" for name, cell in zip(MATRIX, cells, strict=True))
    rows = [
        ", ".join([str(n), *(cell[2 if is_changed and n == m else 1] for m, cell in enumerate(cells))])
        for n in range(len(cells))
    ]
    values = ", ".join(f"({row})" for row in rows)
    # The client of MariaDB speaks latin1 unless told otherwise.
    first = "SET NAMES utf8mb4;" if kind == "mysql" else ""
    table = f"CREATE TABLE orders (id INTEGER PRIMARY KEY, {columns})"
    return f"{first} {table}; INSERT INTO orders VALUES {values};"


def test_every_kind_of_database_can_be_compared() -> None:
    assert ENGINES.keys() == {cls.dialect for cls in DATABASES.values()}
    assert {kind for cells in MATRIX.values() for kind in cells} == set(next(iter(MATRIX.values())))


@pytest.mark.parametrize("kinds", PAIRS, ids="-".join)
async def test_equal_values_are_equal_and_others_are_not(
    make: Make, world: World, kinds: tuple[str, str]
) -> None:
    left, right = map(make, kinds)
    left.execute(matrix_table(left.kind, is_changed=False))
    right.execute(matrix_table(right.kind, is_changed=False))
    shop = Shop(world, left, right)
    result = await shop.run()
    assert (result.outcome, result.readings["compared"]) == ("pass", len(MATRIX)), result
    assert not [line for line in result.details if "not compared" in line]
    right.execute(f"DROP TABLE orders; {matrix_table(right.kind, is_changed=True)}")
    result = await shop.run()
    assert result.readings["mismatches"] == len(MATRIX)
    assert f"{len(MATRIX)} with other values" in result.because


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("postgres", "x float8, d numeric, at timestamptz, note text"),
        ("mysql", "x double, d decimal(30, 10), at datetime(6), note text CHARACTER SET utf8mb4"),
    ],
)
async def test_random_values_have_one_text_in_every_engine(
    make: Make, world: World, kind: str, columns: str
) -> None:
    """Doubles of any size, decimals, times and texts: 400 of each, seed 4."""
    rng = random.Random(4)  # noqa: S311
    left, right = make(kind), make("sqlite")
    values = ", ".join(f"({n}, {', '.join(row)})" for n, row in enumerate(random_rows(rng, 400)))
    names = "SET NAMES utf8mb4;" if kind == "mysql" else ""
    left.execute(f"{names} CREATE TABLE orders (id int, {columns}); INSERT INTO orders VALUES {values}")
    right.execute(
        f"CREATE TABLE orders (id, x, d TEXT, at TEXT, note TEXT); INSERT INTO orders VALUES {values}"
    )
    result = await Shop(world, left, right).run()
    assert (result.outcome, result.readings["compared"]) == ("pass", 400), result


def random_rows(rng: random.Random, n: int) -> Iterator[tuple[str, ...]]:
    """SQL values that every engine reads; times in UTC."""
    letters = "aZ0 ,;|\u00e9\u6f22\U0001f600"
    while n:
        x: float = struct.unpack("<d", rng.randbytes(8))[0]
        if x != x or abs(x) in (float("inf"), 0.0):
            continue
        n -= 1
        # Every other one of a size at which nothing is rounded.
        x = x if n % 2 else rng.uniform(-1e6, 1e6)
        scale = rng.randrange(8)
        moment = f"20{rng.randrange(70, 100)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"
        moment += f" 10:{rng.randrange(60):02}:00.{rng.randrange(10**6):06}"
        note = "".join(rng.choices(letters, k=rng.randrange(12)))
        yield (repr(x), f"'{rng.randrange(10**15)}.{rng.randrange(10**scale)}'", f"'{moment}'", f"'{note}'")


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (Kind("float"), 1e300, str(FLOAT_MAX)),
        (Kind("float"), float("-inf"), f"-{FLOAT_MAX}"),
        (Kind("float"), 1e-31, "0"),
        (Kind("number"), "many", "many"),
        (Kind("number"), float("inf"), "inf"),
        (Kind("number"), 1e22, "1" + "0" * 22),
        (Kind("time", 3), "2026-11-22 10:00:00.1235", "2026-11-22 10:00:00.124"),
        (Kind("time", 3, rounds=False), "2026-11-22 10:00:00.1239", "2026-11-22 10:00:00.123"),
        (Kind("time", 0), "2026-12-31T23:59:59.5Z", "2027-01-01 00:00:00"),
        (Kind("time"), "soon", "soon"),
        (Kind("date"), 1_800_000_000, "2027-01-15"),
        (Kind("text"), b"ab", "ab"),
        (Kind("bytes"), "ab", "6162"),
        (Kind("any"), "01", "01"),
        (Kind("any"), 1.50, "1.5"),
        (Kind("any"), b"1", "31"),
    ],
)
def test_the_text_of_a_value(kind: Kind, value: Any, told: str) -> None:
    assert text(kind, value) == told


async def test_equal_tables_pass_without_a_second_look(shop: Callable[..., Shop]) -> None:
    seen = shop()
    result = await seen.run()
    assert (result.outcome, seen.settled) == ("pass", 0)
    assert result.readings["compared"] == 10
    assert result.readings["mismatches_per_million"] == 0
    assert result.readings["read_rows"] == 0


async def test_empty_tables_pass_and_claim_no_rate(shop: Callable[..., Shop]) -> None:
    seen = shop(left_where="id < 0", right_where="id < 0")
    result = await seen.run()
    assert (result.outcome, result.readings["compared"]) == ("pass", 0)
    assert "mismatches_per_million" not in result.readings


async def test_every_way_to_disagree_is_counted_and_dated(shop: Callable[..., Shop]) -> None:
    seen = shop(**timed())
    seen.left.execute(rows(10, at=NOW - 7200) + rows(11, at=NOW - 3600))
    seen.right.execute(rows(1) + rows(99, at=NOW - 1800) + "UPDATE orders SET amount = 6 WHERE id = 2;")
    result = await seen.run(after_s=0)
    assert (result.outcome, seen.settled) == ("fail", 1)
    assert result.readings["mismatches"] == 5
    assert result.readings["mismatches_per_million"] == pytest.approx(5 / 12 * 1e6)
    for kind in ("2 missing on the right", "1 missing on the left", "1 duplicated", "1 with other values"):
        assert kind in result.because
    assert (
        "the missing were last changed between 2027-01-15T06:00:00Z and 2027-01-15T07:30:00Z"
        in result.because
    )
    assert result.written_at == (NOW - 7200, NOW - 1800)
    assert f"{hidden(11)} missing on the right" in result.details
    assert f"{hidden(99)} missing on the left" in result.details


async def test_equal_duplicates_are_equal(shop: Callable[..., Shop]) -> None:
    """The sum of a bucket counts every row, so that one pair too many on a side would be seen."""
    seen = shop()
    for store in (seen.left, seen.right):
        store.execute(rows(3) + rows(3))
    assert (await seen.run()).outcome == "pass"
    seen.left.execute(rows(3) + rows(3))
    result = await seen.run()
    assert (result.outcome, result.readings["mismatches"]) == ("fail", 1)


async def test_rows_in_flight_do_not_count(shop: Callable[..., Shop]) -> None:
    seen = shop()
    seen.left.execute(rows(10) + "UPDATE orders SET amount = 6 WHERE id = 3;")
    seen.during_settle = [
        lambda: seen.right.execute(rows(10)),
        lambda: seen.right.execute("UPDATE orders SET amount = 6 WHERE id = 3"),
    ]
    result = await seen.run()
    assert (result.outcome, result.readings["mismatches"]) == ("pass", 0)
    assert "2 were in flight" in result.details[0]


async def test_a_row_that_changes_between_the_looks_is_still_moving(shop: Callable[..., Shop]) -> None:
    seen = shop()
    seen.right.execute("UPDATE orders SET amount = 6 WHERE id = 3")
    seen.during_settle = [lambda: seen.right.execute("UPDATE orders SET amount = 7 WHERE id = 3")]
    assert (await seen.run()).outcome == "pass"


async def test_a_row_changed_less_than_settle_ago_waits_on_both_sides(shop: Callable[..., Shop]) -> None:
    seen = shop(**timed())
    late = NOW - SETTLE_S + 1
    seen.left.execute(f"UPDATE orders SET amount = 6, at = {late} WHERE id = 3;" + rows(10, at=late))
    result = await seen.run(after_s=0)
    # The right still has the old version of 3, which alone is settled.
    assert (result.outcome, seen.settled) == ("pass", 0), result
    result = await seen.run(after_s=60)
    assert (result.outcome, result.readings["mismatches"]) == ("fail", 2)


async def test_a_later_run_reads_only_what_changed(shop: Callable[..., Shop]) -> None:
    seen = shop(**timed())
    assert (await seen.run()).details[1].startswith("whole tables")
    for store in (seen.left, seen.right):
        store.execute(f"UPDATE orders SET amount = 8, at = {seen.now_s} WHERE id IN (4, 5)")
    result = await seen.run()
    assert (result.outcome, seen.settled) == ("pass", 0)
    assert result.readings["read_rows"] == 4
    assert "(run 2 of 20): 2 and 2 rows" in result.details[1]
    seen.left.execute(f"UPDATE orders SET amount = 9, at = {seen.now_s} WHERE id = 5")
    result = await seen.run()
    assert (result.outcome, result.readings["mismatches"]) == ("fail", 1)
    assert f"{hidden(5)} with other values" in result.details


async def test_what_was_wrong_stays_wrong_until_it_is_mended(shop: Callable[..., Shop]) -> None:
    seen = shop(**timed())
    seen.right.execute("DELETE FROM orders WHERE id = 3")
    for _ in range(3):
        assert (await seen.run()).readings["mismatches"] == 1
    seen.right.execute(rows(3))
    result = await seen.run()
    assert (result.outcome, "run 4 of 20" in result.details[1]) == ("pass", True)
    assert (await seen.run()).readings["read_rows"] == 0


async def test_a_row_late_in_both_looks_is_not_forgotten(shop: Callable[..., Shop]) -> None:
    seen = shop(**timed())
    seen.right.execute("UPDATE orders SET amount = 6 WHERE id = 3")
    seen.during_settle = [lambda: seen.right.execute("UPDATE orders SET amount = amount + 1 WHERE id = 3")]
    assert (await seen.run()).outcome == "pass"
    seen.during_settle = []
    assert (await seen.run()).readings["mismatches"] == 1


async def test_a_deletion_is_seen_by_the_next_full_look(shop: Callable[..., Shop]) -> None:
    seen = shop(**timed(full_every=3))
    assert (await seen.run()).outcome == "pass"
    seen.right.execute("DELETE FROM orders WHERE id = 3")
    assert [(await seen.run()).outcome for _ in range(3)] == ["pass", "pass", "fail"]


async def test_a_row_deleted_at_its_source_between_the_looks_is_in_flight(shop: Callable[..., Shop]) -> None:
    """Its copy was never made, or is deleted later."""
    seen = shop()
    seen.left.execute(rows(10) + "UPDATE orders SET amount = 6 WHERE id = 3;")
    seen.during_settle = [lambda: seen.left.execute("DELETE FROM orders WHERE id IN (3, 10)")]
    result = await seen.run()
    assert (result.outcome, result.readings["mismatches"]) == ("pass", 0)
    assert "2 were in flight" in result.details[0]
    seen.during_settle = []
    result = await seen.run()
    assert (result.outcome, result.readings["mismatches"]) == ("fail", 1)
    assert f"{hidden(3)} missing on the left" in result.details


async def test_a_row_that_is_stamped_backwards_waits_for_a_full_look(shop: Callable[..., Shop]) -> None:
    seen = shop(**timed(full_every=2))
    assert (await seen.run()).outcome == "pass"
    seen.left.execute(f"UPDATE orders SET amount = 6, at = {OLD - 5000} WHERE id = 3")
    assert (await seen.run()).outcome == "pass"
    # In flight it is no mismatch, although it looks as if it had had its time.
    seen.during_settle = [lambda: seen.right.execute("UPDATE orders SET amount = 6 WHERE id = 3")]
    assert (await seen.run()).outcome == "pass"
    assert seen.settled == 1
    seen.left.execute(f"UPDATE orders SET amount = 7, at = {OLD - 6000} WHERE id = 3")
    assert [(await seen.run()).outcome for _ in range(2)] == ["pass", "fail"]


@pytest.mark.parametrize("ahead_s", [-7200.0, -40.0, 40.0, 7200.0])
async def test_a_clock_that_is_wrong_on_one_side_makes_no_mismatch(
    shop: Callable[..., Shop], ahead_s: float
) -> None:
    """A row stamped in the future is judged when that has come, one stamped long ago by a full look."""
    seen = shop(**timed(full_every=7))
    assert (await seen.run()).outcome == "pass"
    for _ in range(4):
        seen.left.execute(f"UPDATE orders SET amount = amount + 1, at = {seen.now_s} WHERE id = 3")
        seen.right.execute(f"UPDATE orders SET amount = amount + 1, at = {seen.now_s + ahead_s} WHERE id = 3")
        assert (await seen.run(after_s=60)).outcome == "pass"
    seen.right.execute(f"UPDATE orders SET amount = 99, at = {seen.now_s + ahead_s} WHERE id = 3")
    outcomes = [(await seen.run(after_s=60)).outcome for _ in range(2)]
    assert outcomes[-1] == ("pass" if abs(ahead_s) == 7200.0 else "fail")
    assert (await seen.run(after_s=7200)).outcome == "fail"


@pytest.mark.parametrize("late_s", [SETTLE_S - 1, 1.5 * SETTLE_S, 100 * SETTLE_S])
async def test_a_transaction_that_commits_late_makes_no_mismatch(
    shop: Callable[..., Shop], late_s: float
) -> None:
    """Its rows are stamped with its beginning, and take their time to the other side from its end."""
    seen = shop(**timed())
    assert (await seen.run()).outcome == "pass"
    stamped = seen.now_s
    seen.now_s += late_s
    seen.left.execute(rows(10, at=stamped))
    seen.during_settle = [lambda: seen.right.execute(rows(10, at=stamped))]
    result = await seen.run(after_s=0)
    assert (result.outcome, result.readings["mismatches"]) == ("pass", 0)
    if not seen.settled:
        seen.right.execute(rows(10, at=stamped))
    seen.during_settle = []
    assert [(await seen.run()).outcome for _ in range(21)] == ["pass"] * 21


async def test_a_row_without_a_time_is_compared_by_full_looks(shop: Callable[..., Shop]) -> None:
    seen = shop(**timed(full_every=2))
    for store in (seen.left, seen.right):
        store.execute("UPDATE orders SET at = NULL WHERE id = 3")
    assert (await seen.run()).readings["compared"] == 10
    seen.right.execute("UPDATE orders SET amount = 6 WHERE id = 3")
    assert [(await seen.run()).outcome for _ in range(2)] == ["pass", "fail"]
    result = await seen.run()
    assert (result.outcome, f"{hidden(3)} with other values" in result.details) == ("fail", True)


async def test_more_changes_than_rows_max_make_a_full_look(shop: Callable[..., Shop]) -> None:
    seen = shop(**timed(rows_max=4))
    await seen.run()
    for store in (seen.left, seen.right):
        store.execute(f"UPDATE orders SET at = {seen.now_s} WHERE id < 5")
    result = await seen.run()
    assert result.outcome == "pass"
    assert result.details[1].startswith("whole tables")


async def test_too_much_that_differs_is_read_in_part_and_projected(shop: Callable[..., Shop]) -> None:
    seen = shop(rows_max=5)
    seen.right.execute("UPDATE orders SET amount = 6")
    result = await seen.run()
    assert result.outcome == "fail"
    assert result.readings["mismatches"] == 10
    assert "about 10 of 10 keys differ" in result.because
    assert "of those read 5 with other values" in result.because
    seen.during_settle = [lambda: seen.right.execute("UPDATE orders SET amount = amount + 1")]
    result = await seen.run()
    assert result.outcome == "error"
    assert "raise rows_max" in result.because


@pytest.mark.parametrize(
    ("kinds", "types"),
    [
        (("postgres", "postgres"), ("uuid", "text")),
        (("postgres", "postgres"), ("uuid", "uuid")),
        (("postgres", "sqlite"), ("text", "TEXT")),
        (("postgres", "sqlite"), ("numeric(30, 2)", "INTEGER")),
        (("mysql", "postgres"), ("varchar(40)", "varchar(40)")),
        (("mysql", "sqlite"), ("bigint", "")),
    ],
)
async def test_single_keys_are_found_again(
    make: Make, world: World, kinds: tuple[str, str], types: tuple[str, str]
) -> None:
    """By their values where a literal is safe, by their bucket otherwise."""
    keys = ["o''x", "a b", "A B", "Zo\u00eb", r"a\b", "a:since"]
    if "uuid" in types:
        keys = [f"0F8FAD5B-D9CB-469F-A165-70867728950{n}" for n in range(6)]
    if "INT" in types[1] or "int" in types[0]:
        keys = ["-7", "0", "9007199254740993", "4", "5", "6"]
    left, right = map(make, kinds)
    for store, type_ in zip((left, right), types, strict=True):
        names = "SET NAMES utf8mb4; SET sql_mode = 'NO_BACKSLASH_ESCAPES';" if store.kind == "mysql" else ""
        charset = "CHARACTER SET utf8mb4" if store.kind == "mysql" and "char" in type_ else ""
        values = ", ".join(f"('{key}', 'x', 5, {OLD})" for key in keys)
        store.execute(
            f"{names} CREATE TABLE orders"
            f" (id {type_} {charset}, part char(4), amount int, at double precision);"
            f"INSERT INTO orders VALUES {values}"
        )
    one = Shop(world, left, right, **timed())
    two = Shop(world, left, right, **timed(left_key=["id", "part"], right_key=["id", "part"]))
    for shop in (one, two):
        assert (await shop.run()).outcome == "pass"
    right.execute(f"UPDATE orders SET amount = 6, at = {one.now_s}")
    for shop in (one, two):
        for run in (2, 3):
            result = await shop.run()
            assert (result.outcome, result.readings["mismatches"]) == ("fail", len(keys)), result
            assert f"(run {run} of 20)" in result.details[1]


@pytest.mark.parametrize("key", ["INTEGER", "INTEGER PRIMARY KEY"])
async def test_where_much_differs_smaller_buckets_are_compared_first(
    shop: Callable[..., Shop], key: str
) -> None:
    """Buckets of the key's hash, or of the key itself where it is one integer."""
    seen = shop(rows_max=25)
    for store in (seen.left, seen.right):
        store.execute(f"DROP TABLE orders; {ORDERS.replace('INTEGER', key, 1)} {rows(*range(10))}")
    for store in (seen.left, seen.right):
        store.execute(rows(*range(10, 3000)))
    seen.right.execute("UPDATE orders SET amount = 6 WHERE id % 200 = 0")
    result = await seen.run()
    assert (result.outcome, result.readings["mismatches"]) == ("fail", 15)
    assert "15 of 1024 buckets differ" in result.details[1] or "PRIMARY" in key
    assert re.search(r"buckets differ, 15 of (65536|3000) small ones", result.details[1])
    assert result.readings["read_rows"] < 40


async def test_tables_and_columns_may_have_other_names(make: Make, world: World) -> None:
    left, right = make("sqlite"), make("sqlite")
    left.execute(
        'CREATE TABLE "Order Lines-1" (shop, n, cents); INSERT INTO "Order Lines-1" VALUES (1, 2, 5)'
    )
    right.execute("CREATE TABLE lines (s, line, amount); INSERT INTO lines VALUES (1, 2, 5), (2, 1, 5)")
    params = {
        "left_table": "Order-Lines",
        "left_key": ["shop", "n"],
        "left_columns": ["cents"],
        "right_table": "main.lines",
        "right_key": ["s", "line"],
        "right_columns": ["amount"],
        "right_where": "s = 1",
    }
    left.execute('ALTER TABLE "Order Lines-1" RENAME TO "Order-Lines"')
    shop = Shop(world, left, right, **params)
    assert (await shop.run()).outcome == "pass"
    right.execute("UPDATE lines SET amount = 6")
    result = await shop.run()
    assert (result.outcome, result.readings["mismatches"]) == ("fail", 1)


async def test_postgres_compares_with_its_own_hash_what_has_no_common_text(make: Make, world: World) -> None:
    left, right = make("postgres"), make("postgres")
    table = (
        "CREATE TYPE state AS ENUM ({}); CREATE DOMAIN cents AS numeric(12, 2);"
        "CREATE TABLE orders (id {} PRIMARY KEY, state state, paid cents, parts text[], lasts interval,"
        " extra jsonb, raw json, note text, place point);"
        "INSERT INTO orders SELECT n, 'new', 5, '{{a,b}}', '1 day', '{{\"a\": 1}}', '{{}}', NULL, '(1,2)'"
        " FROM generate_series(1, 50) n"
    )
    # The oids of an enum's values differ, and an integer of another width hashes alike.
    left.execute(table.format("'new', 'paid'", "bigint"))
    right.execute(table.format("'paid', 'new'", "int"))
    shop = Shop(world, left, right)
    result = await shop.run()
    assert (result.outcome, result.readings["compared"]) == ("pass", 50), result
    assert "not compared: raw (json), place (point)" in result.details
    changes = ("state = 'paid'", "paid = 6", "parts = '{b}'", "lasts = '2 days'", "extra = '{}'", "note = ''")
    for n, change in enumerate(changes, start=1):
        right.execute(f"UPDATE orders SET {change} WHERE id = {n}")
    assert (await shop.run()).readings["mismatches"] == len(changes)


async def test_types_of_postgres_that_differ_meet_in_their_text(make: Make, world: World) -> None:
    left, right = make("postgres"), make("postgres")
    left.execute("CREATE TABLE orders (id int, amount int, code uuid, at timestamp)")
    right.execute("CREATE TABLE orders (id numeric, amount numeric(9, 2), code text, at timestamptz)")
    code = "0f8fad5b-d9cb-469f-a165-70867728950e"
    for store in (left, right):
        store.execute(f"INSERT INTO orders VALUES (1, 100, '{code}', '2026-11-22 10:00:00')")
    shop = Shop(world, left, right)
    assert (await shop.run()).outcome == "pass"
    right.execute("UPDATE orders SET amount = 100.01")
    assert (await shop.run()).readings["mismatches"] == 1


@pytest.mark.parametrize(
    ("engine", "kind", "epoch", "moment"),
    [
        ("postgres", "timestamptz", None, "to_timestamp({})"),
        ("postgres", "timestamp", None, "to_timestamp({}) AT TIME ZONE 'UTC'"),
        ("postgres", "bigint", "ms", "{} * 1000"),
        ("postgres", "float8", "s", "{}"),
        ("mysql", "datetime(3)", None, "from_unixtime({})"),
        ("mysql", "timestamp", None, "from_unixtime({})"),
        ("mysql", "bigint", "s", "{}"),
        ("sqlite", "TEXT", None, "strftime('%Y-%m-%dT%H:%M:%fZ', {}, 'unixepoch')"),
        ("sqlite", "INTEGER", "ms", "{} * 1000"),
    ],
)
async def test_when_rows_changed_is_known(
    make: Make, world: World, engine: str, kind: str, epoch: str | None, moment: str
) -> None:
    left, right = make(engine), make(engine)
    at = [moment.format(NOW - 10_000), moment.format(NOW - 10)]
    for store in (left, right):
        store.execute(
            f"CREATE TABLE orders (id int, amount int, at {kind}); CREATE INDEX orders_at ON orders (at);"
            f"INSERT INTO orders VALUES (1, 5, {at[0]}), (2, 5, {at[0]}), (3, 5, NULL);"
        )
    left.execute(f"UPDATE orders SET amount = 6, at = {at[1]} WHERE id = 1")
    shop = Shop(world, left, right, **timed(left_epoch=epoch, right_epoch=epoch))
    result = await shop.run(after_s=0)
    assert (result.outcome, shop.settled, result.readings["compared"]) == ("pass", 0, 3), result
    result = await shop.run(after_s=60)
    assert (result.outcome, result.readings["mismatches"]) == ("fail", 1)
    assert "(run 2 of 20): 1 and 0 rows" in result.details[1]


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"left_table": "order"}, "there is no table order"),
        ({"left_key": "number"}, "table orders has no column number"),
        ({"left_columns": ["sum"]}, "table orders has no column sum"),
        ({"left_where": "sum > 1"}, "no such column: sum"),
        (timed(left_epoch=None), "updated: orders.at holds numbers; write epoch: s or epoch: ms"),
    ],
)
async def test_what_is_not_there_is_our_mistake(
    shop: Callable[..., Shop], params: dict[str, Any], told: str
) -> None:
    result = await shop(**params).run()
    assert result.outcome == "error"
    assert told in result.because


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DROP TABLE orders", "there is no table orders"),
        ("ALTER TABLE orders DROP COLUMN id", "table orders has no column id"),
        ("ALTER TABLE orders DROP COLUMN amount", "column amount, compared before, is gone"),
    ],
)
async def test_what_goes_away_fails_after_it_worked(
    shop: Callable[..., Shop], change: str, told: str
) -> None:
    seen = shop()
    assert (await seen.run()).outcome == "pass"
    seen.right.execute(change)
    for _ in range(2):
        result = await seen.run()
        assert result.outcome == "fail"
        assert told in result.because


async def test_types_that_cannot_be_compared_are_told(make: Make, world: World) -> None:
    left, right = make("postgres"), make("sqlite")
    left.execute("CREATE TABLE orders (id int, extra jsonb, parts int[], born date, spare int, at timestamp)")
    right.execute("CREATE TABLE orders (id, extra, parts, born, at)")
    result = await Shop(world, left, right).run()
    assert result.outcome == "pass"
    told = "not compared: spare (left only), extra (jsonb and any), parts (integer[] and any)"
    assert told in result.details
    for params, told in (
        ({"left_columns": ["extra"]}, "columns: extra (jsonb and any) cannot be compared"),
        ({"left_key": "extra", "right_key": "extra"}, "key: extra (jsonb and any) cannot be compared"),
        ({"left_updated": "born", "right_updated": "born"}, "updated: orders.born is date"),
        (timed(left_updated="at"), "updated: orders.at does not hold numbers; leave out epoch"),
    ):
        result = await Shop(world, left, right, **params).run()
        assert result.outcome == "error"
        assert told in result.because


async def test_a_schema_that_changes_makes_a_full_look(shop: Callable[..., Shop]) -> None:
    seen = shop(**timed())
    await seen.run()
    for store in (seen.left, seen.right):
        store.execute("ALTER TABLE orders ADD COLUMN note TEXT DEFAULT 'x'")
    result = await seen.run()
    assert (result.outcome, result.details[1][:12]) == ("pass", "whole tables")


async def test_a_scan_that_takes_too_long_is_an_error_that_says_so(make: Make, world: World) -> None:
    left, right = make("postgres"), make("postgres")
    for store in (left, right):
        store.execute("CREATE TABLE orders AS SELECT n AS id FROM generate_series(1, 300000) n")
    shop = Shop(replace(world, timeout_s=0.15), left, right)
    result = await shop.run()
    assert result.outcome == "error"
    assert "a look at the whole tables did not end within 0.15 s (" in result.because
    assert result.because.endswith("; raise timeout, or narrow both sides with where")


async def test_a_database_that_is_away_fails(make: Make, world: World) -> None:
    port = free_port()
    away = AnyDatabase(
        "postgres", Postgres(dsn=SecretStr(f"postgresql://u@127.0.0.1:{port}/d")), lambda _: None
    )
    result = await Shop(world, away, make("sqlite")).run()
    assert result.outcome == "fail"
    assert "connection refused" in result.because
    assert result.readings == {}


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"left_query": "select 1 as key"}, "query: write either a query or a table"),
        ({"left_table": None}, "query: write either a query or a table"),
        ({"left_table": "orders; drop"}, "table: 'orders; drop' is not"),
        ({"left_table": "a.b.c"}, "table: 'a.b.c' is not"),
        ({"left_key": None}, "key: write 1 to 8 columns"),
        ({"left_key": ["a"] * 9}, "key: write 1 to 8 columns"),
        ({"left_key": 'i"d'}, "key: 'i\"d' is not"),
        ({"left_columns": ["a"] * 201}, "columns: write at most 200"),
        ({"left_columns": ["a.b"]}, "columns: 'a.b' is not"),
        ({"left_updated": "now()"}, "updated: 'now()' is not"),
        ({"left_where": "a = 1) or (1 = 1"}, "where: the brackets do not match"),
        ({"left_where": "a = 1; drop table x"}, "where: holds `;`"),
        ({"left_where": "a > :since"}, "where: :since has no value here"),
        ({"left_where": "where a > 1"}, "where: write a condition, without WHERE"),
        ({"left_key": ["a", "b"]}, "right: key has not as many columns"),
        ({"left_columns": ["a", "b"], "right_columns": ["a"]}, "right: columns are not as many"),
        ({"left_updated": "at"}, "right: write updated on both sides or on neither"),
        ({"left_epoch": "s"}, "epoch: says what the numbers in updated mean"),
        ({"full_every": 0}, "full_every: write a number from 1 to 1000"),
        (
            {"left_table": None, "left_key": None, "left_query": "select 1 as key"},
            "right: one side is a query, the other a table",
        ),
        (
            {"left_table": None, "left_query": "select 1 as key"},
            "key: belongs to a table",
        ),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        built(**params)
    assert told in str(caught.value)
