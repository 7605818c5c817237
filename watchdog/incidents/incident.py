"""Trouble without a deploy: when it opens, when it is over, and what people are told. Pure.

One incident per service at a time. There is no word for an action here: whoever reads these may alert and
nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from detectors import say
from detectors.always_on import AlwaysOn
from watchdog.alerts.text import clean, clock_time, cut, listed
from watchdog.model import Alert, AlertEvent, Deploy, Incident, IncidentAlertKind, SeriesShift, Severity
from watchdog.plan import ServicePlan

_SERIES_MAX = 5
_TEXT_CHARS = 900
_FIELD_CHARS = 1500
# A series without data for so many ticks is not taken at its last word.
_SILENT_TICKS = 10
_SEVERITIES: Mapping[IncidentAlertKind, Severity] = {
    "drifted": "warning",
    "settled": "info",
    "failing": "error",
    "passing": "info",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Where alerts go and what they link to. last_deploy: the newest of the service, if any."""

    channels: Sequence[str]
    public_url: str | None
    last_deploy: Deploy | None


def advance(
    incident: Incident | None, off: Mapping[str, float], judge: AlwaysOn, plan: ServicePlan
) -> Incident | None:
    """The incident after the newest tick of `judge`; the same object where nothing changed.

    off: what `AlwaysOn.tick` said. Series that were off long before the judge was built are no news. The
    caller leaves out the ticks during an open watch: it judges then.
    """
    at = judge.judged_to_at
    if incident is None:
        fresh = [name for name, since in off.items() if since >= at - judge.memory_s]
        return _opened(fresh, judge, plan) if fresh else None
    series = {
        name: replace(shift, is_over=True)
        if not shift.is_over and judge.is_back(name, shift.before, shift.now, shift.told_at)
        else shift
        for name, shift in incident.series.items()
    }
    series |= {name: _shift(judge, name) for name in off if name not in series}
    if series != incident.series:
        incident = replace(incident, series=series)
    left = [name for name, shift in series.items() if not shift.is_over]
    if not left:
        because = f"{listed(_titles(series), _SERIES_MAX, ', ')}: back near where it was"
        return replace(incident, state="resolved", closed_at=at, because=because)
    silent_s = _SILENT_TICKS * plan.step_s
    is_seen = all(judge.seen_at(name) >= at - silent_s for name in left)
    if at - incident.opened_at >= plan.always_on.accept_after_s and is_seen:
        lasted = say.span(at - incident.opened_at)
        because = (
            f"{listed(_titles(left), _SERIES_MAX, ', ')}: stayed for {lasted}, taken as usual from now on"
        )
        return replace(incident, state="accepted", closed_at=at, because=because)
    return incident


def alerts_of(incident: Incident, told: Told, now: float) -> tuple[Alert, ...]:
    """One alert per channel: that it began, or how it ended. Never a page: nobody shipped this, and the
    budget of this channel is counted in months, not in deploys."""
    kind: IncidentAlertKind = "drifted" if incident.closed_at is None else "settled"
    place = f"{incident.service} ({incident.environment})"
    claim = "worse without a deploy" if kind == "drifted" else f"{incident.state}, without a deploy"
    fields = {
        "what": listed([shift.because for shift in incident.series.values()], _SERIES_MAX),
        "since": clock_time(incident.onset_at, now),
        "blame": _deploys(incident, told.last_deploy),
        "done": "Nothing was sent to a rollback target.",
        "next": "Told once more when it is over." if kind == "drifted" else "",
        "because": incident.because,
    }
    text = f"{place}: {claim}: {incident.because}"
    return told_of(incident, kind=kind, event="update", text=text, fields=fields, told=told, now=now)


def told_of(
    incident: Incident,
    *,
    kind: IncidentAlertKind,
    event: AlertEvent,
    text: str,
    fields: Mapping[str, str],
    told: Told,
    now: float,
) -> tuple[Alert, ...]:
    """One alert per channel, of one kind once in the life of an incident. A `trigger` is a page."""
    link = f"{told.public_url.rstrip('/')}/s/{quote(incident.service, safe='')}" if told.public_url else None
    return tuple(
        Alert(
            id=digest_of(incident.id, kind, channel),
            channel=channel,
            event=event,
            kind=kind,
            severity=_SEVERITIES[kind],
            dedup_key=f"{incident.service}|{incident.environment}|{incident.id}",
            environment=incident.environment,
            service=incident.service,
            deploy_id="",
            text=cut(clean(text), _TEXT_CHARS),
            fields={name: cut(clean(said), _FIELD_CHARS) for name, said in fields.items() if said},
            link=link,
            created_at=now,
            page=event == "trigger",
        )
        for channel in told.channels
    )


def _opened(names: Sequence[str], judge: AlwaysOn, plan: ServicePlan) -> Incident:
    series = {name: _shift(judge, name) for name in names}
    onset_at = min(shift.onset_at for shift in series.values())
    said = listed([shift.because for shift in series.values()], _SERIES_MAX)
    return Incident(
        id=digest_of(plan.environment, plan.name, f"{judge.judged_to_at:.3f}"),
        environment=plan.environment,
        service=plan.name,
        state="raised",
        because=f"{said}, since {say.clock(onset_at)} UTC",
        series=series,
        opened_at=judge.judged_to_at,
        onset_at=onset_at,
    )


def _shift(judge: AlwaysOn, name: str) -> SeriesShift:
    shift = judge.shift(name)
    return SeriesShift(
        before=shift.before,
        now=shift.now,
        onset_at=shift.onset_at,
        told_at=judge.judged_to_at,
        because=shift.because,
    )


def _titles(names: Sequence[str] | Mapping[str, SeriesShift]) -> list[str]:
    return [say.title(name) for name in names]


def _deploys(incident: Incident, last: Deploy | None) -> str:
    if last is None:
        return f"No deploy of {incident.service} is known."
    when = clock_time(last.started_at, incident.onset_at)
    if last.started_at > incident.onset_at:
        return f"It began before the last deploy, {last.to_version} at {when}."
    ago = say.span(incident.onset_at - last.started_at)
    return (
        f"No deploy of {incident.service} in the {ago} before it; the last was {last.to_version} at {when}."
    )


def digest_of(*parts: str) -> str:
    """An id that is the same whenever it is made of the same parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
