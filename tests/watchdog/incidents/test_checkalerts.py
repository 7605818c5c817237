"""Checks that fail between deploys: told once, ended once, held back with their cause, never acting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from checks.model import CheckResult, Outcome
from checks.tcp import TcpCheck
from config.schema import CheckAlert, Maintenance
from tests.support.fake_clock import FakeClock
from tests.support.sample_plan import Watched, a_plan
from tests.watchdog.store.store_material import deploy_of, event, settle_as
from watchdog.alerts.messages import Routes
from watchdog.incidents.checkalerts import CheckAlerts
from watchdog.judging.bench import Bench
from watchdog.model import Alert
from watchdog.plan import CheckPlan, ServicePlan
from watchdog.store.protocol import StoreUnavailable
from watchdog.store.sqlite import SqliteStore

START = 1_795_356_000.0  # Sunday 2026-11-22 14:00:00 UTC
EVERY_S = 60.0
RULE = CheckAlert(fail=2, of=3, recover=2)


def check_of(service: str, rule: CheckAlert | None, name: str = "home") -> CheckPlan:
    return CheckPlan(
        service=service,
        name=name,
        check=TcpCheck(host="127.0.0.1", port=1),
        every_s=EVERY_S,
        timeout_s=1.0,
        burst_every_s=None,
        burst_for_s=0.0,
        alert=rule,
    )


def plans_of(rule: CheckAlert | None = RULE, **changes: Any) -> Mapping[str, ServicePlan]:
    """`shop` calls `payments`; each has one check."""
    shop = a_plan(name="shop", depends_on=("payments",), checks=(check_of("shop", rule),), **changes)
    return {"shop": shop, "payments": a_plan(name="payments", checks=(check_of("payments", rule),))}


@dataclass
class Town:
    """A real store, a clock, and results as the test says them: `x` fails, `.` passes, `?` cannot tell."""

    store: SqliteStore
    plans: Mapping[str, ServicePlan] = field(default_factory=plans_of)
    clock: FakeClock = field(default_factory=lambda: FakeClock(START))
    bench: Watched = field(default_factory=Watched)
    woken: int = 0
    alerts: CheckAlerts = field(init=False)

    async def start(self, plans: Mapping[str, ServicePlan] | None = None) -> None:
        """As a daemon does that remembers nothing."""
        self.plans = self.plans if plans is None else plans

        def wake() -> None:
            self.woken += 1

        self.alerts = CheckAlerts(
            plans=self.plans,
            store=self.store,
            bench=cast("Bench", self.bench),
            clock=self.clock,
            routes=Routes(default=("team",), page=("pager",), public_url="https://watchdog.example"),
            wake_outbox=wake,
        )
        await self.alerts.load()

    async def see(self, results: str, service: str = "shop") -> None:
        """One result a minute."""
        for letter in results:
            self.clock.step_wall(EVERY_S)
            outcome = cast("Outcome", {"x": "fail", ".": "pass", "?": "error"}[letter])
            because = "" if outcome == "pass" else f"status 503 ({outcome})"
            plan = self.plans[service].checks[0]
            result = CheckResult(outcome=outcome, because=because)
            await self.alerts.take(plan, result, self.clock.wall_s())

    async def told(self) -> list[Alert]:
        """Every alert, oldest first."""
        return list(reversed(await self.store.alerts()))

    async def kinds(self) -> list[str]:
        return [f"{alert.service} {alert.kind}" for alert in await self.told()]


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    store = SqliteStore(tmp_path / "state.db")
    await store.open(START)
    made = Town(store)
    await made.start()
    yield made
    await store.close()


async def test_it_is_told_once_and_ended_once(town: Town) -> None:
    await town.see("..xx")
    (alert,) = await town.told()
    assert (alert.kind, alert.channel, alert.event, alert.page) == ("failing", "team", "update", False)
    assert alert.severity == "error"
    assert alert.text == "shop (prod): check home fails: status 503 (fail)"
    assert alert.fields == {
        "what": "Check home: status 503 (fail)",
        "since": "14:03 UTC",
        "done": "Nothing was sent to a rollback target.",
        "next": "Told once more when it is over.",
    }
    assert alert.link == "https://watchdog.example/s/shop"
    await town.see("xxxx.x.x.x")
    assert await town.kinds() == ["shop failing"]
    await town.see("..")
    (_, over) = await town.told()
    assert (over.kind, over.event, over.dedup_key) == ("passing", "update", alert.dedup_key)
    assert over.text == "shop (prod): check home passes again after 13 min"
    await town.see("....")
    assert town.woken == 2
    (incident,) = await town.store.incidents(of_checks=True)
    assert (incident.state, incident.check_name) == ("resolved", "home")
    # Again is another one.
    await town.see("xx")
    assert await town.kinds() == ["shop failing", "shop passing", "shop failing"]
    assert (await town.told())[2].dedup_key != alert.dedup_key


@pytest.mark.parametrize(
    ("rule", "quiet", "then"),
    [
        (CheckAlert(fail=1), "....", "x"),
        (CheckAlert(fail=3), "xx.xx.xx", "x"),
        (CheckAlert(fail=3, of=5), "xx...x.x..", "xxx"),
        # A pass does not begin an alert, however many failures are among the newest.
        (CheckAlert(fail=2, of=4), "x...x..", "xx"),
        # More runs are remembered than are counted.
        (CheckAlert(fail=2, of=2, recover=10), "x.x.x.x.", "xx"),
    ],
)
async def test_so_many_failures_among_so_many_runs_begin_it(
    town: Town, rule: CheckAlert, quiet: str, then: str
) -> None:
    await town.start(plans_of(rule))
    await town.see(quiet)
    assert await town.told() == []
    await town.see(then)
    assert await town.kinds() == ["shop failing"]


async def test_what_could_not_tell_neither_begins_nor_ends_it(town: Town) -> None:
    await town.see("x????????")
    assert await town.told() == []
    await town.see("?x")
    assert await town.kinds() == ["shop failing"]
    await town.see("????.????")
    assert await town.kinds() == ["shop failing"]
    await town.see("?.")
    assert await town.kinds() == ["shop failing", "shop passing"]


async def test_without_alert_nobody_is_told(town: Town) -> None:
    await town.start(plans_of(None))
    await town.see("x" * 50)
    assert await town.told() == []
    assert await town.store.incidents(of_checks=True) == []


async def test_a_page_asks_to_act_and_is_resolved(town: Town) -> None:
    await town.start(plans_of(CheckAlert(fail=1, recover=1, page=True)))
    await town.see("x.")
    told = [(alert.channel, alert.event, alert.page) for alert in await town.told()]
    assert told == [
        ("pager", "trigger", True),
        ("team", "trigger", True),
        ("pager", "resolve", False),
        ("team", "resolve", False),
    ]


async def test_a_restart_tells_nothing_twice_and_ends_it_once(town: Town) -> None:
    await town.see("xx")
    for _ in range(3):
        await town.start()
        await town.see("xx.")
    assert await town.kinds() == ["shop failing"]
    await town.start()
    await town.see("..")
    await town.start()
    await town.see("....")
    assert await town.kinds() == ["shop failing", "shop passing"]


async def test_an_open_watch_judges_alone(town: Town) -> None:
    town.bench.services.add("shop")
    await town.see("xxxxx")
    assert await town.told() == []
    town.bench.services.clear()
    await town.see("x")
    assert await town.kinds() == ["shop failing"]
    town.bench.services.add("shop")
    await town.see("....")
    assert await town.kinds() == ["shop failing"]
    town.bench.services.clear()
    await town.see(".")
    assert await town.kinds() == ["shop failing", "shop passing"]


async def test_in_maintenance_it_is_held_back_and_told_after_it_if_it_goes_on(town: Town) -> None:
    # From 14:10 to 14:30.
    window = Maintenance.model_validate({"cron": "10 14 * * 0", "for": "20m"})
    await town.start(plans_of(maintenance=(window,)))
    await town.see("." * 10 + "xxxxx")
    assert await town.told() == []
    (held,) = await town.store.incidents(of_checks=True, is_open=True)
    assert (held.state, held.held) == ("held", "maintenance")
    await town.start()
    await town.see("x" * 14)
    assert await town.told() == []
    # It is 14:30: what failed under the cause has to fail as often again.
    await town.see("x")
    assert await town.told() == []
    await town.see("x")
    (alert,) = await town.told()
    assert alert.fields["because"] == "Held back until now: maintenance."
    assert alert.fields["since"] == "14:11 UTC"
    await town.see("..")
    assert await town.kinds() == ["shop failing", "shop passing"]


async def test_what_ends_while_it_is_held_back_is_never_told(town: Town) -> None:
    window = Maintenance.model_validate({"cron": "0 14 * * *", "for": "20m"})
    await town.start(plans_of(maintenance=(window,)))
    await town.see("xxxxx.....")
    await town.see("." * 30)
    assert await town.told() == []
    (incident,) = await town.store.incidents(of_checks=True)
    assert (incident.state, incident.held) == ("resolved", "maintenance")


async def test_what_was_told_before_maintenance_is_ended_in_it(town: Town) -> None:
    window = Maintenance.model_validate({"cron": "10 14 * * *", "for": "20m"})
    await town.start(plans_of(maintenance=(window,)))
    await town.see("xxxxxxxxxxxx")
    await town.see("..")
    assert await town.kinds() == ["shop failing", "shop passing"]


async def test_while_what_it_depends_on_fails_it_is_held_back_and_told_with_the_cause(town: Town) -> None:
    await town.see("xx", "payments")
    await town.see("xxxx")
    assert await town.kinds() == ["payments failing"]
    await town.see("..", "payments")
    await town.see("x")
    assert await town.kinds() == ["payments failing", "payments passing"]
    await town.see("x")
    (*_, alert) = await town.told()
    assert alert.fields["because"] == "Held back until now: payments, which it depends on, failed (home)."
    # The other way round nothing is held back: payments does not depend on shop.
    await town.see("xx", "payments")
    assert (await town.kinds())[-2:] == ["shop failing", "payments failing"]


async def test_what_recovers_with_what_it_depends_on_is_never_told(town: Town) -> None:
    await town.see("xx", "payments")
    await town.see("xxxx")
    await town.see("..", "payments")
    await town.see("x..")
    assert await town.kinds() == ["payments failing", "payments passing"]
    assert await town.store.incidents(of_checks=True, is_open=True) == []


@pytest.mark.parametrize("plans", [plans_of(None), {}])
async def test_what_nobody_alerts_on_any_more_is_ended_and_said(
    town: Town, plans: Mapping[str, ServicePlan]
) -> None:
    await town.start(plans_of(CheckAlert(fail=1, page=True)))
    await town.see("xx")
    await town.start(plans)
    await town.start(plans)
    told = [alert for alert in await town.told() if alert.channel == "pager"]
    assert [(alert.kind, alert.event) for alert in told] == [("failing", "trigger"), ("passing", "resolve")]
    assert told[1].text == "shop (prod): check home is no longer alerted on"
    assert await town.store.incidents(of_checks=True, is_open=True) == []


async def test_a_store_that_cannot_write_is_asked_again_with_the_next_run(town: Town) -> None:
    await town.store.close()
    await town.see("xx")
    with pytest.raises(StoreUnavailable):
        await town.store.alerts()
    await town.store.open(START)
    await town.see("x")
    assert await town.kinds() == ["shop failing"]


async def test_it_never_makes_an_action_and_leaves_the_series_alone(town: Town) -> None:
    shop = replace(plans_of()["shop"], mode="auto", target="deployer")
    await town.start({**plans_of(), "shop": shop})
    await town.see("x" * 20)
    assert await town.store.actions() == []
    assert await town.store.incidents() == []


@pytest.mark.parametrize(
    ("written_s_after", "told"),
    [
        (40.0, "The first of these rows was written 40 s after the deploy of 4.9.2 at 13:00 UTC."),
        (-1800.0, "The first of these rows was written 30 min after the deploy of 4.9.1 at 12:00 UTC."),
        (-7200.0, "The first of these rows was written at 11:00 UTC, before any deploy known."),
    ],
)
async def test_the_deploy_that_wrong_rows_were_written_under_is_named(
    town: Town, written_s_after: float, told: str
) -> None:
    newest_at = START - 3600.0
    for number, at in ((1, newest_at - 3600.0), (2, newest_at)):
        said = event(number, service="shop", started_at=at, finished_at=at + 60.0)
        await town.store.take_in(said, settle_as(deploy_of(said, f"d{number}"), None), at + 60.0)
    first_at = newest_at + written_s_after
    result = CheckResult(outcome="fail", because="2 keys differ", written_at=(first_at, first_at + 9.0))
    for _ in range(2):
        town.clock.step_wall(EVERY_S)
        await town.alerts.take(town.plans["shop"].checks[0], result, town.clock.wall_s())
    (alert,) = await town.told()
    assert alert.fields["blame"] == told
    await town.see("..")
    (_, over) = await town.told()
    assert "blame" not in over.fields
