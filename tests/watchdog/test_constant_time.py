"""Secrets are compared by `hmac.compare_digest` alone.

Time cannot be measured well enough in a test, so the source is looked at: a function that tells whether a
credential is right holds no other comparison for equality.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from watchdog.api.auth import Doorkeeper
from watchdog.signing import SigningKeys

COMPARERS: dict[str, tuple[Callable[..., Any], int]] = {
    "signatures": (SigningKeys.problem, 1),
    "tokens, the local one and the configured": (Doorkeeper.by_token, 2),
}


@pytest.mark.parametrize("what", sorted(COMPARERS))
def test_a_credential_is_compared_in_constant_time(what: str) -> None:
    function, count = COMPARERS[what]
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert calls.count("hmac.compare_digest") == count
    equal = (ast.Eq, ast.NotEq)
    compares = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    assert [ast.unparse(c) for c in compares if any(isinstance(op, equal) for op in c.ops)] == []
