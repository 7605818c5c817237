"""Reducers that a replay names in its configuration, right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def order(state: dict[str, Any] | None, event: Mapping[str, Any]) -> dict[str, Any] | None:
    """An order: placed, paid for in parts, or deleted, which leaves no row."""
    match event["kind"]:
        case "placed":
            return {"total": 0, "state": "open", "internal": object()}
        case "paid":
            assert state is not None
            return {**state, "total": state["total"] + event["amount"], "state": "paid"}
        case "audited":
            return state
        case "forgotten":
            return {"state": "open"}
        case "deleted":
            return None
    raise ValueError(f"a secret {event['kind']}")


def not_offered(_: dict[str, Any] | None, __: Mapping[str, Any]) -> Any:
    """What nobody may name."""
    raise AssertionError


def nothing_of_use(_: dict[str, Any] | None, __: Mapping[str, Any]) -> Any:
    """What is no state."""
    return ["paid"]


def without_total(_: dict[str, Any] | None, __: Mapping[str, Any]) -> dict[str, Any]:
    """A state that lacks a column of the projection."""
    return {"state": "open"}


REDUCERS = {
    "order": order,
    "nothing_of_use": nothing_of_use,
    "without_total": without_total,
    "NOT_A_FUNCTION": 1,
}
