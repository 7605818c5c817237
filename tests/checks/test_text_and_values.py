"""What leaves a check as text, and what enters an expression as values."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from checks.duration import Duration
from checks.expressions.values import parse_json, plain, show
from checks.text import BECAUSE_CHARS_MAX, DETAILS_MAX, Mask, finish, is_telling, telling_values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("12.00"), 12),
        (Decimal("0.5"), 0.5),
        (Decimal("1e300"), 1e300),
        (2**63, 2**63),
        (2**64, float(2**64)),
        (-(10**400), float("-inf")),
        (datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T10:00:00Z"),
        (datetime(2026, 1, 1, 12, tzinfo=UTC).replace(tzinfo=None), "2026-01-01T12:00:00"),
        (date(2026, 1, 1), "2026-01-01"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (memoryview(b"a"), b"a"),
        ((1, {2}), [1, [2]]),
        ({"a": (None, True)}, {"a": [None, True]}),
        ("\ud800x", "?x"),
    ],
)
def test_plain_values(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)


def test_values_are_shown_short() -> None:
    assert show("x" * 500).endswith("…")
    assert len(show("x" * 500)) <= 80
    shown: list[Any] = [True, None, 1.5, "a\nb", [1], {}, timedelta(seconds=0.25)]
    assert [show(value) for value in shown] == [
        "true",
        "null",
        "1.5",
        '"a\\nb"',
        "a list of 1",
        "a map of 0",
        "250 ms",
    ]


def test_a_secret_is_masked_in_every_spelling_a_server_may_echo() -> None:
    mask = Mask(['Bearer to/k"en', "abc"])
    assert mask('to/k"en to%2Fk%22en to/k\\"en Bearer abc') == "*** *** *** Bearer abc"
    assert Mask([])("nothing") == "nothing"


def test_telling_names() -> None:
    for name in ("password", "db_passwd", "access_token", "Set-Cookie", "Authorization", "auth", "apiKey"):
        assert is_telling(name), name
    for name in ("author", "cart", "order_id", "sku", "passenger"):
        assert not is_telling(name), name


def test_telling_values_are_found_at_any_depth() -> None:
    document = {"user": [{"password": "p1"}, {"name": "n"}], "token": {"secret": "s1"}, "api_key": 5}
    assert telling_values(document) == ["p1", "s1"]


def test_a_result_is_bounded_and_one_line_each() -> None:
    result = finish("fail", "a\x00\r\nb" * 1000, readings={}, details=["x\ny"] * 500)
    assert len(result.because) == BECAUSE_CHARS_MAX
    assert result.because.startswith("a ba b")
    assert result.details == ("x y",) * DETAILS_MAX


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("30s", 30.0), ("1.5m", 90.0), ("2h", 7200.0)])
def test_durations_carry_units(text: str, seconds: float) -> None:
    assert TypeAdapter(Duration).validate_python(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["30", 30, "s", "-1s", "1 s", "1d 2h", None])
def test_a_duration_without_a_unit_is_refused(text: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(text)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": [1]}',
        b' {"a": [1]}',
        b'\xef\xbb\xbf{"a": [1]}',
        '{"a": [1]}'.encode("utf-16"),
        '{"a": [1]}'.encode("utf-16-le"),
    ],
)
def test_json_is_read_in_every_encoding_it_may_have(body: bytes) -> None:
    assert parse_json(body) == {"a": [1]}


@pytest.mark.parametrize("body", [b"", b"{", b"[NaN]", b" [Infinity]", b'["\xff"]', b"[" * 200 + b"]" * 200])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(body)
