"""The customers: orders that arrive at random, whatever the shop does with them."""

from __future__ import annotations

import asyncio
from itertools import count
from random import Random

import aiohttp

from watchdog.demo.model import ORDERS_PER_S, Weather

# More than a surge has in flight; beyond it customers give up, so that a stuck shop does not eat the memory.
_IN_FLIGHT_MAX = 300


async def customers(checkout: str, weather: Weather, *, seed: int, orders: int | None = None) -> None:
    """Order as a Poisson process of `ORDERS_PER_S * weather.arrivals` orders a second.

    The arrivals are planned ahead of the answers: a slow shop does not make its customers rarer.
    orders: how many, all answered at the return; None: for ever.
    """
    loop = asyncio.get_running_loop()
    random = Random(f"{seed} customers")
    timeout = aiohttp.ClientTimeout(total=5.0)
    connector = aiohttp.TCPConnector(limit=0)
    open_orders: set[asyncio.Task[None]] = set()
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):

        async def order() -> None:
            try:
                async with session.post(
                    f"{checkout}/api/orders", json={"sku": "tea", "quantity": 1}
                ) as response:
                    await response.read()
            except (aiohttp.ClientError, TimeoutError):
                # What the customer did not get is in the shop's own figures.
                return

        next_s = loop.time()
        for _ in range(orders) if orders is not None else count():
            next_s += random.expovariate(ORDERS_PER_S * weather.arrivals)
            now_s = loop.time()
            if now_s - next_s > 1.0:
                # The machine stood still: the customers of that time are not made up for in one burst.
                next_s = now_s
            await asyncio.sleep(next_s - now_s)
            if len(open_orders) < _IN_FLIGHT_MAX:
                task = group.create_task(order())
                open_orders.add(task)
                task.add_done_callback(open_orders.discard)
