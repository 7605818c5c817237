"""One performance of the demo: everything is started, the deploys happen in order, everything is ended."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib import resources
from pathlib import Path

import aiohttp

from watchdog.demo.history import HISTORY_S, series_of, write_history
from watchdog.demo.narrator import Narrator
from watchdog.demo.processes import child, last_lines
from watchdog.demo.receivers import Receivers
from watchdog.demo.scenario import Scenario
from watchdog.demo.serve import listening
from watchdog.demo.simulate import machine_extra_s
from watchdog.demo.stage import DemoFailed, Stage
from watchdog.localtoken import read_local_token

STEP_S = 1.0
WATCH_S = 32.0
QUANTILE = 0.9

# A hundred requests: enough to measure what this machine adds to one.
_WARM_UP_S = 5.0
# A few live steps between the daemon's start and the first deploy.
_SETTLE_S = 3.0
_SHOP_READY_S = 20.0
_DAEMON_READY_S = 20.0


@asynccontextmanager
async def theatre(
    scenario: Scenario, *, seed: int, narrator: Narrator
) -> AsyncIterator[tuple[Stage, Receivers]]:
    """The shop with two hours of simulated history, and a daemon that watches it, ready for the first deploy.

    Everything lives in a fresh temporary folder and on free ports, and is ended and removed with the block.
    Raises DemoFailed, holding the last lines of the log, when a part does not come up.
    """
    keys = {
        "DEMO_EVENT_SECRET": _signing_secret(),
        "DEMO_ROLLBACK_SECRET": _signing_secret(),
        "DEMO_ROUTING_KEY": secrets.token_hex(16),
    }
    receivers = Receivers(heard=lambda who, text: narrator.say(f"   {who} would have got: {text}", "dim"))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deploy-watchdog-demo-")))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15.0))
        )
        receivers_url = await listening(stack, receivers.app())
        keys["DEMO_SLACK_WEBHOOK"] = f"{receivers_url}/slack"
        with reserved_port() as port:
            api = f"http://127.0.0.1:{port}"
            urls = await stack.enter_async_context(
                _shop(scenario, folder=folder, seed=seed, watchdog=api, keys=keys)
            )
            stage = Stage(session=session, urls=urls, api=api, state_dir=folder / "state")
            narrator.say("the shop is open: " + ", ".join(f"{k} {v}" for k, v in scenario.running.items()))
            await asyncio.sleep(_WARM_UP_S)
            await _write_past(stage, seed=seed, narrator=narrator)
        places = {
            **urls,
            "folder": str(folder),
            "state": str(stage.state_dir),
            "api": api,
            "listen": f"127.0.0.1:{port}",
            "receivers": receivers_url,
            "watch": f"{WATCH_S:g}",
        }
        configuration = folder / "watchdog.yaml"
        configuration.write_text(configured(places), encoding="utf-8")
        await stack.enter_async_context(_daemon(stage, configuration, folder / "daemon.log", keys))
        narrator.say(f"the daemon is ready: {api}, configuration {configuration}")
        await asyncio.sleep(_SETTLE_S)
        yield stage, receivers


def configured(places: Mapping[str, str]) -> str:
    """watchdog.yaml with every `@word@` filled in. Raises KeyError for a word that `places` lacks."""
    text = resources.files(__package__).joinpath("watchdog.yaml").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return re.sub(r"@([a-z]+)@", lambda word: places[word[1]], "\n".join(lines) + "\n")


@contextmanager
def reserved_port() -> Iterator[int]:
    """A free loopback port that nobody else is given within the block; the daemon takes it after."""
    with socket.socket() as reserving:
        reserving.bind(("127.0.0.1", 0))
        yield reserving.getsockname()[1]


@asynccontextmanager
async def _shop(
    scenario: Scenario, *, folder: Path, seed: int, watchdog: str, keys: Mapping[str, str]
) -> AsyncIterator[Mapping[str, str]]:
    """The shop's process; its URLs by name."""
    log, told = folder / "shop.log", folder / "scenario.json"
    told.write_text(scenario.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", "watchdog.demo.serve", "--folder", str(folder), "--scenario", str(told)]
    command += ["--seed", str(seed), "--watchdog", watchdog]
    async with child(command, log=log, env=keys, is_heard=True) as process:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_SHOP_READY_S):
                urls: dict[str, str] = json.loads(await process.stdout.readline())
        except (TimeoutError, ValueError):
            raise DemoFailed("\n".join(["the shop did not come up", *last_lines(log, 20)])) from None
        yield urls


@asynccontextmanager
async def _daemon(
    stage: Stage, configuration: Path, log: Path, keys: Mapping[str, str]
) -> AsyncIterator[None]:
    """The daemon's process, ready; what goes wrong in the block is told with the last lines of its log."""
    command = [sys.executable, "-m", "watchdog", "run", "-c", str(configuration)]
    async with child(command, log=log, env=keys) as process:
        try:
            await stage.wait_ready(_DAEMON_READY_S, is_running=lambda: process.returncode is None)
            stage.token = read_local_token(stage.state_dir) or ""
            yield
            if process.returncode is not None:
                raise DemoFailed(f"the daemon ended by itself with exit code {process.returncode}")
        except (DemoFailed, aiohttp.ClientError, TimeoutError) as error:
            said = str(error) or type(error).__name__
            raise DemoFailed(
                "\n".join([said, "last lines of the daemon's log:", *last_lines(log, 30)])
            ) from error


async def _write_past(stage: Stage, *, seed: int, narrator: Narrator) -> None:
    extra_s = machine_extra_s(await stage.mean_times_s(), seed=seed)
    series = series_of(
        round(HISTORY_S / STEP_S), STEP_S, seed=seed, extra_s=extra_s, latency_quantile=QUANTILE
    )
    last_at = math.floor(time.time() / STEP_S) * STEP_S
    stage.state_dir.mkdir(mode=0o700)
    await write_history(stage.state_dir, series, step_s=STEP_S, last_at=last_at)
    added = ", ".join(f"{name} {1000 * extra:.0f} ms" for name, extra in extra_s.items())
    narrator.say(
        f"simulated history: {HISTORY_S / 3600:g} h of {len(series)} series from the shop's own model "
        f"(measured on this machine, added to each request: {added})"
    )


def _signing_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
