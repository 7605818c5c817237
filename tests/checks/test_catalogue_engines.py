"""Verdicts on real engines: what the previous version sends is really refused, or really taken."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncmy
import asyncpg
import pytest
from asyncmy.constants import CLIENT
from pydantic import SecretStr

from checks.catalogue import Snapshot, compare, from_json, read, to_json
from checks.catalogue.model import Column, Constraint
from checks.catalogue.rules import RULES
from checks.databases import DATABASES
from checks.databases.postgres import Postgres
from checks.databases.sqlite import Sqlite
from checks.model import Database, World
from tests.support.mariadb import MariadbServer
from tests.support.postgres import PostgresServer


@dataclass(slots=True)
class Live:
    """An empty database of a kind. execute: runs statements as its owner, raises what it refuses."""

    kind: str
    database: Database
    execute: Callable[[str], Awaitable[object]]

    async def takes(self, sql: str) -> bool:
        """Whether the engine does what the statement says."""
        try:
            await self.execute(sql)
        except (asyncmy.errors.MySQLError, asyncpg.PostgresError, sqlite3.Error):
            return False
        return True


@pytest.fixture(scope="module")
def shop(postgres: PostgresServer) -> str:
    """The DSN of a database of PostgreSQL for all tests here: to empty one is quicker than to make one."""
    return postgres.dsn(postgres.create())


@pytest.fixture
async def live(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Live]:
    """A database of the kind that the test is for."""
    kind: str = request.param
    if kind == "postgres":
        dsn = request.getfixturevalue("shop")
        connection = await asyncpg.connect(dsn)
        await connection.execute("drop schema if exists other, public cascade; create schema public")
        yield Live(kind, Postgres(dsn=SecretStr(dsn)), connection.execute)
        await connection.close()
        return
    if kind == "sqlite":
        path = tmp_path / "live.db"

        async def write(sql: str) -> None:
            with closing(sqlite3.connect(path)) as connection:
                connection.executescript(f"pragma synchronous = off; pragma foreign_keys = on; {sql}")

        yield Live(kind, Sqlite(path=str(path)), write)
        return
    server: MariadbServer = request.getfixturevalue("mariadb")
    name = server.create()
    session = await asyncmy.connect(
        host="127.0.0.1", port=server.port, user="root", db=name, client_flag=CLIENT.MULTI_STATEMENTS
    )

    async def ask_server(sql: str) -> None:
        async with session.cursor() as cursor:
            await cursor.execute(sql)
            while await cursor.nextset():
                pass
        await session.commit()

    yield Live(kind, DATABASES[kind](dsn=SecretStr(server.dsn(name))), ask_server)
    session.close()


async def snapshot(live: Live, world: World, **narrowed: Any) -> Snapshot:
    found = await read(
        replace(world, databases={"shop": live.database}),
        "shop",
        rows_max=5000,
        has_succeeded=False,
        **narrowed,
    )
    assert isinstance(found, Snapshot), found
    return found


BEFORE = """
create table notes (id int primary key);
insert into notes values (1);
create table orders (id int primary key, state varchar(10) not null, amount numeric(10, 2),
                     note varchar(40) default 'none');
