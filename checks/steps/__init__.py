"""The steps of a scenario: one file per way of looking; a new one is one file, and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from checks.steps.http import HttpStep
from checks.steps.redis import RedisStep
from checks.steps.sql import SqlStep
from checks.web.request import METHODS

# The key by which a step is known -> the tag of its class. Tags are no possible keys, so that no error's
# path is mistaken: `sql` is both a kind of step and a key of it.
_VERBS: Mapping[str, str] = {
    "sql": "an sql step",
    "redis": "a redis step",
    **dict.fromkeys(METHODS, "an http step"),
}


def _tag(written: Any) -> str | None:
    if not isinstance(written, Mapping):
        return None
    # Those of HTTP come last: `sql` beside `get` is a mistake in an sql step.
    return next((tag for verb, tag in _VERBS.items() if verb in written), None)


AnyStep = Annotated[
    Annotated[HttpStep, Tag("an http step")]
    | Annotated[SqlStep, Tag("an sql step")]
    | Annotated[RedisStep, Tag("a redis step")],
    Discriminator(
        _tag,
        custom_error_type="not-a-step",
        custom_error_message=f"write one of {', '.join(_VERBS)} to say what it does",
    ),
]
