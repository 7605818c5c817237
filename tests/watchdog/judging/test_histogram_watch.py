"""A distribution on its whole way: from configuration and a real Prometheus to a verdict and a recovery."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import config
from detectors.judge import DeployJudge
from detectors.model import HISTOGRAM_BINS, DeployInterval, FloatArray, History, JudgeSettings
from tests.support.native import Native, remote_write
from tests.support.prometheus import prometheus_server
from watchdog.kinds import KINDS
from watchdog.plan import ServicePlan, plan_services
from watchdog.sources.prometheus import PrometheusSource
from watchdog.sources.protocol import Grid

STEP_S = 60.0
START = 1_790_000_000 // 3600 * 3600.0
N, TICKS = 360, 24

CONFIGURATION = """
sources: {prom: {kind: prometheus, url: "http://127.0.0.1:9"}}
services:
  checkout:
    controls: [search, mail]
    series:
      latency: {kind: histogram, histogram: latency_seconds, quantile: 0.99, ignore_below: 1pt}
      errors: {kind: ratio, numerator: bad_total, denominator: all_total}
  search:
    series:
      latency: {kind: histogram, histogram: 'search_ms_bucket{app="s"}', unit: ms}
      errors: {kind: gauge, gauge: errors}
  mail:
    series:
      latency: {kind: histogram, histogram: mail_seconds_bucket}
"""


def plans(folder: Path) -> dict[str, ServicePlan]:
    path = folder / "watchdog.yaml"
    path.write_text(CONFIGURATION)
    return plan_services(config.load([path], KINDS, {}))


def test_what_is_configured_is_planned(tmp_path: Path) -> None:
    planned = plans(tmp_path)
    (latency, _) = planned["checkout"].series
    assert (latency.spec.kind, latency.spec.unit, latency.spec.bad) == ("histogram", "s", "up")
    assert (latency.spec.quantile, latency.spec.ignore_below_abs, latency.spec.width) == (
        0.99,
        0.01,
        HISTOGRAM_BINS,
    )
    assert latency.query is not None
    assert latency.query.is_native
    query = planned["search"].series[0].query
    assert query is not None
    assert (query.is_native, query.unit) == (False, "ms")


def test_a_distribution_is_compared_with_none_in_other_units(tmp_path: Path) -> None:
    controls = plans(tmp_path)["checkout"].controls
    assert controls == {"latency": ("mail/latency",), "errors": ("search/errors",)}


def observed(step: int, slow: float) -> FloatArray:
    """300 requests of one pod; the slowest quarter takes `slow` times as long."""
    rng = np.random.default_rng(step)
    drawn = 0.2 * np.exp(0.5 * rng.standard_normal(300))
    return np.where(drawn > 0.2 * np.exp(0.5 * 0.6745), slow * drawn, drawn)


@pytest.mark.real
@pytest.mark.parametrize("slow", [1.0, 2.0])
async def test_native_histograms_of_a_real_prometheus_to_a_verdict(tmp_path: Path, slow: float) -> None:
    """The deploy replaces the only pod, whose counters begin anew and whose schema is another."""
    pods: dict[str, dict[float, Native]] = {"old": {}, "new": {}}
    so_far = {"old": Native(schema=4), "new": Native(schema=3)}
    for step in range(N + TICKS):
        pod = "old" if step < N else "new"
        so_far[pod] = so_far[pod].and_these(observed(step, 1.0 if step < N else slow).tolist())
        pods[pod][START + (step + 1) * STEP_S - 5.0] = so_far[pod]
    (latency, _) = plans(tmp_path)["checkout"].series
    assert latency.query is not None
    deployed_at = START + N * STEP_S
    with prometheus_server(tmp_path, takes_native=True) as url:
        remote_write(url, pods)
        source = PrometheusSource(url=url)
        grid = Grid(first_at=START + STEP_S, last_at=deployed_at + TICKS * STEP_S, step_s=STEP_S)
        (reading,) = await source.read([latency.query], grid, now=grid.last_at, timeout_s=30.0)
        await source.close()
    assert reading.problem is None
    np.testing.assert_array_equal(reading.values[1:].sum(axis=1), 300.0)
    history = History(spec=latency.spec, values=reading.values[:N], end_at=deployed_at)
    deploy = DeployInterval(id="d", started_at=deployed_at, finished_at=deployed_at)
    judge = DeployJudge(deploy, [], [history], JudgeSettings(watch_s=TICKS * STEP_S))
    for i, row in enumerate(reading.values[N:]):
        judge.tick(deployed_at + (i + 1) * STEP_S, {"latency": row})
    verdict = judge.close()
    assert verdict.state == ("regressed" if slow > 1.0 else "healthy"), verdict.because
    assert "requests above" in verdict.because
