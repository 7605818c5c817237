"""The closed loop: confirmed needs both the version and the recovery; the deadline never means success."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detectors.recovery import Recovery
from tests.support.examples import INTENT, NOW
from watchdog.model import Action
from watchdog.rollback.verify import verify

ACKED: Action = replace(INTENT, state="acked", acked_at=NOW, deadline_at=NOW + 60)
YES = Recovery(state="yes", because="failed payments are back at 0.4 %")
NO = Recovery(state="no", because="failed payments are still at 3.0 %")
UNKNOWN = Recovery(state="unknown", because="no data yet")


@pytest.mark.parametrize("version", ["4.11.3", "4.12.0", None])
@pytest.mark.parametrize("recoveries", [[], [YES], [YES, NO], [YES, UNKNOWN], [NO], [UNKNOWN]])
@pytest.mark.parametrize("has_signal", [True, False])
@pytest.mark.parametrize("now", [NOW + 1, NOW + 61])
def test_confirmed_means_both(
    version: str | None, recoveries: list[Recovery], has_signal: bool, now: float
) -> None:
    seen = verify(
        ACKED, running_version=version, has_version_signal=has_signal, recoveries=recoveries, now=now
    )
    is_good = (version == "4.11.3" or not has_signal) and recoveries == [YES]
    expected = "confirmed" if is_good else "unconfirmed" if now > NOW + 60 else "wait"
    assert seen.state == expected
    assert seen.because


def test_it_says_which_part_is_missing() -> None:
    seen = verify(ACKED, running_version="4.12.0", has_version_signal=True, recoveries=[NO], now=NOW + 61)
    assert "4.12.0" in seen.because
    assert "still at 3.0 %" in seen.because
