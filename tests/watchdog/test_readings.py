"""Readings that only inform: what is kept of them, what goes to disk, what a watch gets, and the limits."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.model import CheckResult
from checks.tcp import TcpCheck
from tests.support.fake_clock import FakeClock
from tests.support.memory_store import MemoryStore
from tests.watchdog.watching_rig import START, STEP_S, a_keeper, series, service
from watchdog.keeper import batches
from watchdog.plan import CheckPlan, ServicePlan, reading_spec
from watchdog.readings import FLUSH_STEPS, JUDGED_MAX, READINGS_MAX, ReadingBook, Recent
from watchdog.scheduling.jobs import Jobs


def check(name: str) -> CheckPlan:
    return CheckPlan(
        service="checkout",
        name=name,
        check=TcpCheck(host="127.0.0.1", port=1),
        every_s=STEP_S,
        timeout_s=1.0,
        burst_every_s=None,
        burst_for_s=0.0,
    )


def planned(*checks: str, judged: str = "", **more: Any) -> ServicePlan:
    """A service with these checks; judged: a reading `check.name` that is a series of the plan."""
    plans = [series("checkout", name, "probe", check=name) for name in checks]
    if judged:
        name, _, reading = judged.partition(".")
        plans.append(series("checkout", judged, check=name, reading=reading))
    return service("checkout", *plans, checks=tuple(check(name) for name in checks), **more)


def a_readings(*checks: str, **more: Any) -> ReadingBook:
    return ReadingBook({"checkout": planned(*checks, **more)})


def told(seconds: float, **values: float) -> CheckResult:
    return CheckResult(outcome="pass", readings={"total_s": seconds, **values})


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.floats(-1e6, 1e6)), max_size=60),
)
def test_a_step_holds_the_mean_of_its_runs_while_it_is_among_the_newest(
    steps: int, moves: list[tuple[int, str, float]]
) -> None:
    recent = Recent(steps)
    said: dict[tuple[str, int], list[float]] = {}
    number = 1000
    for forward, name, value in moves:
        number += forward
        if name not in recent.names:
            recent.know(name)
        assert recent.add(number, name, value)
        said.setdefault((name, number), []).append(value)
    for name, means in zip(recent.names, recent.rows(990, number + 5), strict=True):
        for i, mean in enumerate(means):
            step = 990 + i
            values = said.get((name, step)) if number - steps < step <= number else None
            wanted = math.nan if values is None else sum(values) / len(values)
            assert mean == pytest.approx(wanted, rel=1e-9, abs=1e-6, nan_ok=True)


def test_every_number_is_known_when_it_is_first_seen_but_what_is_a_series_already() -> None:
    book = a_readings("home", "api", judged="home.total_s")
    book.add("checkout", "home", START, {"total_s": 0.2, "dns_s": 0.1, "body_bytes": 12.0})
    book.add("checkout", "home", START, {"connect_s": 0.1})
    assert book.known("checkout") == {"home": ("dns_s", "body_bytes", "connect_s")}
    assert (book.count, book.dropped) == (3, 0)
    assert book.told("checkout") == [
        {"name": "home.total_s", "kind": "gauge", "unit": "", "bad": "up", "acts": True},
        {"name": "home.dns_s", "kind": "latency", "unit": "s", "bad": "up", "acts": False},
        {"name": "home.body_bytes", "kind": "gauge", "unit": "bytes", "bad": None, "acts": False},
        {"name": "home.connect_s", "kind": "latency", "unit": "s", "bad": "up", "acts": False},
    ]


def test_checks_that_tell_the_same_share_their_names() -> None:
    book = a_readings("home", "api")
    for name in ("home", "api"):
        book.add("checkout", name, START, {"dns_s": 0.1, "total_s": 0.2})
    home, api = book.known("checkout").values()
    assert home is api


@pytest.mark.parametrize(
    "dropped",
    [
        {"a b": 1.0},
        {"": 1.0},
        {"x" * 65: 1.0},
        {"ä": 1.0},
        {"a/b": 1.0},
        {"total_s": math.nan},
        {"total_s": math.inf},
        {"total_s": -1.1e15},
    ],
)
def test_what_cannot_be_a_series_is_dropped_and_counted(dropped: dict[str, float]) -> None:
    book = a_readings("home")
    book.add("checkout", "home", START, {**dropped, "dns_s": 0.1})
    assert book.dropped == 1
    assert not np.isnan(book_rows(book, "dns_s")).all()


def book_rows(book: ReadingBook, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What goes to disk of that reading once the steps have ended."""
    book.close("checkout", START + STEP_S)
    found = {part[0]: part[3] for part in book.due("checkout", at_once=True)}
    return found.get(f"checkout/home.{name}", np.full((1, 1), np.nan))


