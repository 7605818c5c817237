"""Bursts after deploys: more often, spread over what they ask, and over in time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from checks.tcp import TcpCheck
from tests.support.fake_clock import FakeClock
from tests.support.sample_plan import a_plan
from watchdog.plan import CheckPlan
from watchdog.scheduling.bursts import Bursts, spread
from watchdog.scheduling.schedule import Schedule

EVERY_S, BURST_S, BURST_FOR_S = 60.0, 5.0, 600.0
HOST = "shop.example"


def bursting(name: str, every_s: float = EVERY_S, burst_s: float = BURST_S) -> CheckPlan:
    return CheckPlan(
        service="shop",
        name=name,
        check=TcpCheck(host=HOST, port=1),
        every_s=every_s,
        timeout_s=1.0,
        burst_every_s=burst_s,
        burst_for_s=BURST_FOR_S,
    )


@given(
    times=st.lists(st.tuples(st.floats(1.0, 3600.0), st.floats(0.5, 60.0)), min_size=1, max_size=30),
    per_peer=st.floats(0.01, 100.0),
)
def test_one_peer_is_asked_no_more_often_than_allowed(
    times: list[tuple[float, float]], per_peer: float
) -> None:
    checks = {f"shop/c{i}": bursting(f"c{i}", *each) for i, each in enumerate(times)}
    made = spread(checks, dict.fromkeys(checks, HOST), per_peer)
    for name, check in checks.items():
        assert min(check.burst_every_s or 0.0, check.every_s) <= made[name] <= check.every_s
    bursts = [every_s for name, every_s in made.items() if every_s < checks[name].every_s]
    assert sum(1.0 / every_s for every_s in bursts) <= per_peer * 1.000001


def test_peers_do_not_share_their_budgets_and_nobody_is_no_peer() -> None:
    checks = {name: bursting(name.partition("/")[2]) for name in ("shop/a", "shop/b", "shop/c", "shop/d")}
    peers = {"shop/a": "one", "shop/b": "one", "shop/c": "other"}
    assert spread(checks, peers, 0.2) == {"shop/a": 10.0, "shop/b": 10.0, "shop/c": 5.0, "shop/d": 5.0}


async def test_a_burst_shares_its_host_and_ends() -> None:
    checks = tuple(bursting(f"c{i}") for i in range(4))
    plans = {"shop": a_plan(name="shop", checks=checks)}
    clock, taken = FakeClock(), Counter[str]()
    schedule = Schedule(clock)
    for check in checks:
        schedule.every(check.due_name, EVERY_S)

    def put(name: str) -> bool:
        taken[name] += 1
        return False

    peers: Mapping[str, str] = {check.due_name: HOST for check in checks}
    bursts = Bursts(plans, schedule, peers, 0.4)
    running = asyncio.ensure_future(schedule.run(put))
    bursts.start("shop", clock.wall_s())
    await clock.advance(BURST_FOR_S + 1.0)
    # Four checks every 5 s would be 0.8 a second: each has its turn every 10 s.
    assert set(taken.values()) <= {59, 60, 61}
    taken.clear()
    bursts.settle(clock.wall_s())
    await clock.advance(600.0)
    assert set(taken.values()) <= {9, 10, 11}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
