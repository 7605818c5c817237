"""Kind scenario over HTTP, SQL and Redis in one check: values handed on, effects that travel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import TypeAdapter, ValidationError
from redis import Redis

import config
from checks.model import CheckResult, Database, World
from checks.scenario import ScenarioCheck
from checks.steps.taking import PAUSE_MAX_S, PAUSE_MIN_S
from tests.checks.conftest import Serve
from tests.support.databases import AnyDatabase, server_database, sqlite_database
from tests.support.postgres import PostgresServer
from tests.support.redis import redis_server
from watchdog.kinds import KINDS

ORDERS = "create table orders (id varchar(40) primary key, n bigint, state varchar(20), token varchar(20))"
QUERIES = {
    "id": "select state from orders where id = :order",
    "n": "select state from orders where n = :order",
}


def order(database: AnyDatabase, key: str, state: str = "paid") -> None:
    """A table of orders that holds this one."""
    database.execute(f"{ORDERS}; insert into orders values ('{key}', 17, '{state}', 'tok-12345')")  # noqa: S608


def built(*steps: dict[str, Any], **params: Any) -> ScenarioCheck:
    """As the loader builds it."""
    return TypeAdapter(ScenarioCheck).validate_python({"steps": list(steps), **params})


def seeing(world: World, database: Database, **changes: Any) -> World:
    return replace(world, databases={"orders": database}, **changes)


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running redis-server; `client` changes it from outside."""

    port: int
    client: Redis

    def url(self, user: str = "") -> str:
        """How a step reaches it. user: `name:password`."""
        return f"redis://{user}{'@' if user else ''}127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("redis")
    with redis_server(folder) as port, Redis(port=port, decode_responses=True) as client:
        yield RedisServer(port, client)


@pytest.fixture
def redis(filled: RedisServer) -> RedisServer:
    """The server of the module, emptied."""
    filled.client.flushall()
    return filled


@pytest.mark.real
async def test_one_check_speaks_http_sql_and_redis_and_hands_values_on(
    world: World, serve: Serve, any_database: AnyDatabase, redis: RedisServer
) -> None:
    """Created over HTTP, found as a row, projected into Redis, and asked for by what that says."""
    any_database.execute(ORDERS)
    asked: list[str] = []

    async def create(_: web.Request) -> web.Response:
        any_database.execute("insert into orders values ('o-1', 17, 'paid', null)")
        redis.client.set("order:17:o-1", json.dumps({"state": "paid"}))
        redis.client.hset("shelf:17", mapping={"name": "A 7"})
        return web.json_response({"id": "o-1"}, status=201)

    async def shelf(request: web.Request) -> web.Response:
        asked.append(request.match_info["shelf"])
        return web.json_response({})

    url = await serve({"/orders": create, "/shelves/{shelf}": shelf})
    check = built(
        {"post": f"{url}/orders", "extract": {"order": "$.id"}, "name": "create"},
        {
            "sql": "select n, state from orders where id = :order",
            "database": "orders",
            "expect": 'row.state == "paid" && size(rows) == 1 && order == "o-1" && total < duration("5s")',
            "extract": {"number": "n"},
        },
        {"redis": ["EXISTS", "order:{number}:{order}"], "url": redis.url(), "expect": "value == 1"},
        {"redis": ["HGETALL", "shelf:{number}"], "url": redis.url(), "extract": {"shelf": "$.name"}},
        {"get": f"{url}/shelves/{{shelf}}", "expect": "status == 200 && number == 17"},
        {"sql": "select count(*) as n from orders where n = :number", "database": "orders", "name": "count"},
    )
    result = await check.run(seeing(world, any_database.database))
    assert (result.outcome, result.because) == ("pass", ""), result
    assert asked == ["A 7"]
    assert result.readings.keys() == {
        *("create_s", "step2_s", "step3_s", "step4_s", "step5_s", "count_s", "number", "total_s")
    }
    assert result.details[1].startswith(" ok  2 SQL orders  1 row in ")
    assert result.details[1].endswith(" ms  number = 17")
    assert result.details[3].startswith(" ok  4 REDIS HGETALL  a map of 1 in ")


