"""Standard Webhooks: against the specification's own vector and its reference library, and what must fail."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook

from watchdog.signing import SigningKeys

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret of 32 bytes here!").decode()
NOW = 1_614_265_330.0
KEYS = SigningKeys.parse([SECRET])


def test_the_published_vector() -> None:
    headers = KEYS.headers(message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", at=NOW, body=b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


@settings(max_examples=60)
@given(body=st.text().map(lambda text: text.encode("utf-8", "ignore")))
def test_the_reference_library_agrees(body: bytes) -> None:
    # The library reads the clock of the machine, so the stamp is of now.
    at = datetime.now(UTC)
    headers = KEYS.headers(message_id="m", at=at.timestamp(), body=body)
    Webhook(SECRET).verify(body, headers, json_parse=False)
    signature = Webhook(SECRET).sign("m", at, body.decode())
    assert headers["webhook-signature"] == signature
    assert KEYS.problem(headers, body, at.timestamp()) is None


def test_a_body_that_is_no_text_is_verified() -> None:
    body = b"\xff\xfe\x00"
    assert KEYS.problem(KEYS.headers(message_id="m", at=NOW, body=body), body, NOW) is None


def test_two_secrets_while_one_is_changed() -> None:
    both = SigningKeys.parse([SecretStr(OTHER), SecretStr(SECRET)])
    headers = both.headers(message_id="m", at=NOW, body=b"{}")
    assert len(headers["webhook-signature"].split()) == 2
    assert KEYS.problem(headers, b"{}", NOW) is None
    assert SigningKeys.parse([OTHER]).problem(headers, b"{}", NOW) is None
    assert both.problem(KEYS.headers(message_id="m", at=NOW, body=b"{}"), b"{}", NOW) is None


@pytest.mark.parametrize(
    ("age_s", "is_fresh"), [(0, True), (300, True), (-300, True), (301, False), (-301, False), (10**9, False)]
)
def test_the_replay_window(age_s: float, is_fresh: bool) -> None:
    headers = KEYS.headers(message_id="m", at=NOW, body=b"{}")
    assert (KEYS.problem(headers, b"{}", NOW + age_s) is None) == is_fresh


GOOD = KEYS.headers(message_id="m", at=NOW, body=b"{}")
V1 = GOOD["webhook-signature"]


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "n"},
        {"webhook-id": ""},
        {"webhook-id": "m.1"},
        {"webhook-id": "m\u00e9"},
        {"webhook-id": "m" * 257},
        {"webhook-timestamp": str(int(NOW) + 1)},
        {"webhook-timestamp": f"{int(NOW)}.0"},
        {"webhook-timestamp": f"+{int(NOW)}"},
        {"webhook-timestamp": "\u0661\u0662"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": V1[3:]},
        {"webhook-signature": V1.replace("v1,", "v1a,")},
        {"webhook-signature": V1.replace("v1,", "v2,")},
        {"webhook-signature": V1[:-4]},
        {"webhook-signature": "v1,\udcff\u00e9"},
        {"webhook-signature": V1.lower()},
        {"webhook-signature": " ".join(["v1,AAAA"] * 16) + " " + V1},
    ],
)
def test_a_changed_message_is_refused(change: dict[str, str]) -> None:
    assert KEYS.problem(GOOD, b"{}", NOW) is None
    assert KEYS.problem({**GOOD, **change}, b"{}", NOW)


def test_the_parts_cannot_be_shifted() -> None:
    # The same signed bytes, read as another message: id `m.<stamp>`, body without its beginning.
    stamp = str(int(NOW))
    good = KEYS.headers(message_id="m", at=NOW, body=f"{stamp}.rest".encode())
    assert KEYS.problem(good, f"{stamp}.rest".encode(), NOW) is None
    assert KEYS.problem({**good, "webhook-id": f"m.{stamp}"}, b"rest", NOW) is not None


def test_another_body_or_key_or_no_header_is_refused() -> None:
    assert KEYS.problem(GOOD, b"{ }", NOW) == "no signature matches"
    assert SigningKeys.parse([OTHER]).problem(GOOD, b"{}", NOW) == "no signature matches"
    assert "unsigned" in str(KEYS.problem({}, b"{}", NOW))
    assert KEYS.problem({name.title(): value for name, value in GOOD.items()}, b"{}", NOW) is None


@settings(max_examples=300)
@given(signature=st.text(max_size=80), stamp=st.text(max_size=20), message_id=st.text(max_size=20))
def test_no_header_raises(signature: str, stamp: str, message_id: str) -> None:
    headers = {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signature}
    assert KEYS.problem(headers, b"{}", NOW) is not None


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "hunter2hunter2hunter2hunter2hunt",
        "whsec_short",
        "whsec_!!!!",
        SECRET.removeprefix("whsec_"),
    ],
)
def test_a_secret_that_is_none_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_") as caught:
        SigningKeys.parse([secret])
    assert len(secret) < 7 or secret not in str(caught.value)


def test_no_secret_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no signing secret"):
        SigningKeys.parse([])


def test_the_keys_do_not_print() -> None:
    assert repr(KEYS) == "SigningKeys()"
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    assert repr(key)[2:-1] not in repr(KEYS)


def test_the_window_is_not_wider_than_the_library_s() -> None:
    at = datetime.now(UTC) - timedelta(seconds=302)
    headers = KEYS.headers(message_id="m", at=at.timestamp(), body=b"{}")
    with pytest.raises(Exception, match="too old"):
        Webhook(SECRET).verify(b"{}", headers)
    assert KEYS.problem(headers, b"{}", datetime.now(UTC).timestamp()) is not None
