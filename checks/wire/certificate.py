"""What the certificates of a TLS connection say: until when, for whom, by whom."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

DAY_S = 86_400.0
# Tags of X.690 and RFC 5280: the optional version of a certificate, and the two spellings of a time.
_VERSION, _UTC_TIME = 0xA0, 0x17
_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
}


def first_expiry_s(tls: ssl.SSLObject) -> float:
    """Epoch seconds at which the first certificate of the presented chain expires.

    Before Python 3.13 the chain is not available and the server's own certificate counts alone.
    """
    presented = [tls.getpeercert(binary_form=True) or b""]
    if sys.version_info >= (3, 13):
        presented = tls.get_unverified_chain()
    ends = []
    for certificate in presented:
        # What a server sends beside its verified chain may be anything.
        with suppress(ValueError):
            ends.append(not_after_s(certificate))
    return min(ends)


def days_left(end_s: float, now_s: float) -> float:
    """Days from now until that time, to a hundredth; negative when it is over."""
    return round((end_s - now_s) / DAY_S, 2)


def facts(tls: ssl.SSLObject, now_s: float) -> dict[str, Any]:
    """What an expression may ask of a verified connection; see kind `tls` for the names."""
    leaf: Mapping[str, Any] = tls.getpeercert() or {}
    cipher = tls.cipher()
    return {
        "days": days_left(first_expiry_s(tls), now_s),
        "version": tls.version() or "",
        "cipher": cipher[0] if cipher else "",
        "issuer": _name(leaf.get("issuer", ())),
        "subject": _name(leaf.get("subject", ())),
        "names": [name for kind, name in leaf.get("subjectAltName", ()) if kind in ("DNS", "IP Address")],
    }


def not_after_s(certificate: bytes) -> float:
    """Epoch seconds at which one certificate in DER expires; raises ValueError for what is none.

    Source: RFC 5280 sections 4.1 and 4.1.2.5; tags and lengths as in X.690 section 8.1.
    """
    (_, outer), *_ = _elements(certificate)
    (_, signed), *_ = _elements(outer)
    fields = [content for tag, content in _elements(signed) if tag != _VERSION]
    # Serial number, signature algorithm, issuer, validity.
    if len(fields) < 4:
        raise ValueError("not a certificate")
    (_, _), (tag, written) = _elements(fields[3])
    text = written.decode("ascii")
    if tag == _UTC_TIME:
        text = ("20" if text < "50" else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in a row; raises ValueError where one is cut short."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1] if at + 1 < len(der) else 0, at + 2
        if length & 0x80:
            n = length & 0x7F
            length, at = int.from_bytes(der[at : at + n]), at + n
        if at + length > len(der):
            raise ValueError("cut short")
        yield tag, der[at : at + length]
        at += length


def _name(parts: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """`CN=shop.example, O=Shop`, in the order of the certificate."""
    return ", ".join(f"{_SHORT.get(key, key)}={value}" for part in parts for key, value in part)