@pytest.mark.parametrize(
    ("value", "column"), [('"17"', "n"), ("17", "id"), ('"o-1"', "id"), ("17", "n"), ("17.0", "n")]
)
async def test_a_value_is_bound_whatever_type_the_answer_gave_it(
    world: World, serve: Serve, any_database: AnyDatabase, value: str, column: str
) -> None:
    order(any_database, value.strip('"'))

    async def create(_: web.Request) -> web.Response:
        return web.Response(text=f'{{"id": {value}}}', content_type="application/json")

    url = await serve({"/": create})
    query = {"sql": QUERIES[column], "database": "orders", "expect": 'row.state == "paid"'}
    check = built({"get": url, "extract": {"order": "$.id"}}, query)
    result = await check.run(seeing(world, any_database.database))
    assert (result.outcome, result.because) == ("pass", "")


async def test_a_value_never_becomes_sql_nor_another_argument(
    world: World, serve: Serve, any_database: AnyDatabase, redis: RedisServer
) -> None:
    order(any_database, "o-1")
    hostile = "o-1\\' or '1'='1'; drop table orders; --"

    async def create(_: web.Request) -> web.Response:
        return web.json_response({"id": hostile})

    url = await serve({"/": create})
    redis.client.set(hostile, "kept whole")
    check = built(
        {"get": url, "extract": {"order": "$.id"}},
        {"sql": "select n from orders where id = :order", "database": "orders", "expect": "size(rows) == 0"},
        {"redis": ["GET", "{order}"], "url": redis.url(), "expect": 'value == "kept whole"'},
        {"sql": "select n from orders", "database": "orders", "expect": "row.n == 17"},
    )
    result = await check.run(seeing(world, any_database.database))
    assert (result.outcome, result.because) == ("pass", "")


async def test_a_query_that_writes_is_stopped_by_the_session(world: World, postgres: PostgresServer) -> None:
    """Only PostgreSQL has a WITH that writes."""
    database = server_database(postgres)
    database.execute(ORDERS)
    writing = "with w as (delete from orders returning n) select n from w"
    result = await built({"sql": writing, "database": "orders"}).run(seeing(world, database.database))
    assert result.outcome == "error"
    assert "read-only transaction" in result.because


