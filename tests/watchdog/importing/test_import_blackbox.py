"""Modules of blackbox_exporter: for each, the real exporter and the imported check agree on every target."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from grpc_health.v1 import health, health_pb2

import config
from tests.support.blackbox import blackbox_exporter, probed
from tests.support.certificates import Authority
from tests.support.grpc_server import serving
from tests.support.nameserver import name_server
from watchdog.checking.run import checker
from watchdog.cli import exits, main
from watchdog.clock import SystemClock
from watchdog.importing.blackbox import from_blackbox
from watchdog.importing.peer import NoEquivalent
from watchdog.kinds import KINDS
from watchdog.plan import plan_services

Status = health_pb2.HealthCheckResponse.ServingStatus


@dataclass(frozen=True, slots=True)
class Town:
    """What is probed: names in targets are replaced by what listens."""

    http: str
    https: str
    greeter: str
    dns: str
    grpc: str

    def target(self, text: str) -> str:
        """A case as the modules take it."""
        match text:
            case "GREETER" | "DNS" | "GRPC":
                return str(getattr(self, text.lower()))
            case "HTTPPORT" | "HTTPSPORT":
                return str(getattr(self, text.removesuffix("PORT").lower())).partition("://")[2]
        return text.replace("HTTPS", self.https).replace("HTTP", self.http)


def http_module(**options: Any) -> dict[str, Any]:
    return {"prober": "http", "timeout": "5s", "http": {"preferred_ip_protocol": "ip4", **options}}


def tcp_module(**options: Any) -> dict[str, Any]:
    return {"prober": "tcp", "timeout": "500ms", "tcp": {"preferred_ip_protocol": "ip4", **options}}


def dns_module(name: str, *, rrs: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    asked = {"query_name": name, "query_type": "A", "preferred_ip_protocol": "ip4", **options}
    return {"prober": "dns", "timeout": "2s", "dns": asked | ({"validate_answer_rrs": rrs} if rrs else {})}


def modules(ca: Path) -> dict[str, Any]:
    """The modules of the exporter's documentation, each with options of its own."""
    tls = {"ca_file": str(ca), "server_name": "shop.example"}
    return {
        "http_2xx": http_module(),
        "http_codes": http_module(valid_status_codes=[204, 404]),
        "http_post": http_module(method="POST", headers={"X-Word": "open"}, body="sesame"),
        "http_stay": http_module(follow_redirects=False, valid_status_codes=[302]),
        "http_body": http_module(
            fail_if_body_matches_regexp=["(?i)out of stock"],
            fail_if_body_not_matches_regexp=["^hel+o", "wor.d"],
        ),
        "http_header": http_module(
            fail_if_header_matches=[{"header": "X-Colour", "regexp": "red"}],
            fail_if_header_not_matches=[{"header": "X-Size", "regexp": "^[0-9]+$", "allow_missing": True}],
        ),
        "http_basic": http_module(basic_auth={"username": "dana", "password": "open"}),
        "http_bearer": http_module(authorization={"type": "Bearer", "credentials": "token-1"}),
        "https_only": http_module(fail_if_not_ssl=True, tls_config=tls),
        "http_only": http_module(fail_if_ssl=True, tls_config=tls),
        "dns_found": dns_module("web.example"),
        "dns_tcp": dns_module("web.example", transport_protocol="tcp", valid_rcodes=["NXDOMAIN", "NOERROR"]),
        "dns_nowhere": dns_module("no.example", valid_rcodes=["NXDOMAIN"]),
        "dns_some": dns_module("web.example", rrs={"fail_if_none_matches_regexp": ["10[.]0[.]0[.]1"]}),
        "dns_none": dns_module("web.example", rrs={"fail_if_none_matches_regexp": ["192[.]0[.]2[.]1"]}),
        "dns_all": dns_module("web.example", rrs={"fail_if_not_matches_regexp": ["10[.]0[.]0[.]1"]}),
        "dns_bad": dns_module("web.example", rrs={"fail_if_matches_regexp": ["10[.]0[.]0[.]2"]}),
        "dns_all_bad": dns_module("web.example", rrs={"fail_if_all_match_regexp": ["10[.]0[.]0[.]."]}),
        "dns_two_bad": dns_module("web.example", rrs={"fail_if_all_match_regexp": ["10[.]0[.]0[.]2"]}),
        "grpc_whole": {"prober": "grpc", "timeout": "2s", "grpc": {"preferred_ip_protocol": "ip4"}},
        "grpc_orders": {"prober": "grpc", "grpc": {"service": "Orders", "preferred_ip_protocol": "ip4"}},
        "grpc_stock": {"prober": "grpc", "grpc": {"service": "Stock", "preferred_ip_protocol": "ip4"}},
        "tcp_connect": tcp_module(),
        "tcp_banner": tcp_module(query_response=[{"expect": "^220 shop"}, {"send": "QUIT"}]),
        "tcp_ask": tcp_module(query_response=[{"send": "PING"}, {"expect": "PONG"}]),
        "tcp_tls": tcp_module(tls=True, tls_config=tls),
        "smtp_starttls": tcp_module(
            query_response=[
                {"expect": "^220 "},
                {"send": "EHLO prober"},
                {"expect": "^250[ -]STARTTLS"},
                {"send": "STARTTLS"},
                {"expect": "^220"},
                {"starttls": True},
                {"send": "QUIT"},
            ],
            tls_config=tls,
        ),
    }


