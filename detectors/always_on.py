"""Has a service become worse without a deploy? All series, tick by tick, at a stated rate of false alarms.

The limit is one for the service: the largest deviation over its series, in stretches of its own past, taken
by exactly the code that judges live. It alerts; it has no word for acting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.door import checked, ends_of
from detectors.drift import SPEEDS, Drift, Sample, fit_drift
from detectors.model import Calibration, FloatArray, History
from detectors.parts import Part, tail_of
from detectors.shift import Shift, is_back, shift_of
from detectors.tails import tail_quantile

_MONTH_S = 30 * 86400.0
_DAY_S = 86400.0
_REACH_SHARE = 0.25  # of the history asked for: what is left of it calibrates
_SEEN_MIN = 0.5  # of the history asked for, or of two days of it, that a series must have
_TICKS_MAX = 40_320  # four weeks of minutes: bounds what learning costs
_BLOCKS_OWN = 24  # stretches of the past from which a limit may be called the service's own
_BLOCK_SEEN = 0.5

Pause = tuple[float, float]
"""(from, to), epoch seconds: ticks in it are taken, not judged; what is off at its end is the new level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlwaysOnSettings:
    """false_alarms_per_month: allowed for a service in 30 days, over all its series. history_s: how much past
    is compared with when it is all there."""

    false_alarms_per_month: float = 1.0
    history_s: float = 7 * _DAY_S

    def reach(self, step_s: float) -> int:
        """Ticks behind the level of a series: a day, or a quarter of a history that is shorter than four."""
        return max(round(min(_DAY_S, _REACH_SHARE * self.history_s) / step_s), 20)

    def seen_min(self, step_s: float) -> int:
        """Ticks with data without which a series is not judged."""
        return max(math.ceil(_SEEN_MIN * min(self.history_s, 4 * _DAY_S) / step_s), 2 * self.reach(step_s))


