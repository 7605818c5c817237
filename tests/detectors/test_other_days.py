"""What the same time of other days foretells, and where that time lies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.model import FloatArray
from detectors.origins import Origins, placebo_origins
from detectors.other_days import foretold

_DAY = 86_400.0
_MONDAY = 5 * _DAY  # the epoch began on a Thursday; the first of it, midnight after four days


def _a_week(local_end_at: float = 0.0) -> Origins:
    return placebo_origins(10_080, 60.0, local_end_at)


def _noise(seed: int, origins: Origins) -> FloatArray:
    return np.random.default_rng(seed).standard_normal(len(origins.at))


@pytest.mark.parametrize(("n", "step_s"), [(10_080, 60.0), (2016, 300.0), (500, 60.0), (40_000, 15.0)])
def test_the_same_time_of_another_day_is_an_origin_too(n: int, step_s: float) -> None:
    origins = placebo_origins(n, step_s)
    assert origins.at[0] == n
    assert len(origins.at) <= 1201
    is_there = origins.others < len(origins.at)
    assert is_there.any() == (n > _DAY / step_s)
    assert (origins.others[is_there] > 0).all(), "the deploy is nobody's other day"
    here = np.broadcast_to(origins.at, origins.others.shape)[is_there]
    there = origins.at[origins.others[is_there]]
    assert ((here - there) * step_s % _DAY == 0.0).all()
    assert (here != there).all()


@pytest.mark.parametrize("step_s", [7.0, 3600.0 * 48])
def test_a_day_of_no_whole_number_of_steps_has_no_other_days(step_s: float) -> None:
    origins = placebo_origins(20_000, step_s)
    assert (origins.others == len(origins.at)).all()
    assert not origins.alike.any()
    assert not foretold(_noise(1, origins), origins).any()


def test_workdays_are_like_workdays_and_weekends_like_weekends() -> None:
    monday = _a_week(_MONDAY - 0.5 * _DAY)
    # Back from noon of a Monday: Sunday, Saturday, Friday to Tuesday; the history begins a Monday before.
    assert monday.alike[:, 0].tolist() == [False, False, True, True, True, True, False]
    saturday = _a_week(_MONDAY - 2.5 * _DAY)
    assert saturday.alike[:, 0].tolist() == [False] * 5 + [True] + [False]


@pytest.mark.parametrize("days", [1.1, 1.5, 2.0, 2.9, 5.5, 9.0])
def test_a_time_of_day_is_foretold_by_whatever_other_days_there_are(days: float) -> None:
    origins = placebo_origins(round(1440 * days), 60.0)
    wave = np.minimum(np.sin(2.0 * np.pi * origins.at / 1440.0), 0.0)  # falls, so that only the mean tells
    wave[3] = np.nan
    told = foretold(wave, origins)
    at = origins.at.tolist()
    # Two days either side of a placebo, seven days before the deploy.
    for j, here in enumerate(at):
        there = range(-7, 0) if j == 0 else (-2, -1, 1, 2)
        places = [at.index(here + 1440 * d) for d in there if here + 1440 * d in at[1:]]
        others = [wave[place] for place in places if np.isfinite(wave[place])]
        assert told[j] == pytest.approx(np.mean(others) if others else 0.0)


def test_other_days_are_taken_off_only_where_they_foretell() -> None:
    origins = _a_week()
    wave = np.sin(2.0 * np.pi * origins.at / 1440.0)
    assert np.abs(foretold(wave + 0.05 * _noise(2, origins), origins) - wave).mean() < 0.1
    chance = foretold(_noise(2, origins), origins)
    assert (chance > 0.0).mean() < 0.02
    assert (chance >= 0.0).all()
    # What is no season all day long may still rise at one time of the day, and does not fall at another.
    assert not foretold(wave - 1.0 + 0.05 * _noise(2, origins), origins, has_season=False).any()


@pytest.mark.parametrize("has_season", [True, False])
def test_a_short_rise_of_every_day_is_taken_off_whole(has_season: bool) -> None:
    origins = _a_week()
    rise = np.where(origins.at % 1440 < 45, 1.0, 0.0)
    told = foretold(rise + 0.18 * _noise(1, origins), origins, has_season=has_season)
    # Of two days the lower counts.
    assert told[0] == pytest.approx(1.0, abs=0.2)
    assert told[rise > 0.0].mean() == pytest.approx(0.9, abs=0.1)
    assert np.abs(told[rise == 0.0]).mean() < 0.05


def test_a_rise_of_workdays_is_foretold_on_workdays_only() -> None:
    monday = _a_week(_MONDAY)
    is_weekend = (np.floor((_MONDAY - (10_080 - monday.at) * 60.0) / _DAY) + 3) % 7 >= 5
    rise = np.where((monday.at % 1440 < 45) & ~is_weekend, 1.0, 0.0)
    contrast = rise + 0.18 * _noise(5, monday)
    told = foretold(contrast, monday, has_season=False)
    assert told[0] == pytest.approx(1.0, abs=0.3)
    assert told[rise > 0.0].mean() == pytest.approx(0.8, abs=0.1)
    assert np.abs(told[(rise == 0.0) & (monday.at % 1440 < 45)]).mean() < 0.1, "no rise on weekends"
    # By a calendar that knows no weekend, the deploy of a Monday is compared with Saturday and Sunday too.
    blurred = replace(monday, alike=monday.others < len(monday.at))
    assert np.abs(foretold(contrast, blurred, has_season=False) - rise).mean() > np.abs(told - rise).mean()


@pytest.mark.parametrize("days", [2, 3, 7])
def test_one_incident_yesterday_is_no_habit(days: int) -> None:
    origins = placebo_origins(1440 * days + 10, 60.0)
    contrast = 0.1 * _noise(4, origins)
    contrast[origins.others[0, 0]] = 5.0
    assert foretold(contrast, origins)[0] < 0.5


def test_what_is_found_at_the_deploy_foretells_nothing() -> None:
    origins = _a_week()
    contrast = np.sin(2.0 * np.pi * origins.at / 1440.0) + 0.1 * _noise(6, origins)
    told = foretold(contrast, origins)
    contrast[0] = 1e6
    assert foretold(contrast, origins).tolist() == told.tolist()
