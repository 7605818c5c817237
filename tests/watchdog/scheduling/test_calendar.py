"""Checks by cron: who makes them due, and that a burst after a deploy ends where it began."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import config
from config.cron import Cron
from tests.support.fake_clock import FakeClock
from tests.support.servers import free_port
from watchdog.app import wired
from watchdog.kinds import KINDS
from watchdog.plan import CheckPlan, plan_services
from watchdog.scheduling.bursts import Bursts
from watchdog.scheduling.schedule import Schedule
from watchdog.store.sqlite import SqliteStore

CONFIGURATION = """\
state_dir: {folder}/state
api: {{listen: "127.0.0.1:{port}"}}
services:
  shop:
    timezone: Europe/Berlin
    checks:
      nightly: {{kind: tcp, host: 127.0.0.1, port: 1, cron: 30 2 * * *, burst: {{every: 5s, for: 60s}}}}
      often: {{kind: tcp, host: 127.0.0.1, port: 1, every: 10m}}
"""


@pytest.fixture
def loaded(tmp_path: Path) -> config.Loaded:
    file = tmp_path / "watchdog.yaml"
    file.write_text(CONFIGURATION.format(folder=tmp_path, port=free_port()))
    file.chmod(0o600)
    return config.load([file], KINDS, {})


def checks(loaded: config.Loaded) -> dict[str, CheckPlan]:
    return {check.name: check for check in plan_services(loaded)["shop"].checks}


async def test_cron_makes_a_check_due_and_no_interval_does(loaded: config.Loaded) -> None:
    clock = FakeClock()
    async with wired(loaded, {}, clock, SqliteStore(Path(loaded.settings.state_dir) / "state.db")) as parts:
        assert parts.times["shop/nightly"] == (Cron("30 2 * * *"), "Europe/Berlin")
        assert "shop/often" not in parts.times
        for _, part in parts.all():
            part.close()


def test_a_plan_knows_when_its_check_is_due_next(loaded: config.Loaded) -> None:
    nightly, often = checks(loaded)["nightly"], checks(loaded)["often"]
    assert (nightly.interval_s, often.interval_s) == (None, 600.0)
    assert often.due_after(1000.0) == 1600.0
    assert nightly.due_after(1_800_000_000.0) == Cron("30 2 * * *").after(1_800_000_000.0, "Europe/Berlin")


async def test_a_burst_of_a_check_by_cron_ends_without_an_interval(loaded: config.Loaded) -> None:
    clock = FakeClock()
    schedule = Schedule(clock)
    taken: list[str] = []

    def put(name: str) -> bool:
        taken.append(name)
        schedule.done(name)
        return False

    bursts = Bursts(plan_services(loaded), schedule, {}, 2.0)
    running = asyncio.ensure_future(schedule.run(put))
    bursts.start("shop", clock.wall_s())
    await clock.advance(60.0)
    assert len(taken) == 12
    bursts.settle(clock.wall_s())
    await clock.advance(7200.0)
    assert len(taken) == 12
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