"""
# Each names every column, as the previous version does; {n} is another number each time.
INSERT = "insert into orders (id, state, amount, note) values ({n}, 'open', 5, 'a long note')"
PARTLY = "insert into orders (id, state) values ({n}, 'open')"
BARELY = "insert into orders (id, state, amount) values ({n}, 'open', 5)"
READ = "select id, state, amount, note from orders"


@dataclass(frozen=True, slots=True)
class Proof:
    """A change, the rules it comes to, and a statement of the previous version that proves the first."""

    rules: tuple[str, ...]
    change: str
    statement: str
    is_taken: bool
    kinds: tuple[str, ...] = ("postgres",)
    before: str = ""


ALL = ("postgres", "mysql", "sqlite")
SERVERS = ("postgres", "mysql")
PROOFS = [
    Proof(("column dropped",), "alter table orders drop column note", INSERT, False, ALL),
    Proof(("column renamed",), "alter table orders rename column note to remark", READ, False, ALL),
    Proof(("table renamed",), "alter table orders rename to purchases", READ, False, ALL),
    Proof(("table dropped",), "drop table orders", READ, False, ALL),
    Proof(("column added",), "alter table orders add column kind varchar(5)", INSERT, True, ALL),
    Proof(
        ("column added",),
        "alter table orders add column kind varchar(5) not null default 'x'",
        INSERT,
        True,
        ALL,
    ),
    Proof(
        ("required column added",),
        "delete from orders; alter table orders add column kind varchar(5) not null",
        INSERT,
        False,
        SERVERS,
    ),
    Proof(
        ("required column added",),
        """create table again (id int primary key, state varchar(10) not null, amount numeric(10, 2),
                               note varchar(40) default 'none', kind text not null);
           drop table orders; alter table again rename to orders""",
        INSERT,
        False,
        ("sqlite",),
    ),
    Proof(("table added",), "create table more (id int primary key)", INSERT, True, ALL),
    Proof(("view added",), "create view open_orders as select id from orders", INSERT, True, ALL),
    Proof(
        ("view dropped",),
        "drop view open_orders",
        "select id from open_orders",
        False,
        ALL,
        before="create view open_orders as select id from orders",
    ),
    Proof(("index added",), "create index by_state on orders (state)", INSERT, True, ALL),
    Proof(("unique added",), "create unique index by_state on orders (state)", INSERT, False, ALL),
    Proof(("length extended",), "alter table orders alter note type text", INSERT, True),
    Proof(
        ("length reduced",),
        "alter table orders alter note type varchar(5) using left(note, 5)",
        INSERT,
        False,
    ),
    Proof(
        ("length reduced",),
        "delete from orders; alter table orders modify note varchar(5) default 'none'",
        INSERT,
        False,
        ("mysql",),
    ),
    Proof(
        ("range narrowed",),
        "delete from orders; alter table orders alter amount type numeric(2, 2)",
        INSERT,
        False,
    ),
    Proof(
        ("range narrowed",),
        "delete from orders; alter table orders modify amount numeric(2, 2)",
        INSERT,
        False,
        ("mysql",),
    ),
    Proof(("range widened",), "alter table orders alter id type bigint", INSERT, True),
    Proof(
        ("type changed", "default dropped"),
        "alter table orders alter note drop default, alter note type int using 1",
        INSERT,
        False,
    ),
    Proof(
        ("became NOT NULL",),
        "update orders set amount = 1; alter table orders alter amount set not null",
        PARTLY,
        False,
    ),
    Proof(
        ("became NOT NULL",),
        "delete from orders; alter table orders modify amount numeric(10, 2) not null",
        PARTLY,
        False,
        ("mysql",),
    ),
    Proof(("NOT NULL dropped",), "alter table orders alter state drop not null", INSERT, True),
    Proof(
        ("default of a required column dropped",),
        "alter table orders alter note drop default",
        BARELY,
        False,
        SERVERS,
        before="drop table orders; create table orders (id int primary key, state varchar(10) not null,"
        " amount numeric(10, 2), note varchar(40) not null default 'none')",
    ),
    Proof(
        ("check added",),
        "delete from orders; alter table orders add constraint dear check (amount > 10)",
        INSERT,
        False,
        SERVERS,
    ),
    Proof(
        ("check dropped",),
        "alter table orders drop constraint cheap",
        INSERT,
        True,
        SERVERS,
        before="alter table orders add constraint cheap check (amount < 10)",
    ),
    Proof(
        ("foreign key added",),
        "delete from orders; alter table orders add constraint known foreign key (id) references notes (id)",
        INSERT,
        False,
        SERVERS,
    ),
    Proof(
        ("exclusion added",),
        "delete from orders; insert into orders values (0, 'open');"
        "alter table orders add constraint alone exclude using btree (state with =)",
        INSERT,
        False,
    ),
    Proof(
        ("unique dropped",),
        "drop index by_state",
        "insert into orders (id, state) values ({n}, 'x{n}') on conflict (state) do nothing",
        False,
        ("postgres", "sqlite"),
        before="create unique index by_state on orders (state)",
    ),
    Proof(
        ("key over new columns", "column added"),
        "alter table orders add column code varchar(9); create unique index by_code on orders (code)",
        INSERT,
        True,
        ALL,
    ),
    Proof(
        ("became generated",),
        """alter table orders drop column note;
           alter table orders add column note varchar(40) generated always as ('x') stored""",
        INSERT,
        False,
    ),
    Proof(
        ("identity became always",),
        "alter table orders alter id add generated always as identity",
        INSERT,
        False,
    ),
    Proof(
        ("identity became by default",),
        "alter table orders alter id add generated by default as identity",
        INSERT,
        True,
    ),
    Proof(
        ("enum value added",),
        "alter type kind add value 'c'",
        "select 'b'::kind",
        True,
        before="create type kind as enum ('a', 'b')",
    ),
    Proof(
        ("enum value removed",),
        "drop type kind; create type kind as enum ('a')",
        "select 'b'::kind",
        False,
        before="create type kind as enum ('a', 'b')",
    ),
    Proof(
        ("enum value removed",),
        "delete from orders; alter table orders modify state enum('paid', 'sent') not null",
        INSERT,
        False,
        ("mysql",),
        before="alter table orders modify state enum('open', 'paid', 'sent') not null",
    ),
    Proof(
        ("routine dropped",),
        "drop function twice(int)",
        "select twice(2)",
        False,
        before="create function twice(n int) returns int language sql as 'select 2 * n'",
    ),
    Proof(
        ("sequence dropped",),
        "drop sequence numbers",
        "select nextval('numbers')",
        False,
        before="create sequence numbers",
    ),
    Proof(
        ("sequence dropped",),
        "drop sequence numbers",
        "select nextval(numbers)",
        False,
        ("mysql",),
        before="create sequence numbers",
    ),
    Proof(
        ("type dropped",),
        "drop domain cents",
        "select 1::cents",
        False,
        before="create domain cents as int check (value >= 0)",
    ),
    Proof(
        ("partition dropped",),
        "drop table ev_2",
        "insert into ev (n) values (15)",
        False,
        before="""create table ev (n int) partition by range (n);
                  create table ev_1 partition of ev for values from (0) to (10);
                  create table ev_2 partition of ev for values from (10) to (20);""",
    ),
    Proof(
        ("partition added",),
        "create table ev_2 partition of ev for values from (10) to (20)",
        "insert into ev (n) values (5)",
        True,
        before="""create table ev (n int) partition by range (n);
                  create table ev_1 partition of ev for values from (0) to (10);""",
    ),
    Proof(
        ("declared type changed",),
        """create table again (id int primary key, state varchar(10) not null, amount numeric(10, 2),
                               note varchar(5) default 'none');
           drop table orders; alter table again rename to orders""",
        INSERT,
        True,
        ("sqlite",),
    ),
    Proof(
        ("type changed",),
        """drop table things; create table things (n text) strict;""",
        "insert into things (n) values (x'00')",
        False,
        ("sqlite",),
        before="create table things (n blob) strict",
    ),
]
CASES = [
    pytest.param(kind, proof, id=f"{kind}-{number}-{proof.rules[0]}")
    for number, proof in enumerate(PROOFS)
    for kind in proof.kinds
    if kind in DATABASES
]


@pytest.mark.parametrize(("live", "proof"), CASES, indirect=["live"])
async def test_the_verdict_is_what_the_engine_does(live: Live, world: World, proof: Proof) -> None:
    await live.execute(f"{BEFORE} {proof.before}")
    before = await snapshot(live, world)
    assert await live.takes(proof.statement.format(n=1)), "the previous version runs on its own schema"
    await live.execute(proof.change)
    changes = compare(before, await snapshot(live, world))
    assert sorted(change.rule for change in changes) == sorted(proof.rules), changes
    assert await live.takes(proof.statement.format(n=2)) == proof.is_taken
    verdict = RULES[proof.rules[0]].verdict
    assert verdict != ("unsafe" if proof.is_taken else "safe")


EVERYTHING = {
    "postgres": """