# What each module is pointed at: one target at least that it takes (but for those in NEVER), and one that it
# does not.
NEVER = {"dns_none", "dns_all", "dns_bad", "dns_two_bad", "grpc_stock"}
CASES = {
    **{f"dns_{name}": ["DNS", "127.0.0.1:1"] for name in ("found", "tcp", "nowhere", "some", "all_bad")},
    **{f"dns_{name}": ["DNS"] for name in ("none", "all", "bad", "two_bad")},
    "grpc_whole": ["GRPC", "127.0.0.1:1"],
    "grpc_orders": ["GRPC", "127.0.0.1:1"],
    "grpc_stock": ["GRPC"],
    "http_2xx": ["HTTP/hello", "HTTP/missing", "HTTP/moved", "HTTP/broken", "http://127.0.0.1:1/"],
    "http_codes": ["HTTP/missing", "HTTP/hello"],
    "http_post": ["HTTP/cave", "HTTP/hello"],
    "http_stay": ["HTTP/moved", "HTTP/hello"],
    "http_body": ["HTTP/hello", "HTTP/sold-out", "HTTP/missing"],
    "http_header": ["HTTP/blue", "HTTP/red", "HTTP/hello", "HTTP/wide", "HTTP/sized"],
    "http_basic": ["HTTP/basic", "HTTP/bearer"],
    "http_bearer": ["HTTP/bearer", "HTTP/basic"],
    "https_only": ["HTTPS/hello", "HTTP/hello"],
    "http_only": ["HTTPS/hello", "HTTP/hello"],
    "tcp_connect": ["GREETER", "127.0.0.1:1"],
    "tcp_banner": ["GREETER", "HTTPPORT"],
    "tcp_ask": ["GREETER", "HTTPPORT"],
    "tcp_tls": ["HTTPSPORT", "GREETER"],
    "smtp_starttls": ["GREETER", "HTTPPORT"],
}


async def _page(request: web.Request) -> web.StreamResponse:
    name = request.path[1:]
    match name:
        case "moved":
            raise web.HTTPFound("/hello")
        case "missing" | "broken":
            return web.Response(status={"missing": 404, "broken": 500}[name], text="hello world")
        case "cave":
            is_open = request.headers.get("X-Word") == "open" and await request.text() == "sesame"
            return web.Response(status=200 if request.method == "POST" and is_open else 403)
        case "basic" | "bearer":
            wanted = {"basic": "Basic ZGFuYTpvcGVu", "bearer": "Bearer token-1"}[name]
            return web.Response(status=200 if request.headers.get("Authorization") == wanted else 401)
    if request.method == "POST":
        return web.Response(status=405)
    headers = {
        "blue": {"X-Colour": "blue"},
        "red": {"X-Colour": "red"},
        "wide": {"X-Colour": "blue", "X-Size": "wide"},
        "sized": {"X-Colour": "blue", "X-Size": "12"},
    }
    text = "hello world, out of STOCK" if name == "sold-out" else "hello world"
    return web.Response(text=text, headers=headers.get(name, {}))


