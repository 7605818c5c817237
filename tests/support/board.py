"""A daemon's state made up for tests and screenshots: a deploy in every situation the dashboard shows."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from checks.model import Beat
from config.schema import Settings
from detectors.judge import DeployJudge
from detectors.model import (
    Bad,
    DeployInterval,
    FloatArray,
    History,
    JudgeSettings,
    SeriesKind,
    SeriesSpec,
)
from watchdog.api.protocol import Ports
from watchdog.model import (
    Action,
    ActionState,
    AuditRow,
    Deploy,
    DeployEvent,
    Intake,
    SwitchState,
    Watch,
    WatchState,
    action_key,
)

# Sunday 22 November 2026, 14:02:10 UTC: the deploy that most of this is about; "now" is 7 min 21 s later.
STARTED_AT = 1795356130.0
FINISHED_AT = STARTED_AT + 30.0
NOW = STARTED_AT + 441.0
STEP_S = 15.0
LOCAL_TOKEN = "local-token-of-this-test"


class FakeClock:
    """A clock that stands until it is moved; `sleep` only yields."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now
        self.mono = 1000.0

    def wall_s(self) -> float:
        return self.now

    def mono_s(self) -> float:
        return self.mono

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class FakeBoard:
    """Implements `watchdog.api.protocol.Board`."""

    def __init__(self) -> None:
        self.packets: dict[str, Mapping[str, Any]] = {}
        self.notes: dict[str, dict[str, Any]] = {}
        self.told_readings: dict[str, list[dict[str, Any]]] = {}
        self.sources = {"prom": "ok", "scrape": "ok"}
        self.number = 1
        self._moved = asyncio.Condition()

    def live_packet(self, watch_id: str) -> Mapping[str, Any] | None:
        return self.packets.get(watch_id)

    def service_notes(self) -> Mapping[str, Mapping[str, Any]]:
        return self.notes

    def readings(self, service: str) -> list[dict[str, Any]]:
        return self.told_readings.get(service, [])

    def source_notes(self) -> Mapping[str, str]:
        return self.sources

    async def changed(self, since: int) -> int:
        async with self._moved:
            await self._moved.wait_for(lambda: self.number > since)
            return self.number

    async def move(self) -> None:
        """Tell everybody that something changed."""
        async with self._moved:
            self.number += 1
            self._moved.notify_all()


class FakeStore:
    """The part of `watchdog.store.protocol.Store` that the API reads, over plain lists."""

    def __init__(self) -> None:
        self.deploy_rows: list[Deploy] = []
        self.watch_rows: list[Watch] = []
        self.action_rows: list[Action] = []
        self.attempt_rows: dict[str, list[tuple[float, str]]] = {}
        self.packets: dict[str, Mapping[str, Any]] = {}
        self.decision_rows: dict[str, list[tuple[float, str, str]]] = {}
        self.audit_rows: list[AuditRow] = []

    async def deploy(self, deploy_id: str) -> Deploy | None:
        return next((row for row in self.deploy_rows if row.id == deploy_id), None)

    async def deploys(self, *, service: str | None = None, limit: int = 100) -> list[Deploy]:
        rows = [row for row in self.deploy_rows if service in (None, row.service)]
        return sorted(rows, key=lambda row: -row.started_at)[:limit]

    async def watch(self, watch_id: str) -> Watch | None:
        return next((row for row in self.watch_rows if row.id == watch_id), None)

    async def watches(
        self, *, service: str | None = None, is_open: bool | None = None, limit: int = 100
    ) -> list[Watch]:
        rows = [
            row
            for row in self.watch_rows
            if service in (None, row.service) and is_open in (None, row.closed_at is None)
        ]
        return sorted(rows, key=lambda row: -row.opened_at)[:limit]

    async def packet(self, watch_id: str) -> Mapping[str, Any] | None:
        return self.packets.get(watch_id)

    async def decisions(self, watch_id: str) -> list[tuple[float, str, str]]:
        return self.decision_rows.get(watch_id, [])

    async def action(self, key: str) -> Action | None:
        return next((row for row in self.action_rows if row.key == key), None)

    async def actions(
        self, *, service: str | None = None, states: Sequence[ActionState] | None = None, limit: int = 100
    ) -> list[Action]:
        rows = [
            row
            for row in self.action_rows
            if service in (None, row.service) and (states is None or row.state in states)
        ]
        return sorted(rows, key=lambda row: -row.created_at)[:limit]

    async def attempts(self, key: str) -> list[tuple[float, str]]:
        return self.attempt_rows.get(key, [])

    async def audit(self, *, limit: int = 100) -> list[AuditRow]:
        return sorted(self.audit_rows, key=lambda row: -row.n)[:limit]