create type state as enum ('open', 'paid');
create table customers (id serial primary key, email varchar(40) collate "C" not null unique);
create table orders (
  id bigint generated always as identity primary key, state state default 'open', amount numeric(12, 2),
  customer int references customers on delete cascade,
  doubled numeric generated always as (amount * 2) stored,
  constraint positive check (amount > 0));
create index by_state on orders (state);
create unique index by_lower on customers (lower(email)) where id > 0;
create view dear as select id, amount from orders where amount > 100;
create function stamp() returns trigger language plpgsql as 'begin return new; end';
create trigger stamped before insert on orders for each row execute function stamp();
alter table orders enable row level security;
create schema other; create table other.things (id int)""",
    "mysql": """
create table customers (
  id int auto_increment primary key, email varchar(40) collate utf8mb4_bin not null unique);
create table orders (
  id bigint auto_increment primary key, state enum('open', 'paid') default 'open', amount decimal(12, 2),
  customer int, doubled decimal(14, 2) generated always as (amount * 2) stored,
  constraint positive check (amount > 0), key by_state (state),
  constraint orders_customer_fkey foreign key (customer) references customers (id) on delete cascade);
create view dear as select id, amount from orders where amount > 100;
create trigger stamped before insert on orders for each row set new.amount = new.amount""",
    "sqlite": """
