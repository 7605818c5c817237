"""Reading SQL just far enough: is it one query that only reads, and where are its `:name` places."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# Comments, texts and quoted names are taken whole, so that nothing inside them counts. `::` is a cast.
# A `:name` right after a word or a bracket is an array slice, not a place.
_TOKEN = re.compile(
    r"""--[^\n]*
    | /\*(?:[^*]|\*(?!/))*\*/
    | [eE]'(?:\\.|''|[^'\\])*'
    | '(?:''|[^'])*' | "(?:""|[^"])*" | `[^`]*`
    | \$(?P<tag>[A-Za-z_]\w*)?\$.*?\$(?P=tag)?\$
    | ::
    | (?<![\w\])]):(?P<place>[A-Za-z_]\w*)
    | (?P<word>[A-Za-z_]\w*)
    | (?P<end>;)""",
    re.VERBOSE | re.DOTALL,
)
_READING = frozenset({"select", "with", "values"})


def refuse_unless_query(sql: str) -> None:
    """ValueError unless `sql` is one SELECT, WITH or VALUES statement.

    What a WITH could still write is stopped by the read-only transaction; this is the early, clear refusal.
    """
    tokens = [token for token in _TOKEN.finditer(sql) if token["word"] or token["end"]]
    first = tokens[0]["word"] if tokens else None
    if any((token["word"] or "").lower() == "into" for token in tokens):
        raise ValueError("holds INTO, which writes a table or a file; write a statement that only reads")
    if first is None or first.lower() not in _READING:
        raise ValueError(f"starts with {first or 'nothing'}; write one SELECT, WITH or VALUES statement")
    after_end = next((token.end() for token in tokens if token["end"]), len(sql))
    rest = re.sub(r"--[^\n]*|/\*.*?\*/", "", sql[after_end:], flags=re.DOTALL)
    if rest.strip().strip(";").strip():
        raise ValueError("holds more than one statement; write one SELECT, WITH or VALUES statement")


def refuse_unless_condition(sql: str) -> None:
    """ValueError unless `sql` can stand between two brackets as one condition, without `:name` places."""
    bare = _TOKEN.sub(lambda token: token[0] if token["word"] or token["place"] or token["end"] else " ", sql)
    words = re.findall(r"\w+", bare.lower())
    if not words or words[0] == "where":
        raise ValueError("write a condition, without WHERE, as in: state = 'paid'")
    if ";" in bare or "into" in words or "/*" in bare or re.search("['\"`]", bare):
        raise ValueError("holds `;`, INTO, or a quote or comment that is not closed; write one condition")
    if unknown := places(sql):
        raise ValueError(f":{min(unknown)} has no value here")
    depth = 0
    for bracket in re.findall("[()]", bare):
        depth += 1 if bracket == "(" else -1
        if depth < 0:
            break
    if depth:
        raise ValueError("the brackets do not match")


def places(sql: str) -> set[str]:
    """The names of all `:name` places."""
    return {token["place"] for token in _TOKEN.finditer(sql) if token["place"]}


def refuse_unless_asks(sql: str, *, needs: str | None = None, may: frozenset[str] = frozenset()) -> None:
    """ValueError unless `sql` is one reading statement with the place `needs` and no others than `may`."""
    refuse_unless_query(sql)
    found = places(sql)
    known = may | ({needs} if needs else set())
    if unknown := found - known:
        there = " and ".join(f":{name}" for name in sorted(known))
        raise ValueError(f":{min(unknown)} has no value; there {'is' if len(known) == 1 else 'are'} {there}")
    if needs and needs not in found:
        raise ValueError(f"does not use :{needs}, which it has to")


def bare(sql: str) -> str:
    """The statement without what ends it, so that it can stand in brackets."""
    return sql[: next((token.start() for token in _TOKEN.finditer(sql) if token["end"]), len(sql))]


def listed(sql: str, name: str, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """The statement with `:name` as one place for each value, as in `id in (:ids)`, and their values."""
    given = {f"{name}_{number}": value for number, value in enumerate(values)}
    written = ", ".join(f":{place}" for place in given)
    return respell(sql, lambda place: written if place == name else f":{place}"), given


def respell(sql: str, spelling: Callable[[str], str]) -> str:
    """The same statement with every `:name` written as `spelling(name)`."""

    def pieces() -> Iterator[str]:
        at = 0
        for token in _TOKEN.finditer(sql):
            if token["place"]:
                yield sql[at : token.start()]
                yield spelling(token["place"])
                at = token.end()
        yield sql[at:]

    return "".join(pieces())
