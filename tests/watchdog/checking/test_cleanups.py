"""A daemon killed between create and cleanup, and what is cleaned up, tried again and told afterwards."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from checks.model import CheckResult, Cleanup
from checks.scenario import ScenarioCheck
from tests.support.daemon import ROOT, daemon
from tests.support.fake_clock import FakeClock
from tests.support.receivers import Received, Receiver, Reply, in_thread
from tests.support.sample_plan import a_plan
from tests.support.servers import wait_until
from watchdog.checking.cleanups import LOOK_EVERY_S, RUNS_AT_ONCE, TRIED_FOR_S, Cleaner, cleanups_for
from watchdog.metrics import Metrics
from watchdog.model import PendingCleanup
from watchdog.plan import CheckPlan, ServicePlan
from watchdog.retrying import delay_s
from watchdog.store.protocol import StoreUnavailable
from watchdog.store.sqlite import SqliteStore


class Shop(Receiver):
    """Keeps orders until they are deleted. orders: by id, the run that made it."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: dict[str, str] = {}
        self.deletes: list[Received] = []
        self.status = 204

    def process(self, received: Received) -> Reply:
        if received.method == "POST":
            order = f"o-{len(self.received)}"
            self.orders[order] = received.headers["x-synthetic"]
            return Reply(status=201, body=json.dumps({"id": order}))
        if received.method == "DELETE":
            self.deletes.append(received)
            if self.status < 300:
                self.orders.pop(received.path.rpartition("/")[2], None)
            return Reply(status=self.status)
        return Reply(status=200)


def configuration(shop: Shop, leak_after: str = "1h") -> str:
    """A scenario whose runs do not overlap with the next."""
    return f"""\
services:
  shop:
    checks:
      order:
        kind: scenario
        every: 2s
        timeout: 30s
        leak_after: {leak_after}
        steps:
          - post: {shop.url}/orders
            extract: {{order: $.id}}
          - get: {shop.url}/pay
        cleanup:
          - delete: {shop.url}/orders/{{order}}
"""


def test_what_a_killed_daemon_had_created_is_cleaned_up_after_the_restart(tmp_path: Path) -> None:
    shop = Shop()
    # The second step never ends, so that the order is there and its cleanup has not begun.
    shop.script.extend(["contract", "hangs"])
    with in_thread(shop):
        with daemon(tmp_path, configuration(shop)) as first:
            wait_until(lambda: len(shop.received) == 2, timeout_s=20, what="the run is at its second step")
            first.kill()
        assert list(shop.orders) == ["o-1"]
        run_id = shop.orders["o-1"]
        assert shop.deletes == []
        shop.always = "contract"
        with daemon(tmp_path, configuration(shop)) as second:
            wait_until(lambda: "o-1" not in shop.orders, timeout_s=20, what="the order is cleaned up")
            (delete,) = [received for received in shop.deletes if received.path == "/orders/o-1"]
            # The service sees it as a part of the run that was cut off.
            assert delete.headers["x-synthetic"] == run_id
            assert delete.headers["traceparent"].split("-")[1] == run_id
            assert delete.headers["user-agent"] == "deploy-watchdog (synthetic check)"
            assert "left by an earlier process" in second.log
            assert second.end() < 10
    assert shop.orders == {}


