"""Assertions in CEL, with the guard that an absent field never passes.

CEL alone lets `json.a.b < 5 || true` pass although `a.b` is absent. A deploy that drops a field is a
regression, so after every evaluation each path the expression refers to is resolved again on the same
values, and one that is absent decides, whatever CEL said. Why this library:
docs/decisions/0002-cel-library.md.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cel_expr_python import cel

from checks.blame import Outcome, Problem
from checks.expressions.cel_ast import Call, Const, Node, children, read
from checks.expressions.guard import Guard
from checks.expressions.values import plain, show

TEXT_CHARS_MAX = 2000
TERMS_SHOWN_MAX = 5
VALUES_SHOWN_MAX = 6

Kind = Literal["true", "false", "absent", "type_error", "not_bool", "too_much"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an expression came to on one set of values.

    kind: only `true` is good; `too_much` = stopped by our own bound on work, so nothing is known.
    because: one sentence with each failed sub-expression and the values it had; empty for `true`.
    """

    kind: Kind
    because: str = ""

    @property
    def outcome(self) -> Outcome:
        """What that makes of a check."""
        if self.kind == "true":
            return "pass"
        return "error" if self.kind == "too_much" else "fail"


_HOLDS = Judgement("true")


class Expression:
    """One CEL expression, compiled once.

    text: CEL. variables: name to CEL type (`int`, `string`, `duration`, `map<string,string>`, `dyn`, ...).
    names: the variables it refers to. Raises ValueError, naming the column, for text that is not CEL, refers
    to other variables, mixes types, is longer than `TEXT_CHARS_MAX`, or cannot give true or false.
    """

    __slots__ = ("_guard", "_program", "_terms", "names", "text")

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        if len(text) > TEXT_CHARS_MAX:
            raise ValueError(f"an expression has at most {TEXT_CHARS_MAX} characters, this one {len(text)}")
        self.text = text.strip()
        parts = _parts(self.text, tuple(variables.items()))
        self._program, self._guard, self._terms = parts
        self.names = frozenset(self._guard.names)

    def mentions(self, *path: object) -> bool:
        """True if the expression refers to the path or asks whether it is there: `("json", "errors")`."""
        return path in self._guard.paths

    def denies(self, name: str, values: Mapping[str, Any]) -> bool:
        """True if a term of the conjunction that refers to this variable is false on these values."""
        terms = [(program, guard) for _, program, guard in self._terms] or [(self._program, self._guard)]
        values = {name: value for name, value in values.items() if name in self.names}
        return any(name in guard.names and _evaluate(program, values)[0] is False for program, guard in terms)

    def judge(self, values: Mapping[str, Any], shown: Callable[[Any], str] = show) -> Judgement:
        """Evaluate on name to value; a declared variable that is not in `values` is absent.

        shown: how a value is written in `because`.
        Takes time proportional to the expression and the lists it goes through, and stops with `too_much`
        after a fixed amount of work: the library after 10,000 iterations, the guard after `STEPS_MAX` nodes.
        """
        values = {name: values[name] for name in self.names if name in values}
        result, is_stopped = _evaluate(self._program, values)
        if result is None and not is_stopped:
            # The library converts every value first, so one it cannot hold spoils fields nobody asked for.
            values = plain(values)
            result, is_stopped = _evaluate(self._program, values)
        look = self._guard.look(values)
        if is_stopped or look.is_stopped:
            return Judgement("too_much", f"{self.text} goes through too many values; aggregate them first")
        if look.absent:
            verb = "are absent" if len(look.absent) > 1 else "is absent"
            return Judgement("absent", f"{self.text}: {', '.join(look.absent[:VALUES_SHOWN_MAX])} {verb}")
        if result is True:
            return _HOLDS
        if isinstance(result, _Trouble):
            return Judgement("type_error", self._explain(values, shown) or f"{self.text}: {result.message}")
        if result is not False:
            return Judgement("not_bool", f"{self.text} is {shown(result)}, not true or false")
        because = self._explain(values, shown) or _sentence(self.text, "is false", look.seen, shown)
        return Judgement("false", because)

    def _explain(self, values: Mapping[str, Any], shown: Callable[[Any], str]) -> str:
        """Each term of the conjunction that did not hold, with its own values."""
        wrong, untold = [], []
        for text, program, guard in self._terms:
            result, _ = _evaluate(program, values)
            seen = guard.look(values).seen
            if isinstance(result, _Trouble):
                untold.append(_sentence(text, f"cannot be told ({result.message})", seen, shown))
            elif result is not True:
                wrong.append(_sentence(text, "is false", seen, shown))
        # Where a term is false, one that could not be told is usually its consequence.
        return "; ".join((wrong or untold)[:TERMS_SHOWN_MAX])


def compiled(key: str, text: str, variables: Mapping[str, str]) -> Expression:
    """The expression of one key; ValueError names the key."""
    try:
        return Expression(text, variables)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def problem_of(
    expression: Expression, values: Mapping[str, Any], place: str, shown: Callable[[Any], str] = show
) -> Problem | None:
    """None if the expression holds on these values. place: names in messages what was judged."""
    judgement = expression.judge(values, shown)
    if judgement.kind == "true":
        return None
    return Problem(judgement.outcome, f"{place}: {judgement.because}")


@dataclass(frozen=True, slots=True)
class _Trouble:
    """An error value of CEL: a wrong type, a division by zero, a key that is not there."""

    message: str


_Parts = tuple[Any, Guard, tuple[tuple[str, Any, Guard], ...]]


