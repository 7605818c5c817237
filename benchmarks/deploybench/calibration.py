"""`python -m benchmarks.deploybench.calibration --data DIR`: does a budget hold on data it was not made from?

Every series that the benchmark did not alter is cut at 60 %: all of a case in which nothing was deployed, of
the others what lies before the deploy. Deploys that never happened are placed one watch apart in the rest,
up to thirty, each judged on the stretch before it that is as long as the 60 %. Counted is how many of them
exceed their limit, whatever their size: practical limits and the other conditions of a verdict are left out.

The cases overlap, so a stretch of a recording is counted once, however many cases hold it: the interval takes
its trials to be different ones. A stretch that begins an incident that experts marked is no healthy deploy
and is left out.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import stats

from detectors.calibrate import calibrate
from detectors.model import DeployInterval, FloatArray, JudgeSettings
from detectors.panel import LIMIT, Panel
from detectors.plan import plan_watch
from detectors.subject import Subject
from watchdog.judging.blackbox import Metric, metric_of, rows_of

BUDGETS = (0.05, 0.01, 0.005)
UNTOUCHED = (
    "n_aa_labelled",
    "n_aa_unlabelled",
    "n_aa_ramp",
    "n_aa_multi",
    "n_error_aa",
    "n_error_lowtraffic",
)
ALTERED_BEFORE = ("n_preexisting", "n_heavytail", "n_gaps", "n_counter_reset", "n_constant", "p_step_gaps")
JOINED = ("n_aa_short", "p_real_petshop", "p_real_sockshop")  # two recordings in one
INCIDENTS = ("p_real_labelled",)
_KEPT = 0.6
_TICKS_MIN = 250
_WATCH = {60: 45, 300: 36}
_WATCHES_MAX = 30
_RUN = 8  # samples in a row that two stretches have in common only if they are the same
_JUDGED_TOGETHER = 50
_AT = 1e9


@dataclass(frozen=True, slots=True)
class Placebo:
    """A deploy that never happened. rows: shape (n, 1 or 2), the calibrated stretch, then the watch."""

    step_s: float
    metric: Metric
    rows: FloatArray

    @property
    def family(self) -> str:
        """Its kind and step in seconds, as `latency_300`."""
        return f"{self.metric.specs[0].kind}_{self.step_s:.0f}"


def main() -> int:
    """Print exceedances by kind, step and budget, with exact 5 to 95 % binomial intervals."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deploybench.calibration", description=__doc__)
    parser.add_argument("only", nargs="*", help="kinds with their step in seconds, as latency_300; else all")
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--budget", type=float, action="append", help="allowed share; can be repeated")
    parser.add_argument("--thin", type=float, default=0.0, help="share of the samples to take away first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    over: Counter[tuple[str, float]] = Counter()
    tried: Counter[tuple[str, float]] = Counter()
    budgets = tuple(given.budget or BUDGETS)
    chosen = [p for p in placebos(given.data) if not given.only or p.family in given.only]
    with ProcessPoolExecutor(given.jobs) as pool:
        judged = pool.map(
            partial(exceeded, budgets=budgets, thin=given.thin), chosen, chunksize=_JUDGED_TOGETHER
        )
        for placebo, beyond in zip(chosen, judged, strict=True):
            for budget in budgets:
                for key in ((placebo.family, budget), ("all", budget)):
                    over[key] += budget in beyond
                    tried[key] += 1
    for (family, budget), of in sorted(tried.items()):
        low, high = interval(over[family, budget], of)
        span = f"{over[family, budget] / of:.4f} [{low:.4f}, {high:.4f}]"
        print(f"{family:<12} allowed {budget:.3f}  found {span}  {over[family, budget]} of {of}")
    return 0


def placebos(data: Path) -> Iterator[Placebo]:
    """Every placebo of the benchmark's folder; no two of them watch the same samples."""
    sys.path.insert(0, str(data))
    harness: Any = importlib.import_module("harness")
    values, cases, truth = harness.load(str(data / "dev"))
    family = {case["id"]: truth[case["id"]]["family"] for case in cases}
    watched: set[bytes] = set()
    for case in cases:
        if family[case["id"]] in INCIDENTS:
            watched.update(_runs(_after(harness, values, case, 0)[: _WATCH.get(case["step_s"], 0)]))
    for case in sorted(cases, key=lambda case: family[case["id"]] not in UNTOUCHED):
        if case["step_s"] not in _WATCH or family[case["id"]] in (*ALTERED_BEFORE, *JOINED):
            continue
        step, watch = float(case["step_s"]), _WATCH[case["step_s"]]
        for k, given in enumerate(harness.header(values, case)["metrics"]):
            rows = _table(rows_of(given))
            if len(rows) < _TICKS_MIN:
                continue
            if family[case["id"]] in UNTOUCHED:
                rows = np.concatenate([rows, _after(harness, values, case, k)])
            metric, kept = metric_of(k, given, step, {}), int(_KEPT * len(rows))
            for start in range(kept, len(rows) - watch, watch)[:_WATCHES_MAX]:
                seen = _runs(rows[start : start + watch])
                if seen and watched.isdisjoint(seen):
                    watched.update(seen)
                    yield Placebo(step, metric, rows[start - kept : start + watch])


def exceeded(placebo: Placebo, budgets: Sequence[float], thin: float) -> list[float]:
    """The budgets whose limits the watch exceeded. thin: share of the samples that are taken away."""
    metric, step = placebo.metric, placebo.step_s
    rows = np.array([metric.row(row if len(row) > 1 else row[0]) for row in placebo.rows])
    chance = np.random.default_rng(zlib.crc32(placebo.rows.tobytes()))
    rows[chance.random(len(rows)) < thin] = np.nan
    watch = _WATCH[round(step)]
    before, after = rows[:-watch], rows[-watch:]
    specs = [replace(spec, ignore_below_rel=0.0, ignore_below_abs=0.0) for spec in metric.specs]
    deploy = DeployInterval(id="placebo", started_at=_AT, finished_at=_AT)
    made = []
    for budget in budgets:
        settings = JudgeSettings(false_rollbacks=budget, watch_s=watch * step, warm_up_s=0.0)
        plan = plan_watch(deploy, settings, step, _AT, len(before))
        subjects = [Subject(spec, before, plan) for spec in specs]
        calibrate(subjects, plan, [], budget, settings.watch_s)
        panel = Panel([subject.measured() for subject in subjects], plan)
        samples = np.full((len(specs), 2), np.nan)
        worst = 0.0
        for row in after:
            samples[:, : len(row)] = row
            panel.advance(samples, np.zeros((len(specs), 0)))
            worst = max(worst, float(panel.statistic.max()))
        if worst > LIMIT:
            made.append(budget)
    return made


def interval(over: int, of: int) -> tuple[float, float]:
    """Exact 5 to 95 % binomial interval (Clopper, Pearson 1934)."""
    low = stats.beta.ppf(0.05, over, of - over + 1) if over else 0.0
    return float(low), float(stats.beta.ppf(0.95, over + 1, of - over))


def _table(rows: list[Any]) -> FloatArray:
    """Rows of one value or a pair as a table, shape (n, 1 or 2)."""
    made = np.array(rows, dtype=np.float64)
    return made.reshape(len(made), -1)


def _after(harness: Any, values: Any, case: Any, place: int) -> FloatArray:
    """What metric `place` of a case was from the deploy on, shape (n, 1 or 2)."""
    return _table([message["values"][place] for message in harness.ticks(values, case)])


def _runs(rows: FloatArray) -> set[bytes]:
    """By which a stretch is known again: every run of eight samples in it that are not all the same."""
    if len(rows) < _RUN:
        return set()
    runs = sliding_window_view(rows, _RUN, axis=0)
    return {run.tobytes() for run in runs if np.ptp(run, axis=-1).any()}


if __name__ == "__main__":
    sys.exit(main())
