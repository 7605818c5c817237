"""What readings are called says what they are: no kind tells one that the table does not know."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from redis import Redis

from checks import CHECKS
from checks.databases.sqlite import Sqlite
from checks.dialect import POSTGRES, Dialect
from checks.model import Beat, Beats, CheckResult, Database, Row, World
from checks.readings import listed, meaning
from tests.checks.conftest import Serve
from tests.support.certificates import Authority
from tests.support.grpc_server import serving
from tests.support.nameserver import name_server
from tests.support.nginx import nginx_server
from tests.support.servers import binary, free_port, is_listening, running

NOW = 1_800_000_000.0
SHOP = """
create table orders (id integer primary key, at real not null, total real not null);
insert into orders values (1, 1799999700, 5), (2, 1799999800, 7);
create table events (order_id, seq, amount, at);
insert into events values (1, 1, 5, 1799999700), (2, 1, 7, 1799999800);
create table entries (tx, account, amount integer);
insert into entries values (1, 'a', 5), (1, 'b', -5);
"""
ORDERS = {"database": "shop", "table": "orders"}
# What a kind needs to pass in `place`; those below need servers of their own.
IN_THE_SHOP: Mapping[str, dict[str, Any]] = {
    "sql": {"database": "shop", "query": "select count(*) as n from orders", "expect": "size(rows) == 1"},
    "freshness": {**ORDERS, "column": "at", "epoch": "s", "max_age_s": 3600.0},
    "volume": {**ORDERS, "column": "at", "epoch": "s", "window_s": 3600.0, "at_least": 1},
    "rows": {**ORDERS, "not_null": ["total"]},
    "lag": {**ORDERS, "column": "at", "epoch": "s", "max_lag_s": 3600.0},
    "ledger": {"database": "shop", "table": "entries", "transaction": "tx", "amount": "amount"},
    "schema": {"database": "shop"},
    "reconcile": {
        "left": {"database": "shop", "query": "select id as key, total from orders"},
        "right": {"database": "shop", "query": "select order_id as key, amount as total from events"},
        "settle_s": 0.1,
    },
    "replay": {
        "database": "shop",
        "sample": "select distinct order_id as aggregate from events where at > :since",
        "events": "select order_id as aggregate, seq, amount from events where order_id in (:aggregates)",
        "reducer": {"sql": "select aggregate, sum(amount) as total from :events e group by aggregate"},
        "projection": {
            "database": "shop",
            "query": "select id as aggregate, total from orders where id in (:aggregates)",
        },
        "settle_s": 0.1,
    },
}


@dataclass(slots=True)
class Place:
    """Everything a check can look at."""

    world: World
    serve: Serve
    folder: Path
    authority: Authority

    async def run(self, kind: str, **configuration: Any) -> CheckResult:
        check = TypeAdapter(CHECKS[kind]).validate_python(configuration)
        result: CheckResult = await check.run(self.world)
        return result


@pytest.fixture
async def place(world: World, serve: Serve, tmp_path: Path, authority: Authority) -> AsyncIterator[Place]:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SHOP)
    shop = Sqlite(path=str(path))
    yield Place(
        replace(world, databases={"shop": shop}, now_s=lambda: NOW, timeout_s=10.0),
        serve,
        tmp_path,
        authority,
    )
    await shop.close()


async def page(_: web.Request) -> web.Response:
    return web.json_response({"ok": True})


async def talk(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str('{"ok": true}')
    await socket.close()
    return socket


async def http(place: Place) -> CheckResult:
    return await place.run("http", get=await place.serve({"/": page}), expect="json.ok")


async def scenario(place: Place) -> CheckResult:
    return await place.run("scenario", steps=[{"get": await place.serve({"/": page}), "expect": "json.ok"}])


async def websocket(place: Place) -> CheckResult:
    url = (await place.serve({"/": talk})).replace("http://", "ws://")
    return await place.run("websocket", url=url, expect="json.ok")


async def tcp(place: Place) -> CheckResult:
    url = await place.serve({"/": page})
    return await place.run("tcp", host="localhost", port=int(url.rpartition(":")[2]))


async def tls(place: Place) -> CheckResult:
    pair, port = place.authority.issue("good.test", names=["DNS:localhost"], days=3650), free_port()
    shown = f"ssl_certificate {pair.cert}; ssl_certificate_key {pair.key};"
    server = f"server {{ listen 127.0.0.1:{port} ssl; {shown} }}"
    with nginx_server(place.folder, server, port=port):
        return await place.run("tls", host="localhost", port=port, ca_file=str(place.authority.ca))


async def dns(place: Place) -> CheckResult:
    with name_server(place.folder, "host-record=web.example,10.0.0.1,30\n") as server:
        return await place.run("dns", name="web.example", server=server)


async def grpc(place: Place) -> CheckResult:
    from grpc_health.v1.health import aio

    servicer = aio.HealthServicer()
    async with serving(servicer) as port:
        return await place.run("grpc", host="127.0.0.1", port=port)


async def redis(place: Place) -> CheckResult:
    server, port = binary("redis-server", "redis-server"), free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(place.folder)]
    with running([server, *options], ready=lambda: is_listening(port), log=place.folder / "log"):
        url = f"redis://127.0.0.1:{port}/0"
        with Redis(port=port) as client:
            client.xadd("s", {"order": "1"})
            client.xgroup_create("s", "g", "0")
        return await place.run("redis", url=url, stream="s", group="g")


async def command(place: Place) -> CheckResult:
    return await place.run("command", argv=["/bin/echo", "well | load=1.5 used=40% time=20ms size=3KB"])


class Beating:
    """Reports of a job that is done every minute."""

    async def heard(self) -> Sequence[Beat]:
        return (Beat(state="start", at=NOW - 50.0), Beat(state="success", at=NOW - 20.0))

    def due_after(self, at: float) -> float:
        return at + 60.0


async def heartbeat(place: Place) -> CheckResult:
    beats: Beats = Beating()
    place.world = replace(place.world, beats=beats)
    return await place.run("heartbeat", every_s=60.0)


class Replica:
    """A database of that dialect that says of itself that it follows its primary."""

    def __init__(self, dialect: Dialect, row: Row) -> None:
        self.dialect, self.row = dialect, row

    @asynccontextmanager
    async def snapshot(self, *, timeout_s: float) -> AsyncIterator[Replica]:
        yield self

    async def rows(self, sql: str, params: Mapping[str, Any], *, rows_max: int) -> Sequence[Row]:
        return [self.row]

    async def close(self) -> None:
        return


async def replication(place: Place) -> CheckResult:
    row = {"is_replica": True, "receivers": 1, "lag_s": 0.5, "pending_bytes": 10}
    replica: Database = Replica(POSTGRES, row)
    place.world = replace(place.world, databases={"replica": replica})
    return await place.run("replication", database="replica", max_lag_s=10.0)


def in_the_shop(kind: str) -> Callable[[Place], Awaitable[CheckResult]]:
    return lambda place: place.run(kind, **IN_THE_SHOP[kind])


RUNS: Mapping[str, Callable[[Place], Awaitable[CheckResult]]] = {
    **{
        run.__name__: run
        for run in (http, scenario, websocket, tcp, tls, dns, grpc, redis, command, heartbeat, replication)
    },
    **{kind: in_the_shop(kind) for kind in IN_THE_SHOP},
}
# What people name: columns, and the labels of a plug-in. Those are numbers without a direction.
NAMED_BY_PEOPLE = {"sql": {"col_n"}, "command": {"load"}}


def test_every_kind_is_run() -> None:
    assert RUNS.keys() == CHECKS.keys()


@pytest.mark.parametrize("kind", sorted(CHECKS))
async def test_a_kind_tells_no_reading_that_the_table_does_not_know(place: Place, kind: str) -> None:
    result = await RUNS[kind](place)
    assert result.outcome == "pass", result
    assert result.readings, "a run that passed has told nothing"
    named = NAMED_BY_PEOPLE.get(kind, set())
    assert named <= result.readings.keys()
    assert [name for name in result.readings if listed(name) is None] == sorted(named)


@pytest.mark.parametrize(
    ("name", "kind", "unit", "bad"),
    [
        ("total_s", "latency", "s", "up"),
        ("step3_s", "latency", "s", "up"),
        ("mismatches_per_million", "gauge", "per_million", "up"),
        ("certificate_days", "gauge", "days", "down"),
        ("lag_entries", "gauge", "entries", "up"),
        ("pending_bytes", "gauge", "bytes", "up"),
        ("body_bytes", "gauge", "bytes", None),
        ("ttl_s", "gauge", "s", None),
        ("used_ratio", "gauge", "ratio", None),
        ("rows_per_minute", "gauge", "per_minute", None),
        ("rows", "gauge", "", None),
        ("violations", "gauge", "", "up"),
        ("col_failed", "gauge", "", None),
    ],
)
def test_a_name_says_kind_unit_and_direction(name: str, kind: str, unit: str, bad: str | None) -> None:
    means = meaning(name)
    assert (means.kind, means.unit, means.bad) == (kind, unit, bad)


@settings(derandomize=True, max_examples=200)
@given(st.text(max_size=80))
def test_every_name_has_a_meaning_and_only_a_listed_one_a_direction(name: str) -> None:
    if listed(name) is None:
        assert meaning(name).bad is None
