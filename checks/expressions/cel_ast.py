"""The syntax tree of a CEL expression, read out of the library's own serialized form.

The absent-field guard has to know which paths an expression refers to. Reading the tree the library
itself compiled, instead of parsing the text a second time, means that the guard and the evaluation can
never disagree about precedence, macros or quoting.

Source: google/cel-spec, proto/cel/expr/syntax.proto and checked.proto (field numbers are the wire format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Wire = int | bytes
Fields = Mapping[int, Sequence[Wire]]


@dataclass(frozen=True, slots=True)
class Const:
    """A literal. Durations and timestamps never occur: CEL writes them as calls."""

    value: object


@dataclass(frozen=True, slots=True)
class Ident:
    """A variable. The variable of a comprehension gets `@n` appended, so that no two share a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`; is_test: it is `has(operand.field)`, which asks and never fails on that field."""

    operand: Node
    field: str
    is_test: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function, method or operator (`_==_`, `_[_]`, `@in`); the receiver of a method is the first argument.

    Lists and maps written out in the text are calls of `[]` and `{}` on what they hold.
    """

    function: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """A comprehension: what the macros `all`, `exists`, `exists_one`, `map` and `filter` expand to.

    step: what is done with each element; everything the author wrote in the macro's body is in it.
    """

    variable: str
    accumulator: str
    over: Node
    step: Node


Node = Const | Ident | Select | Call | Fold


def read(serialized: bytes) -> Node:
    """The tree inside a serialized `google.protobuf.Any` of a `cel.expr.CheckedExpr`."""
    checked = _fields(_bytes(_fields(serialized), 2))
    return _node(_bytes(checked, 4), {}, _numbers())


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    match node:
        case Select(operand):
            return (operand,)
        case Call(_, args):
            return args
        case Fold(_, _, over, step):
            return (over, step)
    return ()


def _node(message: bytes, names: Mapping[str, str], numbers: Iterator[int]) -> Node:
    kind, body = next((n, f[0]) for n, f in _fields(message).items() if n != 2)
    assert isinstance(body, bytes)
    fields = _fields(body)
    if kind == 3:
        return Const(_constant(fields))
    if kind == 4:
        name = _text(fields, 1)
        return Ident(names.get(name, name))
    if kind == 5:
        operand = _node(_bytes(fields, 1), names, numbers)
        return Select(operand, _text(fields, 2), bool(fields.get(3)))
    if kind == 6:
        inner = [part for part in (*fields.get(1, ()), *fields.get(3, ())) if isinstance(part, bytes)]
        return Call(_text(fields, 2), tuple(_node(part, names, numbers) for part in inner))
    if kind == 7:
        elements = [part for part in fields.get(1, ()) if isinstance(part, bytes)]
        return Call("[]", tuple(_node(part, names, numbers) for part in elements))
    if kind == 8:
        entries = [_fields(part) for part in fields.get(2, ()) if isinstance(part, bytes)]
        parts = [part for entry in entries for n in (3, 4) for part in entry.get(n, ())]
        return Call("{}", tuple(_node(part, names, numbers) for part in parts if isinstance(part, bytes)))
    return _fold(fields, names, numbers)


def _fold(fields: Fields, names: Mapping[str, str], numbers: Iterator[int]) -> Fold:
    n = next(numbers)
    variable, accumulator = f"{_text(fields, 1)}@{n}", f"{_text(fields, 3)}@{n}"
    over = _node(_bytes(fields, 2), names, numbers)
    inner = {**names, _text(fields, 1): variable, _text(fields, 3): accumulator}
    return Fold(variable, accumulator, over, _node(_bytes(fields, 6), inner, numbers))


def _constant(fields: Fields) -> object:
    kind, raw = next((n, f[0]) for n, f in fields.items())
    if isinstance(raw, int):
        if kind == 3 and raw >= 1 << 63:
            return raw - (1 << 64)
        return {1: None, 2: bool(raw)}.get(kind, raw)
    if kind == 5:
        return struct.unpack("<d", raw)[0]
    return raw.decode() if kind == 6 else raw


def _numbers() -> Iterator[int]:
    n = 0
    while True:
        yield (n := n + 1)


def _bytes(fields: Fields, n: int) -> bytes:
    value = fields[n][0]
    assert isinstance(value, bytes)
    return value


def _text(fields: Fields, n: int) -> str:
    return _bytes(fields, n).decode() if n in fields else ""


def _fields(message: bytes) -> dict[int, list[Wire]]:
    """The fields of one protobuf message, by number, in order: varints as int, the rest as bytes."""
    found: dict[int, list[Wire]] = {}
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        value: Wire
        if key & 7 == 0:
            value, at = _varint(message, at)
        else:
            size = 8 if key & 7 == 1 else 4
            if key & 7 == 2:
                size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
