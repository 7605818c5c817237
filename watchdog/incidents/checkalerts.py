"""Counts the results of checks that alert, and records what people are to be told of them.

A restart counts the runs anew; what was told is in the store, so that it is neither told twice nor left open.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from checks.model import CheckResult
from config.schema import CheckAlert
from watchdog.alerts.messages import Routes
from watchdog.clock import Clock
from watchdog.incidents.checkalert import Seen, advance, alerts_of, blame_of, hold_of
from watchdog.incidents.incident import Told
from watchdog.judging.bench import Bench
from watchdog.model import Incident
from watchdog.plan import CheckPlan, ServicePlan
from watchdog.store.protocol import Store, StoreDead, StoreUnavailable

log = logging.getLogger("watchdog.incidents.checkalerts")

_OPEN_MAX = 10_000


@dataclass(slots=True)
class _Post:
    """One check that alerts. seen: its newest runs that could tell."""

    plan: CheckPlan
    rule: CheckAlert
    seen: deque[Seen]
    incident: Incident | None = None
    is_held: bool = False


@dataclass(slots=True, kw_only=True)
class CheckAlerts:
    """The alerts of every check with `alert`. It can alert, not act: it is given no targets."""

    plans: Mapping[str, ServicePlan]
    store: Store
    bench: Bench
    clock: Clock
    routes: Routes
    wake_outbox: Callable[[], None]
    _posts: dict[str, _Post] = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is known before `load`."""
        self._posts = {
            check.due_name: _Post(check, check.alert, deque(maxlen=check.alert.window))
            for plan in self.plans.values()
            for check in plan.checks
            if check.alert is not None
        }

    async def load(self) -> None:
        """Take up what is open in the store; end what belongs to a check that no longer alerts."""
        for incident in await self.store.incidents(is_open=True, of_checks=True, limit=_OPEN_MAX):
            post = self._posts.get(f"{incident.service}/{incident.check_name}")
            if post is not None:
                post.incident, post.is_held = incident, incident.state == "held"
                continue
            closed = replace(
                incident,
                state="accepted",
                because="is no longer alerted on",
                closed_at=self.clock.wall_s(),
            )
            # Whoever was paged for it would wait for its end for ever.
            await self._put(closed, is_told=incident.state == "raised", is_page=incident.is_page)

    async def take(self, plan: CheckPlan, result: CheckResult, at: float) -> None:
        """Count one result. One that could not tell is no result; during a watch the watch judges."""
        post = self._posts.get(plan.due_name)
        if post is None or result.outcome == "error":
            return
        post.seen.append(Seen(at, result.because if result.outcome == "fail" else ""))
        if self.bench.is_watched(plan.service):
            return
        service = self.plans[plan.service]
        hold = hold_of(service, plan, self._failing(), at)
        if post.is_held and not hold:
            # What failed under the cause may be recovering with it: it has to fail as often again.
            newest = post.seen[-1]
            post.seen.clear()
            post.seen.append(newest)
        post.is_held = bool(hold)
        after = advance(
            post.incident, tuple(post.seen), rule=post.rule, plan=service, check=plan, hold=hold, now=at
        )
        if after is None or after is post.incident:
            return
        is_told = after.state == "raised" or (post.incident is not None and post.incident.state == "raised")
        try:
            blame = await self._blame(plan, result, at) if is_told else ""
            await self._put(after, is_told=is_told, is_page=post.rule.page, blame=blame)
        except StoreDead:
            raise
        except StoreUnavailable as error:
            # Nothing was told, nothing is remembered: the next run comes to the same.
            log.error("cannot record", extra={"check": plan.due_name, "because": str(error)})
            return
        post.incident = after if after.closed_at is None else None

    async def _blame(self, plan: CheckPlan, result: CheckResult, at: float) -> str:
        """The deploy that the wrong rows were written under, where the check knows when they were."""
        if result.written_at is None:
            return ""
        return blame_of(result.written_at, await self.store.deploys(service=plan.service), at)

    async def _put(self, incident: Incident, *, is_told: bool, is_page: bool, blame: str = "") -> None:
        now = self.clock.wall_s()
        channels = (*self.routes.page, *self.routes.default) if is_page else self.routes.default
        told = Told(
            channels=tuple(dict.fromkeys(channels)), public_url=self.routes.public_url, last_deploy=None
        )
        alerts = alerts_of(incident, is_page=is_page, told=told, now=now, blame=blame) if is_told else ()
        await self.store.put_incident(replace(incident, is_page=is_page), alerts, now)
        if alerts:
            self.wake_outbox()
        log.info(
            "check alert",
            extra={
                "service": incident.service,
                "check": incident.check_name,
                "state": incident.state,
                "because": incident.held if incident.state == "held" else incident.because,
            },
        )

    def _failing(self) -> Mapping[str, list[str]]:
        failing: dict[str, list[str]] = {}
        for post in self._posts.values():
            if post.incident is not None:
                failing.setdefault(post.plan.service, []).append(post.plan.name)
        return failing
