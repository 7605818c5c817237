"""What pydantic found, in our words: the key's place, what is wrong with it, and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from config.errors import Problem
from config.reading import Keys, Tree, dotted
from config.schema import SELECTOR_KEYS, SELECTORS
from config.shape import along, at, fields_of

# Keys whose value is an assertion: what a plug-in says of them concerns an expression.
_EXPRESSIONS = frozenset({"expect", "until", "done"})
_ONE_OF = {
    "sources": "source",
    "databases": "database",
    "targets": "target",
    "channels": "channel",
    "checks": "check",
    "series": "series",
}


def problem_of(
    error: ErrorDetails, prefix: Keys, shape: Any, tree: Tree, extra_keys: Iterable[str]
) -> Problem:
    """One pydantic error as a problem.

    prefix: path of what was validated, of type `shape`; extra_keys: keys it has beside those of the shape.
    """
    value = value_at(tree.value, prefix)
    path, is_key = _path(error["loc"], value)
    full = (*prefix, *path)
    kind = error["type"]
    if kind == "extra_forbidden":
        known = [*fields_of(along(shape, error["loc"][:-1])), *(extra_keys if len(path) == 1 else ())]
        return unknown_key(full, known, tree)
    if is_key:
        return tree.problem(
            "bad-name",
            f"`{full[-1]}` is not a name here. Write {_name_rule(full)}.",
            full,
        )
    if kind == "missing":
        return tree.problem("missing-key", f"{noun(full[:-1], tree)} needs `{full[-1]}`.", full)
    if kind == "value_error":
        return _refused(str(error["ctx"]["error"]), full, at(shape, path), tree)
    if error["input"] is None:
        return empty(full, tree)
    if kind == "string_type" and isinstance(error["input"], int | float):
        return _not_text(error["input"], full, tree)
    if kind == "literal_error":
        return _not_one_of(error, full, tree)
    if "-" in kind:
        # A refusal of our own: `config.values`, `config.schema`.
        return tree.problem(kind, f"{short(full)}: {error['msg']}", full, on_value=True)
    said = error["msg"].replace("Input should be ", "should be ").replace("Input should ", "should ")
    # What it becomes is ours; what people write is a list or a mapping.
    said = re.sub(r"a valid (tuple|frozenset|list)\b", "a list", said)
    said = re.sub(r"a valid (dictionary|mapping)( or .*)?", "a mapping", said)
    shown = f", not {_shown(error['input'])}" if isinstance(error["input"], str | int | float) else ""
    return tree.problem(
        "bad-value", f"{short(full)} {said[0].lower()}{said[1:]}{shown}.", full, on_value=True
    )


def unknown_key(path: Keys, known: Iterable[str], tree: Tree) -> Problem:
    """The problem of a key that its place does not have."""
    keys = _belonging(path[:-1], known, tree)
    return tree.problem(
        "unknown-key",
        f"`{path[-1]}` is not a key of {noun(path[:-1], tree)}.",
        path,
        hint=did_you_mean(str(path[-1]), keys),
        remedy=f"keys of {noun(path[:-1], tree)}: {', '.join(keys)}" if keys else "it has no keys",
    )


def empty(path: Keys, tree: Tree) -> Problem:
    """The problem of a key without a value, which would silently mean that it is not there."""
    return tree.problem("empty", f"{short(path)} is empty. Give it a value, or remove the key.", path)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean `x`?`` or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def noun(path: Keys, tree: Tree) -> str:
    """What stands at that path, for a sentence: `a ratio series`, `an http check`, `a service`."""
    if not path:
        return "the configuration"
    if len(path) == 2 and path[0] == "services":
        return "a service"
    is_entry = len(path) == 2 or (len(path) == 4 and path[0] == "services")
    if is_entry and path[-2] in _ONE_OF:
        entry = value_at(tree.value, path)
        kind = entry.get("kind") if isinstance(entry, Mapping) else None
        what = _ONE_OF[str(path[-2])]
        if not isinstance(kind, str):
            return f"a {what}"
        return f"{'an' if kind[:1] in 'aeiou' or kind == 'http' else 'a'} {kind} {what}"
    return short(path)


def short(path: Keys) -> str:
    """The path as a sentence names it: within a service, without the service."""
    return dotted(path[2:] if path[:1] == ("services",) and len(path) > 2 else path)


def value_at(value: Any, path: Keys) -> Any:
    """The value at that path, None where there is none."""
    for key in path:
        if not holds(value, key):
            return None
        value = value[key]
    return value


def holds(value: Any, key: int | str) -> bool:
    """True if `value[key]` exists, in a mapping or a list."""
    if isinstance(value, list):
        return isinstance(key, int) and 0 <= key < len(value)
    return isinstance(value, Mapping) and key in value


def _path(loc: tuple[int | str, ...], value: Any) -> tuple[Keys, bool]:
    """Where an error is, without the names of union members; True if it concerns the key itself."""
    path: list[int | str] = []
    for index, part in enumerate(loc):
        if holds(value, part):
            path.append(part)
            value = value[part]
        elif isinstance(value, Mapping) and index == len(loc) - 1 and _is_key_like(part):
            # A key that is missing.
            path.append(part)
    return tuple(path), "[key]" in loc


def _is_key_like(part: int | str) -> bool:
    # Members of unions are named `str`, `dict[str,any]`, `function-after[...]`, by class: `Expectation`.
    return isinstance(part, str) and re.fullmatch(r"[a-z][a-z0-9_]*", part) is not None


def _refused(text: str, path: Keys, shape: Any, tree: Tree) -> Problem:
    """What a plug-in's `__post_init__` said: `key: sentence`, the key possibly deeper (`steps[1].get`)."""
    head, separator, rest = text.partition(": ")
    inner = _written(head, shape) if separator else None
    if inner is None:
        return tree.problem("bad-value", f"{short(path)}: {text}", path)
    full = (*path, *inner)
    code = "bad-expression" if inner[-1] in _EXPRESSIONS else "bad-value"
    return tree.problem(code, f"{short(full)}: {rest}", full, on_value=True)


