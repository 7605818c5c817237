"""A regression nobody can see: Prometheus misbehaves in every way after a deploy, and nothing is rolled back.

All faults at once in one daemon, one service each. The metrics behind the faults do turn bad at the deploy:
whoever believes a partial, stale or broken answer would act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon, daemon, is_ready
from tests.support.prometheus import FalsePrometheus, false_prometheus
from tests.support.receivers import RollbackReceiver, SlackReceiver
from tests.support.servers import wait_until
from watchdog.clock import SystemClock

CLOCK = SystemClock()
FAULTS = (
    "refused",
    "500",
    "slow",
    "html",
    "nan_only",
    "empty",
    "half_series",
    "warnings",
    "huge",
    "frozen",
    "truncated",
    "no_series",
)
RSS_MAX_MB = 200.0

SERVICE = """
  {name}:
    mode: auto
    step: 1s
    history: 4m
    history_min: 1m
    watch: {{for: 14s, warm_up: 2s}}
    rollback: {{target: deployer}}
    version: {{http: "{url}/version"}}
    series:
      errors:
        kind: ratio
        source: {name}
        numerator: 'http_requests_total{{code=~"5.."}}'
        denominator: http_requests_total
"""


class TurnsBad:
    """The counters of ten pods: one request in a hundred fails, from `bad_from_at` on every second one."""

    def __init__(self) -> None:
        self.bad_from_at = float("inf")

    def __call__(self, expression: str, at: float) -> Sequence[tuple[Mapping[str, str], float]]:
        began_at = CLOCK.wall_s() // 86400 * 86400 - 86400
        bad_s = max(0.0, at - self.bad_from_at)
        share = 0.02 * (at - began_at - bad_s) + 1.0 * bad_s if "5.." in expression else 2.0 * (at - began_at)
        return [({"job": "shop", "instance": f"pod-{i}"}, float(int(share))) for i in range(10)]


def named(fault: str) -> str:
    """The fault as a service name."""
    return f"s-{fault.replace('_', '-')}"


async def test_no_fault_of_prometheus_rolls_anything_back(tmp_path: Path) -> None:
    worlds = {fault: TurnsBad() for fault in FAULTS}
    async with AsyncExitStack() as stack:
        false = {
            fault: await stack.enter_async_context(false_prometheus(world=worlds[fault])) for fault in FAULTS
        }
        slack = await stack.enter_async_context(SlackReceiver())
        deployer = await stack.enter_async_context(RollbackReceiver())
        configuration = (
            "lag: 1s\nsingle_instance: true\n"
            "channels: {team: {kind: slack, webhook: '${SLACK}'}}\n"
            f"targets: {{deployer: {{kind: webhook, url: '{deployer.url}/rollback'}}}}\n"
            "sources:\n"
            + "".join(f"  {named(f)}: {{kind: prometheus, url: '{false[f].url}'}}\n" for f in FAULTS)
            + "services:"
            + "".join(SERVICE.format(name=named(f), url=false[f].url) for f in FAULTS)
        )
        await asyncio.to_thread(
            _watch, tmp_path, configuration, slack, false, worlds, asyncio.get_running_loop()
        )
        assert deployer.received == []


def _watch(
    folder: Path,
    configuration: str,
    slack: SlackReceiver,
    false: Mapping[str, FalsePrometheus],
    worlds: Mapping[str, TurnsBad],
    loop: asyncio.AbstractEventLoop,
) -> None:
    with daemon(folder, configuration, environ={"SLACK": f"{slack.url}/services/T/B/x"}) as running:
        wait_until(lambda: "history complete" in running.log, timeout_s=60, what="the history read")
        deploys = {fault: _deploy_into(fault, running, false[fault], worlds[fault], loop) for fault in FAULTS}
        for fault, deploy_id in deploys.items():
            watch = running.wait_for_verdict(deploy_id, timeout_s=60)
            assert watch["state"] in ("blind", "inconclusive"), (fault, watch["because"])
        assert running.actions() == []
        assert is_ready(running.port)
        assert running.tracebacks == []
        assert _rss_mb(running.process.pid) < RSS_MAX_MB
    blind = [message["text"] for message in slack.messages if "not being judged" in message["text"]]
    for fault in ("refused", "500", "html", "huge"):
        assert any(named(fault) in text and "since" in text for text in blind), (fault, blind)


def _deploy_into(
    fault: str, running: Daemon, false: FalsePrometheus, world: TurnsBad, loop: asyncio.AbstractEventLoop
) -> str:
    now = CLOCK.wall_s()
    deploy: dict[str, Any] = running.deploy(
        named(fault), "2", from_version="1", started_at=now - 1, finished_at=now
    )["deploy"]
    world.bad_from_at = now
    false.mode = fault
    if fault == "refused":
        asyncio.run_coroutine_threadsafe(false.close_door(), loop).result(10)
    return str(deploy["id"])


def _rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no VmRSS")
