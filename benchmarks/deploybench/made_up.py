"""Made-up cases of what DeployBench has none of, in its own format: steep ramps, hard breaks, uneven shocks.

Each is a week of one-minute history and a watch of 45 minutes, seeded by its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_WEEK, _WATCH, _DAY_S = 10_080, 45, 86_400.0
_CASES = 20
_AT = 1_700_000_000 // 86_400 * 86_400 + 9 * 3600  # 09:00 UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUp:
    """One case. values, case: as the harness takes them. due: ticks by which it has to be confirmed, counted
    from the deploy; None where nothing broke."""

    values: np.ndarray[Any, Any]
    case: dict[str, Any]
    due: int | None


def made_up(family: str) -> list[MadeUp]:
    """The cases of one family.

    `m_ramp`: healthy deploys in a morning that trebles the latency within half an hour. `m_hard_break`: half
    of all requests fail from the deploy on; due within two points. `m_shock`: from the deploy on everybody is
    slower, three controls by 30 %, this service by 40 %: no deploy did that. `m_daily_errors`: errors of 0.5
    to 3 % by the time of day, and from a deploy at the worst of it on two points more; due in the watch.
    `m_one_tick`: after the deploy one tick in which four of five requests fail, by chance.
    """
    return [_MAKERS[family](np.random.default_rng([len(family), seed]), seed) for seed in range(_CASES)]


def _ramp(rng: np.random.Generator, seed: int) -> MadeUp:
    n = _WEEK + _WATCH
    hour = (_AT + 60.0 * (np.arange(n) - _WEEK)) % _DAY_S / 3600.0
    day = 1.0 + 2.0 / (1.0 + np.exp(-10.0 * (hour - 9.1))) - 2.0 / (1.0 + np.exp(-3.0 * (hour - 19.0)))
    values = 100.0 * day * np.exp(0.06 * rng.standard_normal(n))
    metric = {"name": "latency", "kind": "latency", "bad": "up", "x": [0, n]}
    return MadeUp(values=values, case=_case(f"m_ramp-{seed}", metric), due=None)


def _hard_break(rng: np.random.Generator, seed: int) -> MadeUp:
    share = np.where(np.arange(_WEEK + _WATCH) < _WEEK, 0.01, 0.5)
    return _errors(rng, f"m_hard_break-{seed}", share, due=2)


def _errors(rng: np.random.Generator, name: str, share: np.ndarray[Any, Any], *, due: int | None) -> MadeUp:
    """400 requests a minute, of which that share fails."""
    n = len(share)
    requests = rng.poisson(400.0, n)
    values = np.concatenate([rng.binomial(requests, share), requests]).astype(np.float64)
    metric = {"name": "errors", "kind": "ratio", "bad": "up", "num": [0, n], "den": [n, n]}
    return MadeUp(values=values, case=_case(name, metric), due=due)


def _daily_errors(rng: np.random.Generator, seed: int) -> MadeUp:
    minute = np.arange(_WEEK + _WATCH)
    share = 0.0175 + 0.0125 * np.cos(2.0 * np.pi * (minute - _WEEK) / 1440.0)
    share[_WEEK:] += 0.02
    return _errors(rng, f"m_daily_errors-{seed}", share, due=_WATCH)


def _one_tick(rng: np.random.Generator, seed: int) -> MadeUp:
    share = np.full(_WEEK + _WATCH, 0.01)
    share[_WEEK + int(rng.integers(1, 5))] = 0.8
    return _errors(rng, f"m_one_tick-{seed}", share, due=None)


def _shock(rng: np.random.Generator, seed: int) -> MadeUp:
    n = _WEEK + _WATCH
    shared = np.exp(0.03 * rng.standard_normal(n))
    rises = np.array([1.4, 1.3, 1.3, 1.3])[:, None]
    values = 100.0 * shared * np.exp(0.04 * rng.standard_normal((4, n)))
    values[:, _WEEK:] *= rises
    metric = {"name": "latency", "kind": "latency", "bad": "up", "x": [0, n]}
    case = _case(f"m_shock-{seed}", metric)
    case["controls"] = [{"name": f"c{i}", "x": [i * n, n]} for i in (1, 2, 3)]
    return MadeUp(values=values.ravel(), case=case, due=None)


def _case(name: str, metric: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "step_s": 60,
        "t0": _AT - 60 * _WEEK,
        "n_hist": _WEEK,
        "n_post": _WATCH,
        "metrics": [metric],
        "controls": [],
        "deploys": [0],
    }


_MAKERS = {
    "m_ramp": _ramp,
    "m_hard_break": _hard_break,
    "m_shock": _shock,
    "m_daily_errors": _daily_errors,
    "m_one_tick": _one_tick,
}
FAMILIES = tuple(_MAKERS)
