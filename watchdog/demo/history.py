"""Two hours of simulated past, written where the daemon keeps its samples, for the judge to go by.

Said to be simulated wherever it is shown. It is drawn from the model the live shop draws from, plus the time
this machine was measured to add to each request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from detectors.model import FloatArray
from watchdog.demo.model import LATENCY_BUCKETS_S, SERVICES
from watchdog.demo.simulate import Figures, simulate
from watchdog.sources.counters import quantile
from watchdog.store.samples import SampleStore

HISTORY_S = 7200.0


def series_of(
    n: int, step_s: float, *, seed: int, extra_s: Mapping[str, float], latency_quantile: float
) -> dict[str, FloatArray]:
    """Every judged series of the demo's configuration by id, shape (n, width of its kind), oldest first."""
    figures, paid = simulate(n, step_s, seed=seed, extra_s=extra_s)
    series: dict[str, FloatArray] = {}
    for name in SERVICES:
        mine = figures[name]
        series[f"{name}/errors"] = np.column_stack([mine.errors, mine.requests])
        series[f"{name}/latency"] = _latencies(mine, latency_quantile)
    series["checkout/orders"] = paid.reshape(n, 1)
    errors = figures["checkout"].errors.sum() / figures["checkout"].requests.sum()
    series["checkout/place-an-order"] = _probe(n, errors, seed=seed)
    for sound in ("orders-have-payments", "books-balance"):
        series[f"checkout/{sound}"] = _probe(n, 0.0, seed=seed)
    return series


async def write_history(
    state_dir: Path, series: Mapping[str, FloatArray], *, step_s: float, last_at: float
) -> None:
    """Keep the series in the daemon's samples.db, their last step ending at `last_at`, before it starts.

    state_dir: a folder that exists. Raises OSError if the samples cannot be kept.
    """
    store = SampleStore(state_dir / "samples.db")
    try:
        await store.open()
        for series_id, values in series.items():
            await store.append(series_id, step_s, last_at - (len(values) - 1) * step_s, values)
        if store.problem is not None:
            raise OSError(store.problem)
    finally:
        await store.close()


def _latencies(figures: Figures, q: float) -> FloatArray:
    """By the arithmetic of the source that reads the live /metrics."""
    bounds = np.array([*LATENCY_BUCKETS_S, math.inf])
    return quantile(figures.durations.cumsum(axis=1), bounds, q).reshape(-1, 1)


def _probe(n: int, failed_share: float, *, seed: int) -> FloatArray:
    """(failed, run) of one run in every second step, as in watchdog.yaml; missing between them."""
    failed = np.random.default_rng([seed, 1]).random(n) < failed_share
    rows = np.column_stack([failed.astype(np.float64), np.ones(n)])
    rows[::2] = np.nan
    return rows
