"""Kind redis against a real redis-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis

from checks.model import CheckResult, World
from checks.redis import RedisCheck
from checks.wire.redis import REPLY_BYTES_MAX
from tests.support.redis import redis_server

pytestmark = pytest.mark.real

PASSWORD = "open-sesame"
# A user as an operator would make one for us, and one that may not ask what a command does.
USERS = f"""\
user watchdog on >{PASSWORD} ~* +@read +@connection +command|info +xinfo +xpending +time
user narrow on >{PASSWORD} ~* +get
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running redis-server; `client` changes it from outside."""

    port: int
    client: Redis

    def check(self, *command: str, user: str = "", **params: Any) -> RedisCheck:
        """A check of a command, or with `stream` and `group` of a stream."""
        url = f"redis://{user}@127.0.0.1:{self.port}/0" if user else f"redis://127.0.0.1:{self.port}"
        return RedisCheck(url=SecretStr(url), command=command or None, **params)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("redis")
    (folder / "users.acl").write_text("user default on nopass ~* &* +@all\n" + USERS)
    options = ["--aclfile", str(folder / "users.acl"), "--unixsocket", str(folder / "redis.sock")]
    with redis_server(folder, *options) as port, Redis(port=port, decode_responses=True) as client:
        yield Server(port, client)


@pytest.fixture
def server(filled: Server) -> Server:
    """The server of the module, emptied."""
    filled.client.flushall()
    return filled


async def test_a_reply_of_each_shape_can_be_judged(world: World, server: Server) -> None:
    server.client.set("depth", "17")
    server.client.hset("stock", mapping={"sku": "TEST-1", "left": "3"})
    server.client.rpush("queue", "a", "b")
    for command, expect in (
        (("PING",), 'value == "PONG"'),
        (("get", "depth"), "int(value) < 20"),
        (("GET", "nothing"), "value == null"),
        (("LLEN", "queue"), "value == 2"),
        (("LRANGE", "queue", "0", "-1"), 'value == ["a", "b"]'),
        (("HGETALL", "stock"), 'value.sku == "TEST-1" && int(value.left) > 0'),
        (("INFO", "replication"), 'value.contains("role:master")'),
        (("XINFO", "HELP"), "size(value) > 0"),
    ):
        result = await server.check(*command, expect=expect).run(world)
        assert result.outcome == "pass", (command, result)
        assert result.readings.keys() == {"connect_s", "total_s"}
        assert 0 < result.readings["connect_s"] < result.readings["total_s"]


async def test_a_wrong_reply_is_told_without_the_texts_in_it(world: World, server: Server) -> None:
    server.client.hset("user:1", mapping={"name": "Erika Mustermann", "orders": "0"})
    result = await server.check("HGETALL", "user:1", expect='value.name == "x" && value.missing == 1').run(
        world
    )
    assert result.outcome == "fail"
    assert "value.missing is absent" in result.because
    wrong = await server.check("HGET", "user:1", "name", expect='value == "x"').run(world)
    assert wrong.because == 'HGET: value == "x" is false: value = a text of 16 characters'
    assert "Mustermann" not in f"{result}{wrong}"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("SET", "key", "1"), "denyoom, write"),
        (("getdel", "key"), "write"),
        (("GETEX", "key"), "write"),
        (("FLUSHALL",), "write"),
        (("XGROUP", "CREATE", "s", "g", "0"), "write"),
        (("EVAL", "return redis.call('del', 'key')", "0"), "noscript"),
        (("PUBLISH", "news", "1"), "pubsub"),
        (("CONFIG", "SET", "maxmemory", "1"), "admin"),
        (("CLIENT", "KILL", "TYPE", "normal"), "admin"),
        (("SHUTDOWN",), "admin"),
        (("RESET",), "noscript"),
    ],
)
async def test_what_may_write_is_not_sent(
    world: World, server: Server, command: tuple[str, ...], told: str
) -> None:
    server.client.set("key", "kept")
    result = await server.check(*command).run(world)
    assert result.outcome == "error"
    assert "not sent, because it may do more than read (the server says: " in result.because
    assert told in result.because
    assert server.client.get("key") == "kept"


async def test_a_long_reply_is_read_no_further(world: World, server: Server) -> None:
    server.client.set("short", "x" * (REPLY_BYTES_MAX - 100))
    server.client.set("long", "x" * (REPLY_BYTES_MAX + 1))
    server.client.rpush("many", *["y" * 100] * (REPLY_BYTES_MAX // 100))
    assert (await server.check("GET", "short").run(world)).outcome == "pass"
    assert (await server.check("STRLEN", "long").run(world)).outcome == "pass"
    for command in (("GET", "long"), ("LRANGE", "many", "0", "-1")):
        result = await server.check(*command).run(world)
        assert result.outcome == "error"
        assert "the reply is longer than 1048576 bytes, which is our own limit" in result.because


@pytest.mark.parametrize("reply", [b"$99999999999\r\n", b"=99999999999\r\n", b"!99999999999\r\n"])
async def test_a_length_that_is_only_announced_is_enough(world: World, reply: bytes) -> None:
    assert (await seen(world, reply)).outcome == "error"


async def test_a_list_without_end_ends_at_the_limit(world: World) -> None:
    result = await seen(world, b"*99999999\r\n" + (b"+" + b"x" * 1000 + b"\r\n") * 1050)
    assert result.outcome == "error"
    assert "which is our own limit" in result.because


async def test_an_unknown_command_is_our_error(world: World, server: Server) -> None:
    result = await server.check("GTE", "key").run(world)
    assert (result.outcome, result.because) == ("error", "GTE: the server has no such command")


async def test_an_error_counts_as_the_services_once_the_command_has_worked(
    world: World, server: Server
) -> None:
    server.client.set("key", "1")
    check = server.check("LLEN", "key")
    before = await check.run(world)
    assert before.outcome == "error"
    assert before.because.startswith("LLEN: the server answered: WRONGTYPE")
    server.client.delete("key")
    assert (await check.run(world)).outcome == "pass"
    server.client.set("key", "1")
    assert (await check.run(world)).outcome == "fail"


async def test_how_far_a_group_is_behind(world: World, server: Server) -> None:
    client = server.client
    seconds, _ = client.time()
    client.xgroup_create("orders", "shippers", id="0", mkstream=True)
    check = server.check(stream="orders", group="shippers", expect="pending < 2 && lag < 10")
    idle = await check.run(world)
    assert idle.outcome == "pass", idle
    assert (idle.readings["pending_entries"], idle.readings["age_s"]) == (0.0, 0.0)

    client.xadd("orders", {"sku": "a"}, id=f"{(seconds - 100) * 1000}-0")
    client.xadd("orders", {"sku": "b"}, id=f"{(seconds - 50) * 1000}-0")
    client.xadd("orders", {"sku": "c"})
    client.xreadgroup("shippers", "one", {"orders": ">"}, count=2)
    behind = await check.run(world)
    assert (behind.outcome, behind.because) == (
        "fail",
        "group shippers of stream orders: pending < 2 is false: pending = 2",
    )
    readings = behind.readings
    assert (readings["lag_entries"], readings["pending_entries"]) == (1.0, 2.0)
    assert 100 <= readings["age_s"] < 110
    old = server.check(stream="orders", group="shippers", expect='age < duration("60s")')
    assert (await old.run(world)).outcome == "fail"


async def test_ids_that_are_no_times_have_no_age(world: World, server: Server) -> None:
    server.client.xgroup_create("numbered", "g", id="0", mkstream=True)
    server.client.xadd("numbered", {"a": "b"}, id="7-0")
    server.client.xreadgroup("g", "one", {"numbered": ">"})
    check = server.check(stream="numbered", group="g", expect='age < duration("60s")')
    result = await check.run(world)
    assert "age is absent" in result.because
    assert result.readings["pending_entries"] == 1.0
    assert "age_s" not in result.readings


async def test_a_stream_that_never_was_is_our_error_and_one_that_went_is_theirs(
    world: World, server: Server
) -> None:
    check = server.check(stream="orders", group="shippers")
    before = await check.run(world)
    assert before.outcome == "error"
    assert "NOGROUP" in before.because
    server.client.xgroup_create("orders", "shippers", mkstream=True)
    assert (await check.run(world)).outcome == "pass"
    server.client.delete("orders")
    assert (await check.run(world)).outcome == "fail"


async def test_a_user_with_few_rights_is_enough(world: World, server: Server) -> None:
    server.client.set("key", "1")
    server.client.xgroup_create("orders", "shippers", mkstream=True)
    user = f"watchdog:{PASSWORD}"
    assert (await server.check("GET", "key", user=user).run(world)).outcome == "pass"
    stream = server.check(stream="orders", group="shippers", user=user)
    assert (await stream.run(world)).outcome == "pass"


@pytest.mark.parametrize(
    ("user", "told"),
    [
        (
            f"narrow:{PASSWORD}",
            "refused by the server (this user has no permissions to run the 'command|info'",
        ),
        ("watchdog:wrong-word", "refused by the server (invalid username-password pair"),
    ],
)
async def test_credentials_are_ours_and_stay_secret(
    world: World, server: Server, user: str, told: str
) -> None:
    check = server.check("GET", "key", user=user)
    result = await check.run(world)
    assert result.outcome == "error"
    assert told.lower() in result.because.lower()
    assert user.partition(":")[2] not in f"{result}{check!r}"


async def test_a_unix_socket_can_be_used(world: World, server: Server) -> None:
    socket = server.client.config_get("unixsocket")["unixsocket"]
    over_file = RedisCheck(url=SecretStr(f"unix://{socket}?db=1"), command=("PING",))
    assert (await over_file.run(world)).outcome == "pass"
    gone = RedisCheck(url=SecretStr("unix:///nowhere/redis.sock"), command=("PING",))
    assert (await gone.run(world)).outcome == "fail"


async def test_an_unknown_name_is_our_error(world: World) -> None:
    check = RedisCheck(url=SecretStr("redis://nosuch.invalid"), command=("PING",))
    assert (await check.run(world)).outcome == "error"


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[int]:
    """A port that answers the first words it hears with `reply` and then only listens."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(reply)
        # Whoever leaves before the end resets the connection.
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1]


