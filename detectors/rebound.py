"""Did the series only come back? After a fall shortly before the deploy, what was usual looks like a rise.

A deploy that answers an incident meets such a series: while everything fails fast the latency halves, and the
fix brings it back. Where the stretch just before the deploy had fallen below the hours before it, by more
than it strays, a look must therefore stand against those hours too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors.baseline import Baseline
from detectors.contrast import KINDS, Before, Kind, Samples, after, before, log_ratio, value_contrasts
from detectors.model import FloatArray, IntArray
from detectors.origins import Origins
from detectors.other_days import foretold
from detectors.past import Column
from detectors.robust import medians_of_seen
from detectors.ruler import Mark, make_mark
from detectors.tracks import Crossing

_REACH_S = 6 * 3600.0
_STRETCHES = 12  # evenly over the reach
_STRETCHES_MIN = 3  # of a long look: the reach is longer then
_FALL = 2.0  # times its usual size


class Rebound:
    """Asks the hours before the deploy, once a look at a series has crossed its limit; most never do."""

    def __init__(self, base: Baseline, origins: Origins, alpha: float, floor: float, step_s: float) -> None:
        """origins: of its history. alpha: what the looks may spend. floor: as `Past.floor`."""
        self._base, self._origins, self._alpha = base, origins, alpha
        self._floor, self._step_s = floor, step_s
        self._hours: dict[Column, Hours | None] = {}

    def explains(self, crossings: Sequence[Crossing], joint: float) -> bool:
        """Whether all that crossed is no more than a return from a fall before the deploy.

        joint: what all limits are multiplied by (`ruler.joint_limit`).
        """
        return bool(crossings) and all(
            (hours := self._before(crossing.column)) is not None and hours.explain(crossing, joint)
            for crossing in crossings
        )

    def _before(self, column: Column) -> Hours | None:
        if column not in self._hours:
            samples = Samples.of(self._base.score.of(self._base.raw[:, 0]))
            self._hours[column] = hours_before(
                samples, column, self._origins, self._alpha, self._floor, self._step_s
            )
        return self._hours[column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """What one contrast looked like in the hours before the stretch that it is compared with.

    fall: by how much that stretch lay below them, in times of its usual size; with what the time of day makes
    of it taken off or not, whichever is more. usual: what they were like, on the scale of `Past.reference`.
    mark: of the contrast against them. floor: as `Past.floor`.
    """

    fall: float
    usual: float
    mark: Mark
    kind: Kind
    floor: float

    def explain(self, crossing: Crossing, joint: float) -> bool:
        """Whether what was found is no more than a return: against these hours it is not beyond chance, or
        too small to matter."""
        if self.fall <= _FALL:
            return False
        rise = crossing.found - self.usual
        contrast = rise
        if self.kind == "spread":
            contrast = float(log_ratio(np.array(crossing.found), np.array(self.usual), self.floor))
        needed = self.mark.expected + self.mark.scale * self.mark.limit * joint
        return contrast < needed or rise < crossing.least


def hours_before(
    samples: Samples, column: Column, origins: Origins, alpha: float, floor: float, step_s: float
) -> Hours | None:
    """What the hours before the deploy say of one column; None where there are not enough of them.

    samples: the history on the worse-is-up scale. alpha: what the looks may spend. floor: as `Past.floor`.
    """
    look, n, kind = column.look, len(samples.y), KINDS.index(column.kind)
    reach = min(max(round(_REACH_S / step_s), _STRETCHES_MIN * look.length), n // 2)
    count = min(reach // look.length, _STRETCHES)
    if count < _STRETCHES_MIN:
        return None
    near = before(samples, origins.at, look.length)
    usual = _median_before(samples, origins.at, near, count, reach)
    fallen = value_contrasts([usual.level, usual.tail, usual.spread], near, floor)[kind]
    risen = value_contrasts(after(samples, origins.at, look), usual, floor)[kind]
    least_scale = column.least_scale(floor)
    rise = make_mark(risen, foretold(risen, origins), look, origins, least_scale, alpha, n)
    # What falls every day at this time is a fall, too; and so is what other days hold a steeper one of.
    falls = [
        make_mark(fallen, told, look, origins, least_scale, alpha, n)
        for told in (foretold(fallen, origins), np.zeros_like(fallen))
    ]
    depths = [float(fallen[0] - mark.expected) / mark.scale for mark in falls if mark is not None]
    if rise is None or not depths or not np.isfinite(depths).all():
        return None
    return Hours(
        fall=max(depths),
        usual=float(getattr(usual, column.kind)[0]),
        mark=rise,
        kind=column.kind,
        floor=floor,
    )


def _median_before(samples: Samples, origins: IntArray, near: Before, count: int, reach: int) -> Before:
    """The median of `count` stretches as long as `near` in the `reach` ticks before it."""
    ends = np.linspace(near.length, reach, count).round().astype(np.intp)
    made = [before(samples, origins - end, near.length) for end in ends.tolist()]
    level, tail, spread = (_median([getattr(one, kind) for one in made]) for kind in KINDS)
    return replace(near, level=level, tail=tail, spread=spread)


def _median(stretches: list[FloatArray]) -> FloatArray:
    """Median of each place, shape (J,), NaN where half of the stretches or more were not seen."""
    found, seen = medians_of_seen(np.stack(stretches))
    return np.where(seen > len(stretches) // 2, found, np.nan)
