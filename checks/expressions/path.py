"""One value out of a JSON-like document, by its JSONPath (RFC 9535)."""

from __future__ import annotations

import re
from typing import Any

import jsonpath

_ENVIRONMENT = jsonpath.JSONPathEnvironment(strict=True)


class NotThere(Exception):
    """What was answered does not hold exactly one value at the place."""


class JsonPath:
    """Where one value stands. last_name: of its last part, as `id` of `$.order.id`.

    Raises ValueError for text that is no JSONPath.
    """

    __slots__ = ("_path", "last_name", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._path = _ENVIRONMENT.compile(text)
        except jsonpath.JSONPathError as error:
            raise ValueError(f"{text} is not a JSONPath ({error})") from None
        self.last_name = (re.findall(r"[\w-]+", text) or [""])[-1]

    def find(self, document: Any) -> Any:
        """The value, never null; `$` is the whole document. Raises NotThere with the reason."""
        if isinstance(document, (dict, list)):
            try:
                found = self._path.findall(document)
            except jsonpath.JSONPathError as error:
                raise NotThere(f"{self.text}: {error}") from None
        else:
            found = [document] if self.text == "$" else []
        if len(found) > 1:
            raise NotThere(f"{self.text} is {len(found)} values, and one is wanted")
        if not found or found[0] is None:
            raise NotThere(f"{self.text} is absent")
        return found[0]
