"""How events become the state of an aggregate: a query in the database, or a function of the user's own."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from checks.databases.statement import bare, refuse_unless_asks, respell
from checks.model import Row

Fold = Callable[[dict[str, Any] | None, Mapping[str, Any]], dict[str, Any] | None]

# What code of somebody else's raises when it is wrong, without the errors that must end a process.
_TROUBLE = (
    *(ArithmeticError, AttributeError, ImportError, LookupError, NameError),
    *(OSError, RuntimeError, SyntaxError, TypeError, ValueError),
)
_NAMED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class ReducerUnable(Exception):
    """The reducer did not give a state: a mistake in it, or events it was not made for."""


@dataclass(slots=True, kw_only=True)
class Reducer:
    """Write one of the two.

    sql: a query over `:events`, which stands for the events query in brackets, so give it a name: `select
    aggregate, sum(amount) as total from :events e group by aggregate`.
    python: `module:name`, imported at start: a function that the module itself offers, in its dict REDUCERS,
    as in `REDUCERS = {"order": order}`; nothing else can be named. It is called as function(state, event) for
    the events of one aggregate in the order of `seq`. state is None before the first event and a dict
    afterwards, event maps column to value; it returns the new state, or None for an aggregate that is to have
    no row. It must be quick and depend on nothing else.
    """

    sql: str | None = None
    python: str | None = None
    _fold: Fold | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._fold = None
        if (self.sql is None) == (self.python is None):
            raise ValueError("reducer: write either sql or python")
        if self.python is not None:
            self._fold = _imported(self.python)
        if self.sql is not None:
            try:
                refuse_unless_asks(self.sql, needs="events")
            except ValueError as error:
                raise ValueError(f"sql: {error}") from None

    def statement(self, events: str) -> str:
        """What to ask of the database: the events themselves, or what the query makes of them."""
        if self.sql is None:
            return events
        return respell(self.sql, lambda _: f"(\n{bare(events)}\n)")

    def states(self, rows: Iterable[Row]) -> list[Row]:
        """A row for each aggregate that is to have one, from the rows of `statement`.

        From a function: its state with `aggregate`, and with `version`, the `seq` of the last event. Raises
        ReducerUnable.
        """
        if self._fold is None:
            states = list(rows)
            if states and "aggregate" not in states[0]:
                raise ReducerUnable("reducer: the query gives no column aggregate; write `... as aggregate`")
            return states
        events: dict[Any, list[Row]] = {}
        for row in rows:
            if missing := {"aggregate", "seq"} - row.keys():
                raise ReducerUnable(f"events: the query gives no column {min(missing)}")
            events.setdefault(row["aggregate"], []).append(row)
        folded = (self._state(aggregate, history) for aggregate, history in events.items())
        return [state for state in folded if state is not None]

    def _state(self, aggregate: Any, events: list[Row]) -> Row | None:
        assert self._fold is not None, "only asked where there is a function"
        state: dict[str, Any] | None = None
        try:
            events.sort(key=lambda event: event["seq"])
            for event in events:
                state = self._fold(state, event)
        except _TROUBLE as error:
            # The message of somebody else's error may hold values of the rows.
            raise ReducerUnable(f"{self.python} raised {type(error).__name__}") from None
        if state is None:
            return None
        if not isinstance(state, dict):
            raise ReducerUnable(f"{self.python} returned a {type(state).__name__}; it has to return a dict")
        return {**state, "aggregate": aggregate, "version": events[-1]["seq"]}


def _imported(name: str) -> Fold:
    """The function of that name that a module offers as a reducer.

    What a configuration may call is said where it is written, so that it cannot name `os:system`.
    """
    if not _NAMED.fullmatch(name):
        raise ValueError(f"python: {name!r} is not of the form package.module:function")
    module, _, function = name.partition(":")
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise ValueError(f"python: {module} is a part of Python, which offers no reducers")
    try:
        offered = getattr(importlib.import_module(module), "REDUCERS", None)
    except _TROUBLE as error:
        raise ValueError(f"python: cannot import {module}: {type(error).__name__}: {error}") from None
    if not isinstance(offered, Mapping) or function not in offered:
        raise ValueError(
            f'python: {module} does not offer {function}; write REDUCERS = {{"{function}": {function}}} there'
        )
    if not callable(offered[function]):
        raise ValueError(f"python: {name} is not a function")
    fold: Fold = offered[function]
    return fold
