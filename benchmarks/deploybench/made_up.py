"""Made-up cases of what DeployBench has none of, as messages of its protocol.

Each is a week of one-minute history and a watch of 45 minutes, seeded by its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import signal

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

_WEEK, _WATCH, _DAY_S, _STEP_S = 10_080, 45, 86_400.0, 60
_N = _WEEK + _WATCH
_CASES = 20
_AT = 1_699_833_600 + 9 * 3600  # a Monday, 09:00 UTC
_SATURDAY = 5  # days later
_NOISE = 0.06
_MIN_EFFECT = {"rel": 0.05, "abs_ratio": 0.002}


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUp:
    """One case. case, ticks: its messages. due: ticks by which it has to be confirmed, counted from the
    deploy; None where nothing broke, or nobody can tell which deploy broke it."""

    case: dict[str, Any]
    ticks: list[dict[str, Any]]
    due: int | None

    def is_right(self, confirmed: int | None) -> bool:
        """Whether to confirm it at that tick is right; None: never."""
        if self.due is None or confirmed is None:
            return self.due is None and confirmed is None
        return confirmed <= self.due


def made_up(family: str) -> Iterator[MadeUp]:
    """The cases of one family; what each is like is said by the function that makes it."""
    for seed in range(_CASES):
        yield _MAKERS[family](np.random.default_rng([len(family), seed]), seed)


def _ramp(rng: np.random.Generator, seed: int) -> MadeUp:
    """Healthy deploys in a morning that trebles the latency within half an hour."""
    return _told(f"m_ramp-{seed}", 100.0 * _day() * _noise(rng), due=None)


def _ramp_step(rng: np.random.Generator, seed: int) -> MadeUp:
    """Such a rise a quarter of an hour before the deploy, which makes it slower by half again."""
    values = 100.0 * _day(8.75) * _noise(rng)
    values[_WEEK:] *= 1.5
    return _told(f"m_ramp_step-{seed}", values, due=_WATCH)


def _monday(rng: np.random.Generator, seed: int) -> MadeUp:
    """Healthy deploys on a Monday while the load grows fourfold within two hours; on weekends it grows by a
    fifth of that."""
    hours = _hours()
    rise, fall = (1.0 + np.exp(-3.0 * (hours % 24.0 - 9.5))), (1.0 + np.exp(-1.4 * (hours % 24.0 - 20.0)))
    load = 50.0 * (1.0 + np.where(_is_weekend(hours), 0.6, 3.0) * (1.0 / rise - 1.0 / fall))
    return _told(f"m_monday-{seed}", load * _noise(rng), kind="rate", due=None)


def _workdays_at_nine(rng: np.random.Generator, seed: int) -> MadeUp:
    """Healthy deploys on a Monday at nine, when workdays get slower by 30 % within a quarter of an hour."""
    return _told(f"m_workdays_at_nine-{seed}", _slow_at_nine(rng), due=None)


def _saturday_at_nine(rng: np.random.Generator, seed: int) -> MadeUp:
    """The same service gets slower as on a workday, with a deploy on a Saturday at nine."""
    values = np.concatenate([_slow_at_nine(rng, _SATURDAY)[:_WEEK], _slow_at_nine(rng)[_WEEK:]])
    return _told(f"m_saturday_at_nine-{seed}", values, day=_SATURDAY, due=_WATCH)


def _slow_at_nine(rng: np.random.Generator, day: int = 0) -> FloatArray:
    """Slower by 30 % at nine, on workdays."""
    values: FloatArray = 100.0 * (1.0 + 0.15 * (_day(9.1, steep=20.0) - 1.0)) * _noise(rng)
    quiet = _is_weekend(_hours(day))
    values[quiet] = 100.0 * _noise(rng)[quiet]
    return values


def _errors_at_nine(rng: np.random.Generator, seed: int) -> MadeUp:
    """Healthy deploys at nine, when every day 5 % of the requests fail for a quarter of an hour, not 1 %."""
    minute = 60.0 * (_hours() % 24.0 - 9.0)
    share = np.where((minute > 0.5) & (minute < 15.5), 0.05, 0.01)
    return _errors(rng, f"m_errors_at_nine-{seed}", share, due=None)


def _restart(rng: np.random.Generator, seed: int) -> MadeUp:
    """A healthy deploy of a service that is twice as slow for ten minutes after each of its deploys."""
    values = 100.0 * _noise(rng)
    past = np.sort(rng.choice(np.arange(60, _WEEK - 60, 60), 14, replace=False)) + int(rng.integers(0, 30))
    for at in (*past, _WEEK):
        values[at : at + 10] *= 2.0
    return _told(f"m_restart-{seed}", values, past=past.tolist(), due=None)


def _day_long(rng: np.random.Generator, seed: int) -> MadeUp:
    """Watched for a day, 11 % slower from the deploy on; due within half an hour."""
    values = 100.0 * _noise(rng)[: _WEEK + 35]
    values[_WEEK:] *= 1.11
    return _told(f"m_day_long-{seed}", values, watch=1440, due=30)


def _hard_break(rng: np.random.Generator, seed: int) -> MadeUp:
    """Half of all requests fail from the deploy on; due within two points."""
    share = np.where(np.arange(_N) < _WEEK, 0.01, 0.5)
    return _errors(rng, f"m_hard_break-{seed}", share, due=2)


def _one_tick(rng: np.random.Generator, seed: int) -> MadeUp:
    """After the deploy one tick in which four of five requests fail, by chance."""
    share = np.full(_N, 0.01)
    share[_WEEK + int(rng.integers(1, 5))] = 0.8
    return _errors(rng, f"m_one_tick-{seed}", share, due=None)


def _shock(rng: np.random.Generator, seed: int) -> MadeUp:
    """From the deploy on all are slower, three controls by 30 %, this service by 40 %: no deploy did that."""
    shared = np.exp(0.03 * rng.standard_normal(_N))
    values = 100.0 * shared * np.exp(0.04 * rng.standard_normal((4, _N)))
    values[:, _WEEK:] *= np.array([1.4, 1.3, 1.3, 1.3])[:, None]
    return _told(f"m_shock-{seed}", values[0], controls=list(values[1:]), due=None)


def _shared_errors(rng: np.random.Generator, seed: int) -> MadeUp:
    """From the deploy on 3 % of the requests fail instead of 1 %, here and at two other services."""
    share = np.where(np.arange(_N) < _WEEK, 0.01, 0.03)
    mine, *others = (_counts(rng, share) for _ in range(3))
    return _told(f"m_shared_errors-{seed}", mine, kind="ratio", controls=others, due=None)


def _late_step(rng: np.random.Generator, seed: int) -> MadeUp:
    """Half slower ten minutes after the deploy; due twelve minutes later."""
    values = 100.0 * _noise(rng)
    values[_WEEK + 10 :] *= 1.5
    return _told(f"m_late_step-{seed}", values, due=22)


def _just_before(rng: np.random.Generator, seed: int) -> MadeUp:
    """Half slower from two to five minutes before the deploy on."""
    values = 100.0 * _noise(rng)
    values[_WEEK - int(rng.integers(2, 6)) :] *= 1.5
    return _told(f"m_just_before-{seed}", values, due=None)


def _risen_before(rng: np.random.Generator, seed: int) -> MadeUp:
    """A quarter slower from five to fifteen minutes before the deploy on."""
    values = 100.0 * _noise(rng)
    values[_WEEK - int(rng.integers(5, 16)) :] *= 1.25
    return _told(f"m_risen_before-{seed}", values, due=None)


def _back_from_a_dip(rng: np.random.Generator, seed: int) -> MadeUp:
    """Half as slow for 10 to 90 minutes, as when everything fails fast; the deploy is the fix."""
    values = 100.0 * _noise(rng)
    values[_WEEK - int(rng.integers(10, 91)) : _WEEK] *= 0.5
    return _told(f"m_back_from_a_dip-{seed}", values, due=None)


def _dip_and_step(rng: np.random.Generator, seed: int) -> MadeUp:
    """The same, and the deploy makes it a third slower than it was before the dip."""
    values = 100.0 * _noise(rng)
    values[_WEEK - int(rng.integers(10, 91)) : _WEEK] *= 0.5
    values[_WEEK:] *= 1.33
    return _told(f"m_dip_and_step-{seed}", values, due=_WATCH)


def _burst(rng: np.random.Generator, seed: int) -> MadeUp:
    """Twice as slow in the first four minutes, then as before."""
    values = 100.0 * _noise(rng)
    values[_WEEK : _WEEK + 4] *= 2.0
    return _told(f"m_burst-{seed}", values, due=None)


def _too_small(rng: np.random.Generator, seed: int) -> MadeUp:
    """A quiet series, 3 to 4 % slower from the deploy on: seen by anybody, and nothing to roll back for."""
    values = 100.0 * _noise(rng, 0.005)
    values[_WEEK:] *= float(rng.uniform(1.03, 1.04))
    return _told(f"m_too_small-{seed}", values, due=None)


def _in_the_dark(rng: np.random.Generator, seed: int) -> MadeUp:
    """Two deploys four minutes apart; no data around both of them, and after it half slower."""
    values = 100.0 * _noise(rng)
    values[_WEEK:] *= 1.5
    values[_WEEK - 1 : _WEEK + 6] = np.nan
    return _told(f"m_in_the_dark-{seed}", values, deploys=(0, 4), due=None)


def _sparse_step(rng: np.random.Generator, seed: int) -> MadeUp:
    """Little traffic: three of five minutes have no latency. Twice as slow from the deploy on."""
    values = 100.0 * _noise(rng)
    values[_WEEK:] *= 2.0
    values[rng.random(_N) < 0.6] = np.nan
    return _told(f"m_sparse_step-{seed}", values, due=_WATCH)


def _unrest(rng: np.random.Generator, seed: int) -> MadeUp:
    """A latency whose unrest doubles every day; the deploy finds it twice as restless again."""
    size = 0.01 * 2.0 ** (np.arange(_N) / 1440.0)
    size[_WEEK:] *= 2.0
    slow = signal.lfilter([0.3], [1.0, -0.95], rng.standard_normal(_N))
    return _told(f"m_unrest-{seed}", 100.0 * np.exp(np.clip(size * slow, -5.0, 5.0)), due=None)


def _hours(day: int = 0) -> FloatArray:
    """Hours of the week that the ticks begin at; the epoch began on a Thursday. day: of the deploy."""
    at = _AT + day * _DAY_S + _STEP_S * (np.arange(_N) - _WEEK)
    return np.asarray(at % (7 * _DAY_S) / 3600.0, dtype=np.float64)


def _is_weekend(hours: FloatArray) -> BoolArray:
    return np.isin(hours // 24.0, (2.0, 3.0))


def _day(morning: float = 9.1, steep: float = 10.0) -> FloatArray:
    """Three times as much by day; `morning`: hour in the middle of its rise, 5 / `steep` hours long."""
    hour = _hours() % 24.0
    made: FloatArray = (
        1.0 + 2.0 / (1.0 + np.exp(-steep * (hour - morning))) - 2.0 / (1.0 + np.exp(-3.0 * (hour - 19.0)))
    )
    return made


def _noise(rng: np.random.Generator, size: float = _NOISE) -> FloatArray:
    made: FloatArray = np.exp(size * rng.standard_normal(_N))
    return made


def _counts(rng: np.random.Generator, share: FloatArray) -> FloatArray:
    """400 requests a minute, of which that share fails: shape (n, 2)."""
    requests = rng.poisson(400.0, len(share))
    return np.column_stack([rng.binomial(requests, share), requests]).astype(np.float64)


def _errors(rng: np.random.Generator, name: str, share: FloatArray, *, due: int | None) -> MadeUp:
    return _told(name, _counts(rng, share), kind="ratio", due=due)


def _told(
    name: str,
    values: FloatArray,
    *,
    due: int | None,
    kind: str = "latency",
    controls: Sequence[FloatArray] = (),
    deploys: Sequence[int] = (0,),
    past: Sequence[int] = (),
    watch: int = _WATCH,
    day: int = 0,
) -> MadeUp:
    """One series as the messages of a case. deploys: ticks, the first being 0. past: those before, as places
    of the history. watch: ticks that are watched, though fewer may be told. day: of the deploy."""
    start = _AT + _DAY_S * day
    mine, *beside = [_rows(one) for one in (values, *controls)]
    case = {
        "type": "case",
        "id": name,
        "step_s": _STEP_S,
        "t_start": start - _STEP_S * _WEEK,
        "n_hist": _WEEK,
        "horizon": watch,
        "min_effect": _MIN_EFFECT,
        "deploys": [{"id": "d0", "t": start}],
        "past_deploys": [{"id": f"before{i}", "t": start + _STEP_S * (i - _WEEK)} for i in past],
        "metrics": [{"name": kind, "kind": kind, "bad": "up"} | _history(mine)],
        "controls": [{"name": f"c{i}"} | _history(one) for i, one in enumerate(beside)],
    }
    ticks = []
    for i in range(len(values) - _WEEK):
        at = start + _STEP_S * i
        told: dict[str, Any] = {"values": [mine[_WEEK + i]], "controls": [one[_WEEK + i] for one in beside]}
        if i in deploys[1:]:
            told["deploy"] = {"id": f"d{deploys.index(i)}", "t": at}
        ticks.append({"type": "tick", "id": name, "i": i, "t": at} | told)
    return MadeUp(case=case, ticks=ticks, due=due)


def _rows(values: FloatArray) -> list[Any]:
    """As JSON knows them: a number or a pair for each tick, null where one is missing."""
    told = values.astype(object)
    told[np.isnan(values)] = None
    return list(told.tolist())


def _history(rows: list[Any]) -> dict[str, Any]:
    past = rows[:_WEEK]
    if isinstance(past[0], list):
        return {"num": [k for k, _ in past], "den": [n for _, n in past]}
    return {"history": past}


_MAKERS = {
    "m_ramp": _ramp,
    "m_ramp_step": _ramp_step,
    "m_monday": _monday,
    "m_workdays_at_nine": _workdays_at_nine,
    "m_saturday_at_nine": _saturday_at_nine,
    "m_errors_at_nine": _errors_at_nine,
    "m_restart": _restart,
    "m_day_long": _day_long,
    "m_hard_break": _hard_break,
    "m_shock": _shock,
    "m_shared_errors": _shared_errors,
    "m_one_tick": _one_tick,
    "m_late_step": _late_step,
    "m_just_before": _just_before,
    "m_risen_before": _risen_before,
    "m_back_from_a_dip": _back_from_a_dip,
    "m_dip_and_step": _dip_and_step,
    "m_burst": _burst,
    "m_too_small": _too_small,
    "m_in_the_dark": _in_the_dark,
    "m_sparse_step": _sparse_step,
    "m_unrest": _unrest,
}
FAMILIES = tuple(_MAKERS)
