"""The statistics of many series under one plan, tick by tick: a watch's own, or those of a whole fleet.

This is all that has to be done for every series at every tick. Onset, effect and blame are worked out for
those that have something to say (`witness`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.bernoulli import ProbeTracks
from detectors.controls import Companions, Company
from detectors.model import FloatArray, IntArray, SeriesSpec
from detectors.past import Past, columns_of
from detectors.plan import Plan
from detectors.scores import Score, Scores, clean_pairs
from detectors.tracks import CountTracks, Crossing, Tracks, ValueTracks

LIMIT = 1.0  # what a statistic must exceed: it is counted in what chance is allowed
_UNLIKE = 0.3  # of a shock that hits all may hit one of them harder
_COMPANY = 0.5  # of the smallest change that matters


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A series with its controls. past: of what is left once they are taken off. least: the smallest rise
    that matters, on the scale of the scores."""

    company: Company
    past: Past
    joint: float
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One series ready to be followed. past: None for a probe, and for a series that cannot be judged.

    share, bound: of a probe, its conservative share of failures before and the log evidence it needs. joint:
    what the limits are multiplied by (`ruler.joint_limit`).
    """

    spec: SeriesSpec
    score: Score
    past: Past | None = None
    joint: float = 1.0
    beside: Beside | None = None
    share: float | None = None
    bound: float = 0.0


class Panel:
    """Follows S series. Every array has a place per series, in the order given; S may be a hundred thousand.

    statistic: how many times the change exceeds what chance is allowed. faint: the same with changes too
    small to matter. crossings: ticks in a row with the statistic beyond its limit. has_crossed: whether there
    ever was one. has_company: the controls rose too, over the length of a look, by half of what matters.
    is_shared: the change is beyond chance only as long as the controls are not taken off.
    """

    def __init__(self, series: Sequence[Measured], plan: Plan) -> None:
        self._plan, self._ticks = plan, 0
        self._is_down = np.array([m.spec.bad == "down" for m in series], dtype=np.bool_)
        self._probes = np.flatnonzero([m.share is not None for m in series])
        self._counts = np.flatnonzero([m.past is not None and m.score.form == "deviance" for m in series])
        self._values = np.flatnonzero([m.past is not None and m.score.form != "deviance" for m in series])
        self._beside = np.flatnonzero([m.beside is not None for m in series])
        self._among_values = np.searchsorted(self._values, self._beside)
        self._bound = np.array([max(series[i].bound, 1e-9) for i in self._probes.tolist()])
        self._probe_tracks = ProbeTracks(
            np.array([series[i].share for i in self._probes.tolist()], dtype=np.float64)
        )
        columns, counts, values = (
            columns_of(plan.looks),
            _pasts(series, self._counts),
            _pasts(series, self._values),
        )
        self._count_tracks = CountTracks(columns, counts, plan.span, _joints(series, self._counts))
        self._value_tracks = ValueTracks(columns, values, plan.span, _joints(series, self._values))
        self._scores = Scores([series[i].score for i in self._values.tolist()])
        besides = [m.beside for m in series if m.beside is not None]
        self._beside_tracks = ValueTracks(
            columns, [b.past for b in besides], plan.span, np.array([b.joint for b in besides])
        )
        lengths = [column.look.length for column in columns]
        self._lengths = list(dict.fromkeys(lengths))
        self._length_of = np.array([self._lengths.index(length) for length in lengths], dtype=np.intp)
        self._companions = Companions([b.company for b in besides], self._lengths, plan.span)
        self._least_company = _COMPANY * np.array([b.least for b in besides])
        count = len(series)
        self.statistic, self.faint = np.zeros(count), np.zeros(count)
        self.crossings = np.zeros(count, dtype=np.intp)
        self.has_crossed, self.has_company, self.is_shared = (
            np.zeros(count, dtype=np.bool_) for _ in range(3)
        )

    @property
    def widest(self) -> int:
        """Columns that `advance` expects of the controls."""
        return self._companions.widest

    @property
    def held_bytes(self) -> int:
        """Memory of all arrays held for the series: their windows, marks and findings."""
        parts = (
            self._count_tracks,
            self._value_tracks,
            self._beside_tracks,
            self._probe_tracks,
            self._companions,
        )
        held = [value for part in (self, self._scores, *parts) for value in vars(part).values()]
        return sum(value.nbytes for value in held if isinstance(value, np.ndarray))

    def advance(self, samples: FloatArray, controls: FloatArray) -> None:
        """Take the next tick. samples: shape (S, 2), one number or a pair, NaN = missing. controls: shape
        (S, `widest`), the values of the controls, NaN = missing or none."""
        i = self._ticks
        self._ticks += 1
        if i >= self._plan.span:
            return
        is_judged = i >= self._plan.gap
        self._follow(samples, controls, is_judged)
        if is_judged:
            self._sum_up()

    def _follow(self, samples: FloatArray, controls: FloatArray, is_judged: bool) -> None:
        if len(self._probes) and is_judged:
            self._probe_tracks.take(*clean_pairs(samples[self._probes]))
        if len(self._counts):
            k, n = clean_pairs(samples[self._counts])
            self._count_tracks.take(np.where(self._is_down[self._counts], n - k, k), n)
        if not len(self._values):
            return
        values = self._scores.of(samples[self._values, :1])[:, 0]
        self._value_tracks.take(values)
        if len(self._beside):
            moved = self._companions.take(controls[self._beside])
            rise = self._companions.rise()
            self.has_company[self._beside] = (rise > self._least_company[:, None]).any(axis=1)
            # A shock that hits all never hits all alike.
            slack = _UNLIKE * np.maximum(rise, 0.0)[:, self._length_of]
            self._beside_tracks.take(values[self._among_values] - moved, slack)

    def _sum_up(self) -> None:
        if len(self._probes):
            self.statistic[self._probes] = np.maximum(self._probe_tracks.evidence, 0.0) / self._bound
        for places, tracks in ((self._counts, self._count_tracks), (self._values, self._value_tracks)):
            self.statistic[places], self.faint[places] = tracks.statistic, tracks.faint
        if len(self._beside):
            plain, adjusted = self.statistic[self._beside], self._beside_tracks.statistic
            has_company = self.has_company[self._beside]
            self.is_shared[self._beside] = has_company & (plain > LIMIT) & (adjusted <= LIMIT)
            self.statistic[self._beside] = np.where(has_company, np.minimum(plain, adjusted), plain)
        is_over = self.statistic > LIMIT
        self.crossings = np.where(is_over, self.crossings + 1, 0)
        self.has_crossed |= is_over

    def smallest_visible(self, i: int) -> float | None:
        """`Tracks.smallest_visible` of series i; None for a probe, and for a series that cannot be judged."""
        found = self._tracks_of(i)
        return found[0].smallest_visible(found[1]) if found else None

    def has_looked(self, i: int) -> bool:
        """`Tracks.has_looked` of series i; False for a probe, and for a series that cannot be judged."""
        found = self._tracks_of(i)
        return found is not None and found[0].has_looked(found[1])

    def is_foretold(self, i: int) -> bool:
        """`Tracks.is_foretold` of series i; False for a probe, and for a series that cannot be judged."""
        found = self._tracks_of(i)
        return found is not None and found[0].is_foretold(found[1])

    def crossings_of(self, i: int) -> list[Crossing]:
        """`Tracks.crossings` of series i; none of a probe, and of a series that cannot be judged."""
        found = self._tracks_of(i)
        return found[0].crossings(found[1]) if found else []

    def _tracks_of(self, i: int) -> tuple[Tracks, int] | None:
        """The tracks that follow series i, and its place among them."""
        for places, tracks in ((self._counts, self._count_tracks), (self._values, self._value_tracks)):
            place = int(np.searchsorted(places, i))
            if place < len(places) and places[place] == i:
                return tracks, place
        return None


def _pasts(series: Sequence[Measured], places: IntArray) -> list[Past]:
    return [past for i in places.tolist() if (past := series[i].past) is not None]


def _joints(series: Sequence[Measured], places: IntArray) -> FloatArray:
    return np.array([series[i].joint for i in places.tolist()])
