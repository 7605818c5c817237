"""The frame of every page: header with the kill switch and the live state, navigation, static files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from watchdog.api.auth import Identity
from watchdog.api.dashboard.html import Child, Html, el, join
from watchdog.api.dashboard.words import when
from watchdog.model import SwitchState

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain",
}
# Read once at import: a fixed set of small files, so that no request can name a path.
FILES = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}
# Part of every address below /static, so that a new release is never mixed with cached files of the old one.
EDITION = hashlib.sha256(b"".join(FILES.values())).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What every page says at the top. rollbacks_today of rollbacks_max: a hard limit, not the budget."""

    environment: str
    now: float
    switch: SwitchState
    rollbacks_today: int
    rollbacks_max: int
    identity: Identity | None


def asset(name: str) -> str:
    """Address of a static file."""
    return f"/static/{name}?v={EDITION}"


def static_file(name: str) -> web.Response | None:
    """One file of the fixed set, cacheable for ever as its address names its edition; None = no such file."""
    body = FILES.get(name)
    if body is None:
        return None
    return web.Response(
        body=body,
        content_type=_TYPES[Path(name).suffix],
        charset="utf-8",
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )


def page(
    title: str, body: Child, *, header: Header | None, status: int = 200, has_charts: bool = False
) -> web.Response:
    """A whole page. header None: for strangers, who are told nothing about the daemon."""
    scripts = ["uplot.js", "charts.js", "watchdog.js"] if has_charts else ["watchdog.js"]
    styles = ["uplot.css", "watchdog.css"] if has_charts else ["watchdog.css"]
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{title} · Deploy Watchdog"),
        el("link", rel="icon", type="image/svg+xml", href=asset("icon.svg")),
        [el("link", rel="stylesheet", href=asset(name)) for name in styles],
        [el("script", src=asset(name), defer=True) for name in scripts] if header else None,
    )
    content = el("main", body, id="main", tabindex="-1")
    shell = join(
        el("a", "Skip to content", href="#main", class_="skip"),
        _top(header) if header else None,
        _banner() if header else None,
        content,
        _help() if header else None,
        el("p", id="spoken", class_="unseen", role="status", aria_live="polite"),
    )
    document = el("html", head, el("body", shell, data_zone="utc"), lang="en")
    return web.Response(
        text=f"<!doctype html>\n{document}\n", status=status, content_type="text/html", charset="utf-8"
    )


def _top(header: Header) -> Html:
    switch = header.switch
    said = (
        join(el("b", "kill switch ON"), f" by {switch.by}: {switch.because}" if switch.by else None)
        if switch.is_on
        else join("kill switch off")
    )
    return el(
        "header",
        el(
            "a",
            el("b", "Deploy Watchdog"),
            " ",
            el("span", header.environment, class_="env"),
            href="/",
            class_="home",
        ),
        el("nav", el("a", "Now", href="/"), el("a", "Audit", href="/audit"), aria_label="Pages"),
        el(
            "label",
            el("span", "Search", class_="unseen"),
            el("input", type="search", id="search", placeholder="/ find", autocomplete="off"),
            class_="search",
        ),
        el(
            "span",
            f"rollbacks today {header.rollbacks_today} of {header.rollbacks_max}",
            class_="wide",
            id="rollbacks",
            data_live=True,
        ),
        el("span", said, class_=f"switch {'on' if switch.is_on else 'off'}", id="switch", data_live=True),
        el(
            "span",
            el("span", "UTC", id="zone"),
            " ",
            when(header.now),
            class_="wide",
            id="clock",
            data_live=True,
        ),
        el("span", el("span", "not live", id="live-word"), id="live", class_="live off", role="status"),
        el("form", el("button", "Log out"), method="post", action="/logout", class_="wide")
        if header.identity and header.identity.by_cookie
        else None,
        class_="top",
    )


def _banner() -> Html:
    return el("p", id="lost", class_="lost", role="alert", hidden=True)


def _help() -> Html:
    keys = (
        ("/", "find"),
        ("g n", "Now"),
        ("g a", "Audit"),
        ("j k Enter", "rows"),
        ("[ ]", "deploy before, after"),
        ("t", "UTC or local time"),
        ("?", "this help"),
        ("Esc", "close"),
    )
    return el(
        "dialog",
        el("h2", "Keys"),
        el("dl", [join(el("dt", el("kbd", key)), el("dd", text)) for key, text in keys]),
        el("p", "No key approves, vetoes or changes anything."),
        el("label", el("input", type="checkbox", id="keys-off"), " switch keys off"),
        el("form", el("button", "Close"), method="dialog"),
        id="help",
        aria_label="Keyboard help",
    )
