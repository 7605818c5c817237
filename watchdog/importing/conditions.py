"""Gatus' conditions as CEL.

Source: README of Gatus, `Conditions`. A condition is `left operator right` with blanks around the operator;
what stands left or right is a placeholder (`[BODY].user.name`), a function of one, or a text without quotes.
Two things differ on purpose, because they let a broken service pass: an absent field fails here, and numbers
keep their fractions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from checks.dns import VARIABLES as DNS
from checks.expressions.expression import Expression
from checks.tls import VARIABLES as TLS
from checks.web.messages import VARIABLES as HTTP
from checks.websocket import VARIABLES as WEBSOCKET
from watchdog.importing.peer import NoEquivalent, go_seconds

_OPERATORS = ("==", "!=", "<=", ">=", ">", "<")
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_PLACEHOLDER = re.compile(r"\[([A-Z_]+)\](.*)", re.DOTALL)
_FUNCTION = re.compile(r"(len|has|pat|any)\((.*)\)", re.DOTALL)
_STEP = re.compile(r"\.?\[(\d+)\]|\.([^.\[\]]+)")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d+)?")
# Words of CEL that cannot follow a dot or stand for a name (language definition, `Syntax`).
_RESERVED = frozenset({"true", "false", "null", "in"})
_NOWHERE = {
    "IP": "addresses are not part of an answer; write `resolve` to choose one",
    "DOMAIN_EXPIRATION": "the registration of domains is not watched",
    "CONTEXT": "write the steps as one check of kind scenario",
}
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an expression of one kind may speak of.

    variables: name to CEL type. certificate: the variable of days to expiry. has_answers: the body is a list
    of DNS records.
    """

    variables: Mapping[str, str]
    certificate: str = ""
    has_answers: bool = False


OF_HTTP = Dialect(HTTP, certificate="certificate_days")
OF_TLS = Dialect(TLS, certificate="days")
OF_DNS = Dialect(DNS, has_answers=True)
OF_WEBSOCKET = Dialect(WEBSOCKET)
# Kinds without an expression.
OF_OTHERS = Dialect({})


def as_cel(condition: str, dialect: Dialect) -> str:
    """The condition as one term of a conjunction, empty where every check demands it anyway.

    Raises NoEquivalent.
    """
    left, operator, right = _split(condition)
    if not _names(left) and _names(right):
        left, operator, right = right, _FLIPPED.get(operator, operator), left
    function, subject = _called(left)
    found = _PLACEHOLDER.fullmatch(subject)
    if found is None or function in ("pat", "any"):
        raise NoEquivalent("compares no placeholder with anything")
    name, path = found[1], found[2]
    if name in _NOWHERE:
        raise NoEquivalent(_NOWHERE[name])
    if name == "CONNECTED":
        if (operator, right) != ("==", "true"):
            raise NoEquivalent("a check passes only if it connects")
        return ""
    term = _TERMS[name](function, path, operator, right, dialect) if name in _TERMS else None
    if term is None:
        raise NoEquivalent(f"there is no placeholder [{name}]")
    try:
        Expression(term, dialect.variables)
    except ValueError as error:
        raise NoEquivalent(f"would be CEL that cannot be: {error}") from None
    return term


def _split(condition: str) -> tuple[str, str, str]:
    for operator in _OPERATORS:
        left, found, right = condition.partition(f" {operator} ")
        if found:
            return left.strip(), operator, right.strip()
    raise NoEquivalent("not a comparison with blanks around its operator")


def _names(text: str) -> bool:
    return _PLACEHOLDER.fullmatch(_called(text)[1]) is not None


def _called(text: str) -> tuple[str, str]:
    found = _FUNCTION.fullmatch(text)
    return (found[1], found[2].strip()) if found else ("", text)


def _needs(dialect: Dialect, name: str, placeholder: str) -> str:
    if name not in dialect.variables:
        raise NoEquivalent(f"this kind of check does not tell [{placeholder}]")
    return name


def _status(function: str, path: str, operator: str, right: str, dialect: Dialect) -> str:
    _refuse_parts(function, path, "STATUS")
    return _compared(_needs(dialect, "status", "STATUS"), operator, right, is_typed=True)


def _rcode(function: str, path: str, operator: str, right: str, dialect: Dialect) -> str:
    _refuse_parts(function, path, "DNS_RCODE")
    return _compared(_needs(dialect, "rcode", "DNS_RCODE"), operator, right, is_text=True)


def _response_time(function: str, path: str, operator: str, right: str, dialect: Dialect) -> str:
    _refuse_parts(function, path, "RESPONSE_TIME")
    limit_s = _time_s(right)
    return f'{_needs(dialect, "total", "RESPONSE_TIME")} {operator} duration("{limit_s:.12g}s")'


def _certificate(function: str, path: str, operator: str, right: str, dialect: Dialect) -> str:
    _refuse_parts(function, path, "CERTIFICATE_EXPIRATION")
    days = _time_s(right) / _DAY_S
    return f"{_needs(dialect, dialect.certificate, 'CERTIFICATE_EXPIRATION')} {operator} {days:.6g}"


def _body(function: str, path: str, operator: str, right: str, dialect: Dialect) -> str:
    if dialect.has_answers:
        _refuse_parts(function, path, "BODY")
        return _answers(operator, right)
    steps = _steps(path)
    if function == "has":
        if operator not in ("==", "!=") or right not in ("true", "false"):
            raise NoEquivalent("has() is compared with true or false")
        there = " && ".join(_there(steps))
        return there if (operator == "==") == (right == "true") else f"!({there})"
    if not steps:
        if function == "len":
            # Of a list in JSON Gatus counts the elements, of anything else the bytes.
            raise NoEquivalent("the length of what is not known: write size(json) or size(text)")
        return _compared(_needs(dialect, "text", "BODY"), operator, right, is_text=True)
    value = _path(steps)
    if function == "len":
        return _ordered(f"size({value})", operator, right)
    if operator not in ("==", "!="):
        return _ordered(value, operator, right)
    if _names(right):
        return f"{value} {operator} {_other(right)}"
    return _compared(value, operator, right)