def _written(head: str, shape: Any) -> Keys | None:
    """The path of a key as a plug-in names it, None if it names none; `timeout_s` is found as `timeout`."""
    if not re.fullmatch(r"[A-Za-z_][\w-]*(?:\.[\w-]+|\[[0-9]+\])*", head):
        return None
    path = _split(head)
    keys = fields_of(shape)
    first = str(path[0])
    if first in keys:
        return path
    if first.removesuffix("_s") in keys:
        return (first.removesuffix("_s"), *path[1:])
    return None


def _split(head: str) -> Keys:
    parts: list[str | int] = []
    for index, word in re.findall(r"\[([0-9]+)\]|([\w-]+)", head):
        parts.append(int(index) if index else word)
    return tuple(parts)


def _belonging(path: Keys, known: Iterable[str], tree: Tree) -> list[str]:
    """Of a series only the keys of its kind: the others would not help."""
    keys = list(known)
    is_series = len(path) == 4 and path[0] == "services" and path[2] == "series"
    kind = value_at(tree.value, (*path, "kind")) if is_series else None
    # What somebody wrote may be no kind at all, which the mapping's type does not foresee.
    ways = SELECTORS.get(kind) if isinstance(kind, str) else None  # type: ignore[call-overload]  # keys are literals
    if ways is None:
        return keys
    wanted = [key for way in ways for key in way]
    return [*wanted, *(key for key in keys if key not in SELECTOR_KEYS and key != "kind")]


def _not_text(value: float, path: Keys, tree: Tree) -> Problem:
    mark = tree.values.get(path)
    written = mark.text if mark is not None and mark.text is not None else str(value)
    what = "true or false" if isinstance(value, bool) else f"the number {value}"
    return tree.problem(
        "not-text",
        f'{short(path)} {written} was read as {what}. Write "{written}".',
        path,
        on_value=True,
        hint="put it in quotes",
    )


def _not_one_of(error: ErrorDetails, path: Keys, tree: Tree) -> Problem:
    expected = str(error["ctx"]["expected"])
    known = re.findall(r"'([^']*)'", expected) or [expected]
    return tree.problem(
        "unknown-value",
        f"{short(path)} {_shown(error['input'])} is not one of: {', '.join(known)}.",
        path,
        on_value=True,
        hint=did_you_mean(str(error["input"]), known),
    )


def _name_rule(path: Keys) -> str:
    if len(path) >= 2 and path[-2] == "series":
        return "a-z, 0-9 and _, beginning with a letter, at most 63 characters: it becomes a metric's name"
    return "a-z, 0-9 and -, beginning with a letter or digit, at most 63 characters"


def _shown(value: Any) -> str:
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
