"""How numbers, times and states are said: one form everywhere, with unit, zone and sign (interface.md 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from detectors import say
from detectors.packet import decode_spec
from watchdog.api.dashboard.html import Html, el

Tone = Literal["regressed", "suspect", "healthy", "inconclusive", "blind", "observing", "none"]


class Sign(NamedTuple):
    """A state: its tone (shape and colour) and its word."""

    tone: Tone
    word: str


STATES: Mapping[str, Sign] = {
    "announced": Sign("observing", "announced"),
    "warming": Sign("observing", "warming"),
    "observing": Sign("observing", "observing"),
    "suspect": Sign("suspect", "suspect"),
    "healthy": Sign("healthy", "healthy"),
    "regressed": Sign("regressed", "regressed"),
    "inconclusive": Sign("inconclusive", "inconclusive"),
    "blind": Sign("blind", "blind"),
    "superseded": Sign("none", "superseded"),
    "cancelled": Sign("none", "cancelled"),
    "missed": Sign("blind", "missed"),
    "proposed": Sign("suspect", "proposed"),
    "vetoed": Sign("none", "vetoed"),
    "awaiting_approval": Sign("suspect", "waiting for approval"),
    "armed": Sign("observing", "armed"),
    "intended": Sign("observing", "intended"),
    "sending": Sign("observing", "sending"),
    "acked": Sign("observing", "accepted"),
    "retry_wait": Sign("suspect", "waiting to retry"),
    "unknown": Sign("regressed", "unknown outcome"),
    "refused": Sign("regressed", "refused"),
    "expired": Sign("regressed", "expired"),
    "confirmed": Sign("healthy", "confirmed"),
    "unconfirmed": Sign("regressed", "not confirmed"),
    "worse": Sign("regressed", "worse"),
    "steady": Sign("healthy", "steady"),
    "not_sure": Sign("inconclusive", "not sure"),
    "undecided": Sign("observing", "undecided"),
    "pass": Sign("healthy", "pass"),
    "fail": Sign("regressed", "fail"),
    "error": Sign("inconclusive", "error"),
    "ok": Sign("healthy", "ok"),
    "trouble": Sign("suspect", "trouble"),
}

# One shape and one character per tone, so that no state is told by colour alone.
_SHAPES: Mapping[Tone, tuple[str, Html]] = {
    "regressed": ("!", el("polygon", points="5,1 11,1 15,5 15,11 11,15 5,15 1,11 1,5")),
    "suspect": ("~", el("polygon", points="8,1 15.5,15 0.5,15")),
    "healthy": ("=", el("circle", cx=8, cy=8, r=6.5)),
    "inconclusive": ("?", el("polygon", points="8,0.5 15.5,8 8,15.5 0.5,8")),
    "blind": ("/", el("rect", x=1.5, y=1.5, width=13, height=13)),
    "observing": ("o", el("circle", cx=8, cy=8, r=6)),
    "none": ("·", el("circle", cx=8, cy=8, r=1.5)),
}


def sign_of(state: str | None) -> Sign:
    """The sign of a state; an unknown one is shown as its own word."""
    if state is None:
        return Sign("none", "no deploy yet")
    return STATES.get(state, Sign("none", state))


def shape(tone: Tone) -> Html:
    """The coloured shape with its character; hidden from screen readers, which read the word beside it."""
    character, outline = _SHAPES[tone]
    text = (
        el("text", character, x=8, y=12, text_anchor="middle") if tone not in ("observing", "none") else None
    )
    return el(
        "svg",
        outline,
        text,
        class_=f"sign {tone}",
        viewBox="0 0 16 16",
        width=16,
        height=16,
        aria_hidden="true",
    )


def badge(state: str | None) -> Html:
    """Shape and word of a state."""
    tone, word = sign_of(state)
    return el("span", shape(tone), " ", el("b", word), class_=f"badge {tone}")


def score(value: float | None) -> str:
    """Evidence or its limit, with one decimal; `-` before anything was judged."""
    return f"{value:.1f}" if value is not None and math.isfinite(value) else "-"


def amount(value: float | None, unit: str) -> str:
    """A value in its unit as the judge's own sentences say it: `3.1 %`, `210 ms`; `-` when there is none."""
    return "-" if value is None or not math.isfinite(value) else say.value(value, unit)


