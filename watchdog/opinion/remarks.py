"""What was added to a packet after its verdict, in sentences: they inform, and nothing rests on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectors import say

_SPAN_DAYS_MIN = 2.0


def remarks(packet: Mapping[str, Any]) -> dict[str, list[str]]:
    """Series name to the sentences of its second opinion and its habits; empty while there are none."""
    told = packet.get("annotations") or {}
    units = {one["spec"]["name"]: str(one["spec"]["unit"]) for one in packet["series"]}
    found: dict[str, list[str]] = {}
    for key, phrase in (("second_opinion", _opinion), ("habits", _habits)):
        for name, one in (told.get(key) or {}).items():
            if name in units:
                found.setdefault(name, []).extend(phrase(one, units[name]))
    return found


def _opinion(one: Mapping[str, Any], unit: str) -> list[str]:
    if one["effect"] is None or one["low"] is None or one["high"] is None:
        return [f"No second opinion: {one['note'] or 'the fit gave no interval'}."]
    low, high = (_change(one[key], unit) for key in ("low", "high"))
    covers = ", which includes no change" if one["low"] <= 0.0 <= one["high"] else ""
    said = [
        f"A second opinion says {_change(one['effect'], unit)}, {low} to {high}{covers} ({one['model']})."
    ]
    if one["note"]:
        said.append(f"{one['note'][:1].upper()}{one['note'][1:]}.")
    return said + [test["means"] for test in one.get("diagnostics", ()) if test["means"]]


def _habits(one: Mapping[str, Any], unit: str) -> list[str]:
    days = one["days"]
    past = f"{days:.0f} days" if days >= _SPAN_DAYS_MIN else say.span(86400.0 * days)
    if one["changes"] is None:
        return [f"The {past} before it are too short to say what the series does by itself."]
    times = {0: "never", 1: "once", 2: "twice"}.get(one["changes"], f"{one['changes']} times")
    largest = f" (largest change {say.value(one['largest'], unit)})" if one["largest"] else ""
    said = [f"In the {past} before it the level changed {times} by itself by half as much or more{largest}."]
    if one["season_effect"] is not None:
        said.append(f"The time of day alone would have changed it by {_change(one['season_effect'], unit)}.")
    return said


def _change(size: float, unit: str) -> str:
    """Signed, as the number itself moves: `+2.7 pt`, `-40 ms`."""
    amount = f"{say.digits(100.0 * size)} pt" if unit == "ratio" else say.value(size, unit)
    return f"+{amount}" if size > 0.0 else amount
