"""YAML files to one plain tree that still knows where every key and value was written.

Nothing is constructed from tags, sizes are bounded, and problems are collected: one bad file does not hide
what is wrong in the next.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from config.errors import Problem
from config.scalars import core_value, doubt_of, implicit_tag

# Far above any real configuration, far below what would hurt: a file, files in all, values after aliases.
FILE_BYTES_MAX = 1_000_000
FILES_MAX = 500
NODES_MAX = 100_000
DEPTH_MAX = 40

Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Where something was written: counted from 1. text: a plain scalar as it stands in the file."""

    file: str
    line: int
    column: int
    text: str | None = None


@dataclass(slots=True)
class Tree:
    """The merged configuration as plain values, and the marks of keys and of values by path."""

    value: dict[str, Any] = field(default_factory=dict)
    keys: dict[Keys, Mark] = field(default_factory=dict)
    values: dict[Keys, Mark] = field(default_factory=dict)
    lines: dict[str, Sequence[str]] = field(default_factory=dict)

    def problem(
        self, code: str, message: str, path: Keys, *, on_value: bool = False, hint: str = "", remedy: str = ""
    ) -> Problem:
        """A problem at that path, or at its nearest ancestor that was written down."""
        mark = self.values.get(path) if on_value else None
        for length in range(len(path), 0, -1):
            if mark is not None:
                break
            mark = self.keys.get(path[:length]) or self.values.get(path[:length])
        return self.at(mark, code, message, path, hint=hint, remedy=remedy)

    def at(
        self, mark: Mark | None, code: str, message: str, path: Keys, *, hint: str = "", remedy: str = ""
    ) -> Problem:
        """A problem at that mark."""
        lines = self.lines.get(mark.file, ()) if mark else ()
        inside = mark is not None and 0 < mark.line <= len(lines)
        return Problem(
            code=code,
            message=message,
            path=dotted(path),
            file=mark.file if mark else None,
            line=mark.line if mark and inside else None,
            column=mark.column if mark and inside else None,
            source_line=lines[mark.line - 1] if mark and inside else None,
            hint=hint,
            help=remedy,
        )


