"""`python -m benchmarks.deploybench.calibration --data DIR`: does a budget hold on data it was not made from?

Every recording without a known change is cut at 60 %. Deploys that never happened are placed one watch apart
in the rest, up to thirty, each judged on the stretch before it that is as long as the 60 %. Counted is how
many of them exceed their limit, whatever their size: practical limits and the other conditions of a verdict
are left out.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from detectors.calibrate import calibrate
from detectors.model import DeployInterval, JudgeSettings
from detectors.panel import LIMIT, Panel
from detectors.plan import plan_watch
from detectors.subject import Subject
from watchdog.judging.blackbox import metric_of, rows_of

BUDGETS = (0.05, 0.01, 0.005)
FAMILIES = ("n_aa_labelled", "n_aa_unlabelled", "n_aa_ramp", "n_error_aa", "n_error_lowtraffic")
_KEPT = 0.6
_TICKS_MIN = 250
_WATCH = {60: 45, 300: 36}
_WATCHES_MAX = 30
_AT = 1e9

Count = tuple[float, str, float, bool]


def main() -> int:
    """Print exceedances by step, kind and budget, with exact 5 to 95 % binomial intervals."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deploybench.calibration", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    sys.path.insert(0, str(given.data))
    harness: Any = importlib.import_module("harness")
    folder = str(given.data / "dev")
    _, cases, truth = harness.load(folder)
    places, known = [], set()
    for i, case in enumerate(cases):
        same = (truth[case["id"]]["source"], case["t0"], case["n_hist"], case["step_s"])
        wanted = truth[case["id"]]["family"] in FAMILIES and case["n_hist"] >= _TICKS_MIN
        if wanted and case["step_s"] in _WATCH and same not in known:
            known.add(same)
            places.append(i)
    parts = [(folder, places[k :: given.jobs]) for k in range(given.jobs)]
    counts: dict[tuple[str, str, float], list[int]] = defaultdict(lambda: [0, 0])
    with ProcessPoolExecutor(given.jobs) as pool:
        for part in pool.map(_judge_all, parts):
            for step, kind, budget, is_over in part:
                for key in ((f"{step:.0f} s", kind, budget), ("all", "all", budget)):
                    counts[key][0] += is_over
                    counts[key][1] += 1
    for (step_name, kind, budget), (over, of) in sorted(counts.items()):
        low = stats.beta.ppf(0.05, over, of - over + 1) if over else 0.0
        high = stats.beta.ppf(0.95, over + 1, of - over)
        span = f"{over / of:.4f} [{low:.4f}, {high:.4f}]"
        print(f"{step_name:>6} {kind:<8} allowed {budget:.3f}  found {span}  {over} of {of}")
    return 0


def _judge_all(part: tuple[str, list[int]]) -> list[Count]:
    folder, places = part
    harness: Any = importlib.import_module("harness")
    values, cases, _ = harness.load(folder)
    return [count for i in places for count in _judge(harness, values, cases[i])]


def _judge(harness: Any, values: Any, case: Any) -> Iterator[Count]:
    step = float(case["step_s"])
    given = harness.header(values, case)["metrics"][0]
    metric = metric_of(0, given, step, {})
    after = [message["values"][0] for message in harness.ticks(values, case)]
    rows = np.array([metric.row(x) for x in (*rows_of(given), *after)])
    specs = [replace(spec, ignore_below_rel=0.0, ignore_below_abs=0.0) for spec in metric.specs]
    deploy = DeployInterval(id="placebo", started_at=_AT, finished_at=_AT)
    kept, watch = int(_KEPT * len(rows)), _WATCH[case["step_s"]]
    for start in range(kept, len(rows) - watch, watch)[:_WATCHES_MAX]:
        for budget in BUDGETS:
            settings = JudgeSettings(false_rollbacks=budget, watch_s=watch * step, warm_up_s=0.0)
            plan = plan_watch(deploy, settings, step, _AT, kept)
            subjects = [Subject(spec, rows[start - kept : start], plan) for spec in specs]
            calibrate(subjects, plan, [], budget, settings.watch_s)
            panel = Panel([subject.measured() for subject in subjects], plan)
            samples = np.full((len(specs), 2), np.nan)
            worst = 0.0
            for i in range(watch):
                samples[:, : rows.shape[1]] = rows[start + i]
                panel.advance(samples, np.zeros((len(specs), 0)))
                worst = max(worst, float(panel.statistic.max()))
            yield step, specs[0].kind, budget, worst > LIMIT


if __name__ == "__main__":
    sys.exit(main())
