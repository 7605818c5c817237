"""The rules of docs/architecture.md that neither the linter nor the import contracts can see."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("watchdog", "checks", "detectors", "config")
CLOCKS = {
    ("time", "time"),
    ("time", "monotonic"),
    ("time", "perf_counter"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
}
# The program's edges: the one clock, commands that a person waits for, the shop, tokens with a date.
READS_A_CLOCK = ("watchdog/clock.py", "watchdog/cli/", "watchdog/demo/")
# The three containments of docs/architecture.md, by file, and the one place that hands an exception on.
CONTAINMENTS = {
    "watchdog/checking/run.py": "one check",
    "watchdog/judging/seat.py": "the judge of one watch",
    "watchdog/incidents/between.py": "the judge of one service between its deploys",
    "watchdog/rollback/sending.py": "one send attempt",
    "watchdog/alerts/sending.py": "one send attempt",
    "watchdog/store/writer.py": "raised again where the caller awaits",
}


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_only_the_edges_read_a_clock() -> None:
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources()
        if not name_of(path).startswith(READS_A_CLOCK)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id, node.func.attr) in CLOCKS
    ]
    assert not found, "`now` is a parameter; only watchdog/clock.py reads a clock"


def catches_all(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))
        for kind in kinds
    )


def raises_again(handler: ast.ExceptHandler) -> bool:
    """Cleaning up on an exception's way contains nothing."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_bugs_are_contained_only_where_the_design_says() -> None:
    found = {
        name_of(path)
        for path in sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and not raises_again(node)
    }
    assert found == set(CONTAINMENTS)


def test_every_folder_is_a_package() -> None:
    """The import contracts see no folder without `__init__.py`."""
    folders = {path.parent for path in sources()}
    assert [name_of(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_no_task_is_started_outside_a_group() -> None:
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "create_task"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("asyncio", "loop")
    ]
    assert not found, "a task outside a TaskGroup can die unseen"


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public_things(path: Path) -> Iterator[tuple[str, Documented]]:
    module = tree_of(path)
    yield name_of(path), module
    for node in module.body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or node.name[0] == "_":
            continue
        yield f"{name_of(path)}:{node.lineno} {node.name}", node
        for inner in node.body if isinstance(node, ast.ClassDef) else []:
            if not isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)) or is_setter(inner):
                continue
            if inner.name[0] != "_":
                yield f"{name_of(path)}:{inner.lineno} {node.name}.{inner.name}", inner


def is_setter(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A setter is told by its property."""
    return any(isinstance(mark, ast.Attribute) and mark.attr == "setter" for mark in node.decorator_list)


def test_every_public_thing_says_what_it_answers() -> None:
    missing = [
        place
        for path in sources()
        if path.read_text(encoding="utf-8").strip()
        for place, node in public_things(path)
        if ast.get_docstring(node) is None
    ]
    assert not missing


def test_the_daemon_starts_without_what_only_its_worker_needs() -> None:
    """They cost a second and 100 MB; the worker process may load them."""
    heavy = {"scipy", "statsmodels", "pandas", "matplotlib"}
    code = f"import sys, watchdog.app, watchdog.kinds; print(*sorted({heavy} & sys.modules.keys()))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout.strip()) == (0, ""), ran.stderr


def test_a_kind_is_the_name_of_its_file() -> None:
    from watchdog.kinds import KINDS

    assert set(KINDS) >= {"checks", "databases", "sources", "targets", "channels"}
    for section, kinds in KINDS.items():
        assert kinds, section
        for kind, plugin in kinds.items():
            assert plugin.__module__.rpartition(".")[2] == kind, f"{section}: {kind} is {plugin.__module__}"


def test_the_tests_mirror_the_folders() -> None:
    for package in PACKAGES:
        tests = list((ROOT / "tests" / package).rglob("test_*.py"))
        assert tests, f"tests/{package} holds no test"
