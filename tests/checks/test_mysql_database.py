"""Kind mysql against a real MariaDB: whose fault it is, what a session may do, TLS, and odd peers."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncmy
import pytest
from pydantic import SecretStr

from checks.databases import asking
from checks.databases.mysql import Mysql
from checks.model import DatabaseFailed, DatabaseMismatch, DatabaseUnable
from tests.support.databases import ENDLESS
from tests.support.mariadb import MariadbServer
from tests.support.servers import free_port, wait_until


async def query(dsn: str, sql: str, *, timeout_s: float = 30.0, rows_max: int = 100, **params: Any) -> Any:
    return await asking.query(Mysql(dsn=SecretStr(dsn)), sql, params, timeout_s=timeout_s, rows_max=rows_max)


@pytest.fixture(scope="module")
def shop(mariadb: MariadbServer) -> str:
    """A database with a table, a broken view, functions, and a reader who may see only the table."""
    name = mariadb.create()
    mariadb.execute(
        """create table orders (id int, amount decimal(30, 10));
           insert into orders values (1, 12345678901234567890.0000000001), (2, 0.10);
           create table hidden (a int); create table gone (a int);
           create view stale as select a from gone; drop table gone;
           create function one() returns int no sql return 1;
           delimiter //
           create function writes() returns int deterministic
           begin insert into orders values (9, 9); return 1; end//
           delimiter ;
           create user reader identified by 'sesame';
           create user single identified by 'sesame' with max_user_connections 1;""",
        name,
    )
    mariadb.execute(f"grant select on {name}.orders to reader; grant select on {name}.* to single", name)
    return name


async def test_values_keep_their_types_and_numbers_their_digits(mariadb: MariadbServer, shop: str) -> None:
    rows = await query(
        mariadb.dsn(shop), "select amount, sum(amount) over () as total from orders order by id"
    )
    assert rows[0] == {
        "amount": Decimal("12345678901234567890.0000000001"),
        "total": Decimal("12345678901234567890.1000000001"),
    }


@pytest.mark.parametrize(
    "text", ["it's", 'a "b"', "back\\slash", "100 %s %(x)s", "\0", "ü🎉", "'; drop table x"]
)
async def test_a_value_is_only_ever_a_value(mariadb: MariadbServer, shop: str, text: str) -> None:
    sql = "select :a as a, :b as b, :a as c, '%s \\' as d"
    (row,) = await query(mariadb.dsn(shop), sql, a=text, b=Decimal("1.10"))
    assert row == {"a": text, "b": Decimal("1.10"), "c": text, "d": "%s \\"}


async def test_times_are_utc_whatever_the_server_thinks(mariadb: MariadbServer, shop: str) -> None:
    sql = "select cast(from_unixtime(:t) as char) as t, @@session.time_zone as zone"
    assert await query(mariadb.dsn(shop), sql, t=1767263400.5) == [
        {"t": "2026-01-01 10:30:00.500000", "zone": "+00:00"}
    ]


async def test_the_server_itself_ends_what_we_would_not_come_back_for(
    mariadb: MariadbServer, shop: str
) -> None:
    names = ("max_statement_time", "lock_wait_timeout", "wait_timeout", "net_write_timeout", "tx_read_only")
    sql = "select " + ", ".join(f"@@session.{name} as {name}" for name in names)
    assert await query(mariadb.dsn(shop), sql, timeout_s=6.5) == [
        {
            "max_statement_time": 6.5,
            "lock_wait_timeout": 1,
            "wait_timeout": 7,
            "net_write_timeout": 7,
            "tx_read_only": 1,
        }
    ]


async def test_nothing_writes_not_even_behind_a_semicolon_or_in_a_function(
    mariadb: MariadbServer, shop: str
) -> None:
    with pytest.raises(DatabaseUnable, match="READ ONLY transaction"):
        await query(mariadb.dsn(shop), "select writes() as n")
    with pytest.raises(DatabaseMismatch, match="syntax"):
        await query(mariadb.dsn(shop), "select 1; set session transaction read write; delete from orders")
    assert await query(mariadb.dsn(shop), "select count(*) as n from orders") == [{"n": 2}]


@pytest.mark.parametrize(
    ("sql", "number", "kind"),
    [
        ("select * from nosuch", 1146, DatabaseMismatch),
        ("select nosuch from orders", 1054, DatabaseMismatch),
        ("select id fro orders where", 1064, DatabaseMismatch),
        ("select nosuch(1)", 1305, DatabaseMismatch),
        ("select * from stale", 1356, DatabaseMismatch),
        ("select (select id from orders)", 1242, DatabaseUnable),
        ("select 18446744073709551615 + 1", 1690, DatabaseUnable),
        ("delete from orders", 1792, DatabaseUnable),
        ("kill connection_id()", 1927, DatabaseFailed),
        ("kill query connection_id()", 1317, DatabaseUnable),
    ],
)
async def test_an_error_of_a_statement_tells_whose_fault_it_is(
    mariadb: MariadbServer, shop: str, sql: str, number: int, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=rf"error {number}\)") as caught:
        await query(mariadb.dsn(shop), sql)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("sql", "number"),
    [
        ("select * from hidden", 1142),
        ("select one()", 1370),
        ("show replica status", 1227),
    ],
)
async def test_what_the_role_may_not_is_ours(
    mariadb: MariadbServer, shop: str, sql: str, number: int
) -> None:
    with pytest.raises(DatabaseUnable, match=rf"error {number}\)") as caught:
        await query(mariadb.dsn(shop, user="reader", password="sesame"), sql)
    assert type(caught.value) is DatabaseUnable


async def test_not_getting_in_is_ours_and_nobody_there_is_theirs(mariadb: MariadbServer, shop: str) -> None:
    with pytest.raises(DatabaseUnable, match=r"error 1045\)"):
        await query(mariadb.dsn(shop, user="reader", password="wrong"), "select 1")
    with pytest.raises(DatabaseUnable, match=r"error 1049\)"):
        await query(mariadb.dsn("nosuch"), "select 1")
    with pytest.raises(DatabaseUnable, match=r"error 1044\)"):
        await query(mariadb.dsn("mysql", user="reader", password="sesame"), "select 1")
    with pytest.raises(DatabaseUnable, match="cannot resolve"):
        await query("mysql://a@nosuch.invalid/x?ssl-mode=disabled", "select 1")
    with pytest.raises(DatabaseFailed, match="connection refused"):
        await query(f"mysql://a@127.0.0.1:{free_port()}/x", "select 1")


async def test_a_full_server_is_theirs_and_a_limit_of_the_role_is_ours(
    mariadb: MariadbServer, shop: str
) -> None:
    dsn = mariadb.dsn(shop, user="single", password="sesame")
    other = await asyncmy.connect(host="127.0.0.1", port=mariadb.port, user="single", password="sesame")
    try:
        with pytest.raises(DatabaseUnable, match=r"error 1226\)"):
            await query(dsn, "select 1")
        before = mariadb.execute("select @@max_connections")
        # The smallest there is, and one more for a superuser.
        mariadb.execute("set global max_connections = 10")
        others = [
            await asyncmy.connect(host="127.0.0.1", port=mariadb.port, user="reader", password="sesame")
            for _ in range(9)
        ]
        try:
            with pytest.raises(DatabaseFailed, match=r"error 1040\)"):
                await query(mariadb.dsn(shop, user="reader", password="sesame"), "select 1")
        finally:
            for one in others:
                one.close()
            mariadb.execute(f"set global max_connections = {before}")
    finally:
        other.close()


async def test_it_gives_way_to_a_lock(mariadb: MariadbServer, shop: str) -> None:
    migration = await asyncmy.connect(host="127.0.0.1", port=mariadb.port, user="root", database=shop)
    try:
        async with migration.cursor() as cursor:
            await cursor.execute("lock tables hidden write")
            with pytest.raises(DatabaseUnable, match=r"error 1205\)"):
                await query(mariadb.dsn(shop), "select * from hidden")
    finally:
        migration.close()


async def test_a_statement_ends_on_the_server_when_nobody_waits_for_it(
    mariadb: MariadbServer, shop: str
) -> None:
    with pytest.raises(DatabaseUnable, match="our own limit"):
        await query(mariadb.dsn(shop), ENDLESS["mysql"], timeout_s=0.3)
    running = "select info from information_schema.processlist"
    wait_until(lambda: "benchmark" not in mariadb.execute(running), timeout_s=2, what="statement ended")


async def test_what_the_server_warns_about_reaches_no_log(
    mariadb: MariadbServer, shop: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await query(mariadb.dsn(shop), "select 'alice@shop.example' + 0 as n") == [{"n": 0}]
    # Deprecated, and warned about while it is prepared.
    await query(mariadb.dsn(shop), "select count(*) from orders into @n")
    assert not caplog.records


async def test_no_session_is_left_behind(mariadb: MariadbServer) -> None:
    name = mariadb.create()
    database = Mysql(dsn=SecretStr(mariadb.dsn(name)))
    many = "select seq from seq_1_to_100000"
    asked = (asking.query(database, many, {}, timeout_s=30.0, rows_max=10) for _ in range(6))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [DatabaseUnable] * 6
    sessions = "select db from information_schema.processlist"
    wait_until(lambda: name not in mariadb.execute(sessions).split(), timeout_s=5, what="sessions gone")


async def test_tls_is_as_strict_as_asked(mariadb: MariadbServer, shop: str) -> None:
    cipher = "show status like 'ssl_cipher'"
    trusted = f"ssl-ca={mariadb.authority}"

    async def spoken(options: str) -> str:
        (row,) = await query(mariadb.dsn(shop, options=options), cipher)
        return str(row["Value"])

    assert await spoken("") == ""
    assert "TLS" in await spoken("ssl-mode=required")
    assert "TLS" in await spoken(f"ssl-mode=VERIFY_CA&{trusted}")
    with pytest.raises(DatabaseUnable, match="certificate not trusted here"):
        await spoken("ssl-mode=VERIFY_CA")
    with pytest.raises(DatabaseFailed, match="certificate refused"):
        await spoken(f"ssl-mode=VERIFY_IDENTITY&{trusted}")
    right_name = mariadb.dsn(shop, options=f"ssl-mode=VERIFY_IDENTITY&{trusted}").replace(
        "127.0.0.1", "localhost"
    )
    (row,) = await query(right_name, cipher)
    assert "TLS" in row["Value"]


def _greeting(plugin: bytes) -> bytes:
    """The first packet of a server (MySQL Internals, Protocol::HandshakeV10)."""
    return (
        b"\x0a8.0.36\0" + struct.pack("<I", 7) + b"12345678\0" + struct.pack("<H", 0xF7FF)
        + struct.pack("<BHHB", 45, 2, 0xDFFF, 21) + bytes(10) + b"123456789012\0" + plugin + b"\0"
    )  # fmt: skip


@asynccontextmanager
async def speaking(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A peer that greets and then says these packets, each after it heard something; what it heard."""
    heard: list[bytes] = []
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        try:
            for answer in answers:
                writer.write(len(answer).to_bytes(3, "little") + bytes([number]) + answer)
                said = await reader.read(4096)
                heard.append(said)
                number = said[3] + 1 if len(said) > 3 else 0
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
            ended.set()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield f"mysql://u:open-sesame@127.0.0.1:{server.sockets[0].getsockname()[1]}/d", heard
        await ended.wait()


