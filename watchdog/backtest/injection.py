"""Effects put into a watch in which nothing happened: what each size does to the rows of each kind of series.

Pure; chance comes from the generator handed in. Events are added or taken away one by one, so that a share
keeps the noise of its counts; levels are shifted. Missing rows stay missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.model import FloatArray, SeriesSpec

_SHARES = (0.005, 0.01, 0.02, 0.05)
_PROBES = (0.1, 0.25, 0.5, 1.0)
_RISES = (0.1, 0.25, 0.5, 1.0)
_FALLS = (0.1, 0.25, 0.5, 0.9)
# Of the requests, each of which then takes twice as long: two bins of a factor sqrt(2).
_SLOWED = (0.02, 0.1, 0.3, 1.0)
_SLOWED_BINS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A lasting step. size > 0: a share of all events for `ratio` and `probe`, of the requests that become
    twice as slow for `histogram`, else of the level before.

    label: as people say it, with its direction: `+1 pt`, `-25 %`.
    """

    size: float
    label: str


def effects_of(spec: SeriesSpec) -> tuple[Effect, ...]:
    """The sizes tried on a series of that kind, smallest first; as many for every kind."""
    sign = "+" if spec.bad == "up" else "-"
    if spec.kind == "histogram":
        return tuple(Effect(size=size, label=f"{100 * size:g} % x2") for size in _SLOWED)
    if spec.width == 2:
        sizes = _SHARES if spec.kind == "ratio" else _PROBES
        return tuple(Effect(size=size, label=f"{sign}{100 * size:g} pt") for size in sizes)
    sizes = _RISES if spec.bad == "up" else _FALLS
    return tuple(Effect(size=size, label=f"{sign}{100 * size:g} %") for size in sizes)


def level_of(spec: SeriesSpec, before: FloatArray) -> float | None:
    """The level that relative sizes refer to: the median, in the unit of the series.

    before: shape (n, width), the rows before the deploy. None where there is no level to refer to: no rows,
    or zero. 1 for shares, whose sizes are absolute.
    """
    if spec.width > 1:
        return 1.0
    seen = before[np.isfinite(before).all(axis=1), 0]
    level = float(np.median(seen)) if len(seen) else 0.0
    return abs(level) or None


def inject(
    spec: SeriesSpec, rows: FloatArray, effect: Effect, level: float, rng: np.random.Generator
) -> FloatArray:
    """The rows with the effect in all of them, in the bad direction; shape (n, width), a new array.

    A ratio gets added (or loses) numerator events, a probe failures, a histogram's requests become slower one
    by one, a count or rate loses events one by one or gets Poisson ones; latency and gauge are shifted by
    size * level.
    """
    changed = rows.copy()
    seen = np.isfinite(rows).all(axis=1)
    now = rows[seen]
    is_rise = spec.bad == "up"
    if spec.kind == "histogram":
        moved = rng.binomial(_whole(now), effect.size)
        slower = now - moved
        for place in range(spec.width):
            slower[:, min(place + _SLOWED_BINS, spec.width - 1)] += moved[:, place]
        changed[seen] = slower
        return changed
    if spec.width == 2:
        events, of = now[:, 0], now[:, 1]
        free = _whole(of - events) if is_rise else _whole(events)
        asked = rng.binomial(_whole(of), min(effect.size, 1.0)) if not is_rise else 0
        moved = rng.binomial(free, min(effect.size, 1.0)) if is_rise else np.minimum(free, asked)
        changed[seen, 0] = events + moved if is_rise else events - moved
        return changed
    value = now[:, 0]
    if spec.kind not in ("count", "rate"):
        shift = effect.size * level
        changed[seen, 0] = value + shift if is_rise else value - shift
    elif is_rise:
        changed[seen, 0] = value + rng.poisson(effect.size * np.maximum(value, 0.0))
    else:
        whole = _whole(value)
        # What is less than one event is thinned as a whole; sources count whole ones.
        rest = (value - whole) * (1.0 - effect.size)
        changed[seen, 0] = rng.binomial(whole, 1.0 - effect.size) + np.where(value > 0.0, rest, value)
    return changed


def _whole(events: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.floor(np.maximum(events, 0.0) + 1e-9).astype(np.int64)
