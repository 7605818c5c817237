"""What a plain YAML scalar is: by the core rules of YAML 1.2, refusing what 1.1 reads as something else.

PyYAML reads YAML 1.1, in which `no` is false, 012 is ten and 12:30:00 is 45000. People have been taught both,
so a scalar on which the two disagree is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from yaml.nodes import Node, ScalarNode

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_YAML_1_1 = yaml.resolver.Resolver()


def doubt_of(node: ScalarNode) -> tuple[str, str] | None:
    """Why a plain scalar cannot be taken, and a hint for beside the caret; None if it is what it seems."""
    text: str = node.value
    value = core_value(text)
    older = implicit_tag(node).rpartition(":")[2]
    same = {
        "str": True,
        "null": value is None,
        "bool": isinstance(value, bool),
        "float": isinstance(value, float),
        "int": isinstance(value, int),
    }.get(older, False)
    # A leading zero is octal in YAML 1.1, decimal in 1.2, and mostly meant as text: 0042.
    if same and not re.fullmatch(r"[-+]?0[0-9]+", text):
        return None
    otherwise = {"bool": ", or true or false.", "int": ", or the plain number."}.get(older, ".")
    hint = "write true or false" if older == "bool" else "put it in quotes"
    message = f'`{text}` means something else in YAML 1.1 ({older}). Write "{text}" for the text{otherwise}'
    return message, hint


def implicit_tag(node: Node) -> str:
    """The tag YAML 1.1 gives a node that has none written."""
    implicit = (node.style is None, node.style is not None) if isinstance(node, ScalarNode) else (True, False)
    value = node.value if isinstance(node, ScalarNode) else None
    # The stubs leave this method without types.
    tag: str = _YAML_1_1.resolve(type(node), value, implicit)  # type: ignore[no-untyped-call]  # PyYAML has no types
    return tag


def core_value(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        # int() refuses thousands of digits; as a float they are out of range of every key anyway.
        if len(text) > 18:
            return float(text) if text.lstrip("+-").isdigit() else text
        return (
            int(text, 8) if text.startswith("0o") else int(text, 16) if text.startswith("0x") else int(text)
        )
    if _FLOAT.fullmatch(text):
        return float(text)
    if re.fullmatch(r"[-+]?\.(?:inf|Inf|INF)", text):
        return float(text.replace(".", ""))
    if text in (".nan", ".NaN", ".NAN"):
        return float("nan")
    return text