async def seen(world: World, reply: bytes, user: str = "") -> CheckResult:
    async with answering(reply) as port:
        check = RedisCheck(url=SecretStr(f"redis://{user}127.0.0.1:{port}"), command=("PING",))
        return await check.run(replace(world, timeout_s=0.5))


@pytest.mark.parametrize(
    "reply",
    [b"$abc\r\n", b"*1\r\n" * 20_000, b"%1\r\n*0\r\n:1\r\n", b"SSH-2.0-x\r\n", b"+" + b"x" * 100_000],
)
async def test_what_is_not_redis_fails(world: World, reply: bytes) -> None:
    result = await seen(world, reply)
    assert (result.outcome, result.because) == ("fail", "PING: not a Redis answer")


async def test_a_greeting_of_the_wrong_shape_fails(world: World) -> None:
    assert (await seen(world, b"+OK\r\n", user="u:p@")).because == "PING: not a Redis answer"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ("LOADING Redis is loading the dataset in memory", "fail"),
        ("ERR max number of clients reached", "fail"),
        ("BUSY Redis is busy running a script", "fail"),
        ("CLUSTERDOWN the cluster is down", "fail"),
        ("ERR unknown command 'HELLO'", "error"),
        ("MOVED 3999 10.0.0.1:6379", "error"),
        ("NOAUTH HELLO must be called with the client already authenticated", "error"),
    ],
)
async def test_an_error_of_the_server_is_told_apart_from_ours(world: World, error: str, outcome: str) -> None:
    result = await seen(world, f"-{error}\r\n".encode())
    assert result.outcome == outcome, result


