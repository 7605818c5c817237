"""One series of one watch: its frozen past, and what it did since the deploy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from detectors.baseline import Baseline, fit_baseline, history_residuals, least_change
from detectors.bernoulli import log_bets
from detectors.controls import company_of, mean_of
from detectors.door import ends_of
from detectors.effect import Effect, expected_band, measure
from detectors.innovations import Noise, fit_noise
from detectors.model import Calibration, FloatArray, SeriesSpec
from detectors.onset import onset_evidence
from detectors.origins import Origins
from detectors.panel import LIMIT, Beside, Measured, Panel
from detectors.parts import Part
from detectors.past import Past, history_min, past_of_counts, past_of_values
from detectors.plan import Plan
from detectors.rebound import Rebound
from detectors.scores import clean_pairs
from detectors.tape import Tape

_DAY_S = 86400.0
_NOISE_MIN = 1e-3  # s.d. of an innovation of the controls' mean, in s.d.


class Subject:
    """What is known of one series; `advance` is called once per tick, in order, after that of its panel.

    raw, control_raw: the samples since the deploy, a row per tick. statistics: after each tick, how many
    times the change exceeds what chance is allowed. bound: log evidence that a probe needs. past, beside:
    what the past says of the series as it is, and with its controls taken off, until it joins a panel. joint,
    beside_joint: what their limits are multiplied by. origins, alpha, floor: what the looks were measured
    with (`past`). is_fit: whether its calibration holds (`fitness`). unmeasured: why its past is not enough
    for a look, or "". smallest_visible: size on the scale of the scores that a look finds in 80 % of the
    cases, None without a look. part: which part of which series it is.
    """

    def __init__(
        self,
        spec: SeriesSpec,
        history: FloatArray,
        plan: Plan,
        controls: Sequence[tuple[SeriesSpec, FloatArray]] = (),
        part: Part | None = None,
    ) -> None:
        n = len(history)
        self.spec, self.plan, self.part = spec, plan, part or Part(spec, spec)
        self._end_at = ends_of(n, plan.end_at, plan.step_s)
        self.base = fit_baseline(spec, history, self._end_at, plan)
        fitted = [fit_baseline(c, h, self._end_at, plan) for c, h in controls]
        self.controls = [c for c in fitted if not c.error and c.spec.kind != "probe"]
        self.places = [i for i, c in enumerate(fitted) if not c.error and c.spec.kind != "probe"]
        self.past: Past | None = None
        self.beside: Past | None = None
        self.joint = self.beside_joint = 1.0
        self.origins: Origins
        self.alpha = self.floor = 0.0
        self.bound = 0.0
        self.unmeasured = ""
        self.calibration: Calibration = "model"
        self.is_fit = True
        self.smallest_visible: float | None = None
        self.raw, self._seen = Tape(spec.width, plan.span), Tape(1, plan.span)
        self.control_raw = [Tape(c.spec.width, plan.span) for c in self.controls]
        self.statistics: list[float] = []
        self.has_shared = False
        here = np.array([n])
        self.level, self.behind = (a[:1] for a in self.base.levels(here))
        self.control_levels = [c.levels(here)[0][:1] for c in self.controls]
        self._panel: tuple[Panel, int] | None = None
        self._rebound: Rebound | None = None
        self._residuals: tuple[int, FloatArray, FloatArray] | None = None

    @property
    def is_probe(self) -> bool:
        """Judged by bets on its failures instead of looks."""
        return self.spec.kind == "probe"

    @property
    def error(self) -> str:
        """Why this series cannot be judged at all; "" when it can. A probe always can, and of shares at least
        a hard break can be told."""
        unmeasured = "" if self.base.is_paired else self.unmeasured
        return "" if self.is_probe else self.part.error or self.base.error or unmeasured

    @property
    def acts(self) -> bool:
        """Whether a regression of it may lead to an action: it was not declared to inform only, and its
        calibration holds on its own past."""
        return self.spec.acts and self.is_fit

    @property
    def is_accompanied(self) -> bool:
        """It has controls that its looks are compared with."""
        return bool(self.controls) and not self.base.is_paired and not self.error

    @property
    def judged(self) -> int:
        """Ticks after the warm-up so far."""
        return max(len(self.raw) - self.plan.gap, 0)

    def measure(self, origins: Origins, alpha: float) -> None:
        """Take the looks of the past. origins: of its history. alpha: what the looks may spend."""
        looks, history, step = self.plan.looks, self.base.raw, self.plan.step_s
        self.origins, self.alpha = origins, alpha
        if self.base.is_paired:
            k, n = self.events_of(history)
            self.past = past_of_counts(
                k, n, looks, step, origins, self.least_rise, alpha, has_season=self.has_season
            )
        else:
            y = self.base.score.of(history[:, 0])
            self.past = past_of_values(y, looks, step, origins, self.least_rise, alpha)
            self.floor = self.past.floor
            self._rebound = Rebound(self.base, origins, alpha, self.past.floor, step)
            if self.controls:
                day = max(round(_DAY_S / step), 1)
                others = [c.raw[:, 0] for c in self.controls]
                self._company = company_of(self.base.score, history[:, 0], others, day)
                left = y - self._company.history
                self.beside = past_of_values(left, looks, step, origins, self._least_beside, alpha)
        if self.past.has_own:
            self.calibration = "own"
        if not self.past.has_looks:
            self.past = self.beside = None
            self.unmeasured = (
                f"too little is known of the {len(history)} steps before the deploy; "
                f"the shortest look takes {history_min(looks[0].length)} without gaps and deploys"
            )

    def measured(self) -> Measured:
        """What a panel needs to follow it."""
        beside = None
        if self.beside is not None:
            beside = Beside(
                company=self._company,
                past=self.beside,
                joint=self.beside_joint,
                least=self.least_rise(float(self.level[0])),
            )
        return Measured(
            spec=self.spec,
            score=self.base.score,
            past=self.past,
            joint=self.joint,
            beside=beside,
            share=float(self.level[0]) if self.is_probe else None,
            bound=self.bound,
        )

    def join(self, panel: Panel, place: int) -> None:
        """From now on that panel follows it, in that place."""
        self._panel = panel, place
        self.smallest_visible = panel.smallest_visible(place)
        # Every placebo of every look is no small thing, and what they say is in the panel's limits now.
        self.past = self.beside = None

    @property
    def has_season(self) -> bool:
        """Whether it may have a season that lasts all day. Failures have less of one than requests do; slow
        requests have all of it."""
        return not self.base.is_paired or self.part.cut is not None

    def events_of(self, raw: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Bad events and trials of samples of shape (n, 2), each of shape (n,); 0 of 0 = missing."""
        k, n = clean_pairs(raw)
        return (n - k if self.spec.bad == "down" else k), n

    def _least_beside(self, level: float) -> float:
        """The same for what is left of a level once the controls are taken off."""
        return self.least_rise(float(self.level[0]))

    def least_rise(self, level: float) -> float:
        """The smallest rise that matters from that level: on the scale of the scores, or of the share of bad
        events."""
        if self.base.is_paired:
            return least_change(self.spec, level if self.spec.bad == "up" else 1.0 - level)
        score = self.base.score
        before = score.unit(level)
        worse = np.array([before + score.sign * least_change(self.spec, before)])
        return abs(float(score.of(worse)[0]) - level)

    def advance(self, raw: FloatArray, controls: Sequence[FloatArray]) -> None:
        """Keep the samples of the tick its panel has just taken: shape (width,), NaN = missing; and one per
        control, in order."""
        self.raw.append(raw)
        is_seen = clean_pairs(raw)[1] > 0.0 if self.base.is_paired else np.isfinite(raw[0])
        self._seen.append(float(is_seen))
        for tape, place in zip(self.control_raw, self.places, strict=True):
            tape.append(controls[place])
        panel, place = self._joined
        self.statistics.append(float(panel.statistic[place]))

    @property
    def _joined(self) -> tuple[Panel, int]:
        if self._panel is None:
            raise AssertionError("a subject joins a panel before it is followed")
        return self._panel

    @property
    def crossings(self) -> int:
        """Ticks in a row with the statistic beyond its limit."""
        panel, place = self._joined
        return int(panel.crossings[place])

    @property
    def has_looked(self) -> bool:
        """Enough was seen since the deploy for one of its looks; a probe is judged run by run."""
        panel, place = self._joined
        return self.is_probe or panel.has_looked(place)

    @property
    def is_crossed(self) -> bool:
        """The statistic exceeds its limit at this tick."""
        return self.crossings > 0

    @property
    def has_crossed(self) -> bool:
        """It did at some tick."""
        panel, place = self._joined
        return bool(panel.has_crossed[place])

    @property
    def is_shared(self) -> bool:
        """The change is beyond chance only as long as the controls are not taken off."""
        panel, place = self._joined
        return bool(panel.is_shared[place])

    @property
    def is_back(self) -> bool:
        """What is beyond chance at this tick is no more than a return from a fall before the deploy."""
        panel, place = self._joined
        return self._rebound is not None and self._rebound.explains(panel.crossings_of(place), self.joint)

    @property
    def is_foretold(self) -> bool:
        """Other days get worse at this time, too."""
        panel, place = self._joined
        return panel.is_foretold(place)

    @property
    def is_faint(self) -> bool:
        """Something changed, by less than what matters."""
        panel, place = self._joined
        return bool(panel.faint[place] > LIMIT >= panel.statistic[place])

    def band(self, tick: int) -> tuple[float, float]:
        """Where the sample of that tick was expected in 95 % of the cases, in the unit of the series."""
        trials = float(clean_pairs(self.raw.rows[tick])[1]) if self.base.is_paired else 1.0
        season = float(self.season_of(self.base, tick)[0])
        seen = trials if trials > 0.0 else self.base.traffic
        return expected_band(self.base, float(self.level[0]), season, seen)

    def season_of(self, base: Baseline, first: int) -> FloatArray:
        """What the profile of `base` adds to each tick from `first` on."""
        ticks = np.arange(first, len(self.raw), dtype=np.float64)
        if base.profile is None:
            return np.zeros(len(ticks))
        return base.profile.at(self.plan.end_at + (ticks + 1) * self.plan.step_s)

    def effect_since(self, first: int) -> Effect | None:
        """What changed since that tick; None when no tick since then holds data."""
        raw = self.raw.rows[first:]
        season = self.season_of(self.base, first)
        return measure(self.base, float(self.level[0]), float(self.behind[0]), raw, season)

    def residuals(self) -> tuple[FloatArray, FloatArray]:
        """(residuals, weights), each of one per tick. Of a probe: share of failures, runs."""
        if self._residuals is None or self._residuals[0] != len(self.raw):
            self._residuals = len(self.raw), *self._made_residuals()
        return self._residuals[1:]

    def _made_residuals(self) -> tuple[FloatArray, FloatArray]:
        raw = self.raw.rows
        if self.is_probe:
            failed, run = clean_pairs(raw)
            return np.where(run > 0.0, failed / np.maximum(run, 1.0), np.nan), run
        return self.base.residuals(np.repeat(self.level, len(raw)), raw, self.season_of(self.base, 0))

    def _with_lookback(self, base: Baseline, level: FloatArray, tape: Tape) -> tuple[FloatArray, FloatArray]:
        """(residuals, weights) of one series, from the last ticks of the history on: onsets may lie there."""
        n = len(self._end_at)
        past = slice(n - min(self.plan.lookback, n), n)
        raw = np.concatenate([base.raw[past], tape.rows])
        season = np.concatenate([base.season[past], self.season_of(base, 0)])
        return base.residuals(np.repeat(level, len(raw)), raw, season)

    def onset_series(self) -> tuple[FloatArray, FloatArray]:
        """(log evidence of an onset at each tick, end of the tick), lookback first, then all ticks so far."""
        ticks = self.plan.end_at + np.arange(1, len(self.raw) + 1) * self.plan.step_s
        if self.is_probe:
            back = min(self.plan.lookback, len(self._end_at))
            raw = np.concatenate([self.base.raw[len(self._end_at) - back :], self.raw.rows])
            failed, run = (np.cumsum(c[::-1])[::-1] for c in clean_pairs(raw))
            evidence = log_bets(failed, run, np.repeat(self.level, len(raw)))
        else:
            r, w = self._with_lookback(self.base, self.level, self.raw)
            back = len(r) - len(self.raw)
            evidence = onset_evidence(self.base.noise, r, w)
        return evidence, np.concatenate([self._end_at[len(self._end_at) - back :], ticks])

    def control_evidence(self) -> FloatArray:
        """Log evidence that the controls moved together, for each tick of `onset_series`."""
        r = mean_of(
            [
                self._with_lookback(control, level, tape)[0]
                for control, level, tape in zip(
                    self.controls, self.control_levels, self.control_raw, strict=True
                )
            ]
        )
        return onset_evidence(self._control_noise, r, np.ones(len(r), dtype=np.float64))

    @cached_property
    def _control_noise(self) -> Noise:
        return fit_noise(mean_of([history_residuals(c) for c in self.controls]), _NOISE_MIN)

    def seen_ticks(self) -> FloatArray:
        """Which ticks so far held data, shape (ticks,), bool as 0 or 1; a view."""
        return self._seen.column
