"""The words of judging: a series, what a detector says of it, and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

SeriesKind = Literal["ratio", "rate", "latency", "histogram", "gauge", "count", "probe"]
Bad = Literal["up", "down"]

# Bins of a distribution; their bounds are `detectors.histogram.bounds`.
HISTOGRAM_BINS = 34
# Two columns where a quotient would lose how much was seen: (numerator, denominator) and (failed, run); as
# many as there are bins where one quantile would lose what the others did.
WIDTHS: Mapping[SeriesKind, int] = {
    "ratio": 2,
    "rate": 1,
    "latency": 1,
    "histogram": HISTOGRAM_BINS,
    "gauge": 1,
    "count": 1,
    "probe": 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSpec:
    """One named stream of one service, on a fixed grid.

    unit: of the judged value ("ratio", "s", "per_step", or the user's); of a histogram what its bounds are
    in. bad: the direction that is worse. ignore_below_rel, ignore_below_abs: a change must exceed both,
    relative to the level before and in `effect_unit`, to be worth a rollback (0 = no such limit). acts: False
    for a series that informs but never acts. quantile: of a histogram, what is shown of it.
    """

    name: str
    kind: SeriesKind
    unit: str
    bad: Bad
    step_s: float
    ignore_below_rel: float = 0.05
    ignore_below_abs: float = 0.0
    acts: bool = True
    quantile: float = 0.95

    @property
    def width(self) -> int:
        """Columns of a sample: 2 for `ratio` (numerator, denominator) and `probe` (failed, run), the bins of
        a `histogram`, else 1."""
        return WIDTHS[self.kind]

    @property
    def effect_unit(self) -> str:
        """Unit of what is said to have changed: of a histogram the share beyond a bound, else `unit`."""
        return "ratio" if self.kind == "histogram" else self.unit


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployInterval:
    """When a deploy happened: epoch seconds UTC; finished_at >= started_at."""

    id: str
    started_at: float
    finished_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Samples of one series up to the deploy.

    values: shape (n, spec.width), float64, oldest first, NaN = missing; row i covers the step that
    ends at end_at - (n - 1 - i) * step_s. end_at: the last step that ended at or before started_at.
    """

    spec: SeriesSpec
    values: FloatArray
    end_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """What the judge is told; every constant in steps is derived from these and the series' step.

    false_rollbacks: allowed probability that a healthy deploy is called regressed, over all series and
    looks of one watch. watch_s: judged time after the deploy finished. warm_up_s: time after finished in
    which a restart blip is expected. onset_probability_min: least P(onset in or after the deploy).
    share_min: least share of this deploy among overlapping ones. coverage_min: least share of expected
    samples (and of expected series) for a verdict. zone_s: by how much the clocks of the service are before
    UTC, which says when its weekend is.
    """

    false_rollbacks: float = 1 / 200
    watch_s: float = 2700.0
    warm_up_s: float = 180.0
    onset_probability_min: float = 0.1
    share_min: float = 0.8
    coverage_min: float = 0.8
    zone_s: float = 0.0


Calibration = Literal["own", "model"]
SeriesState = Literal["worse", "suspect", "steady", "blind", "not_sure"]
VerdictState = Literal["undecided", "suspect", "regressed", "healthy", "inconclusive", "blind"]
Reason = Literal[
    "",
    "watching",
    "warming",
    "evidence",  # regressed
    "steady",  # healthy
    "transient",  # healthy: it went away by itself
    "shared",  # inconclusive: controls moved too
    "overlap",  # inconclusive: another deploy may be to blame
    "pre_existing",  # inconclusive: the onset lies before the deploy
    "rebound",  # inconclusive: it only came back from a fall before the deploy
    "too_small",  # healthy: real, but below ignore_below
    "not_confirmed",  # inconclusive: evidence crossed, not all conditions met by the end
    "too_late",  # inconclusive: worse at the end of the watch, when no look was left for it
    "coverage",  # inconclusive: data for some series only
    "no_data",  # blind
    "no_history",  # blind: nothing to compare with
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one series at one tick.

    statistic, threshold: the change in multiples of what chance is allowed, and what it must exceed (1).
    before, now, effect and its 95 % interval are in the series' unit; effect > 0 is worse whatever the bad
    direction. onset_at with [onset_low_at, onset_high_at]: 90 % credible, epoch seconds; None while nothing
    changed. onset_probability: P(onset in or after this deploy). shares: deploy id, "before" and "none" to a
    probability; they sum to 1. smallest_visible: the effect a watch of this length finds in 80 % of cases,
    None when unknown. coverage: share of the ticks so far with data. expected_low, expected_high: the band in
    which single samples lie in 95 % of the cases, in the unit of the series. bound: of a histogram, above
    which shares of requests are told: before, now, effect and all that goes by them are such shares.
    """

    series: str
    state: SeriesState
    because: str
    statistic: float
    threshold: float
    calibration: Calibration
    coverage: float
    before: float | None = None
    now: float | None = None
    effect: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    onset_at: float | None = None
    onset_low_at: float | None = None
    onset_high_at: float | None = None
    onset_probability: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    smallest_visible: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None
    bound: float | None = None
    is_practical: bool = False
    is_present: bool = False
    is_shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All of a watch put together at one tick.

    because: one sentence with numbers and units that names series, effect, onset and blame.
    evidence: every series, worst first. at: epoch seconds of the tick judged last.
    blamed_deploy: the deploy with the largest share once evidence crossed its threshold, else None.
    smallest_visible is in each Evidence: a `healthy` without it would promise too much.
    """

    state: VerdictState
    reason: Reason
    because: str
    at: float
    evidence: tuple[Evidence, ...] = ()
    statistic: float = 0.0
    threshold: float = 0.0
    calibration: Calibration = "model"
    coverage: float = 0.0
    blamed_deploy: str | None = None
