"""The version signal by series, against a real Prometheus and real /metrics pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Info, generate_latest
from pydantic import SecretStr

from config.schema import VersionSignal
from tests.support.examples import DEPLOY
from tests.support.prometheus import openmetrics, prometheus_server
from tests.support.servers import free_port
from tests.watchdog.outbox.outbox_rig import GOAL, Rig
from watchdog.deploys.version import VersionReader
from watchdog.sources.prometheus import PrometheusSource
from watchdog.sources.protocol import Source
from watchdog.sources.scrape import ScrapeSource

START = 1_790_000_000 // 3600 * 3600.0
# Two pods of 4.11.3, replaced at minute 20 and 30 by two of 4.12.0, which end at minute 60.
PODS = (("a", "4.11.3", 0, 20), ("b", "4.11.3", 0, 30), ("c", "4.12.0", 20, 60), ("d", "4.12.0", 30, 60))
# Without the mark of a scraped target that went away, a series lives on for 5 minutes.
LOOK_BACK = 5


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    history = {
        f'checkout_build_info{{app="checkout",pod="{pod}",version="{version}"}}': [
            (START + at, 1.0) for at in np.arange(60.0 * first, 60.0 * last, 15.0).tolist()
        ]
        for pod, version, first, last in PODS
    }
    history['checkout_build_info{app="other",version="9"}'] = [(START + 60.0 * i, 1.0) for i in range(60)]
    with prometheus_server(tmp_path_factory.mktemp("prometheus"), openmetrics(history)) as url:
        yield url


@asynccontextmanager
async def reading(source: Source, selector: str) -> AsyncIterator[VersionReader]:
    reader = VersionReader(VersionSignal(series=selector), {"prom": source})
    try:
        yield reader
    finally:
        await reader.close()
        await source.close()


@pytest.mark.real
@pytest.mark.parametrize(
    ("minute", "version"),
    [
        (-1, None),
        (10, "4.11.3"),
        (20.1, None),
        (30.1, None),
        (30 + LOOK_BACK + 1, "4.12.0"),
        (60 + LOOK_BACK + 1, None),
    ],
)
async def test_a_real_prometheus_tells_the_version_unless_two_run(
    url: str, minute: float, version: str | None
) -> None:
    async with reading(PrometheusSource(url=url), 'checkout_build_info{app="checkout"}') as reader:
        # Wall clocks have more digits than Prometheus takes.
        assert await reader.read(START + 60.0 * minute + 0.123456789, 5.0) == version


@pytest.mark.real
async def test_a_metric_that_is_not_there_tells_nothing(url: str) -> None:
    async with reading(PrometheusSource(url=url), "no_such_info") as reader:
        assert await reader.read(START + 600.0, 5.0) is None


@pytest.mark.real
async def test_a_service_in_the_next_roll_out_is_not_sent_a_rollback(url: str) -> None:
    """While two versions run nobody can say which; then the deploy that was told last decides."""
    rig = Rig()
    async with reading(PrometheusSource(url=url), 'checkout_build_info{app="checkout"}') as reader:
        rig.running_version = await reader.read(START + 25 * 60.0, 5.0)
    assert rig.running_version is None
    next_one = replace(
        DEPLOY, id="d2", to_version="4.13.0", started_at=rig.clock.wall_s() - 5, finished_at=None
    )
    rig.store.known_deploys.append(next_one)
    rig.put(GOAL)
    async with rig.running():
        await rig.clock.advance(1)
    assert (rig.state, rig.target.sent) == ("expired", [])


@dataclass
class Pages:
    """/metrics of several processes: path to version; None answers 500. seen: headers of every request."""

    versions: dict[str, str | None]
    url: str = ""
    seen: list[Mapping[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(request.headers)
        version = self.versions[request.path]
        if version is None:
            return web.Response(status=500)
        registry = CollectorRegistry()
        Info("checkout_build", "What runs.", registry=registry).info({"version": version, "commit": "a1"})
        return web.Response(body=generate_latest(registry))


@asynccontextmanager
async def pages(**versions: str | None) -> AsyncIterator[Pages]:
    served = Pages({f"/{name}": version for name, version in versions.items()})
    served.url = f"http://127.0.0.1:{free_port()}"
    app = web.Application()
    app.router.add_get("/{name}", served.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(served.url.rpartition(":")[2])).start()
    try:
        yield served
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("versions", "version"),
    [
        ({"a": "4.12.0"}, "4.12.0"),
        ({"a": "4.12.0", "b": "4.12.0"}, "4.12.0"),
        ({"a": "4.12.0", "b": "4.11.3"}, None),
        # The process that does not answer may run another one.
        ({"a": "4.12.0", "b": None}, None),
    ],
)
async def test_real_pages_tell_the_version_unless_two_run(
    versions: dict[str, str | None], version: str | None
) -> None:
    async with pages(**versions) as served:
        source = ScrapeSource(
            urls=tuple(f"{served.url}/{name}" for name in versions), bearer_token=SecretStr("s3cret")
        )
        async with reading(source, "checkout_build_info") as reader:
            assert await reader.read(START, 5.0) == version
    assert {headers["Authorization"] for headers in served.seen} == {"Bearer s3cret"}


async def test_a_page_without_the_metric_tells_nothing_and_a_new_version_is_seen_at_once() -> None:
    async with pages(a="4.11.3") as served:
        source = ScrapeSource(url=f"{served.url}/a")
        async with reading(source, "checkout_build_info") as reader:
            assert await reader.read(START, 5.0) == "4.11.3"
            served.versions["/a"] = "4.12.0"
            assert await reader.read(START, 5.0) == "4.12.0"
            assert await source.label_sets("other_info", now=START, timeout_s=5.0) == []