_Term = Callable[[str, str, str, str, Dialect], str]
_TERMS: Mapping[str, _Term] = {
    "STATUS": _status,
    "RESPONSE_TIME": _response_time,
    "CERTIFICATE_EXPIRATION": _certificate,
    "DNS_RCODE": _rcode,
    "BODY": _body,
}


def _refuse_parts(function: str, path: str, placeholder: str) -> None:
    if function or path:
        raise NoEquivalent(f"[{placeholder}] has neither parts nor functions")


def _time_s(text: str) -> float:
    return float(text) / 1000.0 if re.fullmatch(r"\d+", text) else go_seconds(text)


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            raise NoEquivalent(f"`{path}` is not a path known here")
        steps.append(int(found[1]) if found[1] is not None else found[2])
        at = found.end()
    return steps


def _is_field(step: str | int) -> bool:
    return isinstance(step, str) and bool(_IDENTIFIER.fullmatch(step)) and step not in _RESERVED


def _path(steps: list[str | int]) -> str:
    return "json" + "".join(f".{step}" if _is_field(step) else f"[{json.dumps(step)}]" for step in steps)


def _there(steps: list[str | int]) -> list[str]:
    """One question a step: CEL's own asks for the last one only, and fails where one before it is absent."""
    if not steps:
        raise NoEquivalent("has() asks for a path below [BODY]")
    asked = []
    for n, step in enumerate(steps):
        above = _path(steps[:n])
        if isinstance(step, int):
            asked.append(f"size({above}) > {step}")
        else:
            asked.append(f"has({above}.{step})" if _is_field(step) else f"{json.dumps(step)} in {above}")
    return asked


def _other(text: str) -> str:
    """A placeholder on the right side."""
    function, subject = _called(text)
    found = _PLACEHOLDER.fullmatch(subject)
    if function not in ("", "len") or found is None or found[1] != "BODY" or not found[2]:
        raise NoEquivalent("both sides are placeholders that do not compare")
    value = _path(_steps(found[2]))
    return f"size({value})" if function else value


def _ordered(value: str, operator: str, right: str) -> str:
    if _names(right):
        return f"{value} {operator} {_other(right)}"
    if not _NUMBER.fullmatch(right):
        raise NoEquivalent(f"`{right}` is not a number")
    return f"{value} {operator} {right}"


def _compared(value: str, operator: str, right: str, *, is_text: bool = False, is_typed: bool = False) -> str:
    """`==` or `!=` with a text, a number, a pattern, or any of them. Gatus compares texts: 1 equals "1"."""
    if operator not in ("==", "!="):
        return _ordered(value, operator, right)
    function, inner = _called(right)
    options = [option.strip() for option in inner.split(",")] if function == "any" else [right]
    literals: list[str] = []
    matches: list[str] = []
    for option in options:
        kind, pattern = _called(option)
        if kind == "pat":
            matches.append(_matching(value if is_text else f"string({value})", pattern))
        elif is_typed:
            if not _NUMBER.fullmatch(option):
                raise NoEquivalent(f"`{option}` is not a number")
            literals.append(option)
        else:
            is_other = not is_text and bool(_NUMBER.fullmatch(option) or option in ("true", "false", "null"))
            literals += [option, json.dumps(option)] if is_other else [_quoted(option)]
    if len(literals) == 1 and not matches:
        return f"{value} {operator} {literals[0]}"
    terms = [f"{value} in [{', '.join(literals)}]"] if literals else []
    either = " || ".join([*terms, *matches])
    if operator == "!=":
        return f"!({either})"
    return f"({either})" if len(terms) + len(matches) > 1 else either


def _answers(operator: str, right: str) -> str:
    """A record among those of the answer."""
    function, pattern = _called(right)
    if operator != "==" or function not in ("", "pat"):
        raise NoEquivalent("of DNS records one can be equal to a text or match a pattern")
    if function:
        return f"answers.exists(answer, {_matching('answer', pattern)})"
    return f"answers.exists(answer, answer in [{_quoted(right)}, {_quoted(right.rstrip('.') + '.')}])"


def _matching(value: str, pattern: str) -> str:
    """A shell pattern: `*`, `?`, classes, and a backslash before what stands for itself."""
    inner = pattern.strip("*")
    if not re.search(r"[*?\[\]\\]", inner) and pattern in (f"*{inner}*", f"{inner}*", f"*{inner}"):
        method = {(True, True): "contains", (False, True): "startsWith", (True, False): "endsWith"}
        return f"{value}.{method[pattern.startswith('*'), pattern.endswith('*')]}({_quoted(inner)})"
    parts = re.findall(r"\*|\?|\[[^\]]*\]|\\.|[^*?\[\\]+|.", pattern, re.DOTALL)
    regex = "".join(_as_regex(part) for part in parts)
    return f"{value}.matches({_quoted(f'(?s)^{regex}$')})"


def _as_regex(part: str) -> str:
    if part in ("*", "?"):
        return {"*": ".*", "?": "."}[part]
    if part.startswith("[") and part.endswith("]") and len(part) > 2:
        return part
    return re.escape(part[1:] if part.startswith("\\") and len(part) == 2 else part)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
