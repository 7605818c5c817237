"""Injected effects: as large as their label, in the bad direction, with chance as the series has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detectors.model import FloatArray, SeriesKind, SeriesSpec
from watchdog.backtest.injection import effects_of, inject, level_of

N = 4000
KINDS: tuple[SeriesKind, ...] = ("ratio", "probe", "count", "rate", "latency", "gauge")


def a_series(kind: SeriesKind, bad: str, seed: int = 5) -> tuple[SeriesSpec, FloatArray]:
    rng = np.random.default_rng(seed)
    width: dict[str, Any] = {"name": kind, "kind": kind, "unit": "", "bad": bad, "step_s": 60.0}
    spec = SeriesSpec(**width)
    if spec.width == 2:
        rows = np.column_stack([rng.binomial(200, 0.6, N), np.full(N, 200)]).astype(np.float64)
    elif kind in ("count", "rate"):
        rows = rng.poisson(100, (N, 1)).astype(np.float64)
    else:
        rows = 100.0 + rng.normal(0.0, 5.0, (N, 1))
    rows[::7] = np.nan
    return spec, rows


@pytest.mark.parametrize("bad", ["up", "down"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_size_moves_the_level_by_what_its_label_says(kind: SeriesKind, bad: str) -> None:
    spec, rows = a_series(kind, bad)
    level = level_of(spec, rows)
    assert level is not None
    sign = 1.0 if bad == "up" else -1.0
    for effect in effects_of(spec):
        changed = inject(spec, rows, effect, level, np.random.default_rng(1))
        seen = ~np.isnan(rows[:, 0])
        np.testing.assert_array_equal(np.isnan(changed), np.isnan(rows))
        assert effect.label.startswith("+" if bad == "up" else "-")
        if spec.width == 2:
            np.testing.assert_array_equal(changed[seen, 1], rows[seen, 1])
            before, after = (float(x[seen, 0].sum() / x[seen, 1].sum()) for x in (rows, changed))
            # Failures are added among what did not fail: of 0.4 there is a size of 0.4 times the share.
            expected = effect.size * (1.0 - before) if bad == "up" else min(effect.size, before)
            assert sign * (after - before) == pytest.approx(expected, abs=0.005)
            assert ((changed[seen, 0] >= 0) & (changed[seen, 0] <= changed[seen, 1])).all()
            assert f"{100 * effect.size:g} pt" in effect.label
        else:
            moved = float(np.nanmean(changed) - np.nanmean(rows))
            assert sign * moved == pytest.approx(effect.size * 100.0, rel=0.05)
            assert f"{100 * effect.size:g} %" in effect.label


def test_of_a_distribution_that_share_of_the_requests_takes_twice_as_long() -> None:
    spec = SeriesSpec(name="latency", kind="histogram", unit="s", bad="up", step_s=60.0)
    rows = np.zeros((N, spec.width))
    rows[:, 10] = 200.0
    rows[:, spec.width - 1] = 50.0
    rows[::7] = np.nan
    assert level_of(spec, rows) == 1.0
    seen = ~np.isnan(rows[:, 0])
    for effect, label in zip(effects_of(spec), ("2 % x2", "10 % x2", "30 % x2", "100 % x2"), strict=True):
        changed = inject(spec, rows, effect, 1.0, np.random.default_rng(1))
        assert effect.label == label
        np.testing.assert_array_equal(np.isnan(changed), np.isnan(rows))
        np.testing.assert_array_equal(changed[seen].sum(axis=1), 250.0)
        # Two bins of a factor sqrt(2) further on; what lies above all bounds can go nowhere.
        assert changed[seen, 12].mean() == pytest.approx(200.0 * effect.size, rel=0.03)
        np.testing.assert_array_equal(changed[seen, spec.width - 1], 50.0)


def test_counts_stay_whole_and_the_rows_handed_in_stay_as_they_are() -> None:
    for bad in ("up", "down"):
        spec, rows = a_series("count", bad)
        kept = rows.copy()
        changed = inject(spec, rows, effects_of(spec)[1], 100.0, np.random.default_rng(1))
        np.testing.assert_array_equal(rows, kept)
        seen = ~np.isnan(changed)
        assert (changed[seen] == np.round(changed[seen])).all()


def test_a_level_of_zero_or_nothing_is_none() -> None:
    spec, _ = a_series("gauge", "up")
    assert level_of(spec, np.zeros((10, 1))) is None
    assert level_of(spec, np.full((10, 1), np.nan)) is None
    assert level_of(spec, np.full((10, 1), -4.0)) == 4.0
    ratio, _ = a_series("ratio", "up")
    assert level_of(ratio, np.full((3, 2), np.nan)) == 1.0
