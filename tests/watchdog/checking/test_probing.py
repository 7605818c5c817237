"""`/probe` beside the real blackbox_exporter, and what a caller of it cannot choose."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import config
from config.probes import Allowed, Refused, read_target
from tests.support.blackbox import Page, blackbox_exporter, page, probed
from tests.support.board import FakeDaemon, fill
from tests.support.certificates import Authority
from tests.support.daemon import daemon
from tests.support.servers import free_port
from watchdog.api.server import serve
from watchdog.checking.probing import Busy, Prober
from watchdog.checking.run import Checker, checker
from watchdog.clock import SystemClock
from watchdog.kinds import KINDS

# What ours cannot know, and what theirs has that is a time.
NOT_OURS = {"probe_ip_protocol", "probe_ip_addr_hash", "probe_ssl_last_chain_info"}
NOT_OURS |= {"probe_ssl_last_chain_expiry_timestamp_seconds"}
TIMES = {"probe_duration_seconds", "probe_http_duration_seconds", "probe_dns_lookup_time_seconds"}
LOOPBACK = ["http://127.0.0.1:*", "https://127.0.0.1:*", "127.0.0.1:*"]


def modules_of(folder: Path, written: Mapping[str, Any], **probe: Any) -> config.Loaded:
    """A configuration with these modules and one check."""
    check = {"kind": "http", "get": "http://127.0.0.1:1/"}
    file = folder / "watchdog.yaml"
    services = {"shop": {"checks": {"home": check}}}
    file.write_text(json.dumps({"services": services, "probe": {"modules": written, **probe}}))
    return config.load([file], KINDS, {"WORD": "open-sesame"})


@asynccontextmanager
async def answering(loaded: config.Loaded) -> AsyncIterator[str]:
    """The real API with these modules, on loopback."""
    async with checker({}, SystemClock()) as checking:
        prober = Prober(loaded.modules, checking, at_once_max=loaded.settings.probe.concurrency)
        ports = replace(fill(FakeDaemon()).ports(), probe=prober.probe)
        async with serve(ports, host="127.0.0.1", port=0) as port:
            yield f"http://127.0.0.1:{port}"


async def _page(request: web.Request) -> web.StreamResponse:
    match request.path:
        case "/moved":
            raise web.HTTPFound("/")
        case "/broken":
            return web.Response(status=500, text="hello")
        case "/drip":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"hello")
            return response
        case "/old":
            return web.Response(text="hello", headers={"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"})
    return web.Response(text="hello")


@asynccontextmanager
async def page_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{name:.*}", _page)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


THEIRS: Mapping[str, Mapping[str, Any]] = {
    "http_2xx": {},
    "http_hello": {"fail_if_body_not_matches_regexp": ["^hello$"]},
    "http_bye": {"fail_if_body_not_matches_regexp": ["bye"]},
    "http_coloured": {"fail_if_header_not_matches": [{"header": "X-Colour", "regexp": "red"}]},
}
_2XX = "status >= 200 && status < 300"
OURS: Mapping[str, str] = {
    "http_2xx": _2XX,
    "http_hello": f'{_2XX} && text.matches("^hello$")',
    "http_bye": f'{_2XX} && text.matches("bye")',
    "http_coloured": f'{_2XX} && headers["x-colour"].matches("red")',
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[str]:
    common = {"preferred_ip_protocol": "ip4", "tls_config": {"ca_file": str(authority.ca)}}
    modules: dict[str, Any] = {
        name: {"prober": "http", "http": {**common, **options}} for name, options in THEIRS.items()
    }
    modules["tcp_connect"] = {"prober": "tcp", "tcp": {"preferred_ip_protocol": "ip4"}}
    with blackbox_exporter(tmp_path_factory.mktemp("exporter"), modules) as url:
        yield url


@pytest.fixture
def loaded(tmp_path: Path, authority: Authority) -> config.Loaded:
    modules: dict[str, Any] = {
        name: {
            "kind": "http",
            "targets": LOOPBACK,
            "get": "{target}",
            "follow_redirects": True,
            "tls": {"ca_file": str(authority.ca)},
            "expect": expect,
        }
        for name, expect in OURS.items()
    }
    modules["tcp_connect"] = {"kind": "tcp", "targets": LOOPBACK, "host": "{host}", "port": "{port}"}
    modules["tls"] = {
        "kind": "tls",
        "targets": LOOPBACK,
        "host": "{host}",
        "port": "{port}",
        "ca_file": str(authority.ca),
    }
    return modules_of(tmp_path, modules)


async def side_by_side(module: str, target: str, exporter: str, loaded: config.Loaded) -> tuple[Page, Page]:
    """Their page and ours, without what only they know."""
    async with answering(loaded) as url:
        theirs = await asyncio.to_thread(probed, exporter, module, target)
        ours = await asyncio.to_thread(probed, url, module, target)
    return {key: value for key, value in theirs.items() if key[0] not in NOT_OURS}, ours


def without_times(page: Page) -> Page:
    return {key: 0.0 if key[0] in TIMES else value for key, value in page.items()}


@pytest.mark.real
@pytest.mark.parametrize("module", sorted(OURS))
@pytest.mark.parametrize("path", ["/", "/moved", "/broken", "/drip", "/old"])
async def test_an_http_probe_is_told_as_they_tell_it(
    module: str, path: str, exporter: str, loaded: config.Loaded
) -> None:
    async with page_server() as url:
        theirs, ours = await side_by_side(module, url + path, exporter, loaded)
    assert without_times(ours) == without_times(theirs)
    phases = {key: value for key, value in ours.items() if key[0] == "probe_http_duration_seconds"}
    assert 0 < sum(phases.values()) <= ours["probe_duration_seconds", ()] < 5


@pytest.mark.real
async def test_certificates_and_refused_connections(
    exporter: str, loaded: config.Loaded, authority: Authority
) -> None:
    pair = authority.issue("probed", names=["IP:127.0.0.1"], days=20)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.cert, pair.key)
    async with page_server(tls) as url:
        theirs, ours = await side_by_side("http_hello", url, exporter, loaded)
        async with answering(loaded) as api:
            of_tls = await asyncio.to_thread(probed, api, "tls", url.partition("://")[2])
    assert without_times(ours) == without_times(theirs)
    assert ("probe_tls_version_info", (("version", "TLS 1.3"),)) in ours
    expiry = ours["probe_ssl_earliest_cert_expiry", ()]
    # Kind tls tells days to a hundredth.
    assert abs(of_tls["probe_ssl_earliest_cert_expiry", ()] - expiry) < 0.02 * 86400
    nobody = f"127.0.0.1:{free_port()}"
    theirs, ours = await side_by_side("http_2xx", f"http://{nobody}/", exporter, loaded)
    assert without_times(ours) == without_times(theirs)
    theirs, ours = await side_by_side("tcp_connect", nobody, exporter, loaded)
    theirs.pop(("probe_failed_due_to_regex", ()))
    assert without_times(ours) == without_times(theirs)
    assert ours["probe_success", ()] == 0.0


async def ask(url: str, query: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/probe{query}", headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def test_a_caller_chooses_a_target_and_nothing_else(loaded: config.Loaded) -> None:
    async with answering(loaded) as url:
        refused = [
            ("", 400, "Say what to probe"),
            ("?target=http://127.0.0.1:1/&module=nosuch", 400, "no such module"),
            ("?target=http://10.0.0.1/", 403, "not allowed"),
            ("?target=file:///etc/passwd", 403, "not a target"),
            ("?target=http://u@127.0.0.1:1/", 403, "not a target"),
            ("?module=tcp_connect&target=10.0.0.1:25", 403, "not allowed"),
        ]
        for query, status, told in refused:
            found, text = await ask(url, query)
            assert (found, told in text) == (status, True), (query, text)
        # Without a scheme http is meant, and without a module http_2xx.
        status, text = await ask(url, f"?target=127.0.0.1:{free_port()}")
        assert (status, "probe_success 0.0" in text) == (200, True)
        status, text = await ask(url, "?target=127.0.0.1:1", {"X-Prometheus-Scrape-Timeout-Seconds": "soon"})
        assert (status, "not a number of seconds" in text) == (400, True)


async def test_it_is_off_unless_configured(tmp_path: Path) -> None:
    ports = replace(fill(FakeDaemon()).ports(), probe=None)
    async with serve(ports, host="127.0.0.1", port=0) as port:
        status, text = await ask(f"http://127.0.0.1:{port}", "?target=127.0.0.1:1")
    assert (status, "No module is configured" in text) == (404, True)


async def test_probes_at_once_are_bounded_and_a_scrape_that_ends_earlier_ends_them(tmp_path: Path) -> None:
    met = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.set()
        await reader.read()
        writer.close()

    module = {"kind": "tcp", "targets": LOOPBACK, "host": "{host}", "port": "{port}", "expect": "220"}
    loaded = modules_of(tmp_path, {"banner": module}, concurrency=1)
    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server, answering(loaded) as url:
        query = f"?module=banner&target=127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asyncio.TaskGroup() as group:
            first = group.create_task(ask(url, query, {"X-Prometheus-Scrape-Timeout-Seconds": "1.2"}))
            await met.wait()
            status, _ = await ask(url, query)
        assert status == 503
        assert first.result()[0] == 200
        assert "probe_success 0.0" in first.result()[1]


async def test_secrets_of_a_module_are_sent_and_never_shown(tmp_path: Path) -> None:
    heard: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append(request.headers.get("X-Word"))
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        module = {"kind": "http", "targets": LOOPBACK, "get": "{target}", "headers": {"X-Word": "${WORD}"}}
        loaded = modules_of(tmp_path, {"http_2xx": module})
        async with answering(loaded) as url:
            status, text = await ask(url, f"?target=http://127.0.0.1:{runner.addresses[0][1]}/")
    finally:
        await runner.cleanup()
    assert (status, heard) == (200, ["open-sesame"])
    assert "open-sesame" not in text + repr(loaded)


@pytest.mark.parametrize(
    ("allowed", "target", "is_allowed"),
    [
        ("https://shop.example", "https://shop.example/x?y=1", True),
        ("https://shop.example", "https://SHOP.example:443", True),
        ("https://shop.example", "https://shop.example:8443", False),
        ("https://shop.example", "http://shop.example", False),
        ("https://shop.example", "https://evil.shop.example", False),
        ("https://*.shop.example", "https://a.b.shop.example", True),
        ("https://*.shop.example", "https://shop.example", False),
        ("https://*.shop.example", "https://evilshop.example", False),
        ("http://shop.example:*", "http://shop.example:8080", True),
        ("cache.example:6379", "cache.example:6379", True),
        ("cache.example:6379", "http://cache.example:6379", False),
        ("[::1]:53", "[::1]:53", True),
    ],
)
def test_scheme_host_and_port_must_match(allowed: str, target: str, is_allowed: bool) -> None:
    assert Allowed.parse(allowed).allows(read_target(target)) is is_allowed


@pytest.mark.parametrize(
    "target",
    [
        "",
        "https://shop.example#@evil.example",
        "https://shop.example\\@evil.example",
        "https://shop.example @evil.example",
        "https://user:word@shop.example",
        "https://shop.example:0",
        "https://shop.example:99999",
        "https://shop.example/{secret}",
        "https://shop.example/\r\nX: y",
        "//shop.example/",
        "shop.example/path",
        "-oProxyCommand=x:22",
        "https://shop.exämple",
    ],
)
def test_a_target_that_two_parsers_could_read_differently_is_none(target: str) -> None:
    with pytest.raises(Refused):
        read_target(target)


async def test_a_target_that_the_kind_cannot_take_is_refused(tmp_path: Path) -> None:
    module = {"kind": "tcp", "targets": ["127.0.0.1:*"], "host": "{host}", "port": "{port}"}
    loaded = modules_of(tmp_path, {"tcp": module})
    async with checker({}, SystemClock()) as checking:
        prober = Prober(loaded.modules, checking, at_once_max=1)
        with pytest.raises(Refused, match="cannot take"):
            await prober.probe("tcp", "127.0.0.1", None)
        full = Prober(loaded.modules, checking, at_once_max=0)
        with pytest.raises(Busy):
            await full.probe("tcp", "127.0.0.1:1", None)
    assert isinstance(checking, Checker)


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ({"kind": "sql", "targets": ["x:1"]}, "there is no kind `sql` here"),
        ({"kind": "http", "get": "{target}"}, "targets"),
        ({"kind": "http", "get": "{target}", "targets": []}, "targets"),
        ({"kind": "http", "get": "{target}", "targets": ["shop.example"]}, "neither scheme nor port"),
        ({"kind": "http", "get": "{target}", "targets": ["ftp://shop.example"]}, "schemes are"),
        ({"kind": "http", "get": "{target}", "targets": ["https://*"]}, "allows nothing"),
        ({"kind": "http", "get": "{target}", "targets": ["https://x:0"]}, "allows nothing"),
        ({"kind": "http", "get": "https://x/", "targets": ["https://x"]}, "every target would be the same"),
        ({"kind": "http", "get": "{target}", "targets": ["https://x"], "expect": "nosuch > 1"}, "nosuch"),
        ({"kind": "http", "get": "{target}", "targets": ["https://x"], "colour": "red"}, "colour"),
    ],
)
def test_wrong_modules_are_refused_at_their_place(module: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError) as raised:
        modules_of(tmp_path, {"http_2xx": module})
    assert told in str(raised.value)
    assert all(problem.path.startswith("probe.modules.http_2xx") for problem in raised.value.problems)


def test_the_daemon_answers(tmp_path: Path) -> None:
    module = 'http_2xx: {kind: http, get: "{target}", targets: ["http://127.0.0.1:*"], expect: status == 200}'
    check = 'home: {kind: http, get: "http://127.0.0.1:1/"}'
    text = f"probe: {{modules: {{{module}}}}}\nservices: {{shop: {{checks: {{{check}}}}}}}\n"
    with daemon(tmp_path, text) as running:
        found = page(running.text(f"/probe?target={running.url}/livez"))
    assert found["probe_success", ()] == 1.0
    assert found["probe_http_status_code", ()] == 200.0
