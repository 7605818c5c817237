"""`python -m watchdog.demo.pictures`: three deploys judged, drawn for docs/judging.md.

The series are made up with a fixed seed; the judge, the verdicts and their sentences are the real ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from detectors.judge import DeployJudge
from detectors.model import DeployInterval, FloatArray, History, JudgeSettings, SeriesSpec, Verdict
from watchdog.demo.drawing import draw
from watchdog.model import Watch, WatchState

_AT = 1_795_356_120.0  # Sunday 22 November 2026, 14:02 UTC, a whole minute
_STEP_S = 60.0
_HISTORY = 7 * 1440
_SETTINGS = JudgeSettings()
_TICKS = round((_SETTINGS.watch_s + _STEP_S) / _STEP_S)
_DEPLOY = DeployInterval(id="4.12.0", started_at=_AT, finished_at=_AT + _STEP_S)
_STATES: dict[str, WatchState] = {
    "regressed": "regressed",
    "healthy": "healthy",
    "inconclusive": "inconclusive",
}


def _step(own: FloatArray, _controls: list[FloatArray]) -> None:
    """Half as slow again from the second minute on."""
    own[_HISTORY + 1 :] *= 1.5


def _blip(own: FloatArray, _controls: list[FloatArray]) -> None:
    """Cold caches: three bad minutes."""
    own[_HISTORY + 1 : _HISTORY + 4] *= [2.6, 2.0, 1.5]


def _surge(own: FloatArray, controls: list[FloatArray]) -> None:
    """A rush of customers just after the deploy slows everybody down."""
    for values in (own, *controls):
        values[_HISTORY + 3 :] *= 1.4


CASES: dict[str, Callable[[FloatArray, list[FloatArray]], None]] = {
    "step": _step,
    "blip": _blip,
    "surge": _surge,
}


def pictures() -> dict[str, str]:
    """File name to SVG, the same at every call."""
    return {f"{name}.svg": _picture(happen) for name, happen in CASES.items()}


def _picture(happen: Callable[[FloatArray, list[FloatArray]], None]) -> str:
    random = np.random.default_rng(7)
    own, *controls = (_latency(random) for _ in range(3))
    happen(own, controls)
    spec = SeriesSpec(name="p95_latency", kind="latency", unit="s", bad="up", step_s=_STEP_S)
    beside = [_named(spec, f"{service}/p95_latency") for service in ("search", "stock")]
    judge = DeployJudge(
        _DEPLOY,
        [],
        [_history(spec, own)],
        _SETTINGS,
        {spec.name: [_history(one, values) for one, values in zip(beside, controls, strict=True)]},
    )
    verdict = judge.verdict
    for n in range(_HISTORY, _HISTORY + _TICKS):
        moved = {one.name: values[n : n + 1] for one, values in zip(beside, controls, strict=True)}
        verdict = judge.tick(_AT + (n - _HISTORY + 1) * _STEP_S, {spec.name: own[n : n + 1]}, moved)
        if verdict.state == "regressed":
            break
    else:
        verdict = judge.close()
    return draw(judge.packet(), _watch(verdict))


def _latency(random: np.random.Generator) -> FloatArray:
    """A p95 of about 200 ms whose minutes follow each other: AR(1) with 0.5 on the logarithm."""
    level = np.empty(_HISTORY + _TICKS)
    state = 0.0
    for n, shock in enumerate(random.standard_normal(len(level))):
        state = 0.5 * state + 0.07 * shock
        level[n] = 0.2 * np.exp(state)
    return level


def _named(spec: SeriesSpec, name: str) -> SeriesSpec:
    return replace(spec, name=name)


def _history(spec: SeriesSpec, values: FloatArray) -> History:
    return History(spec=spec, values=values[:_HISTORY, np.newaxis], end_at=_AT)


def _watch(verdict: Verdict) -> Watch:
    observe_at = _DEPLOY.finished_at + _SETTINGS.warm_up_s
    return Watch(
        id="w1",
        environment="prod",
        service="checkout",
        deploy_id=_DEPLOY.id,
        suspect_ids=(_DEPLOY.id,),
        state=_STATES[verdict.state],
        because=verdict.because,
        mode="auto",
        opened_at=_AT,
        observe_at=observe_at,
        ends_at=_DEPLOY.finished_at + _SETTINGS.watch_s,
        closed_at=verdict.at,
    )


def main(arguments: Iterable[str] = ()) -> None:
    """Write the pictures into the folder named, docs/pictures by default."""
    folder = Path(next(iter(arguments), "docs/pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawn in pictures().items():
        (folder / name).write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
