"""Whom a check asks: so that one host that hangs does not hold more than its share of what runs at once."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr


def peer_of(check: Any) -> str:
    """The host, or the database by its name, that a check asks first; empty where its keys name none.

    Kinds call these keys by the same names: `host`, `server`, `target`, `url` and `database`; a scenario asks
    what its first step asks, a comparison what its left side asks.
    """
    for inner in ("steps", "left"):
        part = getattr(check, inner, None)
        if part:
            return peer_of(part[0] if isinstance(part, tuple) else part)
    database = getattr(check, "database", None)
    if isinstance(database, str):
        return f"database {database}"
    for key in ("url", "host", "server", "target"):
        text = getattr(check, key, None)
        text = text.get_secret_value() if isinstance(text, SecretStr) else text
        if isinstance(text, str) and text:
            return _host(text)
    return ""


def _host(text: str) -> str:
    try:
        return (urlsplit(text if "://" in text else f"//{text}").hostname or "").lower()
    except ValueError:
        # A placeholder in brackets, or an IPv6 address without them: no two such texts need to be told apart.
        return text.lower()
