"""What may leave a check as text: secrets masked, everything cut to a bound."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any
from urllib.parse import quote

from checks.model import CheckResult, Outcome

BECAUSE_CHARS_MAX = 600
DETAIL_CHARS_MAX = 300
DETAILS_MAX = 100
SECRET_CHARS_MIN = 4  # shorter texts occur by chance; masking them would only garble the message

_TELLING = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api.?key|credential|session|cookie|^auth($|oriz|entic|_)",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def is_telling(name: str) -> bool:
    """True if a value of that name is probably a secret (`password`, `access_token`, `Set-Cookie`)."""
    return _TELLING.search(name) is not None


def telling_values(document: Any) -> list[str]:
    """Texts below telling names anywhere in a JSON-like document."""
    found: list[str] = []
    if isinstance(document, Mapping):
        for name, inner in document.items():
            if isinstance(inner, str) and is_telling(str(name)):
                found.append(inner)
            found += telling_values(inner)
    elif isinstance(document, (list, tuple)):
        for inner in document:
            found += telling_values(inner)
    return found


class Mask:
    """Replaces secrets in text by `***`, in the spellings in which a server may echo them."""

    __slots__ = ("_pattern",)

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = set()
        for secret in secrets:
            # `Bearer abc`: the service may echo only the second word.
            for part in {secret, *secret.split()}:
                if len(part) >= SECRET_CHARS_MIN and part.lower() not in ("bearer", "basic", "digest"):
                    spellings |= {part, quote(part, safe=""), json.dumps(part)[1:-1]}
        longest_first = sorted(spellings, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if spellings else None

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        return text if self._pattern is None else self._pattern.sub("***", text)


NO_MASK = Mask(())


def finish(
    outcome: Outcome,
    because: str = "",
    *,
    readings: Mapping[str, float],
    details: Iterable[str] = (),
    mask: Mask = NO_MASK,
) -> CheckResult:
    """The result as it may be stored and shown: masked, one line each, within the bounds above."""
    return CheckResult(
        outcome=outcome,
        because=one_line(mask(because), BECAUSE_CHARS_MAX) if because else "",
        readings=dict(readings),
        details=tuple(one_line(mask(line), DETAIL_CHARS_MAX) for line in islice(details, DETAILS_MAX)),
    )


_SIGNS: Mapping[Outcome, str] = {"pass": " ok ", "fail": "FAIL", "error": " ?? "}


def sign(outcome: Outcome) -> str:
    """Begins a line of `details`; an `error` blames nobody, so it does not look like a failure."""
    return _SIGNS[outcome]


def one_line(text: str, chars_max: int) -> str:
    """Control characters become blanks; what is too long is cut and says so by `…`."""
    text = _CONTROL.sub(" ", text)
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def hidden(key: Any) -> str:
    """A key as it may be shown: the beginning of its SHA-256, so that nobody's name or number comes out."""
    return "#" + hashlib.sha256(str(key).encode()).hexdigest()[:8]
