"""A verdict as a picture that stands still: for documents, where no script runs.

The same data as the dashboard's charts, the same colours from the same style sheet, light and dark.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from watchdog.api.charts import chart, samples
from watchdog.api.dashboard.frame import FILES
from watchdog.api.dashboard.html import Child, Html, el
from watchdog.api.dashboard.words import amount, clock, shape, sign_of
from watchdog.model import Watch

WIDTH = 880
_LEFT, _RIGHT = 70, 12
_LINE = 18  # of text
_LETTERS = 128  # of 13 pixels that surely fit into a line
_PLOT, _STRIP, _GAP = 200, 52, 26
_TICKS_S = (60, 120, 300, 600, 1200, 3600, 7200)
_STRIP_MAX = 3.0  # times what is needed: more is as good

_STYLE = """
text { font: 13px system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: var(--ink); }
.small { font-size: 11px; fill: var(--dim); }
.head { font-weight: 650; font-size: 15px; }
.paper { fill: var(--paper); }
.grid { stroke: var(--line); }
.ink, .control, .statistic { fill: none; stroke: var(--ink); stroke-width: 1.6; stroke-linejoin: round; }
.control { stroke: var(--other); stroke-width: 1; stroke-dasharray: 3 2; }
.statistic { stroke: var(--regressed); }
.band { fill: var(--band); opacity: 0.7; }
.onset { fill: var(--onset); opacity: 0.55; }
.deploy { stroke: var(--observing); stroke-width: 2; }
.said { fill: var(--observing); }
.needed { stroke: var(--ink); stroke-dasharray: 5 4; }
.cross { fill: var(--regressed); }
.sign text { fill: var(--paper); font-weight: 700; font-size: 12px; }
"""


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where times and values of one panel lie on the picture."""

    from_at: float
    to_at: float
    low: float
    high: float
    top: float
    height: float

    def x(self, at: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (at - self.from_at) / (self.to_at - self.from_at)

    def y(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return self.top + self.height * (1.0 - (inside - self.low) / (self.high - self.low))

    def line(self, at: Sequence[float], values: Sequence[float | None], class_: str) -> Html:
        """One path; missing values interrupt it."""
        steps: list[str] = []
        is_down = False
        for when, value in zip(at, values, strict=True):
            is_seen = value is not None and math.isfinite(value) and when >= self.from_at
            if value is not None and is_seen:
                steps.append(f"{'L' if is_down else 'M'}{self.x(when):.1f} {self.y(value):.1f}")
            is_down = is_seen
        return el("path", d="".join(steps), class_=class_)


def draw(packet: Mapping[str, Any], watch: Watch) -> str:
    """The verdict of a packet and the series it rests on most, with its controls: one self-contained SVG."""
    told = chart(packet, watch)
    one = told["series"][0]
    spec, verdict = one["spec"], packet["verdict"]
    words = textwrap.wrap(verdict["because"], _LETTERS)
    top = 2.4 * _LINE + _LINE * len(words) + 14
    controls = _controls(packet, spec["name"], told)
    frame = _main_frame(told, one, [values for _, _, values in controls], top)
    strip = _strip_frame(frame)
    height = strip.top + strip.height + 2.2 * _LINE
    parts: list[Child] = [
        el("title", f"{sign_of(watch.state).word}: {verdict['because']}"),
        el("style", Html(_palette() + _STYLE)),
        el("rect", width=WIDTH, height=f"{height:.0f}", class_="paper"),
        _head(watch.state, verdict["reason"], words),
        _behind(frame, one),
        _grid(frame, spec["unit"]),
        [frame.line(at, values, "control") for _, at, values in controls],
        frame.line(one["at"], one["value"], "ink"),
        _marks(frame, strip, told, one),
        _evidence(strip, one),
        _legend([name for name, _, _ in controls], height - 10),
    ]
    drawing = el("svg", parts, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {height:.0f}")
    return f"{drawing}\n"


def _palette() -> str:
    """The colours of the dashboard: the light ones, and the dark ones for who prefers them."""
    sheet = FILES["watchdog.css"].decode()
    light, dark = re.findall(r":root \{.*?\}", sheet, re.DOTALL)[:2]
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}"


def _controls(
    packet: Mapping[str, Any], name: str, told: Mapping[str, Any]
) -> list[tuple[str, list[float], list[float]]]:
    series = next(one for one in packet["series"] if one["spec"]["name"] == name)
    found = []
    for control in series["controls"]:
        at, values = samples(control, control["spec"]["step_s"], told["from_at"])
        found.append((str(control["name"]), at.tolist(), values.tolist()))
    return found


def _main_frame(
    told: Mapping[str, Any], one: Mapping[str, Any], controls: Sequence[Sequence[float]], top: float
) -> _Frame:
    columns = [one["value"], one["expected_low"], one["expected_high"], *controls]
    seen = np.array([value for column in columns for value in column if value is not None], dtype=np.float64)
    seen = seen[np.isfinite(seen)]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    pad = 0.12 * (high - low or abs(high) or 1.0)
    return _Frame(told["from_at"], told["to_at"], max(0.0, low - pad), high + pad, top, _PLOT)


def _strip_frame(frame: _Frame) -> _Frame:
    top = frame.top + frame.height + _GAP
    return _Frame(frame.from_at, frame.to_at, 0.0, _STRIP_MAX, top, _STRIP)


def _head(state: str, reason: str, words: Sequence[str]) -> list[Child]:
    sign = sign_of(state)
    told = f"{sign.word} ({reason.replace('_', ' ')})"
    return [
        el("g", shape(sign.tone), transform="translate(12 10)", fill=f"var(--{sign.tone})"),
        el("text", told, x=36, y=23, class_="head"),
        [el("text", line, x=12, y=2.6 * _LINE + _LINE * n) for n, line in enumerate(words)],
    ]


def _behind(frame: _Frame, one: Mapping[str, Any]) -> list[Child]:
    """The expected band, and when it began."""
    rows = [
        (at, low, high)
        for at, low, high in zip(one["at"], one["expected_low"], one["expected_high"], strict=True)
        if low is not None and high is not None
    ]
    there = [f"{frame.x(at):.1f},{frame.y(high):.1f}" for at, _, high in rows]
    back = [f"{frame.x(at):.1f},{frame.y(low):.1f}" for at, low, _ in reversed(rows)]
    drawn: list[Child] = [el("polygon", points=" ".join(there + back), class_="band")]
    evidence = one["evidence"] or {}
    if evidence.get("onset_low_at") is not None:
        # As on the page, at least 6 pixels wide.
        left, right = frame.x(evidence["onset_low_at"]), frame.x(evidence["onset_high_at"])
        middle, width = (left + right) / 2, max(6.0, right - left)
        drawn.append(_box(middle - width / 2, frame.top, width, frame.height, "onset"))
    return drawn


def _grid(frame: _Frame, unit: str) -> list[Child]:
    drawn: list[Child] = []
    size = (frame.high - frame.low) / 4
    power = 10.0 ** math.floor(math.log10(size))
    size = next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= size)
    for n in range(math.ceil(frame.low / size), math.floor(frame.high / size) + 1):
        y = frame.y(n * size)
        drawn.append(_rule(_LEFT, y, WIDTH - _RIGHT, y, "grid"))
        drawn.append(_small(amount(n * size, unit), _LEFT - 6, y + 4, "end"))
    span = frame.to_at - frame.from_at
    every = next((step for step in _TICKS_S if span / step <= 9), _TICKS_S[-1])
    bottom = frame.top + frame.height
    for n in range(math.ceil(frame.from_at / every), math.floor(frame.to_at / every) + 1):
        x = frame.x(n * every)
        drawn.append(_rule(x, frame.top, x, bottom, "grid"))
        drawn.append(_small(clock(n * every, "hm"), x, bottom + 14, "middle"))
    return drawn


def _marks(frame: _Frame, strip: _Frame, told: Mapping[str, Any], one: Mapping[str, Any]) -> list[Child]:
    """The deploy through both panels, and where the evidence passed what is needed."""
    x = frame.x(told["started_at"])
    drawn: list[Child] = [
        _rule(x, frame.top, x, frame.top + frame.height, "deploy"),
        _rule(x, strip.top, x, strip.top + strip.height, "deploy"),
        el("text", "deploy", x=f"{x - 6:.1f}", y=f"{frame.top + 12:.1f}", text_anchor="end", class_="said"),
    ]
    if one["crossed_at"] is not None:
        at, top = frame.x(one["crossed_at"]), frame.top
        points = f"{at - 6:.1f},{top - 10:.1f} {at + 6:.1f},{top - 10:.1f} {at:.1f},{top:.1f}"
        drawn.append(el("polygon", points=points, class_="cross"))
    return drawn


def _evidence(strip: _Frame, one: Mapping[str, Any]) -> list[Child]:
    needed = strip.y(one["threshold"])
    bottom = strip.top + strip.height
    return [
        _rule(_LEFT, bottom, WIDTH - _RIGHT, bottom, "grid"),
        strip.line(one["at"], one["statistic"], "statistic"),
        _rule(_LEFT, needed, WIDTH - _RIGHT, needed, "needed"),
        _small("evidence", _LEFT - 6, strip.top + 12, "end"),
        _small("needed", _LEFT - 6, needed + 4, "end"),
    ]


def _legend(controls: Sequence[str], y: float) -> list[Child]:
    drawn: list[Child] = []
    words = [("ink", "measured"), ("band", "expected"), ("onset", "when it began")]
    if controls:
        words.append(("control", f"controls: {', '.join(controls)}"))
    x = float(_LEFT)
    for class_, word in words:
        if class_ in ("band", "onset"):
            drawn.append(_box(x, y - 9, 18, 10, class_))
        else:
            drawn.append(_rule(x, y - 4, x + 18, y - 4, class_))
        drawn.append(_small(word, x + 24, y, "start"))
        x += 44 + 6.2 * len(word)
    return drawn


def _rule(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    return el("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=class_)


def _box(x: float, y: float, width: float, height: float, class_: str) -> Html:
    return el("rect", x=f"{x:.1f}", y=f"{y:.1f}", width=f"{width:.1f}", height=f"{height:.1f}", class_=class_)


def _small(text: str, x: float, y: float, anchor: str) -> Html:
    return el("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_="small")
