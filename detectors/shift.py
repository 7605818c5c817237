"""What became of a series that left its level: since when, how much, and whether it is back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors import say
from detectors.baseline import least_change
from detectors.drift import CLIP, Drift
from detectors.model import FloatArray, SeriesSpec
from detectors.robust import median

_BACK = 10  # ticks that must be back
_LEFT = 0.3  # of the shift that may be left


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A series off its level. before, now: in its unit; onset_at: epoch seconds. because: one sentence."""

    series: str
    onset_at: float
    before: float
    now: float
    because: str


def shift_of(drift: Drift) -> Shift:
    """The shift a series has made as of its newest tick; its level is what it was before.

    The onset is where a step from the level to what came after explains the samples best.
    """
    spec, ticks = drift.fit.spec, drift.recent()
    first = _first(drift, ticks[:, 1:])
    onset_at = float(ticks[first, 0]) - spec.step_s
    before = _unit(drift, drift.level)
    now = _unit(drift, _level_of(drift, ticks[first:, 1:]))
    return Shift(
        series=spec.name, onset_at=onset_at, before=before, now=now, because=_sentence(spec, before, now)
    )


def is_back(drift: Drift, before: float, now: float, since_at: float) -> bool:
    """Whether the newest ticks are back from `now` to near `before`, both in the unit of the series.

    Back: at most 30 % of the way, or less than what matters, is left over the last 10 ticks with data, all
    after `since_at`: those before the shift would pass for its recovery.
    """
    ticks = drift.recent(_BACK)
    if len(ticks) < _BACK or ticks[0, 0] <= since_at:
        return False
    spec = drift.fit.spec
    newest = _unit(drift, _level_of(drift, ticks[:, 1:]))
    sign = 1.0 if spec.bad == "up" else -1.0
    limit = max(_LEFT * sign * (now - before), least_change(spec, before))
    # What matters may be most of a shift that mattered: half of the way back is the least asked for.
    return sign * (newest - before) <= min(limit, 0.5 * sign * (now - before))


def _first(drift: Drift, ticks: FloatArray) -> int:
    """Index of the first tick of the likeliest step up; ticks: shape (n, 2), oldest first.

    Twice the log likelihood ratio of all ticks from there on, of normal values and of Poisson counts.
    """
    if drift.fit.is_paired:
        k, mean = (np.cumsum(c[::-1])[::-1] for c in (ticks[:, 0], ticks[:, 1] * drift.level))
        log = k * np.log(np.maximum(k, 1e-300) / mean)
        return int(np.argmax(np.where(k > mean, log - (k - mean), 0.0)))
    reach = CLIP * drift.fit.spread
    r = np.clip(ticks[:, 0] - drift.level, -reach, reach)
    total, n = np.cumsum(r[::-1])[::-1], np.arange(len(r), 0, -1)
    return int(np.argmax(np.where(total > 0.0, total * total / n, 0.0)))


def _level_of(drift: Drift, ticks: FloatArray) -> float:
    """On the scale of `Drift.level`: the median, or the share of bad events; ticks: shape (n, 2)."""
    if drift.fit.is_paired:
        return float(ticks[:, 0].sum()) / max(float(ticks[:, 1].sum()), 1e-300)
    return median(ticks[:, 0])


def _unit(drift: Drift, level: float) -> float:
    if drift.fit.is_paired:
        return level if drift.fit.spec.bad == "up" else 1.0 - level
    return drift.fit.score.unit(level)


def _sentence(spec: SeriesSpec, before: float, now: float) -> str:
    verb = "rose" if now > before else "fell"
    return f"{say.title(spec.name)} {verb} from {say.value(before, spec.unit)} to {say.value(now, spec.unit)}"
