"""One bounded exchange: what is read of an answer, and what is quoted from it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from tests.support.examples import NOW
from tests.support.receivers import Receiver
from watchdog.posting import ANSWER_BYTES_MAX, Answer, Poster, excerpt, retry_after_s


@pytest.mark.parametrize("behaviour", ["endless body", "compressed bomb"])
async def test_an_answer_is_read_up_to_a_limit_and_as_it_came(behaviour: str) -> None:
    async with Receiver(always=behaviour) as receiver:
        poster = Poster()
        answer = await poster.exchange(
            "POST", URL(receiver.url), body=b"{}", headers={}, timeout_s=5.0, now=NOW
        )
        await poster.close()
    assert isinstance(answer, Answer)
    assert 0 < len(answer.body) <= ANSWER_BYTES_MAX
    assert answer.body[:2] == (b"xx" if behaviour == "endless body" else b"\x1f\x8b"), "not decompressed"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("1000000000", 1e9),
        ("Fri, 15 Jan 2027 08:00:20 GMT", 20.0),
        ("Fri, 15 Jan 2027 08:00:20 -0000", 20.0),
        ("Fri, 15 Jan 2021 08:00:20 GMT", 0.0),
        ("-7", None),
        ("1e9", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("\u0667", None),
        ("9" * 65, None),
        ("Fri, 99 Jan 2027 08:00:20 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW) == seconds


@settings(max_examples=300)
@given(header=st.text(max_size=70))
def test_no_retry_after_raises_or_is_negative(header: str) -> None:
    seconds = retry_after_s(header, NOW)
    assert seconds is None or seconds >= 0


def test_a_secret_across_the_border_does_not_survive_in_halves() -> None:
    body = b"x" * 495 + b"SECRETCANARY"
    assert "SEC" not in excerpt(body, ["SECRETCANARY"])
    assert len(excerpt(b"y" * 5000, [])) == 500


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abc.def",
        "whsec_AAAA",
        "xoxb-123-abc",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ],
)
def test_what_looks_like_a_credential_is_hidden(text: str) -> None:
    assert "***" in excerpt(text.encode(), [])
    assert text.split()[-1] not in excerpt(text.encode(), [])


def test_an_excerpt_is_one_line_of_printable_text() -> None:
    assert excerpt(b"a\r\nSet-Cookie: b\x1b[31m \xff\x00", []) == "a Set-Cookie: b [31m \ufffd"
