"""Which paths an expression refers to, and what they are on given values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from checks.expressions.cel_ast import Call, Const, Fold, Ident, Node, Select, children

STEPS_MAX = 20_000  # paths looked at in one evaluation: about 30 ms

Path = tuple[object, ...]


@dataclass(slots=True)
class Look:
    """What the guard saw: absent paths and present ones as people write them, in order, without repeats."""

    absent: list[str] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)
    steps: int = 0

    @property
    def is_stopped(self) -> bool:
        """True if the work was too much and the rest was not looked at."""
        return self.steps > STEPS_MAX


@dataclass(slots=True)
class _Found:
    """A value and its path as people write it."""

    value: Any
    path: str


class _Absent:
    """A step of a path that leads nowhere."""


class _Opaque:
    """Not a path on the values: the result of a function, the accumulator of a macro."""


_ABSENT = _Absent()
_OPAQUE = _Opaque()
_Resolved = _Found | _Absent | _Opaque
Scope = Mapping[str, _Resolved]


@dataclass(frozen=True, slots=True)
class _Loop:
    """A comprehension: what to look at for each element of `over`."""

    variable: str
    over: _Resolve
    body: _Plan


# look: where an absent path is noted, None = that is left to another walk.
_Resolve = Callable[[Scope, Look | None], _Resolved]
_Plan = tuple[_Resolve | _Loop, ...]


class Guard:
    """Resolves every path of one expression.

    names: those of `variables` that the expression refers to. paths: those it mentions that are made of
    constants, the ones it only asks about included.
    A path is excused from being absent where the expression asks about it: `has(json.a)` excuses `json.a`
    and what lies below, `"x" in headers` excuses `headers["x"]`, and `size(rows)` the positions in `rows`.
    """

    __slots__ = ("_excused", "_plan", "_sized", "_variables", "names", "paths")

    def __init__(self, tree: Node, variables: Collection[str]) -> None:
        self._variables = variables
        self._excused: set[Path] = set()
        self._sized: set[Path] = set()
        self.names: set[str] = set()
        self.paths: set[Path] = set()
        self._collect(tree)
        self._plan = self._planned(tree, frozenset(self.names))

    def look(self, values: Mapping[str, Any]) -> Look:
        """Resolve every path on `values`; of lists that macros go through, every element."""
        look = Look()
        self._walk(self._plan, {name: _Found(value, name) for name, value in values.items()}, look)
        return look

    def _collect(self, node: Node) -> None:
        if (mentioned := _static(node)) is not None:
            self.paths.add(mentioned)
        match node:
            case Ident(name) if name in self._variables:
                self.names.add(name)
            case Select(operand, name, True) if (path := _static(operand)) is not None:
                self._excused.add((*path, name))
            case Call("@in", (Const(key), container)) if (path := _static(container)) is not None:
                self._excused.add((*path, key))
                self.paths.add((*path, key))
            case Call("size", (container,)) if (path := _static(container)) is not None:
                self._sized.add(path)
        for child in children(node):
            self._collect(child)

    def _planned(self, node: Node, names: frozenset[str]) -> _Plan:
        """The paths and loops below, without all that lies between them.

        names: what a path may begin with; other names are accumulators of macros, or types as in `== int`.
        """
        if isinstance(node, Fold):
            body = self._planned(node.step, names | {node.variable})
            return (*self._planned(node.over, names), _Loop(node.variable, self._resolver(node.over), body))
        below = tuple(item for child in children(node) for item in self._planned(child, names))
        root, keys = _rooted(node)
        if isinstance(node, Const) or root not in names:
            return below
        if isinstance(node, Select) and node.is_test:
            return self._planned(node.operand, names)
        # The key of an index is a path of its own: json.t[k].
        return (self._resolver(node), *(item for key in keys for item in self._planned(key, names)))

    def _walk(self, plan: _Plan, scope: Scope, look: Look) -> None:
        for item in plan:
            look.steps += 1
            if look.steps > STEPS_MAX:
                return
            if isinstance(item, _Loop):
                for element in _elements(item.over(scope, None)):
                    self._walk(item.body, {**scope, item.variable: element}, look)
            elif isinstance(found := item(scope, look), _Found):
                look.seen.setdefault(found.path, found.value)

    def _resolver(self, node: Node) -> _Resolve:
        """What looks the node up; made once, because it is done with every answer."""
        match node:
            case Ident(name):
                return self._of_name(name)
            case Select(operand, name, False):
                return self._of_field(self._resolver(operand), name, _static(node))
            case Call("_[_]", (container, key)):
                return self._of_index(self._resolver(container), self._resolver(key), node)
            case Const(value):
                found = _Found(value, "")
                return lambda scope, look: found
        return lambda scope, look: _OPAQUE

    def _of_name(self, name: str) -> _Resolve:
        def resolve(scope: Scope, look: Look | None) -> _Resolved:
            return scope[name] if name in scope else self._note((name,), name, look)

        return resolve

    def _of_field(self, base_of: _Resolve, name: str, path: Path | None) -> _Resolve:
        def resolve(scope: Scope, look: Look | None) -> _Resolved:
            base = base_of(scope, look)
            if not isinstance(base, _Found):
                return base
            if isinstance(base.value, dict) and name in base.value:
                return _Found(base.value[name], f"{base.path}.{name}")
            return self._note(path, f"{base.path}.{name}", look)

        return resolve

    def _of_index(self, base_of: _Resolve, key_of: _Resolve, node: Call) -> _Resolve:
        path = _static(node)
        has_size = _static(node.args[0]) in self._sized

        def resolve(scope: Scope, look: Look | None) -> _Resolved:
            base, key = base_of(scope, look), key_of(scope, None)
            if not isinstance(base, _Found):
                return base
            if not isinstance(key, _Found):
                return key if isinstance(key, _Absent) else _OPAQUE
            shown = (
                f'{base.path}["{key.value}"]' if isinstance(key.value, str) else f"{base.path}[{key.value}]"
            )
            match base.value:
                case list() as items if isinstance(key.value, int) and 0 <= key.value < len(items):
                    return _Found(items[key.value], shown)
                case dict() as items if isinstance(key.value, (str, int)) and key.value in items:
                    return _Found(items[key.value], shown)
                case list() if has_size:
                    return _ABSENT
            return self._note(path, shown, look)

        return resolve

    def _note(self, path: Path | None, shown: str, look: Look | None) -> _Absent:
        if look is not None and path not in self._excused and shown not in look.absent:
            look.absent.append(shown)
        return _ABSENT


def _elements(over: _Resolved) -> list[_Resolved]:
    match over:
        case _Found(list() as items, path):
            return [_Found(item, f"{path}[{n}]") for n, item in enumerate(items)]
        case _Found(dict() as items, path):
            return [_Found(key, f"key of {path}") for key in items]
        case _Absent():
            return []
    # A range that was computed cannot be taken apart: what is below it is left to CEL.
    return [_OPAQUE]


def _rooted(node: Node) -> tuple[str | None, list[Node]]:
    """The name a path begins with (None for what is no path) and the keys of its indices."""
    keys: list[Node] = []
    while True:
        match node:
            case Ident(name):
                return name, keys
            case Select(operand):
                node = operand
            case Call("_[_]", (container, key)):
                keys.append(key)
                node = container
            case _:
                return None, keys


def _static(node: Node) -> Path | None:
    """The path as written, to compare with other mentions of it; None for what is not a path of constants."""
    match node:
        case Ident(name):
            return (name,)
        case Select(operand, name):
            base = _static(operand)
            return None if base is None else (*base, name)
        case Call("_[_]", (container, key)):
            base = _static(container)
            inner = (key.value,) if isinstance(key, Const) else _static(key)
            return None if base is None or inner is None else (*base, *inner)
    return None
