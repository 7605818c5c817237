"""Standard Webhooks signatures, for what we send and for what we are sent.

The package `standardwebhooks` reads the clock itself and decodes the body to text before verifying, which
fails on bodies that are not UTF-8; here `now` is a parameter and the raw bytes are what is signed. The tests
hold this file to that package.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

# How far a timestamp may lie from our clock: the tolerance of the Standard Webhooks libraries.
REPLAY_WINDOW_S = 300.0
_PREFIX = "whsec_"
_SIGNATURES_MAX = 16
_MESSAGE_ID = re.compile(r"[!-\-/-~]{1,256}")  # printable ASCII without the dot that separates the parts
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The secrets shared with one peer; several at once while they are being changed.

    Outgoing messages carry one signature per key, incoming ones are taken if any key fits.
    """

    _keys: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def parse(cls, secrets: Iterable[SecretStr | str]) -> SigningKeys:
        """Decode `whsec_<base64>` secrets; raises ValueError, which never holds the secret itself."""
        keys = tuple(_decoded(s.get_secret_value() if isinstance(s, SecretStr) else s) for s in secrets)
        if not keys:
            raise ValueError("no signing secret; an empty list would accept nothing and sign nothing")
        return cls(keys)

    def headers(self, *, message_id: str, at: float, body: bytes) -> dict[str, str]:
        """The three headers of one attempt. message_id: constant over retries. at: of this attempt."""
        stamp = str(int(at))
        signed = _signed(message_id, stamp, body)
        signatures = (base64.b64encode(_mac(key, signed)).decode() for key in self._keys)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }

    def problem(self, headers: Mapping[str, str], body: bytes, now: float) -> str | None:
        """None if the message is genuine and fresh, else one sentence saying why not.

        headers: any letter case. body: the bytes as received, before any parsing. A message that was
        seen before is not noticed here: the caller keeps the `webhook-id`s of the last REPLAY_WINDOW_S.
        """
        given = {name.lower(): value for name, value in headers.items()}
        message_id = given.get("webhook-id", "")
        stamp = given.get("webhook-timestamp", "")
        if not message_id or not stamp or "webhook-signature" not in given:
            return "unsigned: webhook-id, webhook-timestamp and webhook-signature are needed"
        if not _MESSAGE_ID.fullmatch(message_id):
            return "webhook-id is not 1 to 256 printable ASCII characters without a dot"
        if not _TIMESTAMP.fullmatch(stamp):
            return "webhook-timestamp is not a whole number of seconds"
        if abs(now - int(stamp)) > REPLAY_WINDOW_S:
            return f"webhook-timestamp is {now - int(stamp):.0f} s old; {REPLAY_WINDOW_S:.0f} s are allowed"
        signed = _signed(message_id, stamp, body)
        expected = [_mac(key, signed) for key in self._keys]
        matches = [
            hmac.compare_digest(ours, theirs)
            for theirs in _signatures(given["webhook-signature"])
            for ours in expected
        ]
        return None if any(matches) else "no signature matches"


def _decoded(secret: str) -> bytes:
    encoded = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError(
            "a signing secret is `whsec_` and 24 to 64 bytes in base64; make one with: "
            'echo "whsec_$(openssl rand -base64 32)"'
        )
    return key


def _signed(message_id: str, stamp: str, body: bytes) -> bytes:
    return b".".join((message_id.encode(), stamp.encode(), body))


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.new(key, signed, hashlib.sha256).digest()


def _signatures(header: str) -> list[bytes]:
    """The v1 signatures of a header; what cannot be decoded is left out."""
    found: list[bytes] = []
    for part in header.split(" ")[:_SIGNATURES_MAX]:
        version, _, encoded = part.partition(",")
        if version != "v1":
            continue
        try:
            found.append(base64.b64decode(encoded, validate=True))
        except (binascii.Error, ValueError):
            continue
    return found
