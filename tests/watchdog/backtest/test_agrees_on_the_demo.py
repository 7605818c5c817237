"""On the demo's history a backtest says what the daemon's own keeper and seats say step by step."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import config
from checks.model import CheckResult
from detectors.model import FloatArray, Verdict
from tests.watchdog.watching_rig import ScriptedSource, a_keeper
from watchdog.backtest.watched import intake_rules
from watchdog.cli import exits, main
from watchdog.demo.history import HISTORY_S, series_of, write_history
from watchdog.demo.theatre import QUANTILE, STEP_S, WATCH_S, configured
from watchdog.deploys.canonical import settle
from watchdog.deploys.reading import read_event
from watchdog.judging.seat import Seat
from watchdog.keeper import Keeper, batches
from watchdog.kinds import KINDS
from watchdog.metrics import Metrics
from watchdog.model import OPEN_WATCH_STATES, Watch
from watchdog.plan import ServicePlan, plan_services
from watchdog.watch import advance

FIRST_AT = 1_790_000_000.0
LIVE_AT = FIRST_AT + HISTORY_S
LIVE_S = 150
PLACES = {
    name: f"http://127.0.0.1:1/{name}"
    for name in ("checkout", "payments", "stock", "deployer", "receivers", "api")
}
SECRETS = ("DEMO_EVENT_SECRET", "DEMO_ROLLBACK_SECRET")


@dataclass(slots=True)
class Followed:
    """A deploy while the daemon follows it. decided_at: end of the step after which its watch was closed."""

    seat: Seat
    watch: Watch
    decided_at: float = math.nan
    verdict: Verdict | None = None


@dataclass(slots=True)
class Live:
    """What the daemon does in each step, with a source and checks that answer from the arrays of the past."""

    keeper: Keeper
    series: Mapping[str, FloatArray]
    plans: Mapping[str, ServicePlan]
    followed: dict[str, Followed] = field(default_factory=dict)

    def ship(self, body: Mapping[str, Any]) -> None:
        plan = self.plans[body["service"]]
        event = read_event(
            body, sender="ci", sender_id=None, environment="demo", now=float(body["finished_at"])
        )
        intake = settle(event, [], [], [], now=event.received_at, rules=intake_rules(plan))
        seat = Seat(intake.watch, intake.deploy, [], plan, Metrics())
        seat.open(self.keeper.book, [f.seat.deploy for f in self.followed.values() if f.seat.plan is plan])
        self.followed[body["version"]] = Followed(seat, intake.watch)

    async def step(self, at: float) -> None:
        """The tick that reads the step which ended at `at`."""
        for plan in self.plans.values():
            for item in plan.series:
                row = self.series[item.id][round((at - FIRST_AT) / STEP_S)]
                if item.check is not None and np.isfinite(row).all():
                    outcome = "fail" if row[0] else "pass"
                    self.keeper.add(plan.name, item.check, CheckResult(outcome=outcome), at)
        for batch in batches(self.plans):
            await self.keeper.read(batch, at, at + 1.0)
            await self.keeper.mirror(batch, at)
        for each in self.followed.values():
            verdict = each.seat.tick(self.keeper.book, at) if each.watch.state in OPEN_WATCH_STATES else None
            if verdict is not None:
                each.watch = advance(each.watch, each.seat.deploy, verdict, is_over=each.seat.is_over, now=at)
                each.verdict, each.decided_at = verdict, verdict.at


def shop_past() -> dict[str, FloatArray]:
    """The demo's own history and, after it, a minute in which checkout fails."""
    n = round(HISTORY_S + LIVE_S)
    series = series_of(n + 1, STEP_S, seed=11, extra_s={}, latency_quantile=QUANTILE)
    bad = slice(round(HISTORY_S) + 3, round(HISTORY_S) + 60)
    rng = np.random.default_rng(3)
    errors = series["checkout/errors"]
    errors[bad, 0] = np.minimum(
        errors[bad, 1], errors[bad, 0] + rng.binomial(errors[bad, 1].astype(int), 0.3)
    )
    return series


DEPLOYS = [
    {"service": name, "version": version, "started_at": LIVE_AT + start, "finished_at": LIVE_AT + end}
    for name, version, start, end in (
        ("checkout", "bad", 2.0, 3.0),
        ("payments", "good", 10.0, 12.0),
        ("checkout", "after", 100.0, 102.0),
        ("stock", "unfinished", 140.0, 141.0),
    )
]


async def lived(state: Path, plans: Mapping[str, ServicePlan]) -> Live:
    """The daemon's way through the minutes after the demo's history; what it saw is in samples.db then."""
    series = shop_past()
    past = {name: values[: round(HISTORY_S)] for name, values in series.items()}
    await write_history(state, past, step_s=STEP_S, last_at=LIVE_AT - STEP_S)

    def value(series_id: str, at: float) -> FloatArray:
        return series[series_id][round((at - FIRST_AT) / STEP_S)]

    keeper = a_keeper(state, list(plans.values()), {"shop": ScriptedSource(value=value)})
    await keeper.refill(LIVE_AT + 4 * STEP_S)
    live = Live(keeper, series, plans)
    for number in range(LIVE_S):
        at = LIVE_AT + number * STEP_S
        await live.step(at)
        for deploy in DEPLOYS:
            if deploy["finished_at"] == at:
                live.ship(deploy)
    for batch in batches(plans):
        await keeper.mirror(batch, LIVE_AT + (LIVE_S - 1) * STEP_S, at_once=True)
    await keeper.samples.close()
    return live


def test_the_same_verdicts_at_the_same_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "whsec_" + "A" * 44)
    monkeypatch.setenv("DEMO_SLACK_WEBHOOK", "http://127.0.0.1:1/x")
    monkeypatch.setenv("DEMO_ROUTING_KEY", "0" * 32)
    state = tmp_path / "state"
    state.mkdir()
    file = tmp_path / "watchdog.yaml"
    words = {"folder": str(tmp_path), "state": str(state), "listen": "127.0.0.1:0", "watch": f"{WATCH_S:g}"}
    file.write_text(configured({**PLACES, **words}))
    live = asyncio.run(lived(state, plan_services(config.load([file], KINDS))))

    log = tmp_path / "deploys.json"
    log.write_text(json.dumps(DEPLOYS))
    span = ["--since", str(FIRST_AT), "--until", str(LIVE_AT + LIVE_S - 1)]
    command = ["backtest", "-c", str(file), *span, "--deploys", str(log), "--placebos", "0", "--jobs", "1"]
    assert main([*command, "--json", "-"]) == exits.HEALTHY
    report = json.loads(capsys.readouterr().out)
    said = {d["to_version"]: d for service in report["services"] for d in service["deploys"]}
    assert said.keys() == live.followed.keys()
    states = {version: each.watch.state for version, each in live.followed.items()}
    assert (states["bad"], states["good"]) == ("regressed", "healthy")
    assert states.pop("unfinished") in OPEN_WATCH_STATES
    assert said["unfinished"]["state"] == "open"
    for version, state_then in states.items():
        each = live.followed[version]
        assert each.verdict is not None
        assert said[version]["state"] == state_then
        assert said[version]["because"] == each.verdict.because
        assert said[version]["decided_at"] == each.decided_at
