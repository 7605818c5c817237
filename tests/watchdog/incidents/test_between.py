"""Days of a service between its deploys: told once, ended once, paused by watches, never acting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from detectors.always_on import AlwaysOnSettings
from detectors.model import FloatArray, SeriesSpec
from tests.support.fake_clock import FakeClock
from tests.support.sample_plan import Watched, a_plan
from tests.watchdog.store.store_material import deploy_of, event, settle_as, with_watch
from tests.watchdog.watching_rig import a_book, seen
from watchdog.alerts.messages import Routes
from watchdog.board import LiveBoard
from watchdog.incidents.between import Between
from watchdog.judging.bench import Bench
from watchdog.metrics import Metrics
from watchdog.model import Alert, Decision, Ruling
from watchdog.plan import AlwaysOnPlan, SeriesPlan, ServicePlan
from watchdog.series import HEAL_STEPS, SeriesBook
from watchdog.sources.protocol import Query
from watchdog.store.sqlite import SqliteStore

STEP_S = 60.0
HISTORY_S = 86_400.0
START = 1_780_000_020.0 - 1_780_000_020.0 % STEP_S
SEED = 20261126


def _series(name: str) -> SeriesPlan:
    spec = SeriesSpec(name=name, kind="latency", unit="s", bad="up", step_s=STEP_S)
    query = Query(series_id=f"checkout/{name}", kind="latency", query="x")
    return SeriesPlan(id=f"checkout/{name}", spec=spec, source="prom", query=query)


PLAN = a_plan(
    step_s=STEP_S,
    history_s=HISTORY_S,
    series=(_series("orders"), _series("payments")),
    always_on=AlwaysOnPlan(settings=AlwaysOnSettings(history_s=HISTORY_S), accept_after_s=4 * 3600.0),
)


@dataclass
class Town:
    """One service, its past in the rings, a real store, and a clock that the test moves.

    factor: what the latencies are multiplied with from now on; None while nothing is seen.
    """

    store: SqliteStore
    plan: ServicePlan = PLAN
    clock: FakeClock = field(default_factory=lambda: FakeClock(START))
    bench: Watched = field(default_factory=Watched)
    metrics: Metrics = field(default_factory=Metrics)
    board: LiveBoard = field(default_factory=lambda: LiveBoard(["checkout"], ["prom"]))
    factor: dict[str, float | None] = field(default_factory=lambda: {"orders": 1.0, "payments": 1.0})
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))
    book: SeriesBook = field(init=False)
    between: Between = field(init=False)
    woken: int = 0

    def __post_init__(self) -> None:
        self.book = a_book(self.plan)
        first_at = START - HISTORY_S + STEP_S
        for item in self.plan.series:
            self.book.backfill(item.id, first_at, self._values(round(HISTORY_S / STEP_S)))
        self.between = self.started()

    def _values(self, n: int) -> FloatArray:
        return 0.2 * np.exp(0.1 * self.rng.standard_normal((n, 1)))

    def started(self) -> Between:
        """A daemon's worth of it, with nothing in memory but the rings."""

        def wake() -> None:
            self.woken += 1

        return Between(
            {self.plan.name: self.plan},
            book=self.book,
            store=self.store,
            bench=cast("Bench", self.bench),
            clock=self.clock,
            routes=Routes(default=("team",), page=("pager",), public_url="https://watchdog.example"),
            board=self.board,
            metrics=self.metrics,
            wake_outbox=wake,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let it learn, and begin to judge."""
        self.between = self.started()
        learning = asyncio.create_task(self.between.run())
        try:
            await self.between.tick("checkout", self._now())
            await seen(lambda: self._judged() > 0, "the judge is built")
            yield
        finally:
            learning.cancel()
            await asyncio.wait({learning})

    async def live(self, steps: int) -> None:
        """So many steps of it, each written, ticked and left behind."""
        for _ in range(steps):
            self.clock.step_wall(STEP_S)
            for item in self.plan.series:
                factor = self.factor[item.spec.name]
                row = self._values(1)[0]
                self.book.write(item.id, self._now(), row * (np.nan if factor is None else factor))
            await self.between.tick("checkout", self._now())

    def _now(self) -> float:
        return self.clock.wall_s() // STEP_S * STEP_S

    def _judged(self) -> float:
        value = self.metrics.registry.get_sample_value("watchdog_always_on_series", {"service": "checkout"})
        return value or 0.0

    async def told(self) -> list[Alert]:
        """Every alert, oldest first."""
        return list(reversed(await self.store.alerts()))


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    store = SqliteStore(tmp_path / "state.db")
    await store.open(START)
    yield Town(store)
    await store.close()


def _kinds(alerts: Sequence[Alert]) -> list[str]:
    return [alert.kind for alert in alerts]


async def test_a_quiet_day_says_nothing(town: Town) -> None:
    async with town.running():
        await town.live(1440)
    assert await town.told() == []
    assert await town.store.incidents() == []
    assert "2 series calm" in town.board.services["checkout"].always_on


async def test_it_is_told_once_with_numbers_and_ended_once(town: Town) -> None:
    async with town.running():
        await town.live(60)
        began_at = town.clock.wall_s()
        town.factor["payments"] = 2.0
        await town.live(120)
        (alert,) = await town.told()
        assert (alert.kind, alert.channel, alert.page, alert.event) == ("drifted", "team", False, "update")
        assert alert.text.startswith("checkout (prod): worse without a deploy: Payments rose from 200 ms to ")
        assert alert.fields["blame"] == "No deploy of checkout is known."
        assert alert.fields["done"] == "Nothing was sent to a rollback target."
        assert alert.link == "https://watchdog.example/s/checkout"
        (incident,) = await town.store.incidents(is_open=True)
        assert abs(incident.onset_at - began_at) <= 2 * STEP_S
        assert incident.series["payments"].now == pytest.approx(0.4, rel=0.2)
        assert town.metrics.registry.get_sample_value("watchdog_incident_open", {"service": "checkout"}) == 1

        town.factor["payments"] = 1.0
        await town.live(300)
        assert _kinds(await town.told()) == ["drifted", "settled"]
        assert town.woken == 2
        (over,) = await town.store.incidents()
        assert over.state == "resolved"
        assert (await town.told())[1].dedup_key == alert.dedup_key


async def test_several_series_at_once_are_one_alert_that_names_them(town: Town) -> None:
    async with town.running():
        town.factor.update(orders=3.0, payments=3.0)
        await town.live(60)
    (incident,) = await town.store.incidents()
    assert set(incident.series) == {"orders", "payments"}
    assert len(await town.told()) == 1


async def test_a_restart_in_the_middle_tells_nothing_twice_and_ends_it_once(town: Town) -> None:
    async with town.running():
        town.factor["payments"] = 2.0
        await town.live(30)
    assert _kinds(await town.told()) == ["drifted"]
    for _ in range(3):
        async with town.running():
            await town.live(10)
    assert _kinds(await town.told()) == ["drifted"]
    town.factor["payments"] = 1.0
    async with town.running():
        await town.live(5)
    async with town.running():
        await town.live(60)
    async with town.running():
        await town.live(60)
    assert _kinds(await town.told()) == ["drifted", "settled"]


async def test_what_began_while_it_was_down_is_told_by_the_next_start(town: Town) -> None:
    town.factor["payments"] = 2.0
    for _ in range(60):
        town.clock.step_wall(STEP_S)
        for item in town.plan.series:
            row = town._values(1)[0] * town.factor[item.spec.name]
            town.book.write(item.id, town._now(), row)
    async with town.running():
        await town.live(2 + HEAL_STEPS)
    assert _kinds(await town.told()) == ["drifted"]


async def test_no_data_neither_begins_nor_ends_it(town: Town) -> None:
    async with town.running():
        town.factor["payments"] = None
        await town.live(300)
        assert await town.told() == []
        town.factor["payments"] = 2.0
        await town.live(60)
        town.factor["payments"] = None
        await town.live(600)
        assert _kinds(await town.told()) == ["drifted"]
        (incident,) = await town.store.incidents(is_open=True)
        assert incident.state == "raised"


async def test_a_lasting_shift_is_accepted_said_so_and_then_usual(town: Town) -> None:
    async with town.running():
        town.factor["payments"] = 2.0
        await town.live(300)
        told = await town.told()
        assert _kinds(told) == ["drifted", "settled"]
        assert "taken as usual from now on" in told[1].text
        await town.live(600)
        assert len(await town.told()) == 2
        # And what comes on top is news again.
        town.factor["payments"] = 6.0
        await town.live(60)
        assert _kinds(await town.told()) == ["drifted", "settled", "drifted"]


async def test_an_open_watch_judges_alone(town: Town) -> None:
    watch = await with_watch(town.store)
    assert watch.closed_at is None
    town.bench.services.add("checkout")
    async with town.running():
        town.factor["payments"] = 2.0
        await town.live(300)
        assert await town.told() == []
        assert await town.store.incidents() == []
        assert "paused" in town.board.services["checkout"].always_on


async def test_an_incident_is_not_over_before_the_watch_that_came_into_it_is(town: Town) -> None:
    async with town.running():
        town.factor["payments"] = 2.0
        await town.live(60)
        watch = await with_watch(town.store)
        town.bench.services.add("checkout")
        town.factor["payments"] = 1.0
        await town.live(60)
        assert _kinds(await town.told()) == ["drifted"]
        over = replace(watch, state="healthy", closed_at=town.clock.wall_s())
        closing = Ruling(decision=Decision(do="close", because="steady"), watch=over)
        await town.store.transact(watch.id, lambda facts: closing, town.clock.wall_s())
        town.bench.services.clear()
        await town.live(3)
        assert _kinds(await town.told()) == ["drifted", "settled"]


async def test_it_never_makes_an_action(town: Town) -> None:
    town.plan = replace(PLAN, mode="auto", target="deployer")
    async with town.running():
        town.factor.update(orders=9.0, payments=9.0)
        await town.live(300)
    assert _kinds(await town.told())[0] == "drifted"
    assert await town.store.actions() == []
    assert not any(alert.page for alert in await town.told())
    assert {alert.channel for alert in await town.told()} == {"team"}


async def test_the_last_deploy_is_named(town: Town) -> None:
    told = event(started_at=START - 7200.0, finished_at=START - 7100.0)
    await town.store.take_in(told, settle_as(deploy_of(told, "d1"), None), START - 7000.0)
    async with town.running():
        town.factor["payments"] = 2.0
        await town.live(60)
    (alert,) = await town.told()
    assert alert.fields["blame"].startswith("No deploy of checkout in the 2 h ")
    assert "the last was 4.9.1 at" in alert.fields["blame"]


async def test_a_bug_leaves_the_service_unjudged_and_the_daemon_running(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    async with town.running():
        await town.live(3)
        # Two columns where one was promised: no source can do that, a bug could.
        town.book._rings["checkout/orders"]._rows = np.full((2000, 2), 1.0)
        await town.live(1 + HEAL_STEPS)
        bugs = town.metrics.registry.get_sample_value("watchdog_judge_bugs_total", {"service": "checkout"})
        assert bugs == 1
        assert "not judged" in town.board.services["checkout"].always_on
    assert await town.told() == []


async def test_switched_off_it_does_nothing(town: Town) -> None:
    town.plan = replace(PLAN, always_on=AlwaysOnPlan(is_enabled=False))
    town.between = town.started()
    town.factor["payments"] = 9.0
    await town.live(60)
    assert await town.told() == []
    assert town.board.services["checkout"].always_on == ""
