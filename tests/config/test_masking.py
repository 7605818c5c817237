"""What is shown of quoted values in problems: long ones cut, and nothing else."""

from __future__ import annotations

import pytest

from config.errors import Problem
from config.masking import without_secrets

LONG = "x" * 80
BETWEEN = "is not what was meant here, and this sentence between two values is longer than sixty characters"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (f"`{LONG}` is no time", f"`{'x' * 60}…` is no time"),
        (f"`a` {BETWEEN} `b`", f"`a` {BETWEEN} `b`"),
        (f"`a` {BETWEEN} `{LONG}`", f"`a` {BETWEEN} `{'x' * 60}…`"),
        (f"`a` {BETWEEN}", f"`a` {BETWEEN}"),
    ],
)
def test_long_values_are_cut_and_what_stands_between_them_is_not(told: str, shown: str) -> None:
    (problem,) = without_secrets([Problem(code="x", path="a", message=told)], [])
    assert problem.message == shown