def test_a_check_that_tells_too_much_is_cut_and_the_rest_is_counted() -> None:
    book = ReadingBook({"checkout": planned("home", "api")}, series_max=READINGS_MAX + 1)
    many = {f"r{i}": 1.0 for i in range(READINGS_MAX + 3)}
    for _ in range(2):
        book.add("checkout", "home", START, many)
    assert (book.count, book.dropped) == (READINGS_MAX, 6)
    book.add("checkout", "api", START, {"total_s": 1.0, "dns_s": 1.0})
    assert book.known("checkout")["api"] == ("total_s",)
    assert book.dropped == 7


def test_a_step_that_has_ended_takes_nothing_more() -> None:
    book = a_readings("home")
    book.add("checkout", "home", START, {"total_s": 1.0})
    book.close("checkout", START)
    book.add("checkout", "home", START, {"total_s": 9.0})
    assert book.dropped == 1
    (part,) = book.due("checkout", at_once=True)
    assert part[3][-1, 0] == 1.0


def test_ended_steps_go_to_disk_some_at_a_time_each_once_and_checks_in_turns() -> None:
    names = [f"c{i}" for i in range(40)]
    book = a_readings(*names)
    seen: dict[str, list[float]] = {name: [] for name in names}
    turns = []
    steps = 4 * FLUSH_STEPS
    for i in range(1, steps + 1):
        at = START + i * STEP_S
        for name in names:
            book.add("checkout", name, at - 1.0, {"total_s": float(i)})
        book.close("checkout", at)
        parts = list(book.due("checkout"))
        turns.append(len(parts))
        for series_id, step_s, first_at, rows in parts:
            kept = rows[np.isfinite(rows[:, 0]), 0]
            assert first_at + (len(rows) - 1) * step_s == at
            seen[series_id.removeprefix("checkout/").removesuffix(".total_s")] += kept.tolist()
    for series_id, _, _, rows in book.due("checkout", at_once=True):
        seen[series_id.removeprefix("checkout/").removesuffix(".total_s")] += rows[:, 0].tolist()
    assert all(values == [float(i) for i in range(1, steps + 1)] for values in seen.values())
    # 40 checks over 15 steps; all at once would be 40.
    assert max(turns) <= 10
    assert list(book.due("checkout", at_once=True)) == []


def test_a_watch_gets_what_has_a_bad_direction_by_turns_and_no_more_than_it_may() -> None:
    names = [f"c{i}" for i in range(JUDGED_MAX - 1)]
    book = a_readings(*names)
    for name in names:
        book.add("checkout", name, START, {"dns_s": 0.1, "ttl_s": 3.0, "body_bytes": 5.0, "total_s": 0.2})
    chosen = [ring.spec.name for ring in book.open("checkout")]
    assert chosen == [*(f"{name}.total_s" for name in sorted(names)), "c0.dns_s"]
    assert not any(ring.spec.acts for ring in book.open("checkout"))


def test_an_open_watch_gets_each_step_that_ends_also_when_a_tick_was_late() -> None:
    book = a_readings("home")
    book.add("checkout", "home", START, {"total_s": 1.0})
    book.close("checkout", START)
    (ring,) = book.open("checkout")
    book.fill("checkout")
    for i in (1, 2, 4):
        book.add("checkout", "home", START + i * STEP_S, {"total_s": 1.0 + i})
    book.close("checkout", START + 4 * STEP_S)
    rows = ring.read(START - STEP_S, START + 4 * STEP_S)[:, 0]
    np.testing.assert_array_equal(rows, [math.nan, 1.0, 2.0, 3.0, math.nan, 5.0])
    (again,) = book.open("checkout")
    assert again is ring
    book.keep_open(frozenset())
    book.add("checkout", "home", START + 5 * STEP_S, {"total_s": 9.0})
    book.close("checkout", START + 5 * STEP_S)
    assert np.isnan(ring.at(START + 5 * STEP_S)).all(), "who held it reads on, without what is new"


