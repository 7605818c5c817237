"""What is worse when a watch ends, and began too late for its looks: blamed on nobody, and no all-clear."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.model import FloatArray, JudgeSettings, SeriesKind
from detectors.replay import replay
from tests.detectors.simulated import KINDS, T0, distribution, errors, noise, quiet, spec, watch

N = 1440
TICKS = 31  # of warm-up and watch, the roll-out of one minute included
LATE = 24  # far beyond the first quarter, in which looks begin
SETTINGS = JudgeSettings(watch_s=1800.0)
SEEDS = 5


def _late(kind: SeriesKind, seed: int, last: int = TICKS) -> FloatArray:
    """A quiet service of which ticks `LATE` to `last` of the watch are bad; count: few orders."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    data = quiet(kind, rng, N + TICKS)
    bad = slice(N + LATE, N + last)
    count = last - LATE
    if not count:
        return data
    match kind:
        case "ratio":
            data[bad] = errors(rng, count, 0.1)
        case "probe":
            data[bad, 0] = np.arange(count) % 3 > 0  # three in a row are a hard break
        case "histogram":
            data[bad] = distribution(rng, 0.7 + 0.1 * noise(rng, count, 0.5))
        case "count":
            data[bad] *= 0.3
        case _:
            data[bad] *= 2.0
    return data


@pytest.mark.parametrize("kind", KINDS)
def test_what_begins_too_late_for_a_look_is_neither_blamed_nor_cleared(kind: SeriesKind) -> None:
    for seed in range(SEEDS):
        came = watch([(spec(kind), _late(kind, seed))], N, SETTINGS)
        if kind == "probe" and came.verdict.state == "regressed":
            continue  # the bets on a probe never stop, so a few of them are won in time
        assert (came.verdict.state, came.verdict.reason) == ("inconclusive", "too_late"), came.verdict.because
        assert "too late for this deploy to be blamed, and it is still there" in came.verdict.because
        evidence = came.verdict.evidence[0]
        assert evidence.effect is not None
        assert evidence.smallest_visible is not None
        assert evidence.effect > evidence.smallest_visible
        assert replay(came.judge.packet()) == came.verdict


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_over_by_the_end_is_cleared(kind: SeriesKind) -> None:
    came = [watch([(spec(kind), _late(kind, seed, LATE + 3))], N, SETTINGS).verdict for seed in range(SEEDS)]
    assert sum(verdict.state != "healthy" for verdict in came) <= 1, [verdict.because for verdict in came]


@pytest.mark.parametrize("kind", KINDS)
def test_a_quiet_watch_is_cleared(kind: SeriesKind) -> None:
    came = [watch([(spec(kind), _late(kind, seed, LATE))], N, SETTINGS).verdict for seed in range(12)]
    assert sum(verdict.state != "healthy" for verdict in came) <= 1, [verdict.because for verdict in came]


def test_what_every_day_does_late_in_the_watch_is_cleared() -> None:
    n = 7 * N
    for seed in range(SEEDS):
        values = 0.2 * np.exp(0.1 * np.random.default_rng(seed).standard_normal(n + TICKS))
        hour = ((T0 + 60.0 * (np.arange(n + TICKS) - n)) % 86400.0 - (T0 + 60.0 * LATE) % 86400.0) / 3600.0
        values[(hour >= 0.0) & (hour < 2.0)] *= 2.0
        verdict = watch([(spec("latency"), values[:, None])], n, SETTINGS).verdict
        assert verdict.state == "healthy", verdict.because


def test_a_series_that_only_informs_withholds_nothing() -> None:
    quiet_one = (spec("gauge", "queue"), quiet("gauge", np.random.default_rng(1), N + TICKS))
    informing = (spec("latency", acts=False), _late("latency", 1))
    came = watch([quiet_one, informing], N, SETTINGS)
    assert came.verdict.state == "healthy", came.verdict.because


@pytest.mark.parametrize("kind", ["latency", "ratio"])
def test_what_its_controls_do_as_well_is_shared(kind: SeriesKind) -> None:
    for seed in range(SEEDS):
        beside = [
            (spec(kind, f"{name}/{kind}"), _late(kind, seed + at)) for at, name in ((20, "a"), (40, "b"))
        ]
        came = watch([(spec(kind), _late(kind, seed))], N, SETTINGS, controls={kind: beside})
        assert (came.verdict.state, came.verdict.reason) == ("inconclusive", "shared"), came.verdict.because
        still = [(each, data.copy()) for each, data in beside]
        for at, (each, data) in zip((20, 40), still, strict=True):
            data[N:] = _late(each.kind, seed + at, LATE)[N:]
        came = watch([(spec(kind), _late(kind, seed))], N, SETTINGS, controls={kind: still})
        assert (came.verdict.state, came.verdict.reason) == ("inconclusive", "too_late"), came.verdict.because
