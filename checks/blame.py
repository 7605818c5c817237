"""The three outcomes, and whose doing a failed connection is: the target's (`fail`) or ours (`error`)."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["pass", "fail", "error"]

# OpenSSL's X509_V_ERR codes of a certificate that nobody trusted vouches for: no issuer found (2, 20),
# self-signed (18, 19), leaf not verifiable (21). That blames our trust store and not the server, unless the
# certificate is what is looked at. An expired certificate or a wrong name is the server's.
UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
# What the kernel says when the trouble is on this machine.
_OUR_SIDE = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.ENETDOWN}
    | {errno.EACCES, errno.EPERM}
)
_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ECONNABORTED: "connection reset",
    errno.EPIPE: "connection reset",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENOENT: "there is no such socket",
    errno.ETIMEDOUT: "connection timed out",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer to judge, or why it was judged wrong."""

    outcome: Outcome
    because: str


def blame(error: OSError) -> tuple[Outcome, str]:
    """The outcome a failed connection counts as, and one phrase for it.

    Several addresses tried are reported as one OSError without a number: then a cause named in it counts.
    """
    match error:
        case socket.gaierror():
            return "error", f"cannot resolve the name ({error.strerror})"
        case ssl.SSLCertVerificationError():
            if error.verify_code in UNKNOWN_ISSUER:
                return "error", f"certificate not trusted here ({error.verify_message}); add its authority"
            return "fail", f"certificate refused ({error.verify_message})"
        case ssl.SSLError():
            return "fail", f"TLS handshake failed ({error.reason or 'no reason given'})"
    number = error.errno
    if number is None:
        number = next((n for n, word in _WORDS.items() if f"[Errno {n}]" in str(error)), None)
    if number in _OUR_SIDE:
        return "error", f"this machine cannot connect ({errno.errorcode[number]})"
    if number in _WORDS:
        return "fail", _WORDS[number]
    if number is None and isinstance(error, ConnectionError):
        return "fail", "the connection was closed before an answer"
    return "fail", f"connection failed ({errno.errorcode.get(number or 0, type(error).__name__)})"
