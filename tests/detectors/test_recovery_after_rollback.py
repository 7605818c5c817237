from __future__ import annotations

import numpy as np
import pytest

from detectors.model import History, SeriesKind
from detectors.recovery import recovered
from tests.detectors.simulated import T0, errors, quiet, spec

N = 720


@pytest.mark.parametrize("kind", ["ratio", "latency", "gauge", "rate", "count", "probe"])
def test_back_at_the_old_level_is_recovered_and_still_broken_is_not(kind: SeriesKind) -> None:
    wrong = 0
    for seed in range(20):
        data = quiet(kind, np.random.default_rng(seed), N + 12)
        history = History(spec=spec(kind), values=data[:N], end_at=T0)
        after = data[N:].copy()
        broken = after.copy()
        if kind == "probe":
            after[:, 0], broken[:, 0] = 0.0, 1.0
        elif kind == "ratio":
            broken = errors(np.random.default_rng(seed), 12, 0.04)
        else:
            broken *= 0.4 if kind == "count" else 2.0
        assert recovered(spec(kind), history, broken).state == "no"
        back = recovered(spec(kind), history, after)
        assert back.state != "no", back.because
        wrong += back.state != "yes"
    # A last look that lies more than one s.d. off by chance is `unknown` until the next one; never `no`.
    assert wrong <= 5


def test_too_few_steps_are_unknown_and_say_how_many_are_needed() -> None:
    data = quiet("latency", np.random.default_rng(0), N + 4)
    history = History(spec=spec("latency"), values=data[:N], end_at=T0)
    told = recovered(spec("latency"), history, data[N:])
    assert (told.state, told.because) == ("unknown", "Latency: 4 of 5 steps with data since the rollback.")
    missing = np.full((30, 1), np.nan)
    assert recovered(spec("latency"), history, missing).state == "unknown"


def test_half_of_what_was_lost_coming_back_is_not_recovery() -> None:
    rng = np.random.default_rng(1)
    history = History(spec=spec("ratio"), values=errors(rng, N, 0.004), end_at=T0)
    half = errors(rng, 12, 0.02, 2000.0)
    assert recovered(spec("ratio"), history, half, lost=0.027).state == "no"
    assert recovered(spec("ratio"), history, errors(rng, 12, 0.004), lost=0.027).state == "yes"


def test_only_the_newest_steps_count() -> None:
    rng = np.random.default_rng(2)
    history = History(spec=spec("ratio"), values=errors(rng, N, 0.004), end_at=T0)
    after = np.concatenate([errors(rng, 10, 0.3), errors(rng, 10, 0.004)])
    assert recovered(spec("ratio"), history, after).state == "yes"


def test_without_history_only_a_probe_can_tell() -> None:
    empty = History(spec=spec("latency"), values=np.zeros((0, 1)), end_at=T0)
    assert recovered(spec("latency"), empty, np.ones((9, 1))).state == "unknown"
    probe = History(spec=spec("probe"), values=np.zeros((0, 2)), end_at=T0)
    assert recovered(spec("probe"), probe, np.tile([0.0, 1.0], (9, 1))).state == "yes"
    assert recovered(spec("probe"), probe, np.tile([1.0, 1.0], (9, 1))).state == "no"


def test_infinite_values_are_refused() -> None:
    history = History(spec=spec("latency"), values=np.ones((50, 1)), end_at=T0)
    with pytest.raises(ValueError, match="infinite"):
        recovered(spec("latency"), history, np.full((9, 1), np.inf))