class FakeDaemon:
    """Everything behind `Ports`: what was submitted, approved and switched can be looked at afterwards."""

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self.settings = Settings.model_validate({**SETTINGS, **(settings or {})})
        self.clock = FakeClock()
        self.board = FakeBoard()
        self.store = FakeStore()
        self.switch = SwitchState(is_on=False)
        self.not_ready: list[str] = []
        self.is_alive = True
        self.events: list[DeployEvent] = []
        self.decided: list[tuple[str, str, str, str]] = []
        self.beats: list[Beat] = []

    def ports(self) -> Ports:
        """The ports of this daemon, with a registry of their own."""
        return Ports(
            settings=self.settings,
            store=self.store,  # type: ignore[arg-type]  # the reading half of the protocol
            clock=self.clock,
            board=self.board,
            registry=CollectorRegistry(),
            local_token=LOCAL_TOKEN,
            submit=self.submit,
            approve=self.approve,
            veto=self.veto,
            hear=self.hear,
            kill_switch=self.kill_switch,
            set_kill_switch=self.set_kill_switch,
            readiness=lambda: self.not_ready,
            probe=self.probe,
            is_alive=lambda: self.is_alive,
        )

    async def probe(self, module: str, target: str, scrape_timeout_s: float | None) -> bytes:
        if module != "up":
            raise LookupError(module)
        return f"probe_success 1\n# {target} {scrape_timeout_s}\n".encode()

    async def submit(self, event: DeployEvent) -> Intake:
        if event.service not in self.settings.services:
            raise ValueError(f"service: `{event.service[:64]}` is not configured. Add it under services.")
        seen = [(e.sender, e.sender_id) for e in self.events]
        is_duplicate = (event.sender, event.sender_id) in seen
        if not is_duplicate:
            self.events.append(event)
        n = len(self.events) if not is_duplicate else seen.index((event.sender, event.sender_id)) + 1
        deploy = a_deploy(f"new-{n}", event.service, event.to_version, self.clock.now)
        return Intake(deploy=deploy, watch=a_watch(deploy, "observing"), is_duplicate=is_duplicate)

    async def approve(self, key: str, who: str, because: str) -> Action:
        return await self._decide(key, who, because, "intended")

    async def veto(self, key: str, who: str, because: str) -> Action:
        return await self._decide(key, who, because, "vetoed")

    async def hear(self, service: str, name: str, beat: Beat) -> bool:
        if (service, name) != ("checkout", "nightly"):
            raise LookupError(
                "There is no check of kind heartbeat at this address. They are: checkout/nightly."
            )
        is_new = not beat.run or beat.run not in [heard.run for heard in self.beats]
        self.beats += [beat] if is_new else []
        return is_new

    async def _decide(self, key: str, who: str, because: str, to: ActionState) -> Action:
        action = await self.store.action(key)
        if action is None:
            raise LookupError(key)
        if action.state != "awaiting_approval":
            raise ValueError(f"The rollback is {action.state}: it cannot be decided on any more.")
        self.decided.append((to, key, who, because))
        moved = replace(action, state=to)
        self.store.action_rows[self.store.action_rows.index(action)] = moved
        return moved

    async def kill_switch(self) -> SwitchState:
        return self.switch

    async def set_kill_switch(self, state: SwitchState) -> None:
        self.switch = state


SETTINGS: dict[str, Any] = {
    "environment": "prod",
    "services": {
        "checkout": {
            "owner": "shop-core",
            "runbook": "https://wiki.shop.example/checkout",
            "mode": "approve",
            "series": {
                "failed_payments": {
                    "kind": "ratio",
                    "numerator": 'payments_total{app="checkout",result="failed"}',
                    "denominator": 'payments_total{app="checkout"}',
                },
                "orders": {"kind": "count", "counter": 'orders_created_total{app="checkout"}'},
            },
            "checks": {"place-an-order": {"kind": "scenario"}, "home": {"kind": "http"}},
        },
        "search": {},
        "stock": {"mode": "observe"},
        "mail": {},
        "web": {},
        "payments": {},
        "ledger": {},
        "catalog": {},
        "prices": {},
        "gateway": {},
        "reports": {},
    },
}


def a_deploy(deploy_id: str, service: str, version: str, started_at: float, **changes: Any) -> Deploy:
    """A finished deploy of half a minute."""
    return Deploy(
        **{
            "id": deploy_id,
            "environment": "prod",
            "service": service,
            "kind": "code",
            "to_version": version,
            "from_version": None,
            "started_at": started_at,
            "finished_at": started_at + 30.0,
            **changes,
        }
    )


