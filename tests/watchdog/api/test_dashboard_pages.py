"""The pages: safe whatever senders wrote, readable without a script, and within their budget."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.support.board import FakeDaemon, a_deploy, a_watch, example_packet, fill
from tests.watchdog.api.conftest import Site, site_of
from watchdog.api.dashboard.frame import FILES
from watchdog.api.dashboard.html import Html, el, join, link
from watchdog.model import SwitchState

PAGES = ["/", "/d/d-checkout", "/d/d-search", "/s/checkout", "/s/catalog", "/audit", "/login"]
VOID = {"br", "hr", "img", "input", "link", "meta"}


class Page(HTMLParser):
    """A page's elements, refusing what does not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


async def page(site: Site, path: str, status: int = 200) -> Page:
    response = await site.ask("GET", path, headers={"Accept": "text/html"})
    assert response.status == status
    return Page(await response.text())


@pytest.mark.parametrize("path", [*PAGES, "/nothing", "/d/none", "/s/none"])
async def test_every_html_route_has_the_security_headers(path: str, open_site: Site) -> None:
    response = await open_site.ask("GET", path, headers={"Accept": "text/html"})
    assert response.content_type == "text/html"
    policy = response.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_holds_inline_code_or_style(path: str, open_site: Site) -> None:
    found = await page(open_site, path)
    for tag, attributes in found.elements:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert not any((value or "").startswith("javascript:") for value in attributes.values())
        assert tag != "style"
    assert all("src" in attributes for attributes in found.all("script"))
    # Everything comes from here: nothing is loaded from another host.
    for attributes in found.all("script") + found.all("link"):
        assert (attributes.get("src") or attributes["href"] or "").startswith("/static/")


@pytest.mark.parametrize("path", PAGES)
async def test_ids_are_unique_and_live_regions_have_one(path: str, open_site: Site) -> None:
    found = await page(open_site, path)
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all("id" in attributes for _, attributes in found.elements if "data-live" in attributes)


async def test_the_deploy_page_answers_without_a_script(open_site: Site) -> None:
    found = await page(open_site, "/d/d-checkout")
    packet = open_site.daemon.store.packets["w-d-checkout"]
    assert packet["verdict"]["because"] in found.text
    assert "regressed" in found.text
    assert "Next: Waiting for approval until 14:24:02 UTC" in found.text
    key = open_site.daemon.store.action_rows[0].key
    assert f"deploy-watchdog rollback approve {key[:12]}" in found.text
    assert "this deploy 95 %" in found.text
    assert "stock 2.8.1" in found.text
    assert "kill switch off" in found.text
    assert "no data" in found.text
    # A figure, a generated sentence, and a table behind a button for each series.
    series = [one["spec"]["name"] for one in packet["series"]]
    assert len(found.all("figure")) == len(series)
    for name in series:
        assert re.search(rf"{name.replace('_', ' ')}: [^.]+\.", found.text)
    assert found.text.count("show as table") == len(series)


async def test_now_shows_who_needs_a_person_first(open_site: Site) -> None:
    found = await page(open_site, "/")
    order = [attributes["id"] for attributes in found.all("section")]
    assert order == ["needs_you", "watching", "unsure", "fine", "sources"]
    rows = [attributes["id"] for attributes in found.all("li") if "data-row" in attributes]
    assert rows[:4] == ["row-checkout", "row-search", "row-ledger", "row-stock"]
    assert "rolled back to 3.1.9" in found.text
    assert "Blind for 12 min" in found.text
    assert "1 need you" in found.text


async def test_an_empty_daemon_says_what_to_do() -> None:
    async with site_of(FakeDaemon()) as site:
        found = await page(site, "/")
        assert "deploy-watchdog deploy SERVICE --version VERSION" in found.text
        assert "deploy-watchdog deploy checkout --version" in (await page(site, "/s/checkout")).text
        assert "Nothing was decided or done yet" in (await page(site, "/audit")).text


async def test_the_kill_switch_is_on_every_page_with_its_reason(open_site: Site) -> None:
    open_site.daemon.switch = SwitchState(is_on=True, by="dana", at=1.0, because="drill until noon")
    for path in PAGES[:-1]:
        found = await page(open_site, path)
        assert "kill switch ON by dana: drill until noon" in found.text
    assert "nothing will be sent" in (await page(open_site, "/d/d-checkout")).text


