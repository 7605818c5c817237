"""One series of one watch: its frozen past, its looks, and what it did since the deploy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.baseline import fit_baseline, history_residuals, least_change
from detectors.bernoulli import ProbeTrack, log_bets
from detectors.controls import Companions, choose_beta, mean_of, take_off
from detectors.door import ends_of
from detectors.effect import expected_band
from detectors.innovations import fit_noise
from detectors.looks import Look
from detectors.model import BoolArray, Calibration, FloatArray, SeriesSpec
from detectors.onset import onset_evidence
from detectors.plan import Plan
from detectors.scores import clean_pairs
from detectors.tape import Tape
from detectors.track import CountTrack, ValueTrack

_DAY_S = 86400.0
_UNLIKE = 0.3  # of a shock that hits all may hit one of them harder
_COMPANY = 0.5  # of the smallest change that matters
LIMIT = 1.0  # what a statistic must exceed: it is counted in what chance is allowed


class Subject:
    """What is known of one series; `advance` is called once per tick, in order.

    raw: the samples since the deploy, a row per tick; r, w: their residuals (controls taken off) and weights.
    statistics: after each tick, how many times the change exceeds what chance is allowed. bound: log evidence
    that a probe needs. plain, adjusted: the looks at the series as it is and with its controls taken off.
    """

    def __init__(
        self,
        spec: SeriesSpec,
        history: FloatArray,
        plan: Plan,
        controls: Sequence[tuple[SeriesSpec, FloatArray]] = (),
    ) -> None:
        n = len(history)
        self.spec, self.plan = spec, plan
        self._end_at = ends_of(n, plan.end_at, plan.step_s)
        self.base = fit_baseline(spec, history, self._end_at, plan)
        fitted = [fit_baseline(c, h, self._end_at, plan) for c, h in controls]
        self.controls = [c for c in fitted if not c.error and c.spec.kind != "probe"]
        self.places = [i for i, c in enumerate(fitted) if not c.error and c.spec.kind != "probe"]
        self.beta, self.noise, self.control_noise = 0.0, self.base.noise, self.base.noise
        if self.controls and not self.base.error and not self.is_probe:
            self._fit_controls()
        self.companions: Companions | None = None
        self.plain: ValueTrack | CountTrack | None = None
        self.adjusted: ValueTrack | None = None
        self._probe: ProbeTrack | None = None
        self.bound = 0.0
        self.calibration: Calibration = "model"
        self.raw = Tape(spec.width, plan.span)
        self.control_raw = [Tape(c.spec.width, plan.span) for c in self.controls]
        self.r, self.w, self.control_r = (Tape(1, plan.span) for _ in range(3))
        self.statistics: list[float] = []
        self.band: list[tuple[float, float]] = []
        self.crossings = 0
        self.has_crossed = False
        self.has_shared = False
        here = np.array([n])
        self.level, self.behind = (a[:1] for a in self.base.levels(here))
        self.control_levels = [c.levels(here)[0][:1] for c in self.controls]
        self._past: tuple[FloatArray, FloatArray, FloatArray] = (np.zeros(0), np.zeros(0), np.zeros(0))
        if self.is_probe:
            self._probe = ProbeTrack(float(self.level[0]))
        elif not self.error:
            self._remember()

    @property
    def is_probe(self) -> bool:
        """Judged by bets on its failures instead of looks."""
        return self.spec.kind == "probe"

    @property
    def error(self) -> str:
        """Why this series cannot be judged at all; "" when it can. A probe always can."""
        return "" if self.is_probe else self.base.error

    @property
    def judged(self) -> int:
        """Ticks after the warm-up so far."""
        return max(len(self.raw) - self.plan.gap, 0)

    def measure(self, free: BoolArray, alpha: float) -> None:
        """Take the looks of the past. free: which origins are placebos. alpha: what the looks may spend."""
        looks, history, step = self.plan.looks, self.base.raw, self.plan.step_s
        if self.base.is_paired:
            k, n = clean_pairs(history)
            if self.spec.bad == "down":
                k = n - k
            self.plain = CountTrack(k, n, looks, step, free, self._least_share, alpha)
        else:
            y = self.base.score.of(history[:, 0])
            self.plain = ValueTrack(y, looks, step, free, self._least_rise, alpha)
            if self.controls:
                day = max(round(_DAY_S / step), 1)
                others = [c.raw[:, 0] for c in self.controls]
                self.companions = Companions(self.base.score, history[:, 0], others, day)
                left = y - self.companions.history
                self.adjusted = ValueTrack(left, looks, step, free, self._least_beside, alpha)
        if any(mark.has_own for mark in self.plain.marks):
            self.calibration = "own"

    def _least_share(self, before: float) -> float:
        share = before if self.spec.bad == "up" else 1.0 - before
        return least_change(self.spec, share)

    def _least_beside(self, level: float) -> float:
        """The same for what is left of a level once the controls are taken off."""
        return self._least_rise(float(self.level[0]))

    def _least_rise(self, level: float) -> float:
        """The smallest rise on the scale of the scores that matters, from that level."""
        score = self.base.score
        before = score.unit(level)
        worse = np.array([before + score.sign * least_change(self.spec, before)])
        return abs(float(score.of(worse)[0]) - level)

    def _fit_controls(self) -> None:
        target = history_residuals(self.base)
        control = mean_of([history_residuals(c) for c in self.controls])
        floor = 1e-3
        self.control_noise = fit_noise(control, floor)
        self.beta = choose_beta(target, control)
        if self.beta > 0.0:
            self.noise = fit_noise(take_off(target, control, self.beta), floor)

    def _mixed(
        self,
        raw: FloatArray,
        season: FloatArray,
        level: FloatArray,
        controls: Sequence[tuple[FloatArray, ...]],
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(r with controls taken off, w, mean control r) for samples of any leading shape."""
        plain, w = self.base.residuals(level, raw, season)
        if not controls:
            return plain, w, np.full_like(plain, np.nan)
        control = mean_of(
            [
                c.residuals(lev, samples, part)[0]
                for c, (samples, part, lev) in zip(self.controls, controls, strict=True)
            ]
        )
        return take_off(plain, control, self.beta), w, control

    def _remember(self) -> None:
        """Keep the residuals of the last ticks of the history, in which an onset may lie."""
        back = min(self.plan.lookback, len(self._end_at))
        past = slice(len(self._end_at) - back, len(self._end_at))
        self._past = self._mixed(
            self.base.raw[past],
            self.base.season[past],
            np.repeat(self.level, back),
            [
                (c.raw[past], c.season[past], np.repeat(lev, back))
                for c, lev in zip(self.controls, self.control_levels, strict=True)
            ],
        )

    def season_at(self, end_at: float) -> float:
        """What the profile adds to the level at the step ending there."""
        return float(self.base.profile.at(np.array([end_at]))[0]) if self.base.profile else 0.0

    def advance(self, raw: FloatArray, controls: Sequence[FloatArray]) -> None:
        """Take the samples of the next tick: shape (width,), NaN = missing; and one per control, in order."""
        i = len(self.raw)
        self.raw.append(raw)
        kept = [controls[p] for p in self.places]
        for tape, row in zip(self.control_raw, kept, strict=True):
            tape.append(row)
        self._expect(raw, kept, self.plan.tick_end(i))
        is_judged = self.plan.gap <= i < self.plan.span
        if i < self.plan.span and not self.error:
            self._look(raw, kept, is_judged)
        if is_judged and not self.error:
            self.statistics.append(self._statistic())
        else:
            self.statistics.append(self.statistics[-1] if self.statistics else 0.0)
        is_over = is_judged and self.statistics[-1] > LIMIT and not self.error
        self.crossings = self.crossings + 1 if is_over else (self.crossings if i >= self.plan.span else 0)
        self.has_crossed = self.has_crossed or is_over

    def _expect(self, raw: FloatArray, kept: Sequence[FloatArray], at: float) -> None:
        """Note residuals and the band in which the tick was expected."""
        season = self.season_at(at)
        trials = clean_pairs(raw)[1] if self.base.is_paired else np.array(1.0)
        seen = float(trials) if trials > 0.0 else self.base.traffic
        self.band.append(expected_band(self.base, float(self.level[0]), season, seen))
        if self.is_probe:
            failed, run = clean_pairs(raw[None, :])
            self.r.append(float(failed[0] / run[0]) if run[0] > 0.0 else np.nan)
            self.w.append(float(run[0]))
            self.control_r.append(np.nan)
            return
        parts = [
            (x[None, :], np.array([float(c.profile.at(np.array([at]))[0]) if c.profile else 0.0]), lev)
            for c, x, lev in zip(self.controls, kept, self.control_levels, strict=True)
        ]
        r, w, control = self._mixed(raw[None, :], np.array([season]), self.level, parts)
        self.r.append(float(r[0]))
        self.w.append(float(w[0]))
        self.control_r.append(float(control[0]))

    def _look(self, raw: FloatArray, kept: Sequence[FloatArray], is_judged: bool) -> None:
        if self._probe is not None:
            failed, run = clean_pairs(raw[None, :])
            if is_judged:
                self._probe.take(float(failed[0]), float(run[0]))
        elif isinstance(self.plain, CountTrack):
            k, n = (float(x) for x in clean_pairs(raw))
            self.plain.take(n - k if self.spec.bad == "down" else k, n)
        elif self.plain is not None:
            y = float(self.base.score.of(raw[:1])[0])
            self.plain.take(y)
            if self.companions is not None and self.adjusted is not None:
                moved = self.companions.take([float(x[0]) for x in kept])
                self.adjusted.take(y - moved, self._slack)

    def _slack(self, look: Look) -> float:
        """A shock that hits all never hits all alike."""
        return _UNLIKE * max(self.companions.rise(look.length), 0.0) if self.companions else 0.0

    def _statistic(self) -> float:
        if self._probe is not None:
            return max(self._probe.evidence, 0.0) / max(self.bound, 1e-9)
        if self.plain is None:
            return 0.0
        if self.adjusted is not None and self.has_company:
            return min(self.plain.statistic, self.adjusted.statistic)
        return self.plain.statistic

    @property
    def has_company(self) -> bool:
        """The controls rose too, over the length of a look, by at least half of what matters in this
        series.
        """
        if self.companions is None:
            return False
        least = _COMPANY * self._least_rise(float(self.level[0]))
        return any(
            self.companions.rise(length) > least for length in {look.length for look in self.plan.looks}
        )

    @property
    def is_shared(self) -> bool:
        """The change is beyond chance only as long as the controls are not taken off."""
        return (
            self.adjusted is not None
            and self.plain is not None
            and self.has_company
            and self.plain.statistic > LIMIT >= self.adjusted.statistic
        )

    @property
    def is_faint(self) -> bool:
        """Something changed, by less than what matters."""
        return self.plain is not None and self.plain.faint > LIMIT >= self.statistics[-1]

    @property
    def is_crossed(self) -> bool:
        """The statistic exceeds its limit at this tick."""
        return self.crossings > 0

    def onset_series(self) -> tuple[FloatArray, FloatArray]:
        """(log evidence of an onset at each tick, end of the tick), lookback first, then all ticks so far."""
        ticks = self.plan.end_at + np.arange(1, len(self.raw) + 1) * self.plan.step_s
        if self.is_probe:
            back = min(self.plan.lookback, len(self._end_at))
            raw = np.concatenate([self.base.raw[len(self._end_at) - back :], self.raw.rows])
            failed, run = (np.cumsum(c[::-1])[::-1] for c in clean_pairs(raw))
            evidence = log_bets(failed, run, np.repeat(self.level, len(raw)))
        else:
            r, w, _ = self._past
            back = len(r)
            seen, weight = np.concatenate([r, self.r.column]), np.concatenate([w, self.w.column])
            evidence = onset_evidence(self.noise, seen, weight)
        return evidence, np.concatenate([self._end_at[len(self._end_at) - back :], ticks])

    def control_evidence(self) -> FloatArray:
        """Log evidence that the controls moved together, for each tick of `onset_series`."""
        r = np.concatenate([self._past[2], self.control_r.column])
        return onset_evidence(self.control_noise, r, np.ones(len(r), dtype=np.float64))

    def seen_ticks(self) -> FloatArray:
        """Which ticks so far held data, shape (ticks,), bool as 0 or 1."""
        seen: FloatArray = np.isfinite(self.r.column).astype(np.float64)
        return seen