def a_watch(deploy: Deploy, state: WatchState, because: str = "", **changes: Any) -> Watch:
    """The watch of a deploy, 45 minutes long; closed unless its state is an open one."""
    is_open = state in ("announced", "warming", "observing", "suspect")
    finished_at = deploy.finished_at or deploy.started_at
    return Watch(
        **{
            "id": f"w-{deploy.id}",
            "environment": deploy.environment,
            "service": deploy.service,
            "deploy_id": deploy.id,
            "suspect_ids": (deploy.id,),
            "state": state,
            "because": because,
            "mode": "observe",
            "opened_at": deploy.started_at,
            "observe_at": finished_at + 60.0,
            "ends_at": finished_at + 2700.0,
            "closed_at": None if is_open else min(NOW, finished_at + 2700.0),
            **changes,
        }
    )


def an_action(deploy: Deploy, watch: Watch, state: ActionState, **changes: Any) -> Action:
    """A rollback of a deploy."""
    return Action(
        **{
            "key": action_key(deploy.environment, deploy.service, deploy.id, "1"),
            "environment": deploy.environment,
            "service": deploy.service,
            "deploy_id": deploy.id,
            "watch_id": watch.id,
            "step": "1",
            "target": "deployer",
            "from_version": deploy.to_version,
            "to_version": deploy.from_version or "",
            "body": b'{"service":"checkout"}',
            "state": state,
            "because": "mode is approve and the rollback is safe",
            "created_at": NOW - 29.0,
            "valid_until_at": NOW + 871.0,
            "epoch": 3,
            "evidence_digest": "d" * 64,
            **changes,
        }
    )


@functools.cache
def example_packet(deploy: Deploy, *, n_ticks: int = 28, lost_share: float = 0.031) -> dict[str, Any]:
    """A packet of the real judge: from the eighth step on payments fail; latency goes dark on the ninth.

    lost_share: of payments, from the onset on; 0.004 is what it was before.
    """
    rng = np.random.default_rng(4120)
    n = 6 * 240
    is_lost = np.arange(n + n_ticks) >= n + 7
    paid = rng.poisson(400, n + n_ticks).astype(float)
    failed = rng.binomial(paid.astype(int), np.where(is_lost, lost_share, 0.004)).astype(float)
    failed[n - 25 : n - 17] = np.nan
    orders = rng.poisson(np.where(is_lost, 118.0 * (1 - lost_share), 118.0)).astype(float)
    latency = rng.gamma(60.0, 0.0035, n + n_ticks)
    latency[n + 8 :] = np.nan
    runs = np.where(np.arange(n + n_ticks) >= n, 3.0, 1.0)
    broken = rng.binomial(3, np.where(is_lost & (lost_share > 0.004), 0.6, 0.0)).astype(float)
    columns: list[tuple[SeriesSpec, FloatArray]] = [
        (a_spec("failed_payments", "ratio", "ratio"), np.stack((failed, paid), axis=1)),
        (a_spec("place_an_order", "probe", "ratio"), np.stack((broken, runs), axis=1)),
        (a_spec("orders", "count", "per_step", "down"), orders[:, None]),
        (a_spec("order_latency", "latency", "s"), latency[:, None]),
        (a_spec("basket_value", "gauge", "EUR", "down"), rng.normal(42.0, 2.2, (n + n_ticks, 1))),
        (a_spec("queue_length", "gauge", "jobs"), np.abs(rng.normal(14.0, 4.0, (n + n_ticks, 1)))),
    ]
    end_at = STARTED_AT - STARTED_AT % STEP_S
    judge = DeployJudge(
        deploy=DeployInterval(
            id=deploy.id, started_at=deploy.started_at, finished_at=deploy.finished_at or deploy.started_at
        ),
        others=[DeployInterval(id="d-stock", started_at=STARTED_AT - 640.0, finished_at=STARTED_AT - 610.0)],
        histories=[History(spec=spec, values=values[:n], end_at=end_at) for spec, values in columns],
        settings=JudgeSettings(watch_s=2700.0, warm_up_s=30.0),
    )
    for i in range(n_ticks):
        judge.tick(end_at + STEP_S * (i + 1), {spec.name: values[n + i] for spec, values in columns}, {})
    return judge.packet()


def a_spec(name: str, kind: SeriesKind, unit: str, bad: Bad = "up") -> SeriesSpec:
    """A series on the grid of the example."""
    return SeriesSpec(name=name, kind=kind, unit=unit, bad=bad, step_s=STEP_S)


