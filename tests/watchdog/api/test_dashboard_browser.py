"""The dashboard in a real browser: drawn, live, by keyboard, on a phone, with a silent console."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.board import FakeDaemon, fill
from tests.support.servers import binary, free_port, is_listening, running
from tests.watchdog.api.conftest import Site, site_of
from watchdog.api.server import serve

pytestmark = pytest.mark.real

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
]


@dataclass(slots=True)
class Browser:
    """One tab, driven over the WebDriver protocol."""

    url: str
    http: aiohttp.ClientSession

    async def call(self, path: str, body: dict[str, Any]) -> Any:
        async with self.http.post(self.url + path, json=body) as response:
            value = (await response.json())["value"]
            assert response.status == 200, value
            return value

    async def go(self, url: str) -> None:
        await self.call("/url", {"url": url})

    async def run(self, script: str) -> Any:
        return await self.call("/execute/sync", {"script": script, "args": []})

    async def press(self, *keys: str) -> None:
        """Key presses, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        await self.call("/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    async def until(self, script: str, what: str, *, timeout_s: float = 10.0) -> Any:
        """The first true value of an expression; fails with `what`."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            value = await self.run(f"return ({script});")
            if value:
                return value
            assert asyncio.get_running_loop().time() < deadline, f"not seen: {what}"
            await asyncio.sleep(0.05)

    async def width(self, pixels: int) -> None:
        """Show the page as a phone of that width would."""
        metrics = {"width": pixels, "height": 800, "deviceScaleFactor": 2, "mobile": True}
        body = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        await self.call("/goog/cdp/execute", body)

    async def complaints(self) -> list[str]:
        """What the console said since it was asked last: a breach of the policy, an error, a failed load."""
        return [entry["message"] for entry in await self.call("/se/log", {"type": "browser"})]


@pytest.fixture(scope="module")
def session_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A browser, started once: its address in the WebDriver protocol."""
    driver = binary("chromedriver", "chromium-driver")
    options = {
        "browserName": "chrome",
        "goog:chromeOptions": {"args": FLAGS, "binary": binary("chromium", "chromium")},
        "goog:loggingPrefs": {"browser": "ALL"},
    }
    port = free_port()
    log: Path = tmp_path_factory.mktemp("browser") / "driver.log"
    with running([driver, f"--port={port}"], ready=lambda: is_listening(port), log=log):
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/session", json.dumps({"capabilities": {"alwaysMatch": options}}))
        path = f"/session/{json.load(connection.getresponse())['value']['sessionId']}"
        yield f"http://127.0.0.1:{port}{path}"
        connection.request("DELETE", path)
        connection.getresponse().read()
        connection.close()


@pytest.fixture
async def browser(session_url: str) -> AsyncIterator[Browser]:
    """The browser with an empty tab of desktop size."""
    async with aiohttp.ClientSession() as http:
        found = Browser(session_url, http)
        await found.call("/goog/cdp/execute", {"cmd": "Emulation.clearDeviceMetricsOverride", "params": {}})
        await found.go("about:blank")
        await found.complaints()
        yield found
        # Lets go of the page's event stream.
        await found.go("about:blank")


async def test_the_deploy_page_is_drawn_live_and_quiet(browser: Browser, open_site: Site) -> None:
    await browser.go(f"{open_site.url}/d/d-checkout")
    await browser.until("document.querySelectorAll('.plot canvas').length === 6", "six charts")
    await browser.until("document.querySelectorAll('.strip canvas').length === 2", "two evidence strips")
    await browser.until("document.getElementById('live-word').textContent === 'live'", "the live state")
    # Ink on every canvas, not only an empty one.
    painted = """[...document.querySelectorAll('.plot canvas')].every((c) => {
        const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return p.some((v, i) => i % 4 === 3 && v > 0); })"""
    await browser.until(painted, "painted canvases")
    # Arrow keys read single points, for whoever has no mouse.
    await browser.run("document.querySelector('.plot').focus()")
    await browser.press("\ue012", "\ue012")
    await browser.until(
        "/UTC \\(.*\\): /.test(document.querySelector('.readout').textContent)", "a point read"
    )
    assert await browser.complaints() == []


async def test_a_change_arrives_in_place(browser: Browser, open_site: Site) -> None:
    await browser.go(f"{open_site.url}/d/d-search")
    await browser.until("document.getElementById('live-word').textContent === 'live'", "the live state")
    await browser.run("window.marker = 1; document.querySelector('#title a').focus()")
    rows = open_site.daemon.store.watch_rows
    n = next(n for n, row in enumerate(rows) if row.id == "w-d-search")
    rows[n] = replace(rows[n], state="healthy", because="it went away by itself", closed_at=rows[n].ends_at)
    await open_site.daemon.board.move()
    await browser.until(
        "document.getElementById('verdict').textContent.includes('it went away by itself')", "the new verdict"
    )
    assert await browser.run("return window.marker") == 1
    assert await browser.run("return document.activeElement.textContent") == "search"
    assert "healthy" in await browser.run("return document.getElementById('spoken').textContent")
    assert await browser.run("return document.title") == "healthy: search 9.1.0 · Deploy Watchdog"
    assert await browser.complaints() == []


async def test_everything_read_by_keyboard(browser: Browser, open_site: Site) -> None:
    await browser.go(f"{open_site.url}/")
    await browser.until("document.body.dataset.zone === 'utc'", "the script")
    await browser.press("t")
    assert await browser.run("return document.getElementById('zone').textContent") == "local"
    await browser.press("t")
    await browser.press("j")
    assert await browser.run("return document.activeElement.textContent") == "checkout"
    await browser.press("?")
    assert await browser.run("return document.getElementById('help').open")
    await browser.press("\ue00c")
    await browser.press("/", *"mail")
    visible = "[...document.querySelectorAll('[data-find]')].filter((r) => !r.hidden).map((r) => r.id).join()"
    await browser.until(f"{visible} === 'row-mail'", "one row left")
    await browser.press("\ue00c")
    await browser.press("g", "a")
    await browser.until("location.pathname === '/audit'", "the audit page")
    await browser.go(f"{open_site.url}/d/d-checkout")
    await browser.press("[")
    await browser.until("location.pathname === '/d/d-checkout-0'", "the deploy before")
    assert open_site.daemon.decided == []


@pytest.mark.parametrize("width", [390, 320])
async def test_a_phone_never_scrolls_sideways(width: int, browser: Browser, open_site: Site) -> None:
    await browser.width(width)
    for path in ("/", "/d/d-checkout", "/s/checkout", "/audit", "/login"):
        await browser.go(open_site.url + path)
        wide = await browser.run("return document.documentElement.scrollWidth")
        assert wide <= width, path
    await browser.go(f"{open_site.url}/d/d-checkout")
    shown = "[...document.querySelectorAll('.switch, .live')].every((e) => e.offsetWidth > 0)"
    assert await browser.run(f"return {shown}")


async def test_a_lost_stream_is_said_and_found_again(browser: Browser) -> None:
    daemon = fill(FakeDaemon())
    async with site_of(daemon) as site:
        await browser.go(f"{site.url}/")
        await browser.until("document.getElementById('live-word').textContent === 'live'", "the live state")
    await browser.until("!document.getElementById('lost').hidden", "the banner", timeout_s=12.0)
    text = await browser.run("return document.getElementById('lost').textContent")
    assert text.startswith("Live updates stopped ")
    assert text.endswith("showing 14:09:31 UTC.")
    assert await browser.run("return document.getElementById('live-word').textContent") == "not live"
    async with serve(daemon.ports(), host="127.0.0.1", port=site.port):
        await browser.until("document.getElementById('lost').hidden", "live again")