class AlwaysOn:
    """The series of one service after their history. judged: names; learning: names with too little past.

    limit: multiples of the model's bound that a deviation must exceed (1 or more). calibration: `own` if that
    is from the service's past, `model` while the past is short. judged_to_at: the last tick taken.
    """

    def __init__(
        self, histories: Sequence[History], settings: AlwaysOnSettings, pauses: Sequence[Pause] = ()
    ) -> None:
        """histories: of one grid and one end, tens of milliseconds each for a week of minutes.

        Raises ValueError for shapes that do not fit, infinite values, and no history at all.
        """
        if not histories:
            raise ValueError("histories: pass one for each series of the service")
        self.pauses: tuple[Pause, ...] = tuple(pauses)
        self.step_s = histories[0].spec.step_s
        self.judged_to_at = histories[0].end_at - min(len(histories[0].values), _TICKS_MAX) * self.step_s
        self.limit = 1.0
        self._specs = {history.spec.name: history.spec for history in histories}
        self._off_since: dict[str, float] = {}
        self._far: dict[str, float] = {}
        self._drifts: dict[str, Drift] = {}
        # A distribution is followed by one share of its requests.
        self._parts: dict[str, Part] = {}
        past = self._learn(histories, settings)
        self.calibration: Calibration = "model"
        if past:
            self._calibrate(self._replay(past, histories[0].end_at), settings)
        self.judged_to_at = histories[0].end_at

    @property
    def judged(self) -> tuple[str, ...]:
        """The series that have enough past."""
        return tuple(self._drifts)

    @property
    def learning(self) -> tuple[str, ...]:
        """The series that have too little past."""
        return tuple(name for name in self._specs if name not in self._drifts)

    @property
    def memory_s(self) -> float:
        """How far back the slowest sum remembers."""
        return max((drift.fit.speeds[-1] for drift in self._drifts.values()), default=0) * self.step_s

    def tick(self, at: float, values: Mapping[str, FloatArray]) -> Mapping[str, float]:
        """Take one step of every series: shape (width,), NaN = missing. The series that are off, and since
        which tick; the same until they are no longer. A missing step leaves a series as it was."""
        end = np.array([at])
        samples = {}
        for name, drift in self._drifts.items():
            raw = checked(self._specs[name], values[name][None, :], "values")
            samples[name] = drift.fit.samples(self._parts[name].of(raw), drift.fit.season(end))[0]
        self._take(at, samples)
        return dict(self._off_since)

    def shift(self, name: str) -> Shift:
        """Since when that series is off, and by how much."""
        return shift_of(self._drifts[name])

    def seen_at(self, name: str) -> float:
        """End of the last tick at which that series had data, epoch seconds; -inf if it never had."""
        newest = self._drifts[name].recent(1) if name in self._drifts else np.empty((0, 3))
        return float(newest[0, 0]) if len(newest) else -math.inf

    def is_back(self, name: str, before: float, now: float, since_at: float) -> bool:
        """Whether that series is back from a shift told at `since_at`; False while it cannot be told."""
        return name in self._drifts and is_back(self._drifts[name], before, now, since_at)

    def _learn(
        self, histories: Sequence[History], settings: AlwaysOnSettings
    ) -> Mapping[str, Sequence[Sample]]:
        """Make the drift of every series with enough past; the samples of that past by name."""
        reach, least = settings.reach(self.step_s), settings.seen_min(self.step_s)
        past = {}
        for history in histories:
            raw = checked(history.spec, history.values, "history")[-_TICKS_MAX:]
            if int(np.isfinite(raw).all(axis=1).sum()) < min(least, _TICKS_MAX // 2):
                continue
            ends = ends_of(len(raw), history.end_at, self.step_s)
            alpha = _alpha(settings, self.step_s, len(histories))
            part = tail_of(history.spec, raw)
            if part.error:
                continue
            name = history.spec.name
            fit, past[name] = fit_drift(part.spec, part.of(raw), ends, reach, alpha)
            self._drifts[name], self._parts[name] = Drift(fit), part
        return past

    def _replay(self, past: Mapping[str, Sequence[Sample]], end_at: float) -> FloatArray:
        """The largest deviation at each tick of the past, shape (n,); NaN where nothing was judged."""
        n = max(len(samples) for samples in past.values())
        ends = ends_of(n, end_at, self.step_s).tolist()
        worst: FloatArray = np.array(
            [
                self._take(at, {name: samples[i] for name, samples in past.items()})
                for i, at in enumerate(ends)
            ]
        )
        return worst

    def _take(self, at: float, samples: Mapping[str, Sample]) -> float:
        """One tick of all series; the largest deviation, NaN where nothing was judged."""
        if any(self.judged_to_at <= to < at for _, to in self.pauses):
            self._end_pause()
        is_paused = any(since < at <= to for since, to in self.pauses)
        worst = math.nan
        for name, drift in self._drifts.items():
            far = drift.take(at, samples[name])
            if far is None:
                continue
            self._far[name] = far
            if is_paused or far <= self.limit:
                self._off_since.pop(name, None)
            elif name not in self._off_since and not self._is_known(drift):
                self._off_since[name] = at
            if not is_paused and drift.is_settled:
                worst = far if math.isnan(worst) else max(worst, far)
        self.judged_to_at = at
        return worst

    def _end_pause(self) -> None:
        """What is off now was judged by somebody else, or accepted: it is what is usual from here on."""
        for name, drift in self._drifts.items():
            if self._far.get(name, 0.0) > 1.0:
                drift.start_anew(shift_of(drift).onset_at)
        self._off_since.clear()

    def _is_known(self, drift: Drift) -> bool:
        """Whether what is off now began in a pause, and only shows after it; then that is usual from here on.

        A watch that confirms a hard break ends before these sums have seen enough of it.
        """
        onset_at = shift_of(drift).onset_at
        is_known = any(since - self.step_s <= onset_at <= to for since, to in self.pauses if to > since)
        if is_known:
            drift.start_anew(onset_at)
        return is_known

    def _calibrate(self, worst: FloatArray, settings: AlwaysOnSettings) -> None:
        """The limit that the past says is exceeded as often as allowed, never below the model's bound."""
        length = max(drift.fit.speeds[-1] for drift in self._drifts.values())
        blocks = _blocks(worst, length)
        if len(blocks) >= _BLOCKS_OWN:
            self.calibration = "own"
        share = settings.false_alarms_per_month * length * self.step_s / _MONTH_S
        found = tail_quantile(blocks, min(share, 0.5), float(len(blocks)))
        self.limit = max(1.0, found or 0.0)
        # What was off in the past by the model's bound need not be by the limit that was found.
        self._off_since = {n: at for n, at in self._off_since.items() if self._far[n] > self.limit}


def _alpha(settings: AlwaysOnSettings, step_s: float, series: int) -> float:
    """The share of ticks at which one speed of one series may be off by chance, so that all speeds, series
    and ticks of 30 days use up what is allowed: a union bound."""
    looks = _MONTH_S / step_s * series * len(SPEEDS)
    return min(settings.false_alarms_per_month / looks, 0.01)


def _blocks(worst: FloatArray, length: int) -> FloatArray:
    """Largest value of each stretch of `length` ticks of which half was judged.

    Neighbours that are all beyond the model's bound are one incident, so its largest stretch stands for it.
    """
    rows = worst[len(worst) % length :].reshape(-1, length)
    rows = rows[np.isfinite(rows).mean(axis=1) >= _BLOCK_SEEN]
    if not len(rows):
        return np.empty(0)
    most: FloatArray = np.nanmax(rows, axis=1)
    for i in range(1, len(most)):
        if most[i - 1] > 1.0 and most[i] > 1.0:
            most[i - 1 : i + 1] = 1.0, max(most[i - 1], most[i])
    return most
