"""The child process of the demo: the shop, its deployer and its customers, on free ports.

`python -m watchdog.demo.serve` prints one JSON line with the URLs when everything listens, and ends on
SIGTERM or when its standard input closes, so that it does not outlive a demo that was killed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

from aiohttp import web

from watchdog.demo.deployer import Deployer
from watchdog.demo.model import Weather
from watchdog.demo.scenario import Flaw, Scenario, ServiceName, parse
from watchdog.demo.shop import Service, checkout_app, payments_app, stock_app
from watchdog.demo.traffic import customers


async def listening(stack: AsyncExitStack, app: web.Application, port: int = 0) -> str:
    """Serve `app` on loopback until the stack closes; returns its base URL. port 0: any free one."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    bound: int = runner.addresses[0][1]
    return f"http://127.0.0.1:{bound}"


async def open_shop(
    stack: AsyncExitStack,
    running: Mapping[ServiceName, str],
    *,
    folder: Path,
    weather: Weather,
    flaws: Mapping[tuple[str, str], Flaw],
    seed: int,
) -> tuple[dict[str, Service], dict[str, str]]:
    """The three services in the given versions, listening until the stack closes; and their base URLs."""
    services: dict[str, Service] = {
        name: Service(
            name, version, folder=folder, weather=weather, flaws=flaws, random=Random(f"{seed} {name}")
        )
        for name, version in running.items()
    }
    urls = {
        "stock": await listening(stack, stock_app(services["stock"])),
        "payments": await listening(stack, payments_app(services["payments"])),
    }
    shop = checkout_app(services["checkout"], payments=urls["payments"], stock=urls["stock"])
    urls["checkout"] = await listening(stack, shop)
    return services, urls


def _stage_app(services: dict[str, Service], weather: Weather) -> web.Application:
    """PUT /weather sets what hits every service; PUT /dark/{service} puts its /metrics out or on."""

    async def change(request: web.Request) -> web.Response:
        wanted = await request.json()
        weather.arrivals = float(wanted.get("arrivals", 1.0))
        weather.errors = float(wanted.get("errors", 0.0))
        weather.slowness = float(wanted.get("slowness", 1.0))
        return web.json_response({})

    async def darken(request: web.Request) -> web.Response:
        services[request.match_info["service"]].is_dark = bool((await request.json())["dark"])
        return web.json_response({})

    app = web.Application()
    app.add_routes([web.put("/weather", change), web.put("/dark/{service}", darken)])
    return app


async def serve(
    scenario: Scenario, *, folder: Path, seed: int, watchdog: str, event_secret: str, rollback_secret: str
) -> None:
    """Run the shop until SIGTERM or the end of standard input."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)

    def heard() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            ended.set()

    loop.add_reader(sys.stdin.fileno(), heard)
    weather = Weather()
    async with AsyncExitStack() as stack:
        services, urls = await open_shop(
            stack, scenario.running, folder=folder, weather=weather, flaws=scenario.flaws(), seed=seed
        )
        deployer = Deployer(
            services=services, watchdog=watchdog, event_secret=event_secret, rollback_secret=rollback_secret
        )
        urls["deployer"] = await listening(stack, deployer.app())
        urls["stage"] = await listening(stack, _stage_app(services, weather))
        print(json.dumps(urls), flush=True)
        async with asyncio.TaskGroup() as group:
            crowd = group.create_task(customers(urls["checkout"], weather, seed=seed))
            await ended.wait()
            crowd.cancel()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the child process. DEMO_EVENT_SECRET and DEMO_ROLLBACK_SECRET come from the environment."""
    parser = argparse.ArgumentParser(prog="watchdog.demo.serve")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--scenario", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--watchdog", required=True, help="base URL of the watchdog's API")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    asyncio.run(
        serve(
            parse(chosen.scenario.read_text(encoding="utf-8")),
            folder=chosen.folder,
            seed=chosen.seed,
            watchdog=chosen.watchdog,
            event_secret=os.environ["DEMO_EVENT_SECRET"],
            rollback_secret=os.environ["DEMO_ROLLBACK_SECRET"],
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