def shown(spec: Mapping[str, Any]) -> str:
    """What a chart draws: the name of its series, and of a histogram the quantile, `order latency p95`."""
    name = say.name(spec["name"])
    return f"{name} p{100.0 * spec['quantile']:g}" if spec["kind"] == "histogram" else name


def judged(spec: Mapping[str, Any], evidence: Mapping[str, Any], key: Literal["before", "now"]) -> str:
    """What a series was or is, as it is judged: `210 ms`, or of a histogram `3.1 % above 256 ms`."""
    said, bound = amount(evidence.get(key), decode_spec(spec).effect_unit), evidence.get("bound")
    return said if bound is None else f"{said} above {amount(bound, spec['unit'])}"


def change(spec: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    """`+2.7 pt, 2.1 to 3.4`: which way the number itself went, with the 95 % interval; `-` when not known."""
    effect = [
        evidence[key] for key in ("effect", "effect_low", "effect_high") if evidence.get(key) is not None
    ]
    if len(effect) < 3:
        return "-"
    return say.change(decode_spec(spec), evidence.get("before") or 0.0, *effect)


def visible(spec: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    """The smallest change that the whole watch would find in four of five cases."""
    size = evidence.get("smallest_visible")
    return "not known" if size is None else say.least(decode_spec(spec), evidence.get("before"), size)


def share(value: float | None) -> str:
    """A probability or a share of data in whole percent; never 100 % or 0 % unless it is."""
    if value is None:
        return "-"
    percent = 100.0 * value
    if 0.0 < percent < 1.0:
        return "below 1 %"
    if 99.5 <= percent < 100.0:
        return "above 99 %"
    return f"{percent:.0f} %"


def clock(at: float, form: Literal["hm", "hms", "day"] = "hms") -> str:
    """A time of day, or day and time, in UTC."""
    pattern = {"hm": "%H:%M", "hms": "%H:%M:%S", "day": "%d %b %H:%M"}[form]
    return datetime.fromtimestamp(at, UTC).strftime(pattern)


def when(at: float | None, form: Literal["hm", "hms", "day"] = "hms") -> Html:
    """A time that the page's script can show in the other zone; without script it is UTC."""
    if at is None:
        return el("span", "-")
    exact = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return el("time", clock(at, form), datetime=exact, data_at=at, data_form=form, title=f"{exact}")


def after(at: float, start_at: float) -> str:
    """`+4 min`: how long after the deploy."""
    return f"{'+' if at >= start_at else '-'}{say.span(abs(at - start_at))}"


def sentence(spec: Mapping[str, Any], evidence: Mapping[str, Any] | None) -> str:
    """What a chart shows, in one sentence, for whoever cannot see it."""
    name = say.name(spec["name"])
    if evidence is None:
        return f"{name}: nothing judged yet."
    if evidence["state"] == "blind":
        return f"{name}: no data to judge; {share(evidence['coverage'])} of the points arrived."
    before, now = judged(spec, evidence, "before"), judged(spec, evidence, "now")
    parts = [f"{name}: {before} before the deploy, {now} now, change {change(spec, evidence)}"]
    if evidence.get("onset_at") is not None:
        low, high = evidence.get("onset_low_at"), evidence.get("onset_high_at")
        between = f" (between {clock(low)} and {clock(high)})" if low and high else ""
        parts.append(f"began about {clock(evidence['onset_at'])} UTC{between}")
    parts.append(f"evidence {score(evidence['statistic'])} of {score(evidence['threshold'])} needed")
    parts.append(f"{share(evidence['coverage'])} of the points arrived")
    return "; ".join(parts) + "."
