"""Judging between deploys: quiet series, changes, missing data, units, pauses, a restart in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from detectors.always_on import AlwaysOn, AlwaysOnSettings, Pause
from detectors.model import FloatArray, History, SeriesKind, SeriesSpec
from tests.detectors.simulated import KINDS, T0, quiet, spec

SEED = 20261126
N = 3 * 1440
SETTINGS = AlwaysOnSettings(history_s=N * 60.0)


def judge_of(
    *series: tuple[SeriesSpec, FloatArray],
    settings: AlwaysOnSettings = SETTINGS,
    pauses: Sequence[Pause] = (),
    end_at: float = T0,
) -> AlwaysOn:
    histories = [History(spec=one, values=values, end_at=end_at) for one, values in series]
    return AlwaysOn(histories, settings, pauses)


def play(judge: AlwaysOn, name: str, rows: FloatArray, since_at: float = T0) -> list[bool]:
    """Whether that series is off after each of these rows."""
    return [name in judge.tick(since_at + 60.0 * (i + 1), {name: row}) for i, row in enumerate(rows)]


def worse(one: SeriesSpec, rows: FloatArray) -> FloatArray:
    """The same rows, many times as bad."""
    rows = rows.copy()
    if one.kind == "probe":
        rows[:, 0] = rows[:, 1]
    elif one.kind == "ratio":
        rows[:, 0] = np.minimum(rows[:, 1], 10.0 * rows[:, 0] + 5.0)
    elif one.kind == "histogram":
        # Five bins of a factor of the root of 2: more than five times as slow.
        rows[:, 5:] = rows[:, :-5].copy()
    else:
        rows *= 0.2 if one.bad == "down" else 5.0
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_when_it_breaks_and_is_back_when_it_is_mended(kind: SeriesKind) -> None:
    rng = np.random.default_rng([SEED, KINDS.index(kind)])
    one, rows = spec(kind), quiet(kind, rng, N + 180)
    judge = judge_of((one, rows[:N]))
    assert judge.judged == (one.name,)
    assert not any(play(judge, one.name, rows[N : N + 60]))

    found = play(judge, one.name, worse(one, rows[N + 60 : N + 90]), T0 + 3600.0)
    # The least history makes for a wide limit; with a week of it a break takes about six ticks.
    assert found.index(True) <= 20
    shift = judge.shift(one.name)
    assert abs(shift.onset_at - (T0 + 3600.0)) <= 3 * 60.0
    assert (shift.now > shift.before) == (one.bad == "up")

    told_at = judge.judged_to_at
    assert not judge.is_back(one.name, shift.before, shift.now, told_at)
    play(judge, one.name, rows[N + 90 : N + 99], T0 + 5400.0)
    assert not judge.is_back(one.name, shift.before, shift.now, told_at)
    play(judge, one.name, rows[N + 99 : N + 120], T0 + 5940.0)
    assert judge.is_back(one.name, shift.before, shift.now, told_at)


def test_a_leak_over_hours_is_found() -> None:
    rng = np.random.default_rng(SEED)
    one, rows = spec("gauge"), quiet("gauge", rng, N + 480)
    judge = judge_of((one, rows[:N]))
    spread = float(np.std(rows[:N]))
    leaking = rows[N:] + (6.0 * spread * np.arange(480) / 480.0)[:, None]
    found = play(judge, one.name, leaking)
    assert any(found)
    assert found.index(True) < 400


def test_an_improvement_is_no_alarm() -> None:
    rng = np.random.default_rng(SEED)
    one, rows = spec("latency"), quiet("latency", rng, N + 300)
    assert not any(play(judge_of((one, rows[:N])), one.name, 0.3 * rows[N:]))


def test_a_change_too_small_to_matter_is_no_alarm() -> None:
    rng = np.random.default_rng(SEED)
    one = spec("latency", ignore_below_rel=0.5)
    rows = 0.2 + 0.002 * rng.standard_normal((N + 300, 1))
    judge = judge_of((one, rows[:N]))
    assert not any(play(judge, one.name, 1.3 * rows[N:]))
    assert any(play(judge, one.name, 1.8 * rows[N:], T0 + 300 * 60.0))


def test_quiet_services_keep_to_the_stated_rate() -> None:
    # 12 services of two series for 2 days each, one alarm in 30 days allowed: 12 * 2 / 30 = 0.8 expected.
    # Poisson(0.8): P(4 or more) = 0.009.
    alarms = 0
    for seed in range(12):
        rng = np.random.default_rng([SEED, seed])
        first, second = spec("latency", "a"), spec("ratio", "b")
        a, b = quiet("latency", rng, N + 2880, phi=0.8, heavy=True), quiet("ratio", rng, N + 2880)
        judge = judge_of((first, a[:N]), (second, b[:N]))
        was_off = False
        for i in range(N, N + 2880):
            is_off = bool(judge.tick(T0 + 60.0 * (i - N + 1), {"a": a[i], "b": b[i]}))
            alarms += is_off and not was_off
            was_off = is_off
    assert alarms <= 3


@pytest.mark.parametrize("kind", KINDS)
def test_missing_data_is_no_evidence_and_no_recovery(kind: SeriesKind) -> None:
    rng = np.random.default_rng([SEED, 7])
    one, rows = spec(kind), quiet(kind, rng, N + 60)
    judge = judge_of((one, rows[:N]))
    nothing = np.full((600, one.width), np.nan)
    assert not any(play(judge, one.name, nothing))

    assert play(judge, one.name, worse(one, rows[N : N + 20]), T0 + 36_000.0)[-1]
    shift = judge.shift(one.name)
    assert all(play(judge, one.name, nothing, T0 + 37_200.0))
    assert not judge.is_back(one.name, shift.before, shift.now, T0 + 36_000.0)
    assert judge.seen_at(one.name) == T0 + 37_200.0


def test_a_constant_series_is_calm_until_it_moves() -> None:
    one, rows = spec("gauge"), np.full((N, 1), 7.0)
    judge = judge_of((one, rows))
    assert not any(play(judge, one.name, rows[:600]))
    assert any(play(judge, one.name, rows[:30] * 2.0, T0 + 36_000.0))


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_unit_makes_no_difference(factor: float) -> None:
    rng = np.random.default_rng(SEED)
    one, rows = spec("latency"), quiet("latency", rng, N + 240)
    rows[N + 120 :] *= 1.6
    plain = play(judge_of((one, rows[:N])), one.name, rows[N:])
    assert play(judge_of((one, factor * rows[:N])), one.name, factor * rows[N:]) == plain
    assert any(plain)


def test_too_little_history_is_not_judged() -> None:
    rng = np.random.default_rng(SEED)
    one, rows = spec("latency"), quiet("latency", rng, 1000)
    judge = judge_of((one, rows))
    assert (judge.judged, judge.learning) == ((), (one.name,))
    assert not any(play(judge, one.name, 9.0 * rows[:60]))
    assert judge.seen_at(one.name) == float("-inf")


def test_a_short_history_is_judged_by_the_bound_and_says_so() -> None:
    rng = np.random.default_rng(SEED)
    one, rows = spec("latency"), quiet("latency", rng, N)
    assert judge_of((one, rows)).calibration == "model"
    long = AlwaysOnSettings(history_s=7 * 86_400.0)
    judge = judge_of((one, quiet("latency", rng, 7 * 1440)), settings=long)
    assert judge.calibration == "own"
    assert judge.limit >= 1.0


def test_what_a_watch_has_judged_is_not_told_again() -> None:
    rng = np.random.default_rng(SEED)
    one, rows = spec("latency"), quiet("latency", rng, N + 600)
    rows[N + 60 :] *= 2.0
    pause = (T0 + 3000.0, T0 + 7200.0)
    judge = judge_of((one, rows[:N]), pauses=[pause])
    assert not any(play(judge, one.name, rows[N:]))
    # And what comes on top of it is.
    assert any(play(judge, one.name, 2.0 * rows[N + 540 :], T0 + 36_000.0))


def test_what_a_short_watch_has_judged_is_not_told_again_when_it_shows() -> None:
    rng = np.random.default_rng(SEED)
    one, rows = spec("latency"), quiet("latency", rng, N + 600)
    rows[N + 60 :] *= 2.0
    # Confirmed at the second tick, before any sum is off.
    pause = (T0 + 3600.0, T0 + 3720.0)
    assert any(play(judge_of((one, rows[:N])), one.name, rows[N : N + 120]))
    judge = judge_of((one, rows[:N]), pauses=[pause])
    assert not any(play(judge, one.name, rows[N:]))


def test_built_anew_in_the_middle_it_says_the_same() -> None:
    rng = np.random.default_rng(SEED)
    one, rows = spec("latency"), quiet("latency", rng, N + 60)
    rows[N + 20 :] *= 2.0
    live = judge_of((one, rows[:N]))
    assert play(live, one.name, rows[N : N + 40])[-1]
    again = judge_of((one, rows[: N + 40]), end_at=T0 + 2400.0)
    twice = judge_of((one, rows[: N + 40]), end_at=T0 + 2400.0)
    row = {one.name: rows[N + 40]}
    said = again.tick(T0 + 2460.0, row)
    assert said == twice.tick(T0 + 2460.0, row)
    # It has learned from 40 ticks more, so it may be a tick earlier or later.
    was = live.tick(T0 + 2460.0, row)
    assert said.keys() == was.keys()
    assert abs(said[one.name] - was[one.name]) <= 60.0
    assert again.shift(one.name).onset_at == live.shift(one.name).onset_at


def test_what_is_no_number_is_refused() -> None:
    rng = np.random.default_rng(SEED)
    one, rows = spec("latency"), quiet("latency", rng, N)
    with pytest.raises(ValueError, match="infinite"):
        judge_of((one, np.full((N, 1), np.inf)))
    with pytest.raises(ValueError, match="shape"):
        judge_of((replace(one, kind="ratio"), rows))
    with pytest.raises(ValueError, match="infinite"):
        judge_of((one, rows)).tick(T0 + 60.0, {one.name: np.array([np.inf])})
    with pytest.raises(ValueError, match="histories"):
        AlwaysOn([], SETTINGS)
