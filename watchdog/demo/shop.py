"""The shop: checkout, payments and stock, each an HTTP server with its own database and /metrics."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from watchdog.demo.model import DECLINED_SHARE, LATENCY_BUCKETS_S, SERVICES, Weather
from watchdog.demo.scenario import Flaw

# A probe of the watchdog names itself with this header; its orders are left out of the shop's figures.
SYNTHETIC = "X-Synthetic"

_CALL_TIMEOUT = aiohttp.ClientTimeout(total=5.0)

_TABLES = {
    "checkout": (
        "create table orders (id text primary key, state text not null, amount_cents integer not null, "
        "synthetic integer not null, ordered_at real not null);"
        # Double entry: what a card was charged is what was sold.
        "create table entries (order_id text not null, account text not null, amount_cents integer not null, "
        "synthetic integer not null, ordered_at real not null);"
        "create index entries_ordered_at on entries (ordered_at)"
    ),
    "payments": (
        "create table payments (order_id text primary key, amount_cents integer not null, "
        "captured integer not null, synthetic integer not null, ordered_at real not null)"
    ),
    "stock": (
        "create table reservations (order_id text primary key, sku text not null, "
        "quantity integer not null, ordered_at real not null)"
    ),
}


class Service:
    """What the three services have in common: a version, a database, figures, work and failure.

    Set `version` to roll out another one; set `is_dark` to make /metrics answer 503.
    """

    def __init__(
        self,
        name: str,
        version: str,
        *,
        folder: Path,
        weather: Weather,
        flaws: Mapping[tuple[str, str], Flaw],
        random: Random,
    ) -> None:
        self.name = name
        self.is_dark = False
        self._version = version
        self._model = SERVICES[name]
        self._weather = weather
        self._flaws = flaws
        self._random = random
        # Autocommit, no fsync: rows of a shop that lives for three minutes need not survive a power cut.
        self.database = sqlite3.connect(folder / f"{name}.db", isolation_level=None)
        self.database.execute("pragma journal_mode = wal")
        self.database.execute("pragma synchronous = off")
        self.database.executescript(_TABLES[name])
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "http_requests", "Requests answered.", ["app", "code"], registry=self.registry
        )
        self._duration = Histogram(
            "http_request_duration_seconds",
            "Time to answer.",
            ["app"],
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._build = Gauge("build_info", "Always 1.", ["app", "version"], registry=self.registry)
        self._build.labels(name, version).set(1)
        # A counter that appears with its first error would have no value before it.
        for code in ("201", "402", "500", "502"):
            self._requests.labels(name, code)

    @property
    def version(self) -> str:
        """The version that answers now."""
        return self._version

    @version.setter
    def version(self, version: str) -> None:
        self._build.remove(self.name, self._version)
        self._build.labels(self.name, version).set(1)
        self._version = version

    @property
    def flaw(self) -> Flaw:
        """What the running version does wrong."""
        return self._flaws.get((self.name, self._version), Flaw())

    def happens(self, share: float) -> bool:
        """True in that share of the calls."""
        return self._random.random() < share

    async def work(self) -> None:
        """Take as long as one request's own work takes."""
        drawn_s = self._random.lognormvariate(math.log(self._model.work_median_s), self._model.work_spread)
        await asyncio.sleep(drawn_s * self._weather.slowness)

    def fails(self) -> bool:
        """True if this request is one of those answered 500."""
        return self.happens(self._model.errors + self._weather.errors) or self.happens(self.flaw.errors)

    def app(self, routes: list[web.RouteDef]) -> web.Application:
        """The server: the business routes, counted and timed, beside /metrics and /version."""
        app = web.Application(middlewares=[self._measured], client_max_size=64 * 1024)
        app.add_routes([*routes, web.get("/metrics", self._metrics), web.get("/version", self._tell_version)])
        return app

    @web.middleware
    async def _measured(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        started_s = time.perf_counter()
        response = await handler(request)
        if request.method == "POST" and SYNTHETIC not in request.headers:
            self._duration.labels(self.name).observe(time.perf_counter() - started_s)
            self._requests.labels(self.name, str(response.status)).inc()
        return response

    async def _metrics(self, _request: web.Request) -> web.Response:
        if self.is_dark:
            return web.Response(status=503, text="metrics are not available\n")
        return web.Response(
            body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _tell_version(self, _request: web.Request) -> web.Response:
        return web.json_response({"service": self.name, "version": self.version})


def _failed() -> web.Response:
    return web.json_response({"error": "internal error"}, status=500)


async def _fields(request: web.Request, *names: str) -> dict[str, Any]:
    """The named fields of a JSON object; raises HTTP 400 naming the first that is missing."""
    try:
        body = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise web.HTTPBadRequest(text="the body is not JSON") from error
    for name in names:
        if not isinstance(body, dict) or name not in body:
            raise web.HTTPBadRequest(text=f"the field {name} is missing")
    return {name: body[name] for name in names}


def stock_app(service: Service) -> web.Application:
    """POST /api/reservations takes goods from the shelf; DELETE puts them back."""

    async def reserve(request: web.Request) -> web.Response:
        wanted = await _fields(request, "order_id", "sku", "quantity", "ordered_at")
        await service.work()
        if service.fails():
            return _failed()
        service.database.execute(
            "insert or replace into reservations values (:order_id, :sku, :quantity, :ordered_at)", wanted
        )
        return web.json_response({"state": "reserved"}, status=201)

    async def release(request: web.Request) -> web.Response:
        service.database.execute("delete from reservations where order_id = ?", (request.match_info["id"],))
        return web.Response(status=204)

    return service.app(
        [web.post("/api/reservations", reserve), web.delete("/api/reservations/{id}", release)]
    )


def payments_app(service: Service) -> web.Application:
    """POST /api/payments charges a card: 201 captured, 402 declined; DELETE takes it back."""
    results = Counter("payments", "Cards asked.", ["app", "result"], registry=service.registry)
    for result in ("ok", "declined"):
        results.labels(service.name, result)

    async def charge(request: web.Request) -> web.Response:
        wanted = await _fields(request, "order_id", "amount_cents", "ordered_at")
        is_synthetic = SYNTHETIC in request.headers
        await service.work()
        if service.fails():
            return _failed()
        # A probe pays with the test card, which is never declined.
        is_declined = not is_synthetic and service.happens(DECLINED_SHARE)
        if not is_synthetic:
            results.labels(service.name, "declined" if is_declined else "ok").inc()
        if is_declined:
            return web.json_response({"state": "declined"}, status=402)
        service.database.execute(
            "insert or replace into payments values (:order_id, :amount_cents, 1, :synthetic, :ordered_at)",
            {**wanted, "synthetic": is_synthetic},
        )
        return web.json_response({"state": "captured"}, status=201)

    async def refund(request: web.Request) -> web.Response:
        service.database.execute("delete from payments where order_id = ?", (request.match_info["id"],))
        return web.Response(status=204)

    return service.app([web.post("/api/payments", charge), web.delete("/api/payments/{id}", refund)])


def checkout_app(service: Service, *, payments: str, stock: str) -> web.Application:
    """POST /api/orders reserves goods, charges the card and keeps the order; DELETE undoes all three.

    payments, stock: base URLs of the two services it calls.
    """
    created = Counter("orders_created", "Orders that were paid.", ["app"], registry=service.registry)
    created.labels(service.name)
    session: web.AppKey[aiohttp.ClientSession] = web.AppKey("session", aiohttp.ClientSession)

    async def order(request: web.Request) -> web.Response:
        wanted = await _fields(request, "sku", "quantity")
        is_synthetic = SYNTHETIC in request.headers
        marks = {SYNTHETIC: request.headers[SYNTHETIC]} if is_synthetic else {}
        # One time for all rows of an order, so that two databases can be compared over the same orders.
        row = {"order_id": f"o-{uuid.uuid4().hex}", "ordered_at": time.time()}
        order_id, amount_cents = row["order_id"], 1999
        await service.work()
        if service.fails():
            return _failed()
        calls = [
            (f"{stock}/api/reservations", {**row, **wanted}),
            (f"{payments}/api/payments", {**row, "amount_cents": amount_cents}),
        ]
        if service.happens(service.flaw.lost_payments):
            # The flaw of the story: the order counts as paid although no card was charged, and only the sale
            # is booked.
            calls.pop()
        for url, body in calls:
            try:
                async with request.app[session].post(url, json=body, headers=marks) as response:
                    status = response.status
            except (aiohttp.ClientError, TimeoutError):
                status = 503
            if status == 402:
                return web.json_response({"id": order_id, "state": "declined"}, status=402)
            if status != 201:
                return web.json_response({"error": f"a service answered {status}"}, status=502)
        rest = (is_synthetic, row["ordered_at"])
        booked = [("sales", -amount_cents), ("cards", amount_cents)][: len(calls)]
        service.database.execute("begin")
        service.database.execute(
            "insert into orders values (?, 'paid', ?, ?, ?)", (order_id, amount_cents, *rest)
        )
        service.database.executemany(
            "insert into entries values (?, ?, ?, ?, ?)",
            [(order_id, account, cents, *rest) for account, cents in booked],
        )
        service.database.execute("commit")
        if not is_synthetic:
            created.labels(service.name).inc()
        return web.json_response({"id": order_id, "state": "paid", "amount_cents": amount_cents}, status=201)

    async def cancel(request: web.Request) -> web.Response:
        order_id = request.match_info["id"]
        service.database.execute("delete from orders where id = ?", (order_id,))
        service.database.execute("delete from entries where order_id = ?", (order_id,))
        for url in (f"{payments}/api/payments/{order_id}", f"{stock}/api/reservations/{order_id}"):
            try:
                async with request.app[session].delete(url) as response:
                    await response.read()
            except (aiohttp.ClientError, TimeoutError):
                return web.json_response({"error": "a service did not answer"}, status=502)
        return web.Response(status=204)

    async def with_session(app: web.Application) -> Any:
        async with aiohttp.ClientSession(timeout=_CALL_TIMEOUT) as opened:
            app[session] = opened
            yield

    app = service.app([web.post("/api/orders", order), web.delete("/api/orders/{id}", cancel)])
    app.cleanup_ctx.append(with_session)
    return app
