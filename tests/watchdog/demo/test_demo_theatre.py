"""The parts of the demo around the daemon: configuration, past, child processes, receivers."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import numpy as np
import pytest

import config
from watchdog.demo.history import series_of, write_history
from watchdog.demo.processes import child, last_lines
from watchdog.demo.receivers import Receivers
from watchdog.demo.serve import listening
from watchdog.demo.theatre import STEP_S, WATCH_S, configured, reserved_port
from watchdog.kinds import KINDS
from watchdog.plan import plan_services
from watchdog.store.samples import SampleStore

PLACES = {
    **{
        name: f"http://127.0.0.1:{port}"
        for port, name in enumerate(
            ("checkout", "payments", "stock", "deployer", "api", "receivers"), start=20_001
        )
    },
    "folder": "/srv/demo",
    "state": "/srv/demo/state",
    "listen": "127.0.0.1:9",
    "watch": f"{WATCH_S:g}",
}
N = 600


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Loaded:
    for name in ("DEMO_EVENT_SECRET", "DEMO_ROLLBACK_SECRET"):
        monkeypatch.setenv(name, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    monkeypatch.setenv("DEMO_ROUTING_KEY", "0" * 32)
    monkeypatch.setenv("DEMO_SLACK_WEBHOOK", "http://127.0.0.1:9/slack")
    path = tmp_path / "watchdog.yaml"
    path.write_text(configured(PLACES))
    return config.load([path], KINDS)


def test_the_configuration_is_one_without_a_warning(loaded: config.Loaded) -> None:
    assert loaded.warnings == ()
    assert loaded.settings.step == STEP_S
    assert loaded.settings.defaults.watch.for_ == WATCH_S


def test_every_judged_series_has_a_simulated_past_of_its_shape(loaded: config.Loaded) -> None:
    past = series_of(N, STEP_S, seed=1, extra_s={}, latency_quantile=0.9)
    plans = plan_services(loaded).values()
    judged = {series.id: series.spec for plan in plans for series in plan.series}
    every_s = {f"{check.service}/{check.name}": check.every_s for plan in plans for check in plan.checks}
    assert past.keys() == judged.keys()
    for name, spec in judged.items():
        assert past[name].shape == (N, spec.width), name
        # Checks run less often than once a step; and in a step without customers there is no latency.
        seen = np.isfinite(past[name]).all(axis=1).mean()
        assert seen == pytest.approx(STEP_S / every_s.get(name, STEP_S), abs=0.01), name


async def test_the_past_is_where_the_daemon_looks_for_it(tmp_path: Path) -> None:
    past = series_of(N, STEP_S, seed=1, extra_s={}, latency_quantile=0.9)
    await write_history(tmp_path, past, step_s=STEP_S, last_at=1_800_000_000.0)
    store = SampleStore(tmp_path / "samples.db")
    try:
        for name, values in past.items():
            kept = await store.load(
                name, STEP_S, values.shape[1], 1_800_000_000.0 - (N - 1) * STEP_S, 1_800_000_000.0
            )
            np.testing.assert_array_equal(kept, values)
    finally:
        await store.close()


async def test_a_past_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="samples"):
        await write_history(
            tmp_path / "nowhere", {"a/b": np.zeros((3, 1))}, step_s=1.0, last_at=1_800_000_000.0
        )


UP = "import signal, sys, time; print('oh', file=sys.stderr, flush=True); print('up', flush=True); "
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " + UP


async def failing_block(log: Path, seen: list[asyncio.subprocess.Process]) -> None:
    command = [sys.executable, "-c", UP + "time.sleep(60)"]
    async with child(command, log=log, env={}, is_heard=True) as process:
        seen.append(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"up\n"
        raise RuntimeError("the block")


async def test_a_child_ends_with_its_block_even_when_that_fails(tmp_path: Path) -> None:
    seen: list[asyncio.subprocess.Process] = []
    with pytest.raises(RuntimeError, match="the block"):
        await failing_block(tmp_path / "log", seen)
    assert seen[0].returncode is not None
    assert last_lines(tmp_path / "log", 5) == ["oh"]


async def test_a_child_that_does_not_hear_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import signal; " + DEAF + "time.sleep(60)"]
    async with child(command, log=tmp_path / "log", env={}, is_heard=True, end_s=0.2) as process:
        assert process.stdout is not None
        await process.stdout.readline()
    assert process.returncode == -9


async def test_the_shop_ends_when_the_demo_that_started_it_is_gone(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text((Path(series_of.__code__.co_filename).parent / "scenario.yaml").read_text())
    command = [sys.executable, "-m", "watchdog.demo.serve", "--folder", str(tmp_path)]
    command += ["--scenario", str(scenario), "--watchdog", "http://127.0.0.1:9"]
    keys = dict.fromkeys(
        ("DEMO_EVENT_SECRET", "DEMO_ROLLBACK_SECRET"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    )
    async with child(command, log=tmp_path / "log", env=keys, is_heard=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        urls = json.loads(await process.stdout.readline())
        assert urls.keys() == {"checkout", "payments", "stock", "deployer", "stage"}
        process.stdin.close()
        async with asyncio.timeout(10):
            assert await process.wait() == 0, last_lines(tmp_path / "log", 20)


def test_the_last_lines_of_no_log_are_none(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "nothing", 5) == []


def test_a_reserved_port_is_given_to_nobody_else_and_is_free_after() -> None:
    with reserved_port() as port, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.socket() as daemon:
        daemon.bind(("127.0.0.1", port))


async def test_the_receivers_answer_as_slack_and_pagerduty_do_and_remember() -> None:
    heard: list[tuple[str, str]] = []
    receivers = Receivers(heard=lambda who, text: heard.append((who, text)))
    event = {
        "event_action": "trigger",
        "dedup_key": "k",
        "payload": {"summary": "stock 2.8.1 is not visible"},
    }
    async with AsyncExitStack() as stack:
        url = await listening(stack, receivers.app())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        async with session.post(f"{url}/slack", json={"text": "checkout 4.12.0 regressed"}) as response:
            assert (response.status, await response.text()) == (200, "ok")
        async with session.post(f"{url}/v2/enqueue", json=event) as response:
            assert response.status == 202
            assert (await response.json())["status"] == "success"
        async with session.post(
            f"{url}/v2/enqueue", json={"event_action": "resolve", "dedup_key": "payments 7.4.0"}
        ) as response:
            assert response.status == 202
        async with session.post(f"{url}/v2/change/enqueue", json={}) as response:
            assert response.status == 202
    assert heard[:2] == [
        ("Slack", "checkout 4.12.0 regressed"),
        ("PagerDuty", "trigger: stock 2.8.1 is not visible"),
    ]
    assert receivers.told_of("4.12.0")
    assert receivers.told_of("2.8.1")
    assert not receivers.told_of("7.4.0"), "what is resolved was no alert"
    assert not receivers.told_of("4.11.3")
