"""The report on a regressed watch: real packet, real worker process, and a store that keeps what is added."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest

from detectors.model import JudgeSettings, SeriesSpec
from tests.detectors.simulated import noise, watch
from tests.support.fake_clock import FakeClock
from watchdog.judging.accounts import differences, sentences
from watchdog.opinion.remarks import remarks
from watchdog.opinion.reports import Reports
from watchdog.opinion.worker import Worker
from watchdog.store.protocol import Store

STEP_S = 60.0
N = 4 * 1440


class Shelf:
    """The part of a store that a report uses."""

    def __init__(self, packet: Mapping[str, Any]) -> None:
        self.kept = dict(packet)
        self.is_annotated = asyncio.Event()

    async def packet(self, watch_id: str) -> Mapping[str, Any] | None:
        return self.kept if watch_id == "w1" else None

    async def annotate(self, watch_id: str, annotations: Mapping[str, Any]) -> None:
        assert watch_id == "w1"
        self.kept["annotations"] = {**self.kept.get("annotations", {}), **annotations}
        self.is_annotated.set()


def regressed() -> dict[str, Any]:
    """A queue of 100 that is 60 longer since the deploy, as it was for twelve hours two days ago."""
    values = 100.0 + 5.0 * noise(np.random.default_rng(31), N + 60, 0.5)
    values[2400:3120] += 60.0
    values[N:] += 60.0
    spec = SeriesSpec(name="queue", kind="gauge", unit="jobs", bad="up", step_s=STEP_S)
    seen = watch([(spec, values[:, None])], N, JudgeSettings(watch_s=2700.0, warm_up_s=60.0))
    assert seen.verdict.state == "regressed"
    packet: dict[str, Any] = json.loads(json.dumps(seen.judge.packet()))
    return packet


async def test_a_report_tells_what_the_series_does_by_itself_and_changes_no_verdict() -> None:
    shelf, worker = Shelf(regressed()), Worker()
    clock = FakeClock()
    reports = Reports(cast("Store", shelf), worker, clock)
    running = asyncio.create_task(reports.run())
    try:
        reports.put("unknown")
        reports.put("w1")
        await clock.advance(10.0)
        # The first fit imports statsmodels, up to 20 s on a busy machine.
        async with asyncio.timeout(120.0):
            await shelf.is_annotated.wait()
    finally:
        running.cancel()
        await worker.close()
    added = shelf.kept["annotations"]
    assert 30.0 < added["second_opinion"]["queue"]["low"] < 60.0
    assert len(added["second_opinion"]["queue"]["diagnostics"]) == 3
    assert added["habits"]["queue"]["changes"] == 2
    assert added["habits"]["queue"]["largest"] == pytest.approx(60.0, abs=8.0)
    told = " ".join(remarks(shelf.kept)["queue"])
    assert "In the 4 days before it the level changed twice by itself by half as much or more" in told
    assert any("by itself" in line for line in sentences(shelf.kept))
    assert differences(shelf.kept) == []


def annotated(**annotations: Any) -> dict[str, Any]:
    specs = [{"spec": {"name": "errors", "unit": "ratio"}}, {"spec": {"name": "latency", "unit": "s"}}]
    return {"series": specs, "annotations": annotations}


OPINION = {"effect": 0.027, "low": 0.021, "high": 0.034, "p_value": 0.0, "model": "binomial GLM", "note": ""}
HABITS = {
    "days": 7.0,
    "changes": 3,
    "largest": 0.04,
    "season_explains": 0.5,
    "season_effect": -0.002,
}


def test_remarks_say_numbers_with_their_units_and_what_they_mean() -> None:
    tests = [{"name": "Ljung-Box", "value": 0.9, "p_value": 0.0, "means": "It is too narrow."}]
    said = remarks(annotated(second_opinion={"errors": {**OPINION, "diagnostics": tests}}))
    assert said == {
        "errors": [
            "A second opinion says +2.7 pt, +2.1 pt to +3.4 pt (binomial GLM).",
            "It is too narrow.",
        ]
    }
    both = remarks(annotated(habits={"latency": HABITS, "gone": HABITS}))
    assert both == {
        "latency": [
            (
                "In the 7 days before it the level changed 3 times by itself by half as much or more "
                "(largest change 40 ms)."
            ),
            "The time of day alone would have changed it by -2.0 ms.",
        ]
    }


@pytest.mark.parametrize(
    ("opinion", "said"),
    [
        ({"effect": None, "note": "constant"}, "No second opinion: constant."),
        ({"low": -0.01}, "includes no change"),
        ({"note": "one side has no event"}, "One side has no event."),
    ],
)
def test_remarks_say_what_limits_an_opinion(opinion: Mapping[str, Any], said: str) -> None:
    assert said in " ".join(remarks(annotated(second_opinion={"errors": {**OPINION, **opinion}}))["errors"])


def test_too_short_a_past_is_said_and_a_packet_without_additions_has_no_remarks() -> None:
    young = {**HABITS, "days": 1 / 24, "changes": None, "largest": None, "season_effect": None}
    told = remarks(annotated(habits={"errors": young}))["errors"]
    assert told == ["The 60 min before it are too short to say what the series does by itself."]
    assert remarks({"series": []}) == {}
