"""One host that hangs holds its share of what runs at once, and nobody else waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from pydantic import TypeAdapter

from checks import CHECKS
from checks.peer import peer_of
from tests.checks.test_conformance import FACTORIES
from watchdog.metrics import Metrics
from watchdog.scheduling.works import Works


@dataclass
class Town:
    """Checks of one host hang until the test lets them go; all others end at once."""

    works: Works = field(init=False)
    began: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        peers = {f"slow/{n}": "slow.example" for n in range(10)} | {"quick/0": "quick.example"}
        work = (self.observe, self.observe, self.observe)
        self.works = Works(Metrics(), *work, self.begin, self.done, peers, per_peer=2, at_once=4)

    def begin(self, name: str) -> float:
        return 0.03

    async def observe(self, name: str) -> None:
        self.began.append(name)
        self.moved.set()
        if name.startswith("slow/"):
            await self.go.wait()

    def done(self, name: str) -> None:
        self.ended.append(name)
        self.moved.set()

    async def until(self, n_ended: int) -> None:
        while len(self.ended) < n_ended:
            self.moved.clear()
            await self.moved.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.works.run())
        try:
            async with asyncio.timeout(5.0):
                yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def depth(town: Town) -> float | None:
    return town.works.metrics.registry.get_sample_value("watchdog_queue_depth", {"queue": "checks"})


async def test_a_host_that_hangs_takes_its_share_and_no_more() -> None:
    town = Town()
    async with town.running():
        assert all(town.works.put(f"slow/{n}") for n in range(10))
        # More hang than may run at once, and still one is free at once.
        assert town.works.put("quick/0")
        await town.until(1)
        assert town.ended == ["quick/0"]
        assert [name for name in town.began if name != "quick/0"] == ["slow/0", "slow/1"]
        assert depth(town) == 8.0
        town.go.set()
        await town.until(11)
        assert sorted(town.ended) == sorted([*(f"slow/{n}" for n in range(10)), "quick/0"])
        assert depth(town) == 0.0
        # Every place was given back.
        town.go.clear()
        town.began.clear()
        for n in range(3):
            town.works.put(f"slow/{n}")
        town.works.put("quick/0")
        await town.until(12)
        assert sorted(town.began) == ["quick/0", "slow/0", "slow/1"]


async def test_what_asks_nobody_is_bounded_by_their_number_alone() -> None:
    town = Town()
    async with town.running():
        for n in range(20):
            town.works.put(f"file/{n}")
        await town.until(20)


async def test_how_late_checks_begin_is_a_metric() -> None:
    town = Town()
    async with town.running():
        town.works.put("quick/0")
        await town.until(1)
    name = "watchdog_check_start_lateness_seconds_bucket"
    registry = town.works.metrics.registry
    assert [registry.get_sample_value(name, {"le": bound}) for bound in ("0.02", "0.05")] == [0.0, 1.0]


async def test_what_stands_aside_counts_for_the_limit_of_the_queue() -> None:
    town = Town()
    peers = {f"slow/{n}": "slow.example" for n in range(10_001)}
    town.works.peers = peers
    assert all(town.works.put(f"slow/{n}") for n in range(10_000))
    assert not town.works.put("slow/10000")
    drops = town.works.metrics.registry.get_sample_value("watchdog_drops_total", {"what": "check"})
    assert drops == 1.0


@pytest.mark.parametrize("kind", sorted(FACTORIES))
def test_of_every_kind_that_asks_somebody_it_is_known_whom(kind: str) -> None:
    check = TypeAdapter(CHECKS[kind.partition(" ")[0]]).validate_python(FACTORIES[kind](8080))
    # Whom a program asks is its own affair.
    assert peer_of(check) in ([""] if kind == "command" else ["127.0.0.1", "database peer"])


@pytest.mark.parametrize(
    ("url", "peer"),
    [
        ("https://Shop.Example:8443/a?b", "shop.example"),
        ("https://user:secret@shop.example/", "shop.example"),
        ("https://[::1]:80/", "::1"),
    ],
)
def test_a_peer_is_a_host_without_port_and_secrets(url: str, peer: str) -> None:
    @dataclass
    class Asking:
        url: str

    assert peer_of(Asking(url)) == peer


def test_what_names_nobody_has_no_peer() -> None:
    assert peer_of(TypeAdapter(CHECKS["heartbeat"]).validate_python({"every_s": 60.0})) == ""