class Clock:
    """Time passes only in pauses; each time the world is given back what happens meanwhile."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []
        self.later: dict[float, Any] = {}

    def mono_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds
        for at in [at for at in self.later if at <= self.now_s]:
            self.later.pop(at)()


async def test_an_effect_that_travels_is_waited_for_and_its_delay_measured(
    world: World, redis: RedisServer, any_database: AnyDatabase
) -> None:
    any_database.execute(ORDERS)
    clock = Clock()
    clock.later = {
        2.0: lambda: any_database.execute("insert into orders values ('o-1', 17, 'paid', null)"),
        10.0: lambda: redis.client.lpush("outbox", "o-1"),
    }
    row = {
        "sql": "select id, state from orders where id = 'o-1'",
        "database": "orders",
        "until": "size(rows) == 1",
        "within": "30s",
        "expect": 'row.state == "paid"',
        "extract": {"order": "id"},
        "name": "row",
    }
    outbox = {
        "redis": ["LRANGE", "outbox", "0", "-1"],
        "url": redis.url(),
        "until": "order in value",
        "within": "30s",
    }
    seen = seeing(world, any_database.database, mono_s=clock.mono_s, sleep=clock.sleep, timeout_s=60.0)
    result = await built(row, outbox).run(seen)
    assert (result.outcome, result.because) == ("pass", "")
    readings = result.readings
    # A look finds what came since the last one, a quarter of the wait ago at most.
    assert 2.0 <= readings["row_delay_s"] <= 2.0 * 1.25
    travelled_s = 10.0 - readings["row_delay_s"]
    assert travelled_s <= readings["step2_delay_s"] <= travelled_s * 1.25
    assert readings["total_s"] == readings["row_s"] + readings["step2_s"]
    assert min(clock.pauses) == PAUSE_MIN_S
    assert sorted(clock.pauses[:12]) == clock.pauses[:12]
    assert len(clock.pauses) < 40


async def test_an_effect_that_was_there_at_once_had_no_delay(world: World, any_database: AnyDatabase) -> None:
    step = {"sql": "select 1 as n", "database": "orders", "until": "row.n == 1"}
    result = await built(step).run(seeing(world, any_database.database))
    assert result.outcome == "pass"
    assert 0.0 <= result.readings["step1_delay_s"] < 0.01 < result.readings["step1_s"] + 0.01


async def test_an_effect_that_never_comes_fails_at_its_limit_after_a_last_look(
    world: World, redis: RedisServer
) -> None:
    clock = Clock()
    # It comes in the very last pause.
    clock.later = {119.9: lambda: redis.client.set("key", "there")}
    step = {"redis": ["GET", "key"], "url": redis.url(), "until": "value != null", "name": "seen"}
    seen = replace(world, mono_s=clock.mono_s, sleep=clock.sleep, timeout_s=600.0)
    late = await built({**step, "within": "2m"}).run(seen)
    assert late.outcome == "pass"
    assert late.readings["seen_delay_s"] == pytest.approx(120.0)
    assert max(clock.pauses) == PAUSE_MAX_S
    redis.client.delete("key")
    never = await built({**step, "within": "2m"}).run(seen)
    assert never.outcome == "fail"
    assert never.because == "1 REDIS GET: value != null is false: value = null (for 120 s)"
    assert never.readings.keys() == set()


async def test_waiting_ends_with_the_run(world: World, redis: RedisServer) -> None:
    clock = Clock()
    step = {"redis": ["GET", "key"], "url": redis.url(), "until": "value != null", "within": "2m"}
    seen = replace(world, mono_s=clock.mono_s, sleep=clock.sleep, timeout_s=5.0)
    result = await built(step).run(seen)
    assert result.because.endswith("(for 5 s)")
    assert clock.now_s == pytest.approx(5.0)


async def test_each_try_of_a_step_has_its_own_limit(world: World, serve: Serve) -> None:
    """The first two answers hang: without a limit the run would be over with the first."""
    tries: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        tries.append(request.method)
        if len(tries) < 3:
            await asyncio.sleep(30)
        return web.json_response({"ok": True})

    url = await serve({"/": answer})
    step = {"get": url, "timeout": "100ms"}
    once = await built(step).run(world)
    assert (once.outcome, once.because) == (
        "fail",
        f"1 GET {url}: no answer within 0.1 s (waiting for the answer)",
    )
    again = await built({**step, "until": "json.ok"}).run(world)
    assert (again.outcome, len(tries)) == ("pass", 3)


async def test_each_command_has_its_own_limit(world: World) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        step = {"redis": ["PING"], "url": f"redis://127.0.0.1:{port}", "timeout": "100ms"}
        result = await built(step).run(world)
    assert result.because == "1 REDIS PING: no answer within 0.1 s (connecting)"


async def of_row(world: World, database: AnyDatabase, columns: str, **step: Any) -> CheckResult:
    query = {"sql": f"select {columns}", "database": "orders", **step}
    return await built(query).run(seeing(world, database.database))


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (
            "select n from (select 1 as n) t where n = 2",
            "cannot extract n: there are 0 rows, and one is wanted",
        ),
        ("select 1 as n union all select 2", "cannot extract n: there are 2 rows, and one is wanted"),
        ("select 1 as m", "cannot extract n: there is no column n"),
        ("select null as n", "cannot extract n: n is NULL"),
    ],
)
async def test_what_cannot_be_extracted_from_rows_is_a_failure(
    world: World, any_database: AnyDatabase, query: str, told: str
) -> None:
    step = {"sql": query, "database": "orders", "extract": {"n": "n"}}
    result = await built(step).run(seeing(world, any_database.database))
    assert (result.outcome, result.because) == ("fail", f"1 SQL orders: {told}")


async def test_row_is_absent_unless_there_is_one(world: World, any_database: AnyDatabase) -> None:
    result = await of_row(world, any_database, "1 as n union all select 2", expect="row.n == 1")
    assert (result.outcome, result.because) == ("fail", "1 SQL orders: row.n == 1: row is absent")


async def test_a_table_that_never_was_is_our_error_and_one_that_went_is_theirs(
    world: World, any_database: AnyDatabase
) -> None:
    check = built({"sql": "select count(*) as n from orders", "database": "orders"})
    seen = seeing(world, any_database.database)
    assert (await check.run(seen)).outcome == "error"
    any_database.execute(ORDERS)
    assert (await check.run(seen)).outcome == "pass"
    any_database.execute("drop table orders")
    assert (await check.run(seen)).outcome == "fail"


async def test_a_list_cannot_stand_in_a_query(world: World, serve: Serve, any_database: AnyDatabase) -> None:
    async def create(_: web.Request) -> web.Response:
        return web.json_response({"ids": [1, 2]})

    url = await serve({"/": create})
    steps = {"get": url, "extract": {"ids": "$.ids"}}, {"sql": "select :ids", "database": "orders"}
    result = await built(*steps).run(seeing(world, any_database.database))
    assert (result.outcome, result.because) == (
        "fail",
        "2 SQL orders: :ids is a list, which cannot stand in a query",
    )


async def test_a_command_that_may_write_is_not_sent(world: World, redis: RedisServer) -> None:
    redis.client.set("key", "kept")
    result = await built({"redis": ["GETDEL", "key"], "url": redis.url()}).run(world)
    assert result.outcome == "error"
    assert "not sent, because it may do more than read" in result.because
    assert redis.client.get("key") == "kept"


@pytest.mark.parametrize(
    ("where", "told"),
    [("$.name", "$.name is absent"), ("$[0]", "$[0] is absent"), ("$", "")],
)
async def test_values_come_from_a_reply(world: World, redis: RedisServer, where: str, told: str) -> None:
    redis.client.set("key", "text")
    steps = (
        {"redis": ["GET", "key"], "url": redis.url(), "extract": {"found": where}},
        {"redis": ["PING"], "url": redis.url(), "expect": 'found == "text"'},
    )
    result = await built(*steps).run(world)
    assert (result.outcome, told in result.because) == ("fail" if told else "pass", True)


async def test_texts_of_a_store_and_secrets_are_not_shown(
    world: World, redis: RedisServer, any_database: AnyDatabase
) -> None:
    order(any_database, "o-1", "Erika Mustermann")
    redis.client.set("key", "Erika Mustermann")
    user = redis.url("default:unused-pass-word")
    check = built(
        {
            "sql": "select state, token from orders",
            "database": "orders",
            "extract": {"name": "state", "door": "token"},
        },
        {"redis": ["GET", "key"], "url": redis.url(), "extract": {"again": "$"}, "expect": 'value != "x"'},
        {"redis": ["ECHO", "{door}"], "url": user, "expect": "value == 1"},
    )
    result = await check.run(seeing(world, any_database.database))
    assert "name = a text of 16 characters" in result.details[0]
    assert "door = ***" in result.details[0]
    for hidden in ("Mustermann", "tok-12345", "unused-pass-word"):
        assert hidden not in f"{result}{check!r}"


READ = {"sql": "select 1 as n", "database": "orders"}
ASK = {"redis": ["GET", "key"], "url": "redis://h"}
GET = {"get": "http://h/"}


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"expect": "status == 200"}, "write one of sql, redis, get, post"),
        ("get", "write one of sql, redis, get, post"),
        ({"sql": "select 1"}, "Field required"),
        ({**READ, "sql": "delete from orders"}, "sql: starts with delete; write one SELECT"),
        ({**READ, "sql": "select 1; select 2"}, "sql: holds more than one statement"),
        ({**READ, "sql": "select :order"}, "steps[0]: {order} is not extracted by an earlier step"),
        ({**READ, "expect": "status == 200"}, "steps[0].expect: status == 200: undeclared"),
        ({**READ, "until": "value == 1"}, "steps[0].until: value == 1: undeclared"),
        ({**READ, "within": "0s"}, "within: write a duration above 0"),
        ({**READ, "within": "soon"}, "'soon' is not a duration"),
        ({**READ, "timeout": "0s"}, "timeout: write a duration above 0"),
        ({**ASK, "timeout": 5}, "5 is not a duration"),
        ({**GET, "timeout": "0ms"}, "timeout: write a duration above 0"),
        ({**READ, "name": "Step 1"}, "name: 'Step 1' is not a name"),
        ({**ASK, "name": "total"}, "steps: two readings would be called total_s"),
        ({**READ, "extract": {"N": "n"}}, "extract: 'N' is not a name"),
        ({**READ, "extract": {"row": "n"}}, "steps[0].extract: row is a name of ours"),
        ({**GET, "extract": {"value": "$.n"}}, "steps[0].extract: value is a name of ours"),
        ({**READ, "extract": {"run_id": "n"}}, "steps[0].extract: run_id is a name of ours"),
        ({**GET, "extract": {"total_s": "$.n"}}, "extract: total_s is a reading of ours"),
        ({**GET, "extract": {"leaked_runs": "$.n"}}, "extract: leaked_runs is a reading of ours"),
        ({**ASK, "redis": []}, "redis: empty"),
        ({**ASK, "redis": ["{verb}", "key"]}, "redis: the command cannot hold a placeholder"),
        ({**ASK, "redis": ["GET", "{order}"]}, "steps[0]: {order} is not extracted by an earlier step"),
        ({**ASK, "url": "http://h"}, "url: not a Redis URL"),
        ({**ASK, "extract": {"n": "n"}}, "extract: n: n is not a JSONPath"),
        ({**ASK, "expect": "rows == []"}, "steps[0].expect: rows == []: undeclared"),
    ],
)
def test_bad_configuration_of_a_step_names_its_key(step: Any, told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        built(step)
    assert told in str(caught.value)


def test_two_steps_cannot_measure_under_one_name() -> None:
    waiting: Mapping[str, Any] = {**READ, "until": "row.n == 1"}
    built({**waiting, "name": "a"}, {**READ, "name": "b"})
    for names in (("a", "a"), ("a", "a_delay"), ("step2", None)):
        steps = [{**waiting, "name": name} if name else dict(waiting) for name in names]
        with pytest.raises(ValidationError, match="two readings would be called"):
            built(*steps)


def test_a_cleanup_only_sends_requests() -> None:
    with pytest.raises(ValidationError, match="sql"):
        built(READ, cleanup=[READ])


async def test_a_database_that_is_not_configured_is_told(world: World, tmp_path: Path) -> None:
    result = await built({**READ, "database": "nosuch"}).run(
        seeing(world, sqlite_database(tmp_path).database)
    )
    assert (result.outcome, "there is no database nosuch" in result.because) == ("error", True)


@pytest.mark.parametrize(
    ("step", "path", "message", "remedy"),
    [
        ("{sql: select 1, database: d, get: 'http://h/'}", "get", "is not a key of", "sql, database, expect"),
        (
            "{redis: [PING], url: 'redis://h', database: d}",
            "database",
            "is not a key of",
            "redis, url, expect",
        ),
        ("{get: 'http://h/', database: d}", "database", "is not a key of", "resolve, tls, auth"),
        ("{sql: select 1}", "database", "needs `database`", ""),
        ("{sql: select 1, database: nosuch}", "database", "`nosuch` does not exist", ""),
        ("{sql: drop table t, database: d}", "sql", "starts with drop", ""),
        ("{redis: PING, url: 'redis://h'}", "redis", "should be a list", ""),
        ("{redis: [PING], url: 'redis://h', until: value = 1}", "until", "`=` is not an operator", ""),
        ("{expect: status == 200}", "", "write one of sql, redis, get", ""),
    ],
)
def test_the_loader_names_the_key_of_the_kind_of_step_that_was_meant(
    tmp_path: Path, step: str, path: str, message: str, remedy: str
) -> None:
    file = tmp_path / "watchdog.yaml"
    file.write_text(
        f"databases: {{d: {{kind: sqlite, path: /d}}}}\n"
        f"services: {{shop: {{checks: {{order: {{kind: scenario, steps: [{step}]}}}}}}}}\n"
    )
    file.chmod(0o600)
    with pytest.raises(config.ConfigError) as caught:
        config.load([file], KINDS, {})
    (problem,) = [found for found in caught.value.problems if found.severity == "error"]
    where = "services.shop.checks.order.steps[0]"
    assert problem.path == (f"{where}.{path}" if path else where)
    assert message in problem.message
    assert problem.help.endswith(remedy)