def dotted(path: Keys) -> str:
    """`services.checkout.checks.pay.steps[1].post`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def read(paths: Sequence[Path]) -> tuple[Tree, list[Problem]]:
    """Every file of `paths` (a folder stands for its *.yaml and *.yml, sorted) merged into one tree.

    Sections merge by their entries; an entry defined twice, in one file or in two, is a problem.
    """
    tree = Tree()
    problems: list[Problem] = []
    for path in _files(paths, problems):
        text = _text(path, problems)
        if text is None:
            continue
        reader = _Reader(tree, str(path), problems)
        tree.lines[str(path)] = text.splitlines()
        reader.add(text)
    return tree, problems


def _files(paths: Sequence[Path], problems: list[Problem]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml") and p.is_file())
            if not inside:
                problems.append(_file_problem(path, "no-file", "the folder holds no *.yaml file."))
            problems += _writable(path)
            found += inside
        else:
            found.append(path)
    if len(found) > FILES_MAX:
        problems.append(
            _file_problem(found[FILES_MAX], "too-large", f"more than {FILES_MAX} configuration files.")
        )
    return list(dict.fromkeys(found[:FILES_MAX]))


def _text(path: Path, problems: list[Problem]) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        problems.append(_file_problem(path, "no-file", f"cannot be read: {error.strerror}."))
        return None
    problems += _writable(path)
    if len(content) > FILE_BYTES_MAX:
        problems.append(_file_problem(path, "too-large", f"is larger than {FILE_BYTES_MAX:,} bytes."))
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(_file_problem(path, "not-utf-8", f"is not UTF-8 at byte {error.start}."))
        return None


def _writable(path: Path) -> Iterator[Problem]:
    mode = path.stat().st_mode
    # A sticky folder (/tmp) lets nobody replace the files of others.
    if mode & stat.S_IWOTH and not (path.is_dir() and mode & stat.S_ISVTX):
        yield _file_problem(
            path,
            "world-writable",
            "can be changed by every user of this machine, who could then send rollbacks.",
            remedy=f"chmod o-w {path}",
        )


def _file_problem(path: Path, code: str, message: str, remedy: str = "") -> Problem:
    return Problem(code=code, message=f"{path} {message}", file=str(path), help=remedy)


class _Reader:
    """Adds one file's text to the tree."""

    def __init__(self, tree: Tree, file: str, problems: list[Problem]) -> None:
        self._tree = tree
        self._file = file
        self._problems = problems
        self._nodes = 0

    def add(self, text: str) -> None:
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
        except (yaml.YAMLError, RecursionError) as error:
            what = "is nested too deep" if isinstance(error, RecursionError) else f"is not YAML: {error}"
            self._problems.append(_file_problem(Path(self._file), "not-yaml", what))
        else:
            if isinstance(root, MappingNode):
                self._section(root, (), self._tree.value)
            elif root is not None and not (isinstance(root, ScalarNode) and root.value == ""):
                self._report(root, "not-a-mapping", "the file must hold keys such as `services:`.", ())

    def _section(self, node: MappingNode, path: Keys, into: dict[str, Any]) -> None:
        """Merge a mapping of the first two levels into what other files brought."""
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if not path and isinstance(value_node, MappingNode) and isinstance(into.get(key, {}), dict):
                first = self._tree.keys.get(here)
                if first is not None and first.file == self._file:
                    self._duplicate(key_node, key, path, first)
                    continue
                self._note(key_node, value_node, here)
                self._section(value_node, here, into.setdefault(key, {}))
            elif key in into:
                self._duplicate(key_node, key, path, self._tree.keys[here])
            else:
                self._note(key_node, value_node, here)
                into[key] = self._plain(value_node, here)

    def _plain(self, node: Node, path: Keys) -> Any:
        self._nodes += 1
        if self._nodes == NODES_MAX + 1:
            self._report(
                node, "too-large", f"more than {NODES_MAX:,} values once aliases are filled in.", path
            )
        if self._nodes > NODES_MAX:
            return None
        if len(path) > DEPTH_MAX:
            self._report(node, "too-deep", f"nested deeper than {DEPTH_MAX} levels.", path)
            return None
        if node.tag != implicit_tag(node):
            self._report(node, "bad-tag", "tags (`!…`) are not understood. Remove it, or use quotes.", path)
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self._tree.values[*path, index] = self._mark(item)
                items.append(self._plain(item, (*path, index)))
            return items
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Keys) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in result:
                self._duplicate(key_node, key, path, self._tree.keys[here])
                continue
            self._note(key_node, value_node, here)
            result[key] = self._plain(value_node, here)
        return result

    def _key(self, node: Node, path: Keys) -> str | None:
        if not isinstance(node, ScalarNode):
            self._report(node, "bad-key", "a key must be text; this one is a list or a mapping.", path)
            return None
        if node.value == "<<" and node.style is None:
            self._report(
                node, "merge-key", "`<<` is not part of YAML 1.2. Use `defaults`, or repeat the keys.", path
            )
            return None
        text: str = node.value
        # A number as a key (`404:`) is read as text; a word that 1.1 makes a boolean may be meant as one.
        if node.style is None and isinstance(core_value(text), str):
            self._refuse_1_1(node, (*path, text))
        return text

    def _scalar(self, node: Node, path: Keys) -> Any:
        if not isinstance(node, ScalarNode):
            raise TypeError(f"a YAML node of an unknown class: {type(node).__name__}")
        if node.style is not None:
            return node.value
        value = core_value(node.value)
        if value != value or value in (float("inf"), float("-inf")):
            self._report(node, "bad-number", "a number must be finite.", path)
            return None
        self._refuse_1_1(node, path)
        return value

    def _refuse_1_1(self, node: ScalarNode, path: Keys) -> None:
        doubt = doubt_of(node)
        if doubt is not None:
            message, hint = doubt
            self._report(node, "ambiguous", message, path, hint=hint)

    def _note(self, key_node: Node, value_node: Node, path: Keys) -> None:
        self._tree.keys[path] = self._mark(key_node)
        self._tree.values[path] = self._mark(value_node)

    def _mark(self, node: Node) -> Mark:
        start = node.start_mark
        text = node.value if isinstance(node, ScalarNode) and node.style is None else None
        return Mark(self._file, start.line + 1, start.column + 1, text)

    def _duplicate(self, node: Node, key: str, path: Keys, first: Mark) -> None:
        where = f"line {first.line}" if first.file == self._file else f"{first.file}:{first.line}"
        inside = f" in {dotted(path)}" if path else ""
        self._report(
            node,
            "duplicate-key",
            f"`{key}` is defined twice{inside} (first at {where}). Rename or remove one; the second would "
            "have replaced the first.",
            (*path, key),
        )

    def _report(self, node: Node, code: str, message: str, path: Keys, hint: str = "") -> None:
        self._problems.append(self._tree.at(self._mark(node), code, message, path, hint=hint))

    def _syntax(self, error: yaml.MarkedYAMLError) -> None:
        at = error.problem_mark or error.context_mark
        mark = Mark(self._file, at.line + 1, at.column + 1) if at else Mark(self._file, 1, 1)
        lines = self._tree.lines[self._file]
        line = lines[mark.line - 1] if mark.line <= len(lines) else ""
        unquoted = re.search(r"[{,]\s*[^\"'{},]*(\$\{[A-Za-z0-9_]+\})", line)
        if unquoted:
            start = unquoted.start(1)
            problem = self._tree.at(
                Mark(self._file, mark.line, start + 1),
                "not-yaml",
                f"{unquoted[1]} stands unquoted inside {{ }}: its brace ends the mapping. "
                f'Write "{unquoted[1]}".',
                (),
                hint="quote it",
            )
        else:
            said = " ".join(part for part in (error.context, error.problem) if part)
            problem = self._tree.at(mark, "not-yaml", f"this is not YAML: {said}.", ())
        self._problems.append(problem)
