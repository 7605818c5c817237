"""A check that fails outside a watch: when people are told, when it is over, and what holds it back. Pure.

Built on the incidents of `incident.py`: one open incident per check, durable with what is told of it. As
there, no word of this can act.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from config.schema import CheckAlert
from detectors import say
from watchdog.alerts.text import clock_time
from watchdog.incidents.incident import Told, digest_of, told_of
from watchdog.model import Alert, Deploy, Incident
from watchdog.plan import CheckPlan, ServicePlan


@dataclass(frozen=True, slots=True)
class Seen:
    """One run that could tell. because: why it failed, empty if it passed."""

    at: float
    because: str

    @property
    def is_failure(self) -> bool:
        """Whether it failed."""
        return bool(self.because)


def advance(
    incident: Incident | None,
    seen: Sequence[Seen],
    *,
    rule: CheckAlert,
    plan: ServicePlan,
    check: CheckPlan,
    hold: str,
    now: float,
) -> Incident | None:
    """The incident after the newest run; the same object where nothing changed.

    seen: the newest `rule.window` runs that could tell, oldest first. hold: why nobody is to be told now,
    empty if nothing is in the way. What is held back is told only if it goes on without what held it back.
    """
    failures = [run for run in seen[-(rule.of or rule.fail) :] if run.is_failure]
    is_failing = len(failures) >= rule.fail and seen[-1].is_failure
    if incident is None:
        if not is_failing:
            return None
        return Incident(
            id=digest_of(plan.environment, plan.name, check.name, f"{now:.3f}"),
            environment=plan.environment,
            service=plan.name,
            check_name=check.name,
            state="held" if hold else "raised",
            because=failures[-1].because,
            held=hold,
            series={},
            opened_at=now,
            onset_at=failures[0].at,
        )
    newest = seen[-rule.recover :]
    if len(newest) == rule.recover and not any(run.is_failure for run in newest):
        because = f"passes again after {say.span(now - incident.onset_at)}"
        return replace(incident, state="resolved", because=because, closed_at=now)
    if incident.state == "held" and not hold and is_failing:
        return replace(incident, state="raised", because=failures[-1].because)
    return incident


def alerts_of(
    incident: Incident, *, is_page: bool, told: Told, now: float, blame: str = ""
) -> tuple[Alert, ...]:
    """One alert per channel: that it fails, or how it ended. A page where its `alert` says so."""
    is_open = incident.closed_at is None
    place = f"{incident.service} ({incident.environment})"
    fields: Mapping[str, str] = {
        "what": f"Check {incident.check_name}: {incident.because}",
        "since": clock_time(incident.onset_at, now),
        "blame": blame if is_open else "",
        "done": "Nothing was sent to a rollback target.",
        "next": "Told once more when it is over." if is_open else "",
        "because": f"Held back until now: {incident.held}." if incident.held and is_open else "",
    }
    return told_of(
        incident,
        kind="failing" if is_open else "passing",
        event=("trigger" if is_open else "resolve") if is_page else "update",
        text=f"{place}: check {incident.check_name} {'fails: ' if is_open else ''}{incident.because}",
        fields=fields,
        told=told,
        now=now,
    )


def blame_of(written_at: tuple[float, float], deploys: Sequence[Deploy], now: float) -> str:
    """Which deploy the rows were written under that a check found to be wrong. deploys: newest first."""
    first_at, _ = written_at
    under = next((deploy for deploy in deploys if deploy.started_at <= first_at), None)
    if under is None:
        return f"The first of these rows was written at {clock_time(first_at, now)}, before any deploy known."
    after = say.span(first_at - under.started_at)
    when = clock_time(under.started_at, now)
    return f"The first of these rows was written {after} after the deploy of {under.to_version} at {when}."


def hold_of(plan: ServicePlan, check: CheckPlan, failing: Mapping[str, Sequence[str]], now: float) -> str:
    """Why nobody is to be told of this check now, empty if nothing is in the way.

    failing: the checks with an open incident, held back or not, of each service.
    """
    for window in plan.maintenance:
        if window.cron.after(now - window.for_, check.zone) <= now:
            return "maintenance"
    for service in plan.depends_on:
        if failing.get(service):
            checks = " and ".join(failing[service])
            return f"{service}, which it depends on, failed ({checks})"
    return ""