async def test_strangers_learn_nothing_from_the_login_page(site: Site) -> None:
    found = await page(site, "/login")
    assert "prod" not in found.text
    assert "kill switch" not in found.text
    assert found.all("script") == []


EVIL = "<img src=x onerror=alert(1)>\"'&</script><script>alert(2)</script>{{7*7}}"


async def test_what_senders_write_is_shown_and_never_run() -> None:
    daemon = fill(FakeDaemon())
    store = daemon.store
    deploy = a_deploy(
        "d-checkout",
        "checkout",
        EVIL,
        store.deploy_rows[0].started_at,
        from_version=EVIL,
        author=EVIL,
        link="javascript:alert(3)",
    )
    store.deploy_rows[0] = deploy
    store.watch_rows[0] = replace(store.watch_rows[0], because=EVIL)
    store.action_rows[0] = replace(store.action_rows[0], because=EVIL, target=EVIL, to_version=EVIL)
    store.attempt_rows[store.action_rows[0].key] = [(1.0, EVIL)]
    store.decision_rows["w-d-checkout"].append((deploy.started_at + 9, EVIL, EVIL))
    store.audit_rows[0] = replace(store.audit_rows[0], who=EVIL, what=EVIL, key=EVIL)
    packet: dict[str, Any] = dict(example_packet(a_deploy("d-checkout", "checkout", "1", deploy.started_at)))
    packet["verdict"] = {**packet["verdict"], "because": EVIL, "reason": EVIL}
    packet["series"] = [{**one, "spec": {**one["spec"], "name": EVIL}} for one in packet["series"][:1]]
    packet["evidence"] = [{**packet["evidence"][0], "series": EVIL, "shares": {EVIL: 0.4, "d-checkout": 0.6}}]
    store.packets["w-d-checkout"] = packet
    daemon.board.notes["checkout"]["problems"] = [EVIL]
    daemon.board.notes["checkout"]["checks"]["home"] = {"outcome": EVIL, "because": EVIL}
    daemon.board.told_readings["checkout"] = [
        {"name": EVIL, "kind": EVIL, "unit": EVIL, "bad": "up", "acts": False}
    ]
    daemon.board.sources = {EVIL: EVIL}
    daemon.switch = SwitchState(is_on=True, by=EVIL, because=EVIL)
    async with site_of(daemon) as site:
        for path in ("/", "/d/d-checkout", "/s/checkout", "/audit"):
            found = await page(site, path)
            assert found.all("img") == []
            assert all("src" in attributes for attributes in found.all("script"))
            assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)
            assert not any((a.get("href") or "").startswith("javascript:") for a in found.all("a"))
            assert " ".join(EVIL.split()) in found.text


async def test_now_says_how_many_checks_of_a_service_fail() -> None:
    daemon = FakeDaemon()
    daemon.board.notes["checkout"] = {
        "checks": {
            "home": {"outcome": "pass", "because": ""},
            "order": {"outcome": "fail", "because": "no row within 5 s"},
            "books": {"outcome": "fail", "because": "off by 1"},
        }
    }
    async with site_of(daemon) as site:
        assert "check order fails and 1 more: no row within 5 s" in (await page(site, "/")).text


async def test_a_page_stays_within_its_budget(open_site: Site) -> None:
    for path in PAGES:
        response = await open_site.ask("GET", path)
        text = await response.text()
        found = Page(text)
        files = [
            FILES[(attributes.get("src") or attributes["href"] or "").removeprefix("/static/").split("?")[0]]
            for attributes in found.all("script") + found.all("link")
        ]
        parts = [text.encode(), *files]
        chart = next((a["data-chart"] for _, a in found.elements if "data-chart" in a), None)
        if chart is not None:
            parts.append(await (await open_site.ask("GET", chart)).read())
        assert sum(map(len, parts)) <= 300_000
        assert sum(len(gzip.compress(part)) for part in parts) <= 60_000


