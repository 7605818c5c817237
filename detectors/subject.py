"""One series of one watch: its frozen past, its placebo deploys, and what it did since the deploy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.baseline import fit_baseline, history_residuals
from detectors.bernoulli import ProbeScan, log_bets
from detectors.controls import choose_beta, mean_of, take_off
from detectors.door import ends_of
from detectors.effect import expected_band
from detectors.evidence import NEVER, Scan
from detectors.innovations import Noise, fit_noise
from detectors.model import Calibration, FloatArray, SeriesSpec
from detectors.onset import onset_evidence
from detectors.plan import Plan
from detectors.scores import clean_pairs
from detectors.tape import Tape

_PRIME = 8  # ticks before a deploy that fill the lags of the filter
_SEEN_MIN = 0.5  # of the judged ticks of a placebo window

AnyScan = Scan | ProbeScan


class Subject:
    """What is known of one series; `advance` is called once per tick, in order.

    raw: the samples since the deploy, a row per tick; r, w: their residuals (controls taken off) and weights.
    statistics: the statistic after each tick. factor: shape (2,), what brings the two components of the
    evidence to one scale; threshold: what the larger must exceed.
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
        self.factor = np.array([1.0, 0.0])
        self.threshold = 0.0
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
        self._scan: AnyScan = self._start(self.noise, 1, self.level)
        self._plain: AnyScan = self._scan
        self._past: tuple[FloatArray, FloatArray, FloatArray] = (np.zeros(0), np.zeros(0), np.zeros(0))
        if not self.error:
            self._prime()

    @property
    def is_probe(self) -> bool:
        """Judged by bets on its failures instead of residuals."""
        return self.spec.kind == "probe"

    @property
    def error(self) -> str:
        """Why this series cannot be judged at all; "" when it can. A probe always can."""
        return "" if self.is_probe else self.base.error

    @property
    def judged(self) -> int:
        """Ticks after the warm-up so far."""
        return max(len(self.raw) - self.plan.gap, 0)

    def _fit_controls(self) -> None:
        target = history_residuals(self.base)
        control = mean_of([history_residuals(c) for c in self.controls])
        floor = 1e-3
        self.control_noise = fit_noise(control, floor)
        self.beta = choose_beta(target, control)
        if self.beta > 0.0:
            self.noise = fit_noise(take_off(target, control, self.beta), floor)

    def _start(self, noise: Noise, rows: int, level: FloatArray) -> AnyScan:
        return ProbeScan(level) if self.is_probe else Scan(noise, rows)

    def _mixed(
        self,
        raw: FloatArray,
        season: FloatArray,
        level: FloatArray,
        controls: Sequence[tuple[FloatArray, ...]],
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """(r with controls taken off, plain r, w, mean control r) for samples of any leading shape."""
        plain, w = self.base.residuals(level, raw, season)
        if not controls:
            return plain, plain, w, np.full_like(plain, np.nan)
        control = mean_of(
            [
                c.residuals(lev, samples, part)[0]
                for c, (samples, part, lev) in zip(self.controls, controls, strict=True)
            ]
        )
        return take_off(plain, control, self.beta), plain, w, control

    def _prime(self) -> None:
        """Pass the last ticks of the history, and keep those in which an onset may lie."""
        back = min(self.plan.lookback, len(self._end_at))
        past = slice(len(self._end_at) - back, len(self._end_at))
        if self.is_probe:
            return
        level = np.repeat(self.level, back)
        r, plain, w, control = self._mixed(
            self.base.raw[past],
            self.base.season[past],
            level,
            [
                (c.raw[past], c.season[past], np.repeat(lev, back))
                for c, lev in zip(self.controls, self.control_levels, strict=True)
            ],
        )
        self._past = (r, w, control)
        for scan, x in self._scans(r, plain):
            scan.prime(x[None, -_PRIME:], w[None, -_PRIME:], self.behind)

    def _scans(self, r: FloatArray, plain: FloatArray) -> list[tuple[Scan, FloatArray]]:
        if isinstance(self._scan, ProbeScan):
            return []
        if self.beta > 0.0 and self._plain is self._scan:
            self._plain = Scan(self.base.noise, 1)
        both = [(self._scan, r)]
        if isinstance(self._plain, Scan) and self._plain is not self._scan:
            both.append((self._plain, plain))
        return both

    def placebo(self, starts: FloatArray) -> FloatArray:
        """Largest value of both components over each placebo watch, shape (2, J); -inf where not usable."""
        at = starts.astype(np.intp)
        rows = len(at)
        level, behind = self.base.levels(starts)
        window = at[:, None] + np.arange(-_PRIME, self.plan.span)
        if self.is_probe:
            failed, run = clean_pairs(self.base.raw[window])
            return self._probe_placebo(level, failed, run)
        controls = [
            (c.raw[window], c.season[window], c.levels(starts)[0][:, None])
            for c in self.controls
            if self.beta
        ]
        r, _, w, _ = self._mixed(self.base.raw[window], self.base.season[window], level[:, None], controls)
        scan = Scan(self.noise, rows)
        scan.prime(r[:, :_PRIME], w[:, :_PRIME], behind)
        scan.skip(rows, self.plan.gap)
        most = np.full((2, rows), NEVER)
        first = _PRIME + self.plan.gap
        for i in range(first, _PRIME + self.plan.span):
            scan.step(r[:, i], w[:, i])
            most = np.maximum(most, scan.components())
        usable = (behind >= 0.3 * min(self.base.reach, self.plan.level)) & (
            np.isfinite(r[:, first:]).mean(axis=1) >= _SEEN_MIN
        )
        return np.where(usable, most, NEVER)

    def _probe_placebo(self, level: FloatArray, failed: FloatArray, run: FloatArray) -> FloatArray:
        scan = ProbeScan(level)
        most = np.full((2, len(level)), NEVER)
        for i in range(_PRIME + self.plan.gap, _PRIME + self.plan.span):
            scan.step(failed[:, i], run[:, i])
            most = np.maximum(most, scan.components())
        return most

    def season_at(self, end_at: float) -> float:
        """What the profile adds to the level at the step ending there."""
        return float(self.base.profile.at(np.array([end_at]))[0]) if self.base.profile else 0.0

    def advance(self, raw: FloatArray, controls: Sequence[FloatArray]) -> None:
        """Take the samples of the next tick: shape (width,), NaN = missing; and one per control, in order."""
        i = len(self.raw)
        at = self.plan.tick_end(i)
        self.raw.append(raw)
        kept = [controls[p] for p in self.places]
        for tape, row in zip(self.control_raw, kept, strict=True):
            tape.append(row)
        season = self.season_at(at)
        trials = clean_pairs(raw)[1] if self.base.is_paired else np.array(1.0)
        seen = float(trials) if trials > 0.0 else self.base.traffic
        self.band.append(expected_band(self.base, float(self.level[0]), season, seen))
        is_judged = self.plan.gap <= i < self.plan.span
        if isinstance(self._scan, ProbeScan):
            failed, run = clean_pairs(raw[None, :])
            self.r.append(float(failed[0] / run[0]) if run[0] > 0.0 else np.nan)
            self.w.append(float(run[0]))
            self.control_r.append(np.nan)
            if is_judged:
                self._scan.step(failed, run)
        else:
            parts = [
                (
                    x[None, :],
                    np.array([float(c.profile.at(np.array([at]))[0]) if c.profile else 0.0]),
                    lev,
                )
                for c, x, lev in zip(self.controls, kept, self.control_levels, strict=True)
            ]
            r, plain, w, control = self._mixed(raw[None, :], np.array([season]), self.level, parts)
            self.r.append(float(r[0]))
            self.w.append(float(w[0]))
            self.control_r.append(float(control[0]))
            if i < self.plan.span:
                for scan, x in self._scans(r, plain) if not self.error else []:
                    if is_judged:
                        scan.step(x, w)
                    else:
                        scan.skip(1, 1)
        if is_judged and not self.error:
            self.statistics.append(float(np.max(self._scan.components()[:, 0] * self.factor)))
        else:
            self.statistics.append(self.statistics[-1] if self.statistics else 0.0)
        is_over = is_judged and self.statistics[-1] > self.threshold and not self.error
        self.crossings = self.crossings + 1 if is_over else (self.crossings if i >= self.plan.span else 0)
        self.has_crossed = self.has_crossed or is_over

    @property
    def is_crossed(self) -> bool:
        """The statistic exceeds its threshold at this tick."""
        return self.crossings > 0

    def plain_crosses(self) -> bool:
        """Without taking controls off, the evidence would exceed the model's bound."""
        if self._plain is self._scan:
            return self.is_crossed
        return bool(self._plain.components()[0, 0] > self.bound)

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
