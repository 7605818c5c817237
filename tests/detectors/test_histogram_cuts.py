"""Where a distribution is cut, what lies above, and the quantile that is shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from detectors.histogram import CUTS_MAX, above, bounds, choose_cuts, quantile, usual_band
from detectors.model import HISTOGRAM_BINS, FloatArray
from detectors.parts import part_at, parts_of
from tests.detectors.simulated import distribution, spec

EDGES = bounds("s")
LATENCY = spec("histogram", "order_latency")

tables = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 5), st.just(HISTOGRAM_BINS)), elements=st.integers(0, 1000)
)


def row(**counts: int) -> FloatArray:
    """One step with so many requests in the bins named b0, b1, ..."""
    made = np.zeros((1, HISTOGRAM_BINS))
    for name, count in counts.items():
        made[0, int(name[1:])] = count
    return made


def test_cuts_lie_where_the_usual_shares_of_the_tail_begin() -> None:
    counts = distribution(np.random.default_rng(1), np.zeros(1440))
    cuts = choose_cuts(counts)
    edges = EDGES[list(cuts)]
    assert edges.tolist() == pytest.approx([0.1768, 0.25, 0.3536, 0.5, 0.7071, 1.0], abs=1e-4)
    shares = [above(counts, cut)[:, 0].sum() / counts.sum() for cut in cuts]
    # Of a log-normal around 0.2 s with s.d. 0.5, above these bounds.
    exact = special.ndtr(-np.log(edges / 0.2) / 0.5)
    assert shares == pytest.approx(exact.tolist(), rel=0.1)


@given(tables)
def test_cuts_divide_and_are_few(counts: FloatArray) -> None:
    cuts = choose_cuts(counts)
    pooled = counts.sum(axis=0)
    assert len(cuts) <= CUTS_MAX
    assert bool(cuts) == bool(pooled[:-1].any())
    for cut in cuts:
        assert pooled[cut] > 0.0
        events, trials = above(counts, cut).sum(axis=0)
        is_known = events >= 30.0 and trials - events >= 30.0
        is_highest = len(cuts) == 1 and not pooled[cut + 1 : -1].any()
        assert is_known or events <= 0.001 * trials or is_highest


def test_what_was_never_slow_is_watched_from_where_it_would_be() -> None:
    assert choose_cuts(row(b9=10_000)) == (9,)
    assert choose_cuts(np.full((3, HISTOGRAM_BINS), np.nan)) == ()
    assert choose_cuts(np.zeros((3, HISTOGRAM_BINS))) == ()


def test_empty_bins_of_coarse_buckets_give_one_cut_and_not_many() -> None:
    """Buckets 0.1, 0.5 and +Inf only: two bins of the grid hold anything, and the last."""
    place = np.searchsorted(EDGES, [0.1, 0.5])
    counts = row(**{f"b{place[0]}": 9000, f"b{place[1]}": 960, f"b{HISTOGRAM_BINS - 1}": 40})
    assert choose_cuts(counts) == tuple(place)


@given(tables, st.integers(0, HISTOGRAM_BINS - 2))
def test_above_a_cut_are_the_bins_behind_it(counts: FloatArray, cut: int) -> None:
    pair = above(counts, cut)
    assert (pair[:, 0] <= pair[:, 1]).all()
    np.testing.assert_array_equal(pair[:, 1], counts.sum(axis=1))
    np.testing.assert_array_equal(pair[:, 1] - pair[:, 0], counts[:, : cut + 1].sum(axis=1))


def test_a_missing_step_is_missing_above_every_cut() -> None:
    assert np.isnan(above(np.full((1, HISTOGRAM_BINS), np.nan), 4)).all()


@given(tables, st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bin_that_holds_it(counts: FloatArray, q: float) -> None:
    for value, one in zip(quantile(counts, "s", q), counts, strict=True):
        if one.sum() == 0.0:
            assert np.isnan(value)
            continue
        place = int(np.searchsorted(np.cumsum(one), q * one.sum()))
        low = 0.0 if place == 0 else EDGES[place - 1]
        high = EDGES[min(place, len(EDGES) - 1)]
        assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9)


def test_quantiles_of_a_known_distribution() -> None:
    counts = distribution(np.random.default_rng(2), np.zeros(2000)).sum(axis=0, keepdims=True)
    median, tail = (float(quantile(counts, "s", q)[0]) for q in (0.5, 0.95))
    assert median == pytest.approx(0.2, rel=0.02)
    assert tail == pytest.approx(0.2 * np.exp(0.5 * 1.645), rel=0.05)


def test_the_band_holds_nineteen_steps_of_twenty() -> None:
    counts = distribution(np.random.default_rng(3), np.zeros(1000))
    band = usual_band(counts, "s", 0.95)
    assert band is not None
    seen = quantile(counts, "s", 0.95)
    assert 0.94 < np.mean((seen >= band[0]) & (seen <= band[1])) < 0.96
    assert usual_band(np.zeros((3, HISTOGRAM_BINS)), "s", 0.95) is None


def test_parts_are_named_by_their_bound() -> None:
    (part,) = parts_of(LATENCY, row(b16=10_000))
    assert part.bound == 0.25
    assert part.spec.name == "order_latency: requests above 250 ms"
    assert (part.spec.kind, part.spec.unit, part.spec.width) == ("ratio", "ratio", 2)
    assert part_at(LATENCY, 0.25) == part
    for strange in (None, 0.3):
        with pytest.raises(ValueError, match="no bound of a distribution"):
            part_at(LATENCY, strange)


@pytest.mark.parametrize("kind", ["ratio", "latency", "probe"])
def test_any_other_series_is_its_only_part(kind: str) -> None:
    one = spec(kind)  # type: ignore[arg-type]  # a kind, from the list above
    (part,) = parts_of(one, np.zeros((3, one.width)))
    assert (part.whole, part.spec, part.cut) == (one, one, None)
    assert part_at(one, None) == part
