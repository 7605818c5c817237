"""Simulated services for the judge's tests: one world per kind, seeded, with a deploy at T0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from detectors.histogram import bounds
from detectors.judge import DeployJudge
from detectors.model import (
    DeployInterval,
    FloatArray,
    History,
    JudgeSettings,
    SeriesKind,
    SeriesSpec,
    Verdict,
)

T0 = 1_699_999_980.0  # a whole minute
UNITS: Mapping[SeriesKind, str] = {
    "ratio": "ratio",
    "probe": "ratio",
    "count": "per_step",
    "latency": "s",
    "histogram": "s",
    "rate": "per_s",
    "gauge": "items",
}
KINDS: tuple[SeriesKind, ...] = ("ratio", "rate", "latency", "histogram", "gauge", "count", "probe")


def spec(kind: SeriesKind, name: str = "", step_s: float = 60.0, **other: Any) -> SeriesSpec:
    made = SeriesSpec(name=name or kind, kind=kind, unit=UNITS[kind], step_s=step_s, bad="up")
    return replace(made, **{"bad": "down" if kind == "count" else "up", **other})


def noise(rng: np.random.Generator, n: int, phi: float, heavy: bool = False) -> FloatArray:
    """AR(1) with unit variance; Student-3 innovations when heavy."""
    e = rng.standard_t(3, n) / np.sqrt(3.0) if heavy else rng.standard_normal(n)
    x = np.empty(n)
    x[0] = e[0]
    for i in range(1, n):
        x[i] = phi * x[i - 1] + np.sqrt(1.0 - phi * phi) * e[i]
    return x


def errors(rng: np.random.Generator, n: int, share: float, traffic: float = 300.0) -> FloatArray:
    run = rng.poisson(traffic, n)
    return np.column_stack([rng.binomial(run, share), run]).astype(np.float64)


def distribution(
    rng: np.random.Generator, level: FloatArray, slow: float = 1.0, traffic: float = 300.0
) -> FloatArray:
    """Requests per bin, shape (n, HISTOGRAM_BINS): log-normal around 0.2 s exp(level), level of shape (n,).

    slow: factor of the slowest quarter; the other three keep their times, and with them the median.
    """
    z = (np.log(bounds("s") / 0.2) - level[:, None]) / 0.5
    edge = special.ndtri(0.75)
    below = special.ndtr(np.minimum(z, edge)) + np.maximum(special.ndtr(z - np.log(slow) / 0.5) - 0.75, 0.0)
    shares = np.diff(below, axis=1, prepend=0.0, append=1.0)
    return rng.multinomial(rng.poisson(traffic, len(level)), np.maximum(shares, 0.0)).astype(np.float64)


def quiet(
    kind: SeriesKind, rng: np.random.Generator, n: int, phi: float = 0.5, heavy: bool = False
) -> FloatArray:
    """n samples of a service nobody touches, shape (n, width)."""
    z = noise(rng, n, phi, heavy)
    match kind:
        case "ratio":
            run = rng.poisson(300.0, n)
            share = np.clip(0.004 * np.exp(0.3 * z), 0.0, 1.0)
            return np.column_stack([rng.binomial(run, share), run]).astype(np.float64)
        case "probe":
            return np.column_stack([rng.random(n) < 0.005, np.ones(n)]).astype(np.float64)
        case "count":
            values = rng.poisson(120.0 * np.exp(0.05 * z)).astype(np.float64)
        case "latency":
            values = 0.2 * np.exp(0.1 * z)
        case "histogram":
            return distribution(rng, 0.1 * z)
        case "rate":
            values = np.maximum(50.0 + 4.0 * z, 0.0)
        case _:
            values = 100.0 + 10.0 * z
    return values[:, None]


@dataclass
class Watched:
    """What came of one watch: the judge, its last verdict, the tick at which it regressed, all states."""

    judge: DeployJudge
    verdict: Verdict
    tick: int | None
    states: list[str]


def watch(
    series: Sequence[tuple[SeriesSpec, FloatArray]],
    n: int,
    settings: JudgeSettings,
    *,
    rollout_s: float = 60.0,
    controls: Mapping[str, Sequence[tuple[SeriesSpec, FloatArray]]] | None = None,
    others: Sequence[DeployInterval] = (),
    deploy: DeployInterval | None = None,
    past: Sequence[DeployInterval] = (),
    stop: bool = True,
    ticks: int | None = None,
) -> Watched:
    """Feed the samples after the n-th of each series; the deploy starts at T0, where the history ends.

    ticks: after so many the watch is closed, else at its end.
    """
    step = series[0][0].step_s
    deploy = deploy or DeployInterval(id="d", started_at=T0, finished_at=T0 + rollout_s)
    controls = controls or {}
    judge = DeployJudge(
        deploy,
        others,
        [History(spec=s, values=v[:n], end_at=T0) for s, v in series],
        settings,
        {
            name: [History(spec=s, values=v[:n], end_at=T0) for s, v in parts]
            for name, parts in controls.items()
        },
        past,
    )
    first, states = None, []
    for i in range(ticks or int((deploy.finished_at - T0 + settings.watch_s) / step)):
        verdict = judge.tick(
            T0 + (i + 1) * step,
            {s.name: v[n + i] for s, v in series},
            {s.name: v[n + i] for parts in controls.values() for s, v in parts},
        )
        states.append(verdict.state)
        if verdict.state == "regressed" and first is None:
            first = i
            if stop:
                break
    return Watched(judge=judge, verdict=judge.close(), tick=first, states=states)
