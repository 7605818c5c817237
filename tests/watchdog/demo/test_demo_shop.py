from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from watchdog.demo.model import Weather
from watchdog.demo.scenario import Flaw
from watchdog.demo.serve import open_shop
from watchdog.demo.shop import SYNTHETIC, Service

FLAWS = {("checkout", "bad"): Flaw(lost_payments=0.03, errors=0.1)}


class LiveShop:
    """The three services on real sockets, fast: they work a hundredth of the time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weather = Weather(slowness=0.01)
        self.services: dict[str, Service] = {}
        self.urls: dict[str, str] = {}

    async def open(self, stack: AsyncExitStack) -> None:
        self.services, self.urls = await open_shop(
            stack,
            {"checkout": "good", "payments": "good", "stock": "good"},
            folder=self.folder,
            weather=self.weather,
            flaws=FLAWS,
            seed=7,
        )

    async def order(self, session: aiohttp.ClientSession, n: int, **headers: str) -> list[int]:
        """Statuses of `n` orders, 50 at a time."""
        gate = asyncio.Semaphore(50)

        async def one() -> int:
            async with (
                gate,
                session.post(
                    f"{self.urls['checkout']}/api/orders", json={"sku": "tea", "quantity": 1}, headers=headers
                ) as response,
            ):
                return response.status

        return list(await asyncio.gather(*(one() for _ in range(n))))

    async def figure(self, session: aiohttp.ClientSession, service: str, sample: str, **labels: str) -> float:
        async with session.get(f"{self.urls[service]}/metrics") as response:
            families = text_string_to_metric_families(await response.text())
        return sum(
            s.value
            for f in families
            for s in f.samples
            if s.name == sample and labels.items() <= s.labels.items()
        )

    def keys(self, service: str, sql: str) -> set[str]:
        with closing(sqlite3.connect(self.folder / f"{service}.db")) as database:
            return {key for (key,) in database.execute(sql)}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[LiveShop]:
    live = LiveShop(tmp_path)
    async with AsyncExitStack() as stack:
        await live.open(stack)
        yield live


async def test_an_order_is_in_all_three_databases_and_in_the_figures(
    shop: LiveShop, session: aiohttp.ClientSession
) -> None:
    statuses = await shop.order(session, 100)
    paid = shop.keys("checkout", "select id from orders where state = 'paid'")
    assert len(paid) == statuses.count(201) >= 85
    assert paid == shop.keys("payments", "select order_id from payments where captured")
    assert paid <= shop.keys("stock", "select order_id from reservations")
    assert await shop.figure(session, "checkout", "orders_created_total") == len(paid)
    assert await shop.figure(session, "checkout", "http_requests_total", code="201") == len(paid)
    assert await shop.figure(session, "checkout", "http_requests_total") == 100
    assert await shop.figure(session, "payments", "payments_total", result="ok") == len(paid)
    assert await shop.figure(session, "checkout", "http_request_duration_seconds_count") == 100


async def test_the_broken_version_loses_payments_and_answers_errors(
    shop: LiveShop, session: aiohttp.ClientSession
) -> None:
    shop.services["checkout"].version = "bad"
    statuses = await shop.order(session, 600)
    # One in ten by the flaw: 60 of 600 with a standard deviation of 7.
    assert 30 <= sum(status >= 500 for status in statuses) <= 95
    paid = shop.keys("checkout", "select id from orders where state = 'paid'")
    lost = paid - shop.keys("payments", "select order_id from payments where captured")
    # 3 % of the about 550 orders that get that far: 17; P(fewer than 3) < 1e-4.
    assert 3 <= len(lost) <= 40
    assert await shop.figure(session, "checkout", "build_info", version="bad") == 1
    assert await shop.figure(session, "checkout", "build_info", version="good") == 0


async def test_an_order_of_a_probe_counts_nowhere_and_can_be_taken_back(
    shop: LiveShop, session: aiohttp.ClientSession
) -> None:
    async with session.post(
        f"{shop.urls['checkout']}/api/orders",
        json={"sku": "tea", "quantity": 1},
        headers={SYNTHETIC: "run-1"},
    ) as response:
        assert response.status == 201
        order = (await response.json())["id"]
    assert order in shop.keys("payments", "select order_id from payments where synthetic")
    assert await shop.figure(session, "checkout", "http_requests_total") == 0
    assert await shop.figure(session, "payments", "payments_total") == 0
    async with session.delete(f"{shop.urls['checkout']}/api/orders/{order}") as response:
        assert response.status == 204
    assert not shop.keys("checkout", "select id from orders")
    assert not shop.keys("payments", "select order_id from payments")
    assert not shop.keys("stock", "select order_id from reservations")


async def test_a_dark_service_still_sells_but_shows_no_figures(
    shop: LiveShop, session: aiohttp.ClientSession
) -> None:
    shop.services["stock"].is_dark = True
    async with session.get(f"{shop.urls['stock']}/metrics") as response:
        assert response.status == 503
    async with session.get(f"{shop.urls['stock']}/version") as response:
        assert await response.json() == {"service": "stock", "version": "good"}
    assert 201 in await shop.order(session, 5)


async def test_a_surge_raises_the_errors_of_every_service(
    shop: LiveShop, session: aiohttp.ClientSession
) -> None:
    shop.weather.errors = 0.3
    await shop.order(session, 200)
    for name in ("checkout", "payments", "stock"):
        failed = await shop.figure(session, name, "http_requests_total", code="500")
        # 30 % of at least 90 requests; P(fewer than 10) < 1e-3.
        assert failed >= 10, name


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("checkout/api/orders", b"{", "not JSON"),
        ("checkout/api/orders", b"[]", "sku"),
        ("payments/api/payments", b'{"order_id": "o-1"}', "amount_cents"),
        ("stock/api/reservations", b'{"order_id": "o-1"}', "sku"),
    ],
)
async def test_a_request_without_its_fields_is_refused_by_name(
    shop: LiveShop, session: aiohttp.ClientSession, path: str, body: bytes, problem: str
) -> None:
    service, _, rest = path.partition("/")
    async with session.post(f"{shop.urls[service]}/{rest}", data=body) as response:
        assert response.status == 400
        assert problem in await response.text()