async def test_the_password_is_never_given_away_in_clear() -> None:
    for plugin in (b"mysql_clear_password", b"dialog"):
        ask = b"\xfe" + plugin + b"\0" + b"\x00Password: "
        async with speaking(_greeting(b"mysql_native_password"), ask) as (dsn, heard):
            with pytest.raises(DatabaseUnable, match="password in clear"):
                await query(dsn, "select 1")
        assert b"open-sesame" not in b"".join(heard)


async def test_a_login_that_needs_tls_says_so() -> None:
    full_login, public_key = b"\x01\x04", b"\x01-----BEGIN PUBLIC KEY-----"
    async with speaking(_greeting(b"caching_sha2_password"), full_login, public_key) as (dsn, _):
        with pytest.raises(DatabaseUnable, match="ssl-mode=REQUIRED"):
            await query(dsn, "select 1")


@pytest.mark.parametrize(
    "answers",
    [
        (b"\x0a8.0\0",),
        (b"\xff\x10\x04#08004Too many connections",),
        (_greeting(b"mysql_native_password"), b"\xfb/etc/passwd"),
        (_greeting(b"mysql_native_password"), b"\x00\x00\x00\x02\x00\x00\x00", b"\xfb/etc/passwd"),
    ],
)
async def test_what_is_not_the_protocol_is_a_failure(answers: Sequence[bytes]) -> None:
    async with speaking(*answers) as (dsn, heard):
        with pytest.raises(DatabaseFailed):
            await query(dsn, "select 1", timeout_s=1.0)
    assert not [said for said in heard if b"root:" in said]


