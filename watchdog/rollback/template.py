"""The body of a rollback: a JSON template with `{service}`-like places and nothing else to be clever with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeAlias

from watchdog.rollback.protocol import Order

BODY_BYTES_MAX = 20_000  # what the Standard Webhooks specification asks senders to stay below
_BECAUSE_CHARS_MAX = 1000
_DEPTH_MAX = 8
_PLACE = re.compile(r"\{([^{}]*)\}")
PLACES = tuple(f.name for f in fields(Order))

Template: TypeAlias = Mapping[str, Any]
DEFAULT: Template = {name: f"{{{name}}}" for name in PLACES}


def check(template: Template) -> None:
    """Raise ValueError, naming the key, for a template that could not be filled in for every order.

    A brace is always the beginning or end of a place, so a slip such as `{ service }`, `{x.__class__}` or
    `{{7*7}}` is an error at start and never a strange text at the receiver.
    """
    _check(template, "body", 0)
    # The longest order there can be: what passes here also fits when it matters.
    longest = Order(
        key="k" * 64,
        environment="e" * 63,
        service="s" * 63,
        deploy="d" * 128,
        from_version="f" * 256,
        to_version="t" * 256,
        because="b" * _BECAUSE_CHARS_MAX,
    )
    size = len(render(template, longest))
    if size > BODY_BYTES_MAX:
        raise ValueError(
            f"body: {size} bytes when filled in; a receiver may refuse more than {BODY_BYTES_MAX}"
        )


def render(template: Template, order: Order) -> bytes:
    """The template filled in, as canonical JSON (keys sorted, no blanks, ASCII): equal orders, equal bytes.

    Values are put in once and not looked at again. `because` is cut to 1,000 characters.
    """
    short = replace(order, because=order.because[:_BECAUSE_CHARS_MAX])
    values = {name: str(getattr(short, name)) for name in PLACES}
    filled = _filled(template, values)
    return json.dumps(filled, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its places filled in; a place that is not in `values` stays as it is."""
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), text)


def _filled(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return fill(node, values)
    if isinstance(node, Mapping):
        return {key: _filled(child, values) for key, child in node.items()}
    if isinstance(node, (list, tuple)):
        return [_filled(child, values) for child in node]
    return node


def _check(node: Any, path: str, depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise ValueError(f"{path}: nested deeper than {_DEPTH_MAX} levels")
    if isinstance(node, str):
        check_places(node, path, PLACES)
    elif isinstance(node, Mapping):
        for key, child in node.items():
            if not isinstance(key, str):
                raise ValueError(f"{path}: the key {key!r} is not text; quote it")
            _check(child, f"{path}.{key}", depth + 1)
    elif isinstance(node, (list, tuple)):
        for i, child in enumerate(node):
            _check(child, f"{path}[{i}]", depth + 1)
    elif isinstance(node, float) and (node != node or abs(node) == float("inf")):
        raise ValueError(f"{path}: JSON has no {node}; write it as text")
    elif node is not None and not isinstance(node, (bool, int, float)):
        raise ValueError(f"{path}: {type(node).__name__} has no place in JSON; write it as text")


def check_places(text: str, path: str, allowed: tuple[str, ...]) -> None:
    """Raise ValueError, naming `path`, unless every brace in `text` belongs to an allowed place."""
    for place in _PLACE.finditer(text):
        if place[1] not in allowed:
            raise ValueError(f"{path}: {place[0]} is not known; use {', '.join(f'{{{p}}}' for p in allowed)}")
    if "{" in (rest := _PLACE.sub("", text)) or "}" in rest:
        raise ValueError(
            f"{path}: a brace that belongs to no place; use {', '.join(f'{{{p}}}' for p in allowed)}"
        )
