"""The charts of the report as inline SVG: made here, readable without script, every mark with its words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from detectors import say
from watchdog.api.dashboard.html import Child, Html, el
from watchdog.backtest.report import Placebo, RealDeploy, SeriesReport
from watchdog.backtest.words import DAY_S, day, interval

_WIDE, _LEFT, _RIGHT = 1000.0, 90.0, 990.0
_TICKS_MAX = 14


def timeline(
    placebos: Sequence[Placebo], deploys: Sequence[RealDeploy], since_at: float, until_at: float
) -> Html:
    """Placebos and real deploys over the span, each in the colour of its state."""

    def x(at: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (at - since_at) / max(until_at - since_at, 1.0)

    marks: list[Child] = [_row("placebos", 24), _row("deploys", 58)]
    days = max(1, math.ceil((until_at - since_at) / DAY_S / _TICKS_MAX))
    tick_at = math.ceil(since_at / DAY_S) * DAY_S
    while tick_at <= until_at:
        marks.append(el("line", x1=_at(x(tick_at)), x2=_at(x(tick_at)), y1=8, y2=74, class_="grid"))
        marks.append(el("text", day(tick_at)[5:10], x=_at(x(tick_at)), y=88, text_anchor="middle"))
        tick_at += days * DAY_S
    for placebo in placebos:
        is_alarm = placebo.state == "regressed"
        marks.append(
            el(
                "line",
                el("title", f"{day(placebo.at)}: {placebo.state}. {placebo.because}"),
                x1=_at(x(placebo.at)),
                x2=_at(x(placebo.at)),
                y1=10 if is_alarm else 17,
                y2=38 if is_alarm else 31,
                class_=f"mark {_tone(placebo.state)}",
            )
        )
    # What matters last, so that nothing lies on it.
    for deploy in sorted(deploys, key=lambda one: one.state == "regressed"):
        title = f"{day(deploy.started_at)}, {deploy.to_version}: {deploy.state}. {deploy.because}"
        marks.append(
            el(
                "circle",
                el("title", title),
                cx=_at(x(deploy.started_at)),
                cy=58,
                r=7 if deploy.state == "regressed" else 4.5,
                class_=f"dot {_tone(deploy.state)}",
            )
        )
    alarms = sum(placebo.state == "regressed" for placebo in placebos)
    spoken = (
        f"{len(placebos)} placebo deploys, {alarms} of them called regressed, and {len(deploys)} real "
        f"deploys between {day(since_at)} and {day(until_at)} UTC."
    )
    return el("svg", marks, class_="timeline", viewBox="0 0 1000 96", role="img", aria_label=spoken)


def alarms(series: SeriesReport) -> Html:
    """How often one series fired: a bar with its interval, and a line at what its budget allows."""
    top = max(series.fired.high, 2 * series.allowed, 1e-9)

    def x(share: float) -> float:
        return 1 + 158 * min(share / top, 1.0)

    spoken = f"{series.series} alone fired on {interval(series.fired)}, allowed {100 * series.allowed:.2g} %"
    share = series.fired.share or 0.0
    return el(
        "svg",
        el("title", spoken),
        el("rect", x=1, y=4, width=_at(max(x(share) - 1, 0.5)), height=8, class_="bar"),
        el("line", x1=_at(x(series.fired.low)), x2=_at(x(series.fired.high)), y1=8, y2=8, class_="whisker"),
        el("line", x1=_at(x(series.allowed)), x2=_at(x(series.allowed)), y1=0, y2=16, class_="allowed"),
        class_="alarms",
        viewBox="0 0 160 16",
        width=160,
        height=16,
        role="img",
        aria_label=spoken,
    )


def power(series: SeriesReport) -> Html:
    """Share found of each injected size, with intervals and median delays; a line at 80 %."""
    n = len(series.power)

    def x(i: int) -> float:
        return 44 + (i + 0.5) * 190 / max(n, 1)

    def y(share: float) -> float:
        return 96 - 84 * share

    marks: list[Child] = [
        el("line", x1=40, x2=236, y1=_at(y(s)), y2=_at(y(s)), class_="wanted" if s == 0.8 else "grid")
        for s in (0.0, 0.5, 0.8, 1.0)
    ]
    marks += [
        el("text", f"{100 * s:.0f} %", x=36, y=_at(y(s) + 3), text_anchor="end") for s in (0.0, 0.5, 1.0)
    ]
    points = [(x(i), one) for i, one in enumerate(series.power)]
    path = " ".join(f"{_at(px)},{_at(y(one.found.share or 0.0))}" for px, one in points)
    marks.append(el("polyline", points=path, class_="curve"))
    spoken = []
    for px, one in points:
        low, high = y(one.found.low), y(one.found.high)
        marks.append(el("line", x1=_at(px), x2=_at(px), y1=_at(low), y2=_at(high), class_="whisker"))
        marks.append(el("circle", cx=_at(px), cy=_at(y(one.found.share or 0.0)), r=3.5, class_="point"))
        marks.append(el("text", one.label, x=_at(px), y=110, text_anchor="middle"))
        delay = "not found" if one.delay_s is None else say.span(one.delay_s)
        below = "-" if one.delay_s is None else delay
        marks.append(el("text", below, x=_at(px), y=123, text_anchor="middle", class_="dim"))
        spoken.append(f"{one.label} found in {interval(one.found)}, median delay {delay}")
    return el(
        "figure",
        el("figcaption", say.name(series.series)),
        el(
            "svg",
            el("title", f"{series.series}: {'; '.join(spoken)}."),
            marks,
            class_="power",
            viewBox="0 0 240 128",
            width=240,
            height=128,
            role="img",
        ),
    )


def _row(name: str, y: float) -> Html:
    return el("text", name, x=_LEFT - 10, y=y + 4, text_anchor="end")


def _tone(state: str) -> str:
    """The class that colours a state; every other one is calm."""
    return state if state in ("healthy", "regressed", "inconclusive", "blind") else "none"


def _at(number: float) -> str:
    return f"{number:.1f}"
