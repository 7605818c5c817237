"""What became of a series that left its level: since when, how much, and whether it is back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors import say
from detectors.baseline import least_change
from detectors.drift import Drift, Sample
from detectors.model import SeriesSpec

_NEWEST = 5  # ticks that tell how far off it is now
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

    The onset is where the samples since are likelier to belong to the new level than to the old one: the
    largest sum, from there to now, of what lies beyond half of the way.
    """
    spec, ticks = drift.fit.spec, list(drift.recent)
    beyond = _beyond(drift, [sample for _, sample in ticks])
    since = np.cumsum(beyond[::-1])[::-1]
    first = int(np.argmax(since))
    onset_at = ticks[first][0] - spec.step_s
    before = _unit(drift, drift.level)
    now = _unit(drift, _level_of(drift, [sample for _, sample in ticks[first:]]))
    return Shift(
        series=spec.name, onset_at=onset_at, before=before, now=now, because=_sentence(spec, before, now)
    )


def is_back(drift: Drift, before: float, now: float) -> bool:
    """Whether the newest ticks are back from `now` to near `before`, both in the unit of the series.

    Back: at most 30 % of the way, or less than what matters, is left over the last 10 ticks with data.
    """
    if len(drift.recent) < _BACK:
        return False
    spec = drift.fit.spec
    newest = _unit(drift, _level_of(drift, [sample for _, sample in list(drift.recent)[-_BACK:]]))
    sign = 1.0 if spec.bad == "up" else -1.0
    limit = max(_LEFT * sign * (now - before), least_change(spec, before))
    # What matters may be most of a shift that mattered: half of the way back is the least asked for.
    return sign * (newest - before) <= min(limit, 0.5 * sign * (now - before))


def _beyond(drift: Drift, samples: list[Sample]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """By how much each tick lies beyond half of the way from the level to where the newest ticks are."""
    pairs = np.array(samples)
    far = _level_of(drift, samples[-_NEWEST:])
    half = 0.5 * (far + drift.level)
    if drift.fit.is_paired:
        result: np.ndarray[tuple[int], np.dtype[np.float64]] = pairs[:, 0] - half * pairs[:, 1]
        return result
    reach = max(far - drift.level, 1e-300)
    return np.clip(pairs[:, 0] - half, -reach, reach)


def _level_of(drift: Drift, samples: list[Sample]) -> float:
    """On the scale of `Drift.level`: the median, or the share of bad events."""
    if drift.fit.is_paired:
        return sum(k for k, _ in samples) / max(sum(n for _, n in samples), 1e-300)
    return float(np.median([y for y, _ in samples]))


def _unit(drift: Drift, level: float) -> float:
    if drift.fit.is_paired:
        return level if drift.fit.spec.bad == "up" else 1.0 - level
    return drift.fit.score.unit(level)


def _sentence(spec: SeriesSpec, before: float, now: float) -> str:
    verb = "rose" if now > before else "fell"
    return f"{say.title(spec.name)} {verb} from {say.value(before, spec.unit)} to {say.value(now, spec.unit)}"
