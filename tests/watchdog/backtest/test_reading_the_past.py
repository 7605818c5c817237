"""Where a past comes from: what the daemon kept, then its sources, and why something is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.watchdog.watching_rig import START, STEP_S, ScriptedSource, series, service
from watchdog.backtest.reading import CannotRead, Read, grid_of, read_past
from watchdog.plan import ServicePlan
from watchdog.sources.protocol import Source
from watchdog.sources.scrape import ScrapeSource
from watchdog.store.samples import KeptSamples, SampleStore

N = 200
UNTIL = START + (N - 1) * STEP_S
PLAN = service("checkout", series("checkout", "load"), series("checkout", "home", "probe", check="home"))


async def kept(folder: Path, rows: int) -> KeptSamples:
    """The first rows of `checkout/load`, each 7."""
    store = SampleStore(folder / "samples.db")
    await store.append("checkout/load", STEP_S, START, np.full((rows, 1), 7.0))
    await store.close()
    return KeptSamples(folder / "samples.db")


async def past(source: Source, samples: KeptSamples | None, *plans: ServicePlan) -> Read:
    span: dict[str, Any] = {"since_at": START - STEP_S, "until_at": UNTIL, "timeout_s": 1.0}
    chosen = plans or (PLAN,)
    return await read_past(
        chosen, {"prom": source}, samples, **span, now=lambda: UNTIL, on_read=lambda name: None
    )


def a_source(problem: str | None = None, *, is_empty: bool = False) -> ScriptedSource:
    return ScriptedSource(value=lambda name, at: None if is_empty else (at,), problem=problem)


async def test_what_was_kept_stays_and_the_source_fills_in_the_rest(tmp_path: Path) -> None:
    samples = await kept(tmp_path, 150)
    read = await past(a_source("late"), samples)
    samples.close()
    load = read.recordings["checkout/load"]
    assert (load.first_at, load.last_at, load.coverage) == (START, UNTIL, 1.0)
    np.testing.assert_array_equal(load.values[:150, 0], 7.0)
    assert load.values[150:, 0].tolist() == [START + i * STEP_S for i in range(150, N)]
    assert read.problems == {
        "checkout/load": "prom: late",
        "checkout/home": "a check has no past but what the daemon kept of it",
    }


async def test_a_series_that_was_kept_whole_is_not_asked_for(tmp_path: Path) -> None:
    samples, source = await kept(tmp_path, N), a_source()
    read = await past(source, samples)
    samples.close()
    assert source.asked == []
    assert "checkout/load" not in read.problems


async def test_a_scraped_page_has_no_past(tmp_path: Path) -> None:
    samples = await kept(tmp_path, 50)
    read = await past(ScrapeSource(url="http://127.0.0.1:1/metrics"), samples)
    samples.close()
    assert read.recordings["checkout/load"].coverage == pytest.approx(50 / N)
    assert "is a page that knows no past" in read.problems["checkout/load"]


async def test_nothing_at_all_is_an_error_that_says_why() -> None:
    only = service("checkout", series("checkout", "load"))
    with pytest.raises(CannotRead, match="no series has any data in this span: prom: it is dark"):
        await past(a_source("it is dark", is_empty=True), None, only)


def test_a_span_without_a_whole_step_is_refused() -> None:
    assert grid_of(PLAN, START - STEP_S, START).n == 1
    with pytest.raises(ValueError, match="no whole step of 10 s"):
        grid_of(PLAN, START, START + 1.0)
