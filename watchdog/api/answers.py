"""How every JSON answer and every refusal of the API looks, so that no route can look different."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

SCHEMA = "deploy-watchdog/v1"


class Problem(Exception):
    """A refusal: HTTP status, one sentence with its remedy, and the key of the request it is about.

    error is shown to the caller as it is: it never holds a path, a secret or what an exception said.
    """

    def __init__(
        self, status: int, error: str, *, at: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.at = at
        self.headers = dict(headers or {})


def plain(value: Any) -> Any:
    """The value as strict JSON can hold it: NaN and infinity become null (missing), tuples become lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value


def dumps(value: Mapping[str, Any]) -> str:
    """Compact strict JSON of an answer, `schema` first."""
    return json.dumps({"schema": SCHEMA, **plain(value)}, separators=(",", ":"), allow_nan=False)


def answer(
    value: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """One JSON answer."""
    return web.Response(
        text=dumps(value), status=status, headers=headers, content_type="application/json", charset="utf-8"
    )


def refusal(problem: Problem) -> web.Response:
    """The JSON answer of a refusal: `error` and `at`."""
    return answer({"error": problem.error, "at": problem.at}, status=problem.status, headers=problem.headers)
