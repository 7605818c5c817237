"""Numbers, times and names as people read them: every number with its unit, every time in UTC."""

from __future__ import annotations

import math

from detectors.model import SeriesSpec


def name(series: str) -> str:
    """As people call it: `failed payments`, and `home.total` for home.total_s: values have their unit."""
    return series.removesuffix("_s").replace("_", " ")


def title(series: str) -> str:
    """`failed_payments` as the beginning of a sentence: `Failed payments`."""
    words = name(series)
    return words[:1].upper() + words[1:]


def clock(at: float) -> str:
    """Epoch seconds as UTC hh:mm:ss."""
    second = math.floor(at + 0.5) % 86400
    hour, rest = divmod(second, 3600)
    minute, second = divmod(rest, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}"


def span(seconds: float) -> str:
    """A duration: `40 s`, `2 min`, `1 h 5 min`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def digits(x: float) -> str:
    """Two significant digits, three from 100 on; thousands with commas."""
    if x == 0.0 or not math.isfinite(x):
        return "0" if x == 0.0 else str(x)
    size = math.floor(math.log10(abs(x)))
    if size >= 3:
        return f"{x:,.0f}"
    return f"{x:.{max(1 - size, 0)}f}" if size < 2 else f"{x:.0f}"


def value(x: float, unit: str) -> str:
    """One value in the unit of its series: `3.1 %`, `210 ms`, `118 per step`."""
    if unit == "ratio":
        return f"{digits(100.0 * x)} %"
    if unit == "s":
        return f"{digits(1000.0 * x)} ms" if 0.0 < abs(x) < 1.0 else f"{digits(x)} s"
    return f"{digits(x)} {unit.replace('_', ' ')}".rstrip()


def change(spec: SeriesSpec, before: float, size: float, low: float, high: float) -> str:
    """An effect with its 95 % interval as a signed change: `+2.7 pt, 2.1 to 3.4` or `-17 %, -24 to -10`.

    size, low, high: worse is positive, whatever the bad direction.
    """
    if spec.bad == "down":
        size, low, high = -size, -high, -low
    if spec.effect_unit == "ratio":
        scale, unit = 100.0, "pt"
    elif before > 0.0:
        scale, unit = 100.0 / before, "%"
    else:
        scale, unit = 1.0, spec.effect_unit.replace("_", " ")
    sign = "+" if size > 0.0 else ""
    return (
        f"{sign}{digits(scale * size)} {unit}".rstrip() + f", {digits(scale * low)} to {digits(scale * high)}"
    )


def least(spec: SeriesSpec, before: float | None, size: float) -> str:
    """A size without direction: `0.8 pt`, `6 %`."""
    if spec.effect_unit == "ratio":
        return f"{digits(100.0 * size)} pt"
    if before:
        return f"{digits(100.0 * size / abs(before))} %"
    return value(size, spec.effect_unit)


def percent(p: float) -> str:
    """A probability as a whole per cent that never claims certainty: `above 99 %`."""
    if p > 0.995:
        return "above 99 %"
    return "below 1 %" if p < 0.005 else f"{100.0 * p:.0f} %"
