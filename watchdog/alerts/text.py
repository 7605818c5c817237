"""Text that came from outside, made fit for a message: cleaned, escaped, and cut where a reader would cut."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

ELLIPSIS = "…"
_JOINER = "\u200d"
# Not printable, and yet they belong to the character before them.
_KEPT_FORMATS = frozenset({_JOINER, "\u200c", "\ufe0e", "\ufe0f"})
_CLUSTER_MAX = 32
_CHARS_MAX = 40_000


def clean(text: str) -> str:
    """The text in NFC on one line, without control characters, direction overrides and lone surrogates."""
    # Ten times the largest limit of a message: normalising a megabyte to throw it away only costs time.
    text = unicodedata.normalize("NFC", text[:_CHARS_MAX])
    if text.isprintable():
        return " ".join(text.split())
    kept = []
    for c in text:
        category = unicodedata.category(c)
        if c in _KEPT_FORMATS or not category.startswith("C") or category == "Co":
            kept.append(" " if category.startswith("Z") else c)
        elif category == "Cc":
            kept.append(" ")
    return " ".join("".join(kept).split())


def cut(text: str, limit: int, escape: Callable[[str], str] = str) -> str:
    """The text escaped and at most `limit` UTF-16 units long, ended with an ellipsis if it was longer.

    Counted after escaping and in UTF-16 units, the larger of the counts a receiver may use. Never cuts
    inside an escape, an emoji sequence or a letter with its accents.
    """
    whole = escape(text)
    if _units(whole) <= limit:
        return whole
    held: list[str] = []
    size = _units(ELLIPSIS)
    for cluster in _clusters(text):
        piece = escape(cluster)
        size += _units(piece)
        if size > limit:
            break
        held.append(piece)
    return "".join(held).rstrip() + ELLIPSIS if limit > 0 else ""


def clock_time(at: float, now: float) -> str:
    """`14:04 UTC`, with the date in front when it is not the day of `now`. at, now: epoch seconds."""
    moment, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    return moment.strftime("%H:%M UTC" if moment.date() == today.date() else "%Y-%m-%d %H:%M UTC")


def listed(items: list[str], most: int, joint: str = "; ") -> str:
    """The first `most` items, and how many there are beside them."""
    more = len(items) - most
    return joint.join(items[:most]) + (f" and {more} more" if more > 0 else "")


def _units(text: str) -> int:
    return len(text) + sum(c > "\uffff" for c in text)


def _clusters(text: str) -> Iterator[str]:
    """What a reader sees as one character, nearly: the rules of UAX 29 that matter where a text is cut."""
    cluster = ""
    for c in text:
        if cluster and (not _continues(cluster, c) or len(cluster) >= _CLUSTER_MAX):
            yield cluster
            cluster = ""
        cluster += c
    if cluster:
        yield cluster


def _continues(cluster: str, c: str) -> bool:
    if (
        c in _KEPT_FORMATS
        or unicodedata.category(c) in ("Mn", "Me", "Mc")
        or "\U0001f3fb" <= c <= "\U0001f3ff"
    ):
        return True
    is_flag = "\U0001f1e6" <= c <= "\U0001f1ff"
    return cluster[-1] == _JOINER or (
        is_flag and len(cluster) == 1 and "\U0001f1e6" <= cluster <= "\U0001f1ff"
    )