async def test_tls_that_is_none_fails(world: World) -> None:
    async with answering(b"-ERR plain text only\r\n") as port:
        check = RedisCheck(url=SecretStr(f"rediss://127.0.0.1:{port}"), command=("PING",))
        result = await check.run(world)
    assert result.outcome == "fail"
    assert "TLS handshake failed" in result.because


async def test_a_password_that_comes_back_is_masked(world: World) -> None:
    result = await seen(world, b"-WRONGPASS not p@ss-word\r\n", user="u:p%40ss-word@")
    assert (result.outcome, result.because) == ("error", "PING: refused by the server (not ***)")


async def test_silence_is_a_failure_with_its_stage(world: World) -> None:
    result = await seen(world, b"")
    assert (result.outcome, result.because) == ("fail", "PING: no answer within 0.5 s (connecting)")


URL = SecretStr("redis://h")


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"url": URL}, "command: write either command or stream"),
        ({"url": URL, "command": ("PING",), "stream": "s", "group": "g"}, "command: write either"),
        ({"url": URL, "command": ()}, "command: empty"),
        ({"url": URL, "stream": "s"}, "group: stream and group are written together"),
        ({"url": URL, "command": ("PING",), "group": "g"}, "group: stream and group"),
        ({"url": URL, "command": ("PING",), "expect": "lag < 1"}, "expect: "),
        ({"url": URL, "stream": "s", "group": "g", "expect": "value == 1"}, "expect: "),
        ({"url": SecretStr("http://h"), "command": ("PING",)}, "url: not a Redis URL"),
        ({"url": SecretStr("redis://h:x"), "command": ("PING",)}, "url: not a Redis URL"),
        ({"url": SecretStr("redis://h/first"), "command": ("PING",)}, "url: the path is the number"),
        ({"url": SecretStr("redis://h?protocol=2"), "command": ("PING",)}, "url: protocol cannot be set"),
        ({"url": SecretStr("redis://h?ssl_x=1"), "command": ("PING",)}, "url: an option cannot be used"),
        (
            {"url": SecretStr("rediss://h?ssl_ca_certs=/nowhere"), "command": ("PING",)},
            "url: ssl_ca_certs names a file that is not there",
        ),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        RedisCheck(**params)


def test_a_bad_url_is_refused_without_its_secrets(tmp_path: Path) -> None:
    for url in (
        "http://u:open-sesame@h",
        "redis://u:open-sesame@h/x",
        f"rediss://u:open-sesame@h?ssl_ca_certs={tmp_path}",
    ):
        with pytest.raises(ValueError, match="url: ") as refused:
            RedisCheck(url=SecretStr(url), command=("PING",))
        assert "open-sesame" not in str(refused.value)
