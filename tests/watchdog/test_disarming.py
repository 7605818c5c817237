"""A daemon that keeps crashing does not act: disarmed at its start, armed when it has run for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import config
from tests.support.examples import NOW
from tests.support.fake_clock import FakeClock
from tests.support.servers import free_port
from watchdog.app import wired
from watchdog.kinds import KINDS
from watchdog.metrics import Metrics
from watchdog.model import SwitchState
from watchdog.pulse import Pulse
from watchdog.store.sqlite import SqliteStore

CONFIGURATION = """
state_dir: {state}
api: {{listen: "127.0.0.1:{port}"}}
services:
  checkout:
    checks:
      home: {{kind: http, get: "http://127.0.0.1:9/"}}
"""


class Quiet:
    """What a pulse looks at beside the store: nothing to tell, nothing to do."""

    lateness_s = 0.0
    overruns = 0
    beats = 0

    def oldest_intent_age_s(self, now: float) -> float:
        return 0.0

    def settle(self, now: float) -> None:
        return

    async def verify_all(self) -> None:
        return

    async def expire_offers(self) -> None:
        """The last thing a beat does."""
        self.beats += 1


def pulse(store: SqliteStore, clock: FakeClock, looked_at: Quiet) -> Pulse:
    async def off() -> SwitchState:
        return SwitchState(is_on=False)

    quiet: Any = looked_at
    return Pulse(
        clock=clock,
        store=store,
        schedule=quiet,
        outbox=quiet,
        closing=quiet,
        housekeeping=quiet,
        bursts=quiet,
        metrics=Metrics(),
        kill_switch=off,
        rollbacks_per_day=3,
    )


async def crashes(store: SqliteStore, count: int, now: float) -> None:
    for n in range(count):
        await store.note_start(now + n)


async def beats(quiet: Quiet, clock: FakeClock, count: int) -> None:
    """Move time until the pulse has beaten that often; a beat waits for the store's threads in between."""
    wanted = quiet.beats + count
    while quiet.beats < wanted:
        await clock.advance(1.0)
        await asyncio.to_thread(lambda: None)


@pytest.mark.parametrize(("count", "is_disarmed"), [(2, False), (3, True)])
async def test_three_crashes_within_ten_minutes_disarm(tmp_path: Path, count: int, is_disarmed: bool) -> None:
    store = SqliteStore(tmp_path / "state.db")
    await store.open(NOW)
    await crashes(store, count, NOW - 60)
    await pulse(store, FakeClock(NOW), Quiet()).note_start(NOW)
    assert (await store.disarmed() is not None) is is_disarmed
    await store.close()


async def test_only_ten_minutes_of_stable_run_arm_again(tmp_path: Path) -> None:
    store, clock = SqliteStore(tmp_path / "state.db"), FakeClock(NOW)
    await store.open(NOW)
    await crashes(store, 3, NOW - 60)
    quiet = Quiet()
    beating = pulse(store, clock, quiet)
    await beating.note_start(NOW)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        task = group.create_task(beating.run())
        await beats(quiet, clock, 20)
        assert clock.wall_s() < NOW + 600
        assert await store.disarmed() is not None, "it has not run for ten minutes yet"
        await clock.advance(600.0)
        # The beat that arms is followed by another one, which proves that it has ended.
        await beats(quiet, clock, 3)
        assert await store.disarmed() is None
        task.cancel()
    await store.close()


async def test_a_disarmed_daemon_holds_back_what_it_intended_before(tmp_path: Path) -> None:
    file = tmp_path / "watchdog.yaml"
    file.write_text(CONFIGURATION.format(state=tmp_path / "state", port=free_port()))
    file.chmod(0o600)
    environ: Mapping[str, str] = {}
    loaded = config.load([file], KINDS, environ)
    store = SqliteStore(tmp_path / "state" / "state.db")
    async with wired(loaded, environ, FakeClock(NOW), store) as parts:
        assert not (await parts.outbox.kill_switch()).is_on
        await store.disarm("the daemon crashed 3 times within 10 minutes", NOW)
        held = await parts.outbox.kill_switch()
        assert held.is_on
        assert "crashed" in held.because
        for part in (coroutine for _, coroutine in parts.all()):
            part.close()
