"""A roll-out of which nobody told the end is never cleared, whatever its judge says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detectors.model import Verdict, VerdictState
from tests.support.examples import DEPLOY, NOW, WATCH
from watchdog.watch import advance


@pytest.mark.parametrize("state", ["healthy", "blind", "inconclusive", "undecided", "suspect"])
def test_a_watch_whose_roll_out_never_ended_is_not_cleared(state: VerdictState) -> None:
    verdict = Verdict(state=state, reason="", because="It is quiet.", at=NOW)
    watch = advance(WATCH, replace(DEPLOY, finished_at=None), verdict, is_over=True, now=NOW)
    assert (watch.state, watch.closed_at) == ("inconclusive", NOW)
    assert "Nobody said that the roll-out finished" in watch.because
