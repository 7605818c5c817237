"""HTML that cannot be injected into: text is escaped by construction, inline code cannot be written."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import urlsplit


class Html(str):
    """Text that is HTML already; made by `el` only."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


def el(tag: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """One element. Children that are not Html are escaped; None is left out, also as attribute.

    `class_` is `class`, `data_at` is `data-at`. Raises ValueError for `style` and `on*`: our Content Security
    Policy forbids inline code, so such an attribute would be a silent bug.
    """
    parts = [f"<{tag}"]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        if name == "style" or name.startswith("on"):
            raise ValueError(f"{name}: inline style and code are forbidden by the Content Security Policy")
        parts.append(f" {name}" if value is True else f' {name}="{html.escape(str(value))}"')
    parts.append(">")
    if tag not in _VOID:
        parts.append(join(*children))
        parts.append(f"</{tag}>")
    return Html("".join(parts))


def join(*children: Child) -> Html:
    """Children one after the other, without an element around them."""
    found: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            found.append(child)
        elif isinstance(child, str):
            found.append(html.escape(child))
        else:
            found.append(join(*child))
    return Html("".join(found))


def link(url: str | None, text: Child, **attributes: str | float | bool | None) -> Html:
    """A link, or only its text when the address is not http, https or a path of ours.

    Addresses come from senders of deploy events: `javascript:` must not become a link.
    """
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return join(text)
    if parts.scheme in ("http", "https") and parts.netloc:
        return el("a", text, href=url, rel="noreferrer noopener", **attributes)
    is_path = not parts.scheme and not parts.netloc and (url or "").startswith("/")
    return el("a", text, href=url, **attributes) if is_path else join(text)
