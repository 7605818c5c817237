"""What a dead man's switch makes of the reports it has heard, and of those it has not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from checks.duration import show_span
from checks.heartbeat import HeartbeatCheck
from checks.model import Beat, BeatState, CheckResult, DatabaseUnable, World
from config.cron import Cron

NOW = 1_795_356_000.0  # 2026-11-22 14:00:00 UTC
HOUR_S = 3600.0


@dataclass
class Heard:
    """Implements `checks.model.Beats` over a list. is_away: it cannot be read; hangs: it never answers."""

    beats: Sequence[Beat]
    every_s: float = HOUR_S
    cron: str | None = None
    is_away: bool = False
    hangs: bool = False
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def heard(self) -> Sequence[Beat]:
        self.began.set()
        if self.is_away:
            raise DatabaseUnable("our store cannot be read now")
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        return self.beats

    def due_after(self, at: float) -> float:
        return Cron(self.cron).after(at, "UTC") if self.cron else at + self.every_s


def beat(state: BeatState, ago_s: float, run: str = "", exit_code: int | None = None) -> Beat:
    return Beat(state=state, at=NOW - ago_s, run=run, exit_code=exit_code)


AWAITED = beat("awaited", 90 * 86_400.0)


async def looked(world: World, *beats: Beat, cron: str | None = None, **settings: Any) -> CheckResult:
    """The result of a job that is due every hour, or by `cron`."""
    due = {"cron": cron} if cron else {"every_s": HOUR_S}
    check = HeartbeatCheck(**{"grace_s": 300.0, **due, **settings})
    return await check.run(replace(world, now_s=lambda: NOW, beats=Heard([AWAITED, *beats], cron=cron)))


async def test_a_success_in_time_passes_with_its_age_and_length(world: World) -> None:
    result = await looked(world, beat("start", 900.0), beat("success", 600.0, exit_code=0))
    assert (result.outcome, result.because) == ("pass", "")
    assert result.readings == {"age_s": 600.0, "run_s": 300.0}
    assert result.details == (
        " ok  began 2026-11-22 13:45:00 UTC, ended 2026-11-22 13:50:00 UTC, took 5 min, exit code 0",
    )


async def test_a_success_alone_is_enough_and_has_no_length(world: World) -> None:
    result = await looked(world, beat("success", 600.0))
    assert (result.outcome, dict(result.readings)) == ("pass", {"age_s": 600.0})


@pytest.mark.parametrize(
    ("beats", "settings", "because"),
    [
        pytest.param(
            [beat("success", 3901.0)],
            {},
            "no success for 65 min, one was due 2026-11-22 13:54:59 UTC (grace is 5 min)",
            id="late",
        ),
        pytest.param(
            [beat("success", 2 * HOUR_S), beat("start", 1800.0)],
            {},
            "no success for 2.0 h, one was due 2026-11-22 13:00:00 UTC (grace is 5 min); "
            "a run that began 2026-11-22 13:30:00 UTC has not ended",
            id="late-and-running",
        ),
        pytest.param([], {}, "no success was ever reported, one was due", id="never"),
        pytest.param(
            [beat("success", 600.0), beat("fail", 60.0, exit_code=3)],
            {},
            "the run that ended 2026-11-22 13:59:00 UTC failed with exit code 3",
            id="failed",
        ),
        pytest.param(
            [beat("success", 600.0), beat("fail", 300.0), beat("start", 60.0)],
            {},
            "the run that ended 2026-11-22 13:55:00 UTC failed",
            id="failed-and-tried-again",
        ),
        pytest.param(
            [beat("start", 400.0), beat("success", 100.0)],
            {"runs_max_s": 200.0},
            "the newest run took 5 min (runs_max is 3 min)",
            id="too-long",
        ),
        pytest.param(
            [beat("start", 101.0), beat("success", 100.0)],
            {"runs_min_s": 60.0},
            "the newest run took 1 s (runs_min is 60 s)",
            id="too-short",
        ),
        pytest.param(
            [beat("success", 900.0), beat("start", 700.0)],
            {"runs_max_s": 600.0},
            "the run that began 2026-11-22 13:48:20 UTC has not ended (runs_max is 10 min)",
            id="a-start-without-an-end",
        ),
        pytest.param(
            [beat("success", 900.0), beat("start", 700.0), beat("start", 60.0)],
            {"runs_max_s": 600.0},
            "the run that began 2026-11-22 13:48:20 UTC has not ended (runs_max is 10 min)",
            id="an-earlier-start-without-an-end",
        ),
        pytest.param(
            [beat("success", n * 60.0, f"{n}") for n in (4, 3, 2, 1)],
            {"at_most": 3, "at_most_per_s": 600.0},
            "4 runs in the last 10 min (at_most is 3)",
            id="too-often",
        ),
    ],
)
async def test_what_is_wrong(world: World, beats: list[Beat], settings: dict[str, Any], because: str) -> None:
    result = await looked(world, *beats, **settings)
    assert result.outcome == "fail"
    assert because in result.because
    assert result.readings == {}


@pytest.mark.parametrize(
    ("beats", "settings"),
    [
        pytest.param([beat("success", 3900.0)], {}, id="just-in-time"),
        pytest.param([beat("fail", 600.0), beat("success", 60.0)], {}, id="well-again"),
        pytest.param(
            [beat("start", 900.0), beat("start", 600.0), beat("success", 500.0)],
            {"runs_max_s": 200.0},
            id="an-unended-run-is-forgotten-after-a-good-one",
        ),
        pytest.param(
            [beat("start", 300.0, "a"), beat("start", 200.0, "b"), beat("success", 100.0, "a")],
            {"runs_max_s": 250.0},
            id="an-end-belongs-to-the-start-of-its-name",
        ),
        pytest.param(
            [beat("success", 601.0), *(beat("success", n * 60.0) for n in (3, 2, 1))],
            {"at_most": 3, "at_most_per_s": 600.0},
            id="often-but-not-too-often",
        ),
        pytest.param([beat("success", 100.0)], {"runs_min_s": 60.0, "runs_max_s": 61.0}, id="of-no-length"),
    ],
)
async def test_what_is_not_wrong(world: World, beats: list[Beat], settings: dict[str, Any]) -> None:
    result = await looked(world, *beats, **settings)
    assert (result.outcome, result.because) == ("pass", "")


@pytest.mark.parametrize(
    ("ended_ago_s", "outcome"),
    [
        # Due at 13:00 and 14:00; it is 14:00. The grace of the one at 13:00 is over.
        (HOUR_S + 60.0, "fail"),
        # The other machine's clock is ahead: what ended at 12:59:50 was the run of 13:00.
        (HOUR_S + 10.0, "pass"),
        (HOUR_S - 60.0, "pass"),
    ],
)
async def test_by_cron_a_success_counts_for_the_time_it_was_due(
    world: World, ended_ago_s: float, outcome: str
) -> None:
    result = await looked(world, beat("success", ended_ago_s), cron="0 * * * *")
    assert result.outcome == outcome, result


async def test_before_the_first_is_due_it_cannot_tell(world: World) -> None:
    heard = Heard([beat("awaited", 60.0)])
    result = await HeartbeatCheck(every_s=HOUR_S).run(replace(world, now_s=lambda: NOW, beats=heard))
    assert result.outcome == "error"
    assert result.because == "no success was reported yet, the first is due 2026-11-22 14:59:00 UTC"


@pytest.mark.parametrize(
    ("beats", "because"),
    [
        (None, "reports are kept by the daemon, and none has run here"),
        (Heard([]), "no report is known, and the daemon has not begun to wait for one"),
        (Heard([], is_away=True), "our store cannot be read now"),
        (Heard([], hangs=True), "our store did not answer within 0.05 s"),
    ],
)
async def test_what_is_our_own_doing_is_no_failure(world: World, beats: Heard | None, because: str) -> None:
    seen = replace(world, now_s=lambda: NOW, beats=beats, timeout_s=0.05)
    result = await HeartbeatCheck(every_s=HOUR_S).run(seen)
    assert (result.outcome, result.because) == ("error", because)


async def test_it_can_be_cancelled_while_it_reads(world: World) -> None:
    beats = Heard([], hangs=True)
    running = asyncio.ensure_future(HeartbeatCheck(every_s=HOUR_S).run(replace(world, beats=beats)))
    await beats.began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({}, "every: it is not said when the job is due"),
        ({"every_s": 60.0, "runs_max_s": 0.0}, "runs_max_s: write a duration above 0s"),
        ({"every_s": 60.0, "at_most": 1, "at_most_per_s": 0.0}, "at_most_per_s: write a duration above 0s"),
        ({"every_s": 60.0, "runs_min_s": 5.0, "runs_max_s": 5.0}, "runs_min_s: no run could be right"),
        ({"every_s": 60.0, "at_most": 3}, "at_most: it goes with at_most_per"),
        ({"every_s": 60.0, "at_most_per_s": 60.0}, "at_most: it goes with at_most_per"),
        ({"every_s": 60.0, "at_most": 0, "at_most_per_s": 60.0}, "at_most: write a number from 1 to 100"),
        ({"every_s": 60.0, "at_most": 101, "at_most_per_s": 60.0}, "at_most: write a number from 1 to 100"),
    ],
)
def test_wrong_configuration_is_refused(settings: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ValueError, match=refusal):
        HeartbeatCheck(**settings)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 s"),
        (0.02, "20 ms"),
        (45.0, "45 s"),
        (720.0, "12 min"),
        (12_600.0, "3.5 h"),
        (172_800.0, "2.0 d"),
    ],
)
def test_a_length_of_time_is_shown_in_its_unit(seconds: float, shown: str) -> None:
    assert show_span(seconds) == shown