@functools.cache
def _environment(variables: tuple[tuple[str, str], ...]) -> Any:
    """One for each set of variables: it takes 150 kB, and there may be thousands of expressions."""
    return cel.NewEnv(variables={name: cel.Type(kind) for name, kind in variables})


@functools.lru_cache(maxsize=4096)
def _parts(text: str, variables: tuple[tuple[str, str], ...]) -> _Parts:
    """The program of a text, its guard, and both of each term of its conjunction; equal texts share them."""
    environment = _environment(variables)
    program, tree = _compile(environment, text)
    if program.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        raise ValueError(f"{text}: gives {program.return_type()}, not true or false")
    _refuse_bad_literals(environment, tree, text)
    names = dict(variables).keys()
    terms = []
    for term in _conjuncts(text):
        if term != text:
            of_term, tree_of_term = _compile(environment, term)
            terms.append((term, of_term, Guard(tree_of_term, names)))
    return program, Guard(tree, names), tuple(terms)


def _compile(environment: Any, text: str) -> tuple[Any, Node]:
    try:
        program = environment.compile(text)
    except (RuntimeError, TypeError, UnicodeError) as error:
        # The binding has no exception of its own; TypeError is what it says about a lone surrogate.
        raise ValueError(_compile_message(text, str(error))) from None
    return program, read(program.serialize())


# Functions that refuse some texts: a literal one is refused here, once, instead of failing at every run.
_PARTIAL = {"matches": "''.matches({})", "duration": "duration({})", "timestamp": "timestamp({})"}


def _refuse_bad_literals(environment: Any, node: Node, text: str) -> None:
    if isinstance(node, Call) and node.function in _PARTIAL and isinstance(node.args[-1], Const):
        literal = node.args[-1].value
        if isinstance(literal, str):
            program = environment.compile(_PARTIAL[node.function].format(json.dumps(literal)))
            result, _ = _evaluate(program, {})
            if isinstance(result, _Trouble):
                raise ValueError(f"{text}: {node.function}({literal!r}): {result.message}")
    for child in children(node):
        _refuse_bad_literals(environment, child, text)


def _evaluate(program: Any, values: Mapping[str, Any]) -> tuple[Any, bool]:
    """The value (None = the library could not take our values in), and whether its budget ran out."""
    try:
        value = program.eval(data=values)
    except RuntimeError as error:
        return None, "budget exceeded" in str(error).lower()
    result = value.value()
    # An error is neither, so its type, which takes time, need not be asked for.
    if result is True or result is False or value.type() != cel.Type.ERROR:
        return result, False
    message = str(result).partition(": ")[2]
    if "out of range for '" in message or message.startswith("Non-CEL value type"):
        return None, False
    return _Trouble(message), False


def _sentence(text: str, verb: str, seen: Mapping[str, Any], shown: Callable[[Any], str]) -> str:
    values = [f"{path} = {shown(value)}" for path, value in seen.items() if path != text]
    more = ", …" if len(values) > VALUES_SHOWN_MAX else ""
    return f"{text} {verb}" + (": " + ", ".join(values[:VALUES_SHOWN_MAX]) + more if values else "")


_FIRST_ERROR = re.compile(r"<input>:(?P<line>-?\d+):(?P<column>-?\d+): (?P<message>[^\n]*)")


def _compile_message(text: str, message: str) -> str:
    found = _FIRST_ERROR.search(message)
    if found is None:
        return f"{text}: {message.partition(': ')[2].split(' [')[0] or message.splitlines()[0]}"
    line, column = int(found["line"]), int(found["column"])
    lines = text.splitlines()
    if column < 1 or not 1 <= line <= max(1, len(lines)):
        return f"{text}: {found['message']}"
    place = f"column {column}" if len(lines) < 2 else f"line {line}, column {column}"
    if "token recognition" in found["message"] and lines[line - 1][column - 1 : column] == "=":
        return f"{text}: `=` is not an operator, at {place}. Write `==`."
    what = found["message"].removeprefix("Syntax error: ").removesuffix(" [INVALID_ARGUMENT]")
    what = re.sub(r"'_(\W+)_'", r"`\1`", what.replace(" (in container '')", ""))
    return f"{text}: {what}, at {place}"


# Strings (raw ones have no escapes) and comments are taken whole, so that an && inside one does not count.
_TOKEN = re.compile(
    r"""//[^\n]*
    | [bB]?[rR][bB]?(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"]*"|'[^']*')
    | \"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3} | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*'
    | && | \|\| | [()\[\]{}?]""",
    re.VERBOSE | re.DOTALL,
)


def _conjuncts(text: str) -> list[str]:
    """The terms of a conjunction in the order written; the whole text when it is none."""
    depth, cuts, is_wrapped = 0, [(0, 0)], text.startswith("(") and text.endswith(")")
    for token in _TOKEN.finditer(text):
        if token[0] in "([{":
            depth += 1
        elif token[0] in ")]}":
            depth -= 1
            is_wrapped = is_wrapped and (depth > 0 or token.end() == len(text))
        elif depth == 0 and token[0] in ("||", "?"):
            return [text]
        elif depth == 0 and token[0] == "&&":
            cuts.append(token.span())
    if is_wrapped and len(cuts) == 1:
        return _conjuncts(text[1:-1].strip())
    if len(cuts) == 1:
        return [text]
    ends = [start for start, _ in cuts[1:]] + [len(text)]
    pieces = [text[start:end].strip() for (_, start), end in zip(cuts, ends, strict=True)]
    return [term for piece in pieces for term in _conjuncts(piece)]