@asynccontextmanager
async def town(tls: ssl.SSLContext, dns: str) -> AsyncIterator[Town]:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 shop ready\r\n")
        with_tls = False
        try:
            while line := await reader.readline():
                word = line.split()[0].upper() if line.split() else b""
                if word == b"STARTTLS" and not with_tls:
                    writer.write(b"220 go ahead\r\n")
                    await writer.start_tls(tls)
                    with_tls = True
                    continue
                answers = {
                    b"PING": b"+PONG\r\n",
                    b"EHLO": b"250-shop\r\n250 STARTTLS\r\n",
                    b"QUIT": b"221\r\n",
                }
                writer.write(answers.get(word, b"500 what\r\n"))
        except (OSError, ValueError):
            # A prober hangs up as it likes.
            return
        finally:
            writer.close()

    app = web.Application()
    app.router.add_route("*", "/{name}", _page)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        (_, plain), (_, secure) = runner.addresses
        servicer = health.aio.HealthServicer()
        for service, is_up in (("", True), ("Orders", True), ("Stock", False)):
            await servicer.set(service, Status.SERVING if is_up else Status.NOT_SERVING)
        async with (
            await asyncio.start_server(greet, "127.0.0.1", 0) as greeter,
            serving(servicer) as grpc,
        ):
            yield Town(
                http=f"http://127.0.0.1:{plain}",
                https=f"https://127.0.0.1:{secure}",
                greeter=f"127.0.0.1:{greeter.sockets[0].getsockname()[1]}",
                dns=dns,
                grpc=f"127.0.0.1:{grpc}",
            )
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with `blackbox.yml`, the exporter that reads it, and a certificate for the targets."""

    file: Path
    exporter: str
    tls: ssl.SSLContext
    dns: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("blackbox")
    authority = Authority.create(folder)
    pair = authority.issue("shop", names=["DNS:shop.example"])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.cert, pair.key)
    zone = "local=/example/\nhost-record=web.example,10.0.0.1\nhost-record=web.example,10.0.0.2\n"
    with blackbox_exporter(folder, modules(authority.ca)) as url, name_server(folder, zone) as dns:
        yield Place(folder / "blackbox.yml", url, tls, dns)


@pytest.mark.real
@pytest.mark.parametrize("module", sorted(CASES))
async def test_the_exporter_and_the_imported_check_agree(module: str, place: Place, tmp_path: Path) -> None:
    text = await asyncio.to_thread(place.file.read_text)
    theirs, ours, because = [], [], []
    async with town(place.tls, place.dns) as there, checker({}, SystemClock()) as checking:
        for case in CASES[module]:
            target = there.target(case)
            (tmp_path / "w.yaml").write_text(
                yaml.safe_dump(from_blackbox(text, [(module, target)]).configuration)
            )
            loaded = config.load([tmp_path / "w.yaml"], KINDS, {})
            plan = next(iter(plan_services(loaded).values())).checks[0]
            result = await checking.run(plan)
            page = await asyncio.to_thread(probed, place.exporter, module, target)
            theirs.append(page["probe_success", ()] == 1.0)
            ours.append(result.outcome == "pass")
            because.append(result.because)
    assert ours == theirs, because
    assert set(ours) == ({False} if module in NEVER else {True, False})


def write(folder: Path, modules: Mapping[str, Any]) -> str:
    file = folder / "blackbox.yml"
    file.write_text(json.dumps({"modules": modules}))
    return str(file)


def test_the_command_writes_what_validates_and_names_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(
        tmp_path,
        {
            "http_2xx": http_module(
                valid_http_versions=["HTTP/2.0"],
                tls_config={"insecure_skip_verify": True},
                body_size_limit="10MB",
                bearer_token="${NOT_A_REFERENCE}",
            ),
            "tcp_banner": tcp_module(query_response=[{"expect": "^SSH-2.0-"}]),
            "ping": {"prober": "icmp"},
            "unused": {"prober": "http"},
        },
    )
    pairs = [("http_2xx", "shop.example/x"), ("http_2xx", "https://shop.example"), ("ping", "shop.example")]
    pairs.append(("tcp_banner", "shop.example:22"))
    words = [word for module, target in pairs for word in ("--module", module, "--target", target)]
    assert main(["import", "blackbox", file, *words]) == exits.HEALTHY
    said = capsys.readouterr()
    (tmp_path / "w.yaml").write_text(said.out)
    loaded = config.load([tmp_path / "w.yaml"], KINDS, {})
    assert set(loaded.checks) == {
        ("shop-example", "http-2xx"),
        ("shop-example", "http-2xx-2"),
        ("shop-example", "tcp-banner"),
    }
    check = loaded.checks["shop-example", "http-2xx"]
    assert (check.url, check.body_bytes_max) == ("http://shop.example/x", 10_485_760)
    assert check.headers["Authorization"].get_secret_value() == "Bearer ${NOT_A_REFERENCE}"
    assert loaded.checks["shop-example", "tcp-banner"].expect == "SSH-2.0-"
    assert [line.partition(": ")[0] for line in said.err.splitlines()] == [
        "modules.unused",
        "modules.http_2xx.http.tls_config.insecure_skip_verify",
        "modules.http_2xx.http.preferred_ip_protocol",
        "modules.http_2xx.http.valid_http_versions",
        "modules.ping",
        "modules.tcp_banner.tcp.query_response",
        "modules.tcp_banner.tcp.preferred_ip_protocol",
        "3 checks; 7 things without an equivalent",
    ]


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ({"prober": "icmp"}, "no kind of check probes by icmp"),
        (tcp_module(query_response=[{"expect": "^a.*b$"}]), "not for the pattern"),
        (
            tcp_module(query_response=[{"send": "a"}, {"expect": "b"}, {"send": "c"}, {"expect": "d"}]),
            "turns",
        ),
        (tcp_module(query_response=[{"send": "HELLO"}, {"starttls": True}]), "protocol that is not known"),
        (tcp_module(tls=True, tls_config={"server_name": "x"}, query_response=[{"send": "a"}]), "tls_config"),
        (http_module(body_size_limit="much"), "not a size"),
        (http_module(method="TRACE"), "requests by TRACE are not sent"),
        (http_module(fail_if_body_matches_regexp=["("]), "expect"),
    ],
)
def test_what_cannot_be_said_is_told(module: dict[str, Any], told: str) -> None:
    text = json.dumps({"modules": {"m": module, "good": {"prober": "http"}}})
    made = from_blackbox(text, [("m", "127.0.0.1:25"), ("good", "http://x/")])
    (why,) = [left.why for left in made.left if left.path == "modules.m"]
    assert re.search(told, why)
    assert set(made.configuration["services"]) == {"x"}


def test_wrong_calls_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, {"ping": {"prober": "icmp"}})
    assert main(["import", "blackbox", file]) == exits.USAGE
    assert main(["import", "blackbox", file, "--module", "ping"]) == exits.USAGE
    both = ["--module", "nosuch", "--target", "x"]
    assert main(["import", "blackbox", file, *both]) == exits.CONFIGURATION
    assert "there is no module `nosuch`; modules: ping" in capsys.readouterr().err
    assert main(["import", "gatus", str(tmp_path / "absent")]) == exits.CONFIGURATION
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(NoEquivalent, match="no module could"):
        from_blackbox(Path(file).read_text(), [("ping", "x")])