async def test_static_files_are_a_fixed_set_with_types(open_site: Site) -> None:
    assert {"uplot.js", "uplot.css", "uplot.LICENSE", "charts.js", "watchdog.js", "watchdog.css"} <= set(
        FILES
    )
    for name in FILES:
        response = await open_site.ask("GET", f"/static/{name}")
        assert response.status == 200
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_five_hundred_services_are_one_quick_page() -> None:
    daemon = FakeDaemon({"services": {f"svc-{n}": {} for n in range(500)}})
    for n in range(500):
        deploy = a_deploy(f"d-{n}", f"svc-{n}", "1.0.0", 1000.0 + n, from_version="0.9.9")
        daemon.store.deploy_rows.append(deploy)
        daemon.store.watch_rows.append(a_watch(deploy, "healthy", "steady"))
    async with site_of(daemon) as site:
        response = await site.ask("GET", "/")
        text = await response.text()
        assert text.count("data-row") == 500
        assert len(text) < 200_000
        assert " open>" not in text  # The quiet ones are folded away.


async def test_a_deploy_that_was_not_judged_yet_has_no_charts_and_says_so(open_site: Site) -> None:
    found = await page(open_site, "/d/d-search")
    assert "Nothing was judged yet" in found.text
    assert found.all("figure") == []
    open_site.daemon.store.watch_rows = []
    assert "not watched" in (await page(open_site, "/d/d-search")).text


def test_inline_code_and_style_cannot_be_written() -> None:
    for name in ("style", "onclick", "onerror_"):
        with pytest.raises(ValueError, match="Content Security Policy"):
            el("p", **{name: "x"})


def test_text_is_escaped_unless_we_made_it() -> None:
    assert el("p", "<b>", el("b", "&"), None, ["a", ['"']]) == "<p>&lt;b&gt;<b>&amp;</b>a&quot;</p>"
    assert el("a", "x", href='"><script>', hidden=True, id=None, open=False) == (
        '<a href="&quot;&gt;&lt;script&gt;" hidden>x</a>'
    )
    assert isinstance(join("<"), Html)


@pytest.mark.parametrize(
    ("url", "is_link"),
    [
        ("https://git.example/x", True),
        ("http://git.example", True),
        ("/d/1", True),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)", False),
        ("data:text/html,x", False),
        ("//evil.example/x", False),
        ("https:evil", False),
        ("\tjavascript:alert(1)", False),
        ("http://[", False),
        ("", False),
        (None, False),
    ],
)
def test_only_web_addresses_become_links(url: str | None, is_link: bool) -> None:
    assert ("href" in link(url, "x")) is is_link


async def test_what_was_added_after_the_verdict_is_shown_as_what_decides_nothing(open_site: Site) -> None:
    store = open_site.daemon.store
    packet = store.packets["w-d-checkout"]
    opinion = {
        "effect": 0.027,
        "low": 0.021,
        "high": 0.034,
        "p_value": 0.0,
        "model": "<b>GLM</b>",
        "note": "",
        "diagnostics": [],
    }
    store.packets["w-d-checkout"] = {
        **packet,
        "annotations": {"second_opinion": {"failed_payments": opinion}, "habits": {}},
    }
    found = await page(open_site, "/d/d-checkout")
    assert "nothing is decided by it" in found.text
    assert "A second opinion says +2.7 pt, +2.1 pt to +3.4 pt (<b>GLM</b>)." in found.text
    store.packets["w-d-checkout"] = packet
    assert "Second opinion" not in (await page(open_site, "/d/d-checkout")).text


async def test_the_series_of_a_service_say_what_may_act_and_what_informs(open_site: Site) -> None:
    told = open_site.daemon.board.told_readings
    told["checkout"] = [
        {"name": "home.total_s", "kind": "latency", "unit": "s", "bad": "up", "acts": True},
        {"name": "home.dns_s", "kind": "latency", "unit": "s", "bad": "up", "acts": False},
        {"name": "home.body_bytes", "kind": "gauge", "unit": "bytes", "bad": None, "acts": False},
        *({"name": f"api.r{n}", "kind": "gauge", "unit": "", "bad": None, "acts": False} for n in range(100)),
    ]
    text = (await page(open_site, "/s/checkout")).text
    assert "home.total latency a reading of check home yes" in text
    assert "home.dns latency a reading of check home no: informs only" in text
    assert "home.body bytes gauge a reading of check home no: not judged, neither direction is worse" in text
    assert "3 more readings are in /api/v1/services." in text
    told["checkout"] = told["checkout"][:3]
    assert "more readings" not in (await page(open_site, "/s/checkout")).text