def test_what_cannot_be_cleaned_up_is_counted_and_shown(tmp_path: Path) -> None:
    shop = Shop()
    shop.status = 500
    with in_thread(shop):
        with daemon(tmp_path, configuration(shop, leak_after="1s")) as running:
            name = 'watchdog_leaked_runs{check="order",service="shop"}'
            wait_until(lambda: running.metrics().get(name, 0) > 0, timeout_s=20, what="a leak is counted")
            wait_until(lambda: "leak" in running.log, timeout_s=5, what="it is told")
            readings = running.call("/api/v1/services")[1]["services"][0]["checks"]["order"]["readings"]
            assert "leaked_runs" in readings
        command = [sys.executable, "-m", "watchdog", "check", "run", "shop/order", "-c"]
        shown = subprocess.run(
            [*command, str(tmp_path / "watchdog.yaml")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert "  LEAK run " in shown.stdout, shown.stdout + shown.stderr
    assert f'DELETE {shop.url}/orders/{{order}} (order = "o-1")' in shown.stdout


CHECK = TypeAdapter(ScenarioCheck).validate_python(
    {
        "steps": [{"post": "http://h/orders", "extract": {"order": "$.id"}}],
        "cleanup": [{"delete": "http://h/orders/{order}"}],
        "cleanup_timeout_s": 5.0,
    }
)
PLAN = CheckPlan(
    service="checkout",
    name="order",
    check=CHECK,
    every_s=60.0,
    timeout_s=20.0,
    burst_every_s=None,
    burst_for_s=0.0,
)


@dataclass(slots=True)
class Rig:
    """A cleaner on a real store, whose tries come to what `outcome` says."""

    store: SqliteStore
    clock: FakeClock
    cleaner: Cleaner
    metrics: Metrics
    tried: list[Cleanup] = field(default_factory=list)
    outcome: dict[str, str] = field(default_factory=dict)

    async def clean(self, plan: CheckPlan, cleanup: Cleanup) -> CheckResult:
        """As `Checker.clean`, without the requests."""
        self.tried.append(cleanup)
        because = self.outcome.get(cleanup.run_id, "")
        if because == "bug":
            return CheckResult(outcome="error", because="bug in the check: ZeroDivisionError")
        kept = cleanups_for(self.store, self.cleaner.plans, plan)
        assert kept is not None
        await kept.settle(cleanup.run_id, cleanup.steps if because else (), because)
        return CheckResult(outcome="fail" if because else "pass", because=because)

    def leaked(self) -> float:
        """What /metrics says."""
        value = self.metrics.registry.get_sample_value(
            "watchdog_leaked_runs", {"service": "checkout", "check": "order"}
        )
        assert value is not None
        return value


def plans(*checks: CheckPlan) -> dict[str, ServicePlan]:
    return {"checkout": a_plan(checks=checks)}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock, store, metrics = FakeClock(), SqliteStore(tmp_path / "state.db"), Metrics()
    await store.open(clock.wall_s())

    async def clean(plan: CheckPlan, cleanup: Cleanup) -> CheckResult:
        return await made.clean(plan, cleanup)

    cleaner = Cleaner(plans=plans(PLAN), store=store, clock=clock, metrics=metrics, clean=clean)
    made = Rig(store, clock, cleaner, metrics)
    yield made
    await store.close()


async def keep(rig: Rig, run_id: str = "run-1", plan: CheckPlan = PLAN) -> None:
    """As a run does that has just created something."""
    kept = cleanups_for(rig.store, rig.cleaner.plans, plan)
    assert kept is not None
    steps = (CHECK.cleanup[0].place,)
    await kept.keep(Cleanup(run_id=run_id, steps=steps, values={"order": "o-1"}, since_at=rig.clock.wall_s()))


async def test_a_run_that_goes_on_is_left_alone_until_it_should_be_over(rig: Rig) -> None:
    await keep(rig)
    await rig.clock.advance(25.0)
    await rig.cleaner.look()
    assert rig.tried == []
    # 20 s for the run, 5 s for its cleanup, 1 s for the caller.
    await rig.clock.advance(1.5)
    await rig.cleaner.look()
    assert [(try_.run_id, try_.values) for try_ in rig.tried] == [("run-1", {"order": "o-1"})]
    assert await rig.store.cleanups() == []


async def test_at_start_everything_is_due(rig: Rig) -> None:
    await keep(rig)
    await rig.cleaner.release(rig.clock.wall_s())
    await rig.cleaner.look()
    assert [try_.run_id for try_ in rig.tried] == ["run-1"]


async def test_it_is_tried_again_with_back_off_also_when_the_try_breaks(rig: Rig) -> None:
    await keep(rig)
    await rig.cleaner.release(rig.clock.wall_s())
    for attempt, because in enumerate(["status 500", "bug", "status 500", "bug"], 1):
        rig.outcome["run-1"] = because
        await rig.cleaner.look()
        await rig.cleaner.look()
        assert len(rig.tried) == attempt
        (row,) = await rig.store.cleanups()
        assert row.attempts == attempt
        wait_s = row.next_attempt_at - rig.clock.wall_s()
        assert wait_s == pytest.approx(delay_s("run-1", attempt))
        await rig.clock.advance(wait_s + 0.001)
    assert row.because == "status 500"
    rig.outcome.clear()
    await rig.cleaner.look()
    assert await rig.store.cleanups() == []


async def test_a_leak_is_counted_until_it_is_gone(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await keep(rig)
    rig.outcome["run-1"] = "status 500"
    await rig.clock.advance(CHECK.leak_after_s - 1.0)
    await rig.cleaner.look()
    assert rig.leaked() == 0.0
    await rig.clock.advance(2.0)
    for _ in range(3):
        await rig.cleaner.look()
    assert rig.leaked() == 1.0
    assert [record.message for record in caplog.records].count("leak") == 1
    rig.outcome.clear()
    await rig.clock.advance(400.0)
    await rig.cleaner.look()
    await rig.cleaner.look()
    assert rig.leaked() == 0.0


async def test_what_is_hopeless_is_given_up_on_the_record(rig: Rig) -> None:
    await keep(rig)
    rig.outcome["run-1"] = "status 500"
    await rig.clock.advance(TRIED_FOR_S)
    await rig.cleaner.look()
    assert len(await rig.store.cleanups()) == 1
    await rig.clock.advance(400.0)
    await rig.cleaner.look()
    assert await rig.store.cleanups() == []
    assert len(rig.tried) == 1
    (row, *_) = await rig.store.audit()
    assert (row.key, row.what) == (
        "run-1",
        "gave up cleaning up after checkout/order: DELETE http://h/orders/{order}",
    )


async def test_a_check_that_is_gone_is_not_cleaned_up_by_another(rig: Rig) -> None:
    await keep(rig)
    rig.cleaner.plans = plans(replace(PLAN, name="other"))
    await rig.cleaner.release(rig.clock.wall_s())
    await rig.cleaner.look()
    assert rig.tried == []
    assert [row.run_id for row in await rig.store.cleanups()] == ["run-1"]


async def test_a_few_runs_of_a_check_are_tried_at_once(rig: Rig) -> None:
    for n in range(RUNS_AT_ONCE + 2):
        await keep(rig, f"run-{n}")
    await rig.cleaner.release(rig.clock.wall_s())
    await rig.cleaner.look()
    assert [try_.run_id for try_ in rig.tried] == [f"run-{n}" for n in range(RUNS_AT_ONCE)]


async def test_a_store_that_cannot_be_written_is_waited_for(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(SqliteStore):
        is_full = True

        async def keep_cleanup(self, cleanup: PendingCleanup) -> None:
            if self.is_full:
                raise StoreUnavailable("no space left")
            await super().keep_cleanup(cleanup)

    await keep(rig)
    await rig.clock.advance(60.0)
    await rig.store.close()
    full = Full(rig.store.path)
    await full.open(rig.clock.wall_s())
    rig.store = rig.cleaner.store = full
    running = asyncio.ensure_future(rig.cleaner.run())

    def told() -> int:
        return [record.message for record in caplog.records].count("cannot clean up")

    while not told():
        await rig.clock.advance(LOOK_EVERY_S)
    await rig.clock.advance(3 * LOOK_EVERY_S)
    assert rig.tried == []
    full.is_full = False
    while not rig.tried:
        await rig.clock.advance(LOOK_EVERY_S)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert told() == 1


async def test_only_what_leaves_something_is_kept(rig: Rig) -> None:
    clean = TypeAdapter(ScenarioCheck).validate_python({"steps": [{"get": "http://h/"}]})
    assert cleanups_for(rig.store, rig.cleaner.plans, replace(PLAN, check=clean)) is None