async def test_a_server_without_tls_is_refused_rather_than_spoken_to_in_clear() -> None:
    bad_handshake = b"\xff\x13\x04#08S01Bad handshake"
    async with speaking(_greeting(b"mysql_native_password"), bad_handshake, b"") as (dsn, heard):
        with pytest.raises(DatabaseFailed, match="TLS handshake failed"):
            await query(f"{dsn}?ssl-mode=REQUIRED", "select 1")
    assert b"mysql_native_password" not in b"".join(heard)


def _written(folder: Path, text: str) -> Path:
    path = folder / "file.pem"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        ("", "dsn: not a MySQL URL"),
        ("postgresql://u:sesame@h/d", "dsn: not a MySQL URL"),
        ("mysql://u:sesame@h:port/d", "dsn: not a MySQL URL"),
        ("mysql://u:sesame@/d", "dsn: not a MySQL URL"),
        ("mysql://h/d", "dsn: not a MySQL URL"),
        ("mysql://u:sesame@h/d?ssl=true", "dsn: there is no option ssl;"),
        ("mysql://u:sesame@h/d?ssl-mode=PREFERRED", "dsn: ssl-mode is none of DISABLED,"),
        ("mysql://u:sesame@h/d?ssl-ca=/nosuch", "dsn: ssl-ca names a file"),
    ],
)
def test_a_bad_dsn_is_refused_without_printing_it(dsn: str, told: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Mysql(dsn=SecretStr(dsn))
    assert str(caught.value).startswith(told)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("option", ["ssl-ca", "ssl-cert"])
def test_a_file_that_is_no_certificate_is_refused_at_start(tmp_path: Path, option: str) -> None:
    path = _written(tmp_path, "no certificate")
    with pytest.raises(ValueError, match=r"^dsn: cannot use ssl-ca"):
        Mysql(dsn=SecretStr(f"mysql://u@h/d?{option}={path}"))
