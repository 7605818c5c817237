"""Cleaning and cutting text: what a reader would call a character is never cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.alerts.text import clean, clock_time, cut, listed


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("a👩‍👩‍👧‍👦b", 5, "a…"),
        ("🇩🇪🇫🇷🇮🇹", 9, "🇩🇪🇫🇷…"),
        ("👍🏽👍🏽", 7, "👍🏽…"),
        ("e\u0301e\u0301e\u0301", 5, "e\u0301e\u0301…"),
        ("ab", 0, ""),
        ("", 5, ""),
    ],
)
def test_cut_at_the_border_of_a_character(text: str, limit: int, expected: str) -> None:
    assert cut(text, limit) == expected


def test_an_escape_is_not_cut() -> None:
    assert cut("<<<<", 10, escape) == "&lt;&lt;…"
    assert cut("a&b", 7, escape) == "a&amp;b"


@settings(max_examples=300)
@given(text=st.text(), limit=st.integers(1, 60))
def test_never_longer_than_the_limit(text: str, limit: int) -> None:
    assert units(cut(clean(text), limit, escape)) <= limit


@settings(max_examples=300)
@given(text=st.text())
def test_clean_text_is_one_line_that_can_be_encoded(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert clean(cleaned) == cleaned
    assert not set(cleaned) & set("\x00\x1b\r\n\u2028\u202a\u202b\u202d\u202e\u2066\u2069\ufeff")


def test_clean_keeps_what_makes_an_emoji_one() -> None:
    assert clean("  👩‍👩‍👧\n❤️ ") == "👩‍👩‍👧 ❤️"


def test_times_have_a_zone_and_a_date_when_it_is_another_day() -> None:
    assert clock_time(1_800_000_000, 1_800_000_060) == "08:00 UTC"
    assert clock_time(1_800_000_000, 1_800_086_400) == "2027-01-15 08:00 UTC"


def test_what_is_left_out_is_counted() -> None:
    assert listed(["a", "b"], 3) == "a; b"
    assert listed(["a", "b", "c", "d"], 2) == "a; b and 2 more"
