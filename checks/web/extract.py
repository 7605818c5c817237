"""Taking one value out of an answer, to be used in later steps."""

from __future__ import annotations

import re
from typing import Any

import jsonpath

from checks.expressions.values import parse_json
from checks.text import is_telling
from checks.web.exchange import Answer

TEXT_CHARS_MAX = 65_536  # how far a regex looks; Python's engine can be slow and cannot be interrupted
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ENVIRONMENT = jsonpath.JSONPathEnvironment(strict=True)
# A repeated group that itself repeats takes exponential time on text that almost matches.
_NESTED_REPEAT = re.compile(r"[*+}]\)[*+{]|\|[^()]*\)[*+{]")


class NotThere(Exception):
    """The answer does not hold exactly one value at the place."""


class Extractor:
    """Where one named value stands: `$.path` (RFC 9535), `header:NAME` or `regex:PATTERN` (first group).

    Raises ValueError for what is none of these.
    """

    __slots__ = ("_header", "_path", "_regex", "is_secret", "where")

    def __init__(self, name: str, where: str) -> None:
        self.where = where
        self._header: str | None = None
        self._path: jsonpath.JSONPath | jsonpath.CompoundJSONPath | None = None
        self._regex: re.Pattern[str] | None = None
        if not _NAME.fullmatch(name):
            raise ValueError(f"extract: {name!r} is not a name; write small letters, digits and _")
        kind, _, rest = where.partition(":")
        if kind == "header" and rest:
            self._header = rest.strip().lower()
        elif kind == "regex" and rest:
            self._regex = _safe_regex(name, rest)
        elif where.startswith("$"):
            try:
                self._path = _ENVIRONMENT.compile(where)
            except jsonpath.JSONPathError as error:
                raise ValueError(f"extract: {name}: {where} is not a JSONPath ({error})") from None
        else:
            raise ValueError(
                f"extract: {name}: write $.json.path, header:NAME or regex:PATTERN, not {where!r}"
            )
        self.is_secret = is_telling(name) or (self._header is not None and is_telling(self._header))

    def find(self, answer: Answer) -> Any:
        """The value: any JSON value but null, or a text; raises NotThere with the reason."""
        if answer.body is None and self._header is None:
            raise NotThere("the body is longer than body_bytes_max")
        if self._header is not None:
            value = answer.headers.get(self._header)
        elif self._regex is not None:
            match = self._regex.search(answer.text()[:TEXT_CHARS_MAX])
            value = match and match[1]
        else:
            value = self._at_path(answer.body or b"")
        if value is None:
            raise NotThere(f"{self.where} is absent")
        return value

    def _at_path(self, body: bytes) -> Any:
        assert self._path is not None
        try:
            document = parse_json(body)
        except ValueError as error:
            raise NotThere(f"the body is not JSON ({error})") from None
        if not isinstance(document, (dict, list)):
            raise NotThere(f"{self.where} is absent")
        try:
            found = self._path.findall(document)
        except jsonpath.JSONPathError as error:
            raise NotThere(f"{self.where}: {error}") from None
        if len(found) > 1:
            raise NotThere(f"{self.where} is {len(found)} values, and one is wanted")
        return found[0] if found else None


def _safe_regex(name: str, pattern: str) -> re.Pattern[str]:
    if _NESTED_REPEAT.search(pattern):
        raise ValueError(
            f"extract: {name}: a repeated group that repeats inside can take for ever; write it flat"
        )
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"extract: {name}: {pattern} is not a regular expression ({error})") from None
    if regex.groups != 1:
        raise ValueError(f"extract: {name}: write exactly one group ( ) around the value")
    return regex
