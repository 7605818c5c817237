"""The demo's hands: what can be done to the shop, and what can be asked of the daemon, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from watchdog.demo.model import SERVICES
from watchdog.demo.scenario import Surge


class DemoFailed(Exception):
    """Something the demo needs did not come up or did not answer; the message says what."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """urls: of checkout, payments, stock, deployer and stage. api: base URL of the daemon.

    state_dir: of the daemon. token: of its API, empty until it is ready.
    """

    session: aiohttp.ClientSession
    urls: Mapping[str, str]
    api: str
    state_dir: Path
    token: str = ""

    async def mean_times_s(self) -> Mapping[str, float]:
        """Mean time to answer of each service so far, from its /metrics. DemoFailed if one served nobody."""
        means = {}
        for name in SERVICES:
            async with self.session.get(f"{self.urls[name]}/metrics") as response:
                families = text_string_to_metric_families(await response.text())
            found = {sample.name: sample.value for family in families for sample in family.samples}
            count = found["http_request_duration_seconds_count"]
            if count == 0:
                raise DemoFailed(f"{name} answered no request while the shop was warming up")
            means[name] = found["http_request_duration_seconds_sum"] / count
        return means

    async def deploy(self, service: str, version: str) -> str:
        """Have the deployer roll out; the daemon's id of the deploy."""
        answer = await self._send("POST", f"{self.urls['deployer']}/deploy", service=service, version=version)
        if answer["watchdog"] is None:
            raise DemoFailed(f"the daemon did not take the deploy of {service} {version}")
        return str(answer["watchdog"]["deploy"]["id"])

    async def surge(self, surge: Surge | None) -> None:
        """Send the crowd, or send it home with None."""
        wanted = (
            {"arrivals": surge.arrivals, "errors": surge.errors, "slowness": surge.slowness} if surge else {}
        )
        await self._send("PUT", f"{self.urls['stage']}/weather", **wanted)

    async def darken(self, service: str, is_dark: bool) -> None:
        """Put the /metrics of a service out, or on again."""
        await self._send("PUT", f"{self.urls['stage']}/dark/{service}", dark=is_dark)

    async def effects(self) -> list[dict[str, Any]]:
        """The rollbacks that the deployer carried out."""
        async with self.session.get(f"{self.urls['deployer']}/effects") as response:
            found: list[dict[str, Any]] = await response.json()
            return found

    async def versions(self) -> Mapping[str, str]:
        """The version that each service runs, as the deployer says."""
        async with self.session.get(f"{self.urls['deployer']}/version") as response:
            found: dict[str, str] = await response.json()
            return found

    async def ask(self, path: str) -> dict[str, Any]:
        """What the daemon's API answers. DemoFailed for anything but 200."""
        async with self.session.get(
            f"{self.api}{path}", headers={"Authorization": f"Bearer {self.token}"}
        ) as response:
            if response.status != 200:
                raise DemoFailed(f"the daemon answered {response.status} to GET {path}")
            found: dict[str, Any] = await response.json()
            return found

    async def wait_ready(self, timeout_s: float, *, is_running: Callable[[], bool]) -> None:
        """Return once /readyz says so; DemoFailed when it does not in time or the daemon ends."""
        because = "it does not answer"
        try:
            async with asyncio.timeout(timeout_s):
                while is_running():
                    try:
                        async with self.session.get(f"{self.api}/readyz") as response:
                            answer = await response.json()
                        if response.status == 200:
                            return
                        because = "; ".join(answer["because"])
                    except aiohttp.ClientError:
                        because = "it does not answer"
                    await asyncio.sleep(0.1)
                raise DemoFailed("the daemon ended while it was starting")
        except TimeoutError:
            raise DemoFailed(f"the daemon was not ready within {timeout_s:.0f} s: {because}") from None

    async def _send(self, method: str, url: str, **body: Any) -> dict[str, Any]:
        async with self.session.request(method, url, json=body) as response:
            if response.status != 200:
                raise DemoFailed(f"{method} {url} answered {response.status}: {await response.text()}")
            found: dict[str, Any] = await response.json()
            return found