create table customers (id integer primary key, email varchar(40) collate nocase not null unique);
create table orders (
  id integer primary key, state text default 'open', -- one of (open, paid
  amount numeric(12, 2) constraint positive check (amount > 0), customer int,
  doubled numeric as (amount * 2) stored, foreign key (customer) references customers (id) on delete cascade);
create index by_state on orders (state);
create view dear as select id, amount from orders where amount > 100;
create trigger stamped after insert on orders begin select 1; end""",
}


@pytest.mark.parametrize("live", sorted(DATABASES), indirect=True)
async def test_everything_in_a_schema_is_seen(live: Live, world: World) -> None:
    await live.execute(EVERYTHING[live.kind])
    found = await snapshot(live, world)
    assert from_json(to_json(found)) == found
    assert compare(found, await snapshot(live, world)) == ()
    named = {name.rpartition(".")[2]: relation for name, relation in found.relations.items()}
    orders, customers, dear = named["orders"], named["customers"], named["dear"]
    assert list(orders.columns) == ["id", "state", "amount", "customer", "doubled"]
    assert (orders.kind, dear.kind, bool(dear.definition)) == ("table", "view", True)
    assert orders.columns["id"].identity == ("always" if live.kind == "postgres" else "by default")
    assert orders.columns["amount"] == Column(
        type={"mysql": "decimal(12,2)", "postgres": "numeric(12,2)", "sqlite": "numeric(12, 2)"}[live.kind]
    )
    assert "open" in (orders.columns["state"].default or "")
    assert "2" in (orders.columns["doubled"].generated or "")
    assert customers.columns["email"].collation in ("C", "utf8mb4_bin", "nocase")
    assert not customers.columns["email"].nullable
    of_orders = {(one.kind, one.columns) for one in orders.constraints.values()}
    assert of_orders == {
        ("primary key", ("id",)),
        ("check", ("amount",)),
        ("foreign key", ("customer",)),
    }
    assert any("CASCADE" in one.definition for one in orders.constraints.values())
    assert Constraint in {type(one) for one in customers.constraints.values() if one.kind == "unique"}
    assert "by_state" in orders.indexes
    assert list(orders.triggers) == ["stamped"]