def fill(daemon: FakeDaemon) -> FakeDaemon:
    """Put one deploy in every situation; `checkout` is the one of the wireframes."""
    store, board = daemon.store, daemon.board
    checkout = a_deploy(
        "d-checkout",
        "checkout",
        "4.12.0",
        STARTED_AT,
        from_version="4.11.3",
        author="dana",
        link="https://git.shop.example/checkout/pull/4821",
    )
    packet = example_packet(checkout)
    because = packet["verdict"]["because"]
    regressed = a_watch(checkout, "regressed", because, mode="approve", suspect_ids=("d-checkout", "d-stock"))
    waiting = an_action(checkout, regressed, "awaiting_approval")
    older = a_deploy(
        "d-checkout-0", "checkout", "4.11.3", STARTED_AT - 3 * 86400, from_version="4.11.2", author="kim"
    )
    search = a_deploy("d-search", "search", "9.1.0", STARTED_AT - 100, from_version="9.0.7", author="lee")
    stock = a_deploy("d-stock", "stock", "2.8.1", STARTED_AT - 640, from_version="2.8.0")
    mail = a_deploy("d-mail", "mail", "1.0.7", STARTED_AT - 900, from_version="1.0.6")
    web = a_deploy("d-web", "web", "5.3.0", STARTED_AT - 2000, from_version="5.2.9")
    payments = a_deploy("d-payments", "payments", "3.2.0", STARTED_AT - 5000, from_version="3.1.9")
    ledger = a_deploy("d-ledger", "ledger", "1.4.0", STARTED_AT - 400, from_version="1.3.9")
    prices = a_deploy("d-prices", "prices", "7.7.1", STARTED_AT - 90000, from_version="7.7.0")
    store.deploy_rows = [checkout, older, search, stock, mail, web, payments, ledger, prices]
    rolled_back = a_watch(payments, "regressed", "Errors rose from 0.1 % to 4.0 % (+3.9 pt, 3.1 to 4.6).")
    going_back = a_watch(
        ledger, "regressed", "Postings per minute fell from 52 to 31 (-40 %, -49 to -30).", mode="auto"
    )
    store.watch_rows = [
        regressed,
        a_watch(
            older, "healthy", "no series worse for the whole watch; +0.8 pt failures would have been seen"
        ),
        a_watch(search, "suspect", "p95 +80 ms since 14:01; needs 2 more points"),
        a_watch(stock, "observing", "12 of 45 min; would already see +0.8 pt errors, -6 % orders"),
        a_watch(mail, "observing", "no data from prom since 13:58; not cleared, nothing is rolled back"),
        a_watch(
            web,
            "inconclusive",
            "Errors rose at 13:41 in 6 of 6 control services too: this deploy is not to blame or not alone.",
        ),
        rolled_back,
        going_back,
        a_watch(prices, "healthy", "no series worse for the whole watch; -4 % orders would have been seen"),
    ]
    store.action_rows = [
        waiting,
        an_action(payments, rolled_back, "confirmed", created_at=STARTED_AT - 4000),
        an_action(
            ledger,
            going_back,
            "acked",
            created_at=NOW - 55,
            acked_at=NOW - 53,
            deadline_at=NOW + 845,
            because="mode is auto, the rollback is safe, 0 of 6 rollbacks today",
        ),
    ]
    store.attempt_rows = {store.action_rows[2].key: [(NOW - 54.0, "sent to deployer: 202 accepted in 41 ms")]}
    store.packets[regressed.id] = packet
    store.decision_rows[regressed.id] = [
        (STARTED_AT + 45, "wait", "15 s of 2700 s watched"),
        (STARTED_AT + 245, "wait", "failed payments may be rising: +1.9 pt so far"),
        (NOW - 29, "propose", "mode is approve and the rollback is safe"),
    ]
    board.notes = {
        "checkout": {
            "blind_since": None,
            "problems": [],
            "checks": {
                "place-an-order": {
                    "outcome": "fail",
                    "because": 'json.state == "paid" is false: json.state = "pending"',
                    "at": NOW - 4,
                    "readings": {"total_s": 0.31},
                },
                "home": {"outcome": "pass", "because": "", "at": NOW - 12, "readings": {"total_s": 0.042}},
            },
        },
        "mail": {
            "blind_since": STARTED_AT - 250,
            "problems": ["prom answers 503 (11 of 11 queries)."],
            "checks": {},
        },
    }
    board.sources = {
        "prom": "answers 503 since 13:58 UTC for mail; 9 other services are read",
        "scrape": "ok",
    }
    store.audit_rows = [
        AuditRow(
            n=n,
            at=NOW - 500 + 60 * n,
            who=who,
            what=what,
            key="d-checkout",
            prev_digest=f"{n:064x}",
            digest=f"{n + 1:064x}",
        )
        for n, (who, what) in enumerate(
            [
                ("watchdog", "watch of checkout 4.12.0 opened, 45 min, mode approve"),
                ("watchdog", f"regressed: {because}"),
                (
                    "watchdog",
                    "rollback of checkout to 4.11.3 proposed because mode is approve and it is safe",
                ),
            ]
        )
    ]
    return daemon
