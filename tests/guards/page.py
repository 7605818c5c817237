"""docs/guards.md, made from the table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from tests.guards.table import ROOT, Guard

PAGE = ROOT / "docs" / "guards.md"
_HEAD = """# Guards, and what proves them

A guard is a line that keeps a false, doubled or forged rollback, a lost alert or a leaked secret from
happening. Every guard listed here is proved by removal: `make guards` takes it out of a temporary copy of the
project, runs the tests named beside it, and fails unless each of them fails. The product itself has no switch
that turns a guard off.

This page is written by `python -m tests.guards --markdown` from `tests/guards/removals/`; a test fails when
it is not current. Change the table, not the page.
"""


def page(guards: Sequence[Guard]) -> str:
    """The page's text: one table per part, one row per guard."""
    parts = [_HEAD + f"\n{len(guards)} guards.\n"]
    for part, group in groupby(guards, key=lambda guard: guard.part):
        rows = [
            f"| `{each.name}` | {each.prevents} | `{each.file}` | {'<br>'.join(map(_shown, each.tests))} |"
            for each in group
        ]
        head = "| guard | without it | where | tests that fail without it |\n|---|---|---|---|"
        parts.append(f"## {part}\n\n{head}\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _shown(test: str) -> str:
    file, _, name = test.partition("::")
    return f"`{name}` in `{file.removeprefix('tests/')}`"
