"""Secrets and surroundings: `${ENV}` inside any text, `file:/path` as a whole value.

What a reference brought is remembered by its path, so that nothing ever prints it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config.errors import Problem
from config.reading import Keys, Tree, dotted

SECRET_BYTES_MAX = 65_536
_REFERENCE = re.compile(r"\$(?:(\$)(?=\{)|\{([^}]*)(\}?))")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass(slots=True)
class References:
    """paths: where a reference stood. secrets: the values they brought, for masking."""

    paths: set[Keys] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


def is_reference(text: str) -> bool:
    """True if the whole text is one reference."""
    return text.startswith("file:/") or _REFERENCE.fullmatch(text) is not None


def resolve(tree: Tree, environ: Mapping[str, str]) -> References:
    """Replace every reference in the tree, in place; one that leads nowhere is a problem and stays."""
    found = References()
    tree.value = _resolved(tree.value, (), tree, environ, found)
    return found


def _resolved(value: Any, path: Keys, tree: Tree, environ: Mapping[str, str], found: References) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(item, (*path, key), tree, environ, found) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, (*path, index), tree, environ, found) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    if value.startswith("file:/"):
        found.paths.add(path)
        return _from_file(value, path, tree, found)

    def variable(match: re.Match[str]) -> str:
        if match[1]:
            # `$${` is how a literal `${` is written.
            return "$"
        found.paths.add(path)
        return _from_environment(match, path, tree, environ, found)

    return _REFERENCE.sub(variable, value)


def _from_environment(
    match: re.Match[str], path: Keys, tree: Tree, environ: Mapping[str, str], found: References
) -> str:
    name = match[2]
    if not match[3] or not _VARIABLE.fullmatch(name):
        found.problems.append(
            tree.problem(
                "bad-reference",
                f"{dotted(path)} holds `${{` that is not a reference such as ${{NAME}}.",
                path,
                on_value=True,
                remedy="write ${NAME} for an environment variable, or $${ for the two characters themselves",
            )
        )
        return match[0]
    text = environ.get(name, "")
    if not text:
        state = "is empty" if name in environ else "is not set"
        found.problems.append(
            tree.problem(
                "secret-missing",
                f"environment variable {name} {state} ({dotted(path)}). Set it, or use file:/path. "
                "The value is never printed.",
                path,
                on_value=True,
            )
        )
        return match[0]
    found.secrets.add(text)
    return text


def _from_file(value: str, path: Keys, tree: Tree, found: References) -> str:
    source = Path(value.removeprefix("file:"))
    try:
        with source.open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
        text = content.decode().rstrip("\r\n")
        problem = f"is larger than {SECRET_BYTES_MAX:,} bytes" if len(content) > SECRET_BYTES_MAX else ""
        problem = problem or ("" if text else "is empty")
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except ValueError:
        problem = "is not a path"
    if problem:
        found.problems.append(
            tree.problem(
                "secret-missing",
                f"file {source} {problem} ({dotted(path)}). Create it, or use ${{NAME}}. "
                "The value is never printed.",
                path,
                on_value=True,
            )
        )
        return value
    found.secrets.add(text)
    return text
