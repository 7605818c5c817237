"""A signing secret is long enough not to be guessed, and no longer than the standard allows."""

from __future__ import annotations

import base64

import pytest

from watchdog.signing import SigningKeys


def _secret(length: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(length))).decode()


@pytest.mark.parametrize("length", [24, 32, 64])
def test_24_to_64_bytes_are_taken(length: int) -> None:
    assert SigningKeys.parse([_secret(length)]).headers(message_id="m", at=0.0, body=b"")


@pytest.mark.parametrize("length", [1, 16, 23, 65])
def test_shorter_and_longer_ones_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        SigningKeys.parse([_secret(length)])