async def test_after_a_restart_all_is_known_again_and_a_watch_gets_its_past(tmp_path: Path) -> None:
    plan = planned("home", "api", judged="api.total_s")
    (batch,) = batches({"checkout": plan})
    keeper = a_keeper(tmp_path, [plan], {})
    steps = 4 * FLUSH_STEPS + 7
    for i in range(1, steps + 1):
        at = START + i * STEP_S
        keeper.add("checkout", "home", told(float(i), ttl_s=7.0), at - 1.0)
        keeper.add("checkout", "api", told(float(i)), at - 1.0)
        await keeper.read(batch, at, at)
        await keeper.mirror(batch, at)
    end_at = START + steps * STEP_S
    await keeper.mirror(batch, end_at, at_once=True)
    assert metric(keeper.metrics.registry, "watchdog_informing_series") == 2
    await keeper.samples.close()

    again = a_keeper(tmp_path, [plan], {})
    await again.refill(end_at)
    assert again.readings.known("checkout") == {"home": ("total_s", "ttl_s")}
    (ring,) = await again.informing(plan, end_at)
    rows = ring.read(START + STEP_S, end_at)[:, 0]
    np.testing.assert_array_equal(rows, np.arange(1.0, steps + 1))
    # What follows joins the past without a seam.
    again.add("checkout", "home", told(5.5), end_at + 1.0)
    await again.read(batch, end_at + STEP_S, end_at + STEP_S)
    assert ring.at(end_at + STEP_S)[0] == 5.5
    await again.samples.close()


async def test_what_was_of_a_check_that_is_gone_stays_on_disk_only(tmp_path: Path) -> None:
    old = planned("home", "gone")
    keeper = a_keeper(tmp_path, [old], {})
    for name in ("home", "gone"):
        keeper.add("checkout", name, told(1.0), START)
    (batch,) = batches({"checkout": old})
    await keeper.read(batch, START, START)
    await keeper.mirror(batch, START, at_once=True)
    await keeper.samples.close()
    again = a_keeper(tmp_path, [planned("home")], {})
    await again.refill(START)
    assert again.readings.known("checkout") == {"home": ("total_s",)}
    assert await again.samples.names() == ["checkout/gone.total_s", "checkout/home.total_s"]
    await again.samples.close()


async def test_what_only_informs_is_kept_for_as_long_as_a_watch_can_use_it(tmp_path: Path) -> None:
    plan = planned("home", judged="home.dns_s", history_s=86_400.0)
    keeper = a_keeper(tmp_path, [plan], {})
    keeper.readings.know(["checkout/home.total_s"])
    old_at, new_at = START - 4 * 86_400.0, START - 86_000.0
    for name in ("home", "home.dns_s", "home.total_s"):
        for at in (old_at, new_at):
            width = 2 if name == "home" else 1
            await keeper.samples.append(f"checkout/{name}", STEP_S, at, np.ones((1, width)))
    jobs = Jobs(
        clock=FakeClock(START),
        store=MemoryStore(),
        samples=keeper.samples,
        keeper=keeper,
        plans=keeper.plans,
    )
    await jobs.do("job:retention")
    found = {}
    for name in ("home.dns_s", "home.total_s"):
        rows = [await keeper.samples.load(f"checkout/{name}", STEP_S, 1, at, at) for at in (old_at, new_at)]
        found[name] = [bool(np.isfinite(row).all()) for row in rows]
    assert found == {"home.dns_s": [True, True], "home.total_s": [False, True]}
    await keeper.samples.close()


async def test_a_run_that_could_not_tell_leaves_its_readings_missing(tmp_path: Path) -> None:
    plan = planned("home")
    keeper = a_keeper(tmp_path, [plan], {})
    keeper.add(
        "checkout", "home", CheckResult(outcome="error", because="x", readings={"total_s": 1.0}), START
    )
    assert keeper.readings.known("checkout") == {}
    await keeper.samples.close()


@pytest.mark.parametrize(
    ("name", "kind", "unit", "bad"),
    [
        ("total_s", "latency", "s", "up"),
        ("mismatches_per_million", "gauge", "per_million", "up"),
        ("certificate_days", "gauge", "days", "down"),
        # Nobody but who names it in `judge` says that more of it is worse.
        ("body_bytes", "gauge", "bytes", "up"),
        ("col_failed", "gauge", "", "up"),
    ],
)
def test_a_reading_is_the_same_series_whether_it_may_act_or_informs(
    name: str, kind: str, unit: str, bad: str
) -> None:
    acting, informing = (reading_spec("home", name, 60.0, acts=acts) for acts in (True, False))
    assert (acting.name, acting.kind, acting.unit, acting.bad) == (f"home.{name}", kind, unit, bad)
    assert replace(acting, acts=False) == informing


def metric(registry: Any, name: str) -> float | None:
    value: float | None = registry.get_sample_value(name)
    return value
