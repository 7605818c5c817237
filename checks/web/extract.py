"""Taking one value out of an answer, to be used in later steps."""

from __future__ import annotations

import re
from typing import Any

from checks.expressions.path import JsonPath, NotThere
from checks.expressions.values import parse_json
from checks.text import is_telling
from checks.web.messages import Answer

TEXT_CHARS_MAX = 65_536  # how far a regex looks; Python's engine can be slow and cannot be interrupted
# A repeated group that itself repeats takes exponential time on text that almost matches.
_NESTED_REPEAT = re.compile(r"[*+}]\)[*+{]|\|[^()]*\)[*+{]")


class Extractor:
    """Where one value stands: `$.path` (RFC 9535), `header:NAME` or `regex:PATTERN` (first group).

    is_secret: by what the place is called. Raises ValueError for what is none of these.
    """

    __slots__ = ("_header", "_path", "_regex", "is_secret", "where")

    def __init__(self, where: str) -> None:
        self.where = where
        self._header: str | None = None
        self._path: JsonPath | None = None
        self._regex: re.Pattern[str] | None = None
        kind, _, rest = where.partition(":")
        if kind == "header" and rest:
            self._header = rest.strip().lower()
        elif kind == "regex" and rest:
            self._regex = _safe_regex(rest)
        elif where.startswith("$"):
            self._path = JsonPath(where)
        else:
            raise ValueError(f"write $.json.path, header:NAME or regex:PATTERN, not {where!r}")
        self.is_secret = is_telling(rest if self._path is None else self._path.last_name)

    def find(self, answer: Answer) -> Any:
        """The value: any JSON value but null, or a text; raises NotThere with the reason."""
        if answer.body is None and self._header is None:
            raise NotThere("the body is longer than body_bytes_max")
        if self._path is not None:
            try:
                document = parse_json(answer.body or b"")
            except ValueError as error:
                raise NotThere(f"the body is not JSON ({error})") from None
            return self._path.find(document)
        if self._header is not None:
            value = answer.headers().get(self._header)
        else:
            assert self._regex is not None
            match = self._regex.search(answer.text()[:TEXT_CHARS_MAX])
            value = match and match[1]
        if value is None:
            raise NotThere(f"{self.where} is absent")
        return value


def _safe_regex(pattern: str) -> re.Pattern[str]:
    if _NESTED_REPEAT.search(pattern):
        raise ValueError("a repeated group that repeats inside can take for ever; write it flat")
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern} is not a regular expression ({error})") from None
    if regex.groups != 1:
        raise ValueError("write exactly one group ( ) around the value")
    return regex
