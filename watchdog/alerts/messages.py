"""What people are told: pure functions from a watch and its verdict to the alert rows of one transaction.

Numbers are never worked out here. The sentences of judge, policy and outbox are used as they are, so that
Slack, PagerDuty, dashboard and audit log say the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from detectors.model import Evidence, Verdict
from watchdog.alerts.text import clean, clock_time, cut, listed
from watchdog.model import Action, Alert, AlertEvent, AlertKind, Decision, Deploy, Severity, Watch

FIELDS = ("what", "since", "blame", "impact", "done", "next", "because", "not_seen", "safe_to_go_back")
_TEXT_CHARS = 900
_FIELD_CHARS = 1500
_SERIES_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Which channels hear what, and where people find the evidence."""

    default: tuple[str, ...]
    page: tuple[str, ...]
    public_url: str | None


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a kind is told. pages: a person must act now, unless the mode is `observe`."""

    severity: Severity
    event: AlertEvent = "update"
    pages: bool = False


_MANNERS: Mapping[AlertKind, _Manner] = {
    "regressed": _Manner("critical"),
    "proposed": _Manner("critical", pages=True),
    "rolling_back": _Manner("error"),
    "recovered": _Manner("info", event="resolve"),
    "unconfirmed": _Manner("critical", pages=True),
    "unknown": _Manner("critical", pages=True),
    "refused": _Manner("critical", pages=True),
    "expired": _Manner("critical", pages=True),
    "inconclusive": _Manner("warning"),
    "blind": _Manner("warning"),
    "healthy": _Manner("info"),
    "deployed": _Manner("info", event="change"),
    "vetoed": _Manner("warning"),
    "internal": _Manner("error"),
}


def dedup_key(service: str, environment: str, deploy_id: str) -> str:
    """The name of one incident: one per deploy and service, never per check or time."""
    return f"{service}|{environment}|{deploy_id}"


def alerts_for(
    kind: AlertKind,
    *,
    watch: Watch,
    deploy: Deploy,
    routes: Routes,
    now: float,
    verdict: Verdict | None = None,
    decision: Decision | None = None,
    action: Action | None = None,
    because: str = "",
    impact: str = "",
    safe_to_go_back: str = "",
    next_step: str = "",
    page: bool | None = None,
    extra: str = "",
) -> tuple[Alert, ...]:
    """One alert per channel that has to hear of it, in a fixed order.

    because: what just happened, where that is not the verdict: why a send failed, how it recovered.
    impact, safe_to_go_back, next_step: sentences only the caller can make. page: whether a person must act
    now; None leaves it to the kind (a regression pages when nothing will be done about it by itself;
    `blind` pages only when told to). extra: tells apart two alerts of the same kind about one deploy. The
    ids depend on nothing else, so a repeated transaction writes the same rows. Mode `observe` never pages
    and says so in its first word.
    """
    manner = _MANNERS[kind]
    is_trial = watch.mode == "observe"
    must_act = not is_trial and (_must_act(kind, manner, decision) if page is None else page)
    event: AlertEvent = "trigger" if must_act else manner.event
    key = dedup_key(deploy.service, deploy.environment, deploy.id)
    text = _headline(kind, deploy, verdict, action, because)
    fields = {
        "what": _what(verdict),
        "since": _since(verdict, deploy, now),
        "blame": _blame(verdict, deploy),
        "impact": impact,
        "done": _done(kind, action),
        "next": next_step or _next(kind, watch, action, now),
        "because": (decision.because if decision else "") or (verdict.because if verdict else "") or because,
        "not_seen": _not_seen(verdict),
        "safe_to_go_back": safe_to_go_back,
    }
    shown = {name: cut(clean(fields[name]), _FIELD_CHARS) for name in FIELDS if fields[name]}
    if is_trial:
        text = f"observe: {text}"
    return tuple(
        Alert(
            id=_id(key, kind, channel, event, extra),
            channel=channel,
            event=event,
            kind=kind,
            severity=manner.severity,
            dedup_key=key,
            environment=deploy.environment,
            service=deploy.service,
            deploy_id=deploy.id,
            text=cut(clean(text), _TEXT_CHARS),
            fields=shown,
            link=_link(routes.public_url, deploy),
            created_at=now,
            from_version=deploy.from_version,
            to_version=deploy.to_version,
            page=must_act,
        )
        for channel in _channels(event, is_trial, routes)
    )


def _id(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _must_act(kind: AlertKind, manner: _Manner, decision: Decision | None) -> bool:
    if kind == "regressed":
        return decision is not None and decision.do in ("alert", "propose")
    return manner.pages


def _channels(event: AlertEvent, is_trial: bool, routes: Routes) -> tuple[str, ...]:
    """Change events only help those who are paged later; what pages or ends a page is told to everybody."""
    if is_trial:
        return () if event == "change" else tuple(dict.fromkeys(routes.default))
    if event == "change":
        return tuple(dict.fromkeys(routes.page))
    if event in ("trigger", "resolve"):
        return tuple(dict.fromkeys((*routes.page, *routes.default)))
    return tuple(dict.fromkeys(routes.default))


def _headline(
    kind: AlertKind, deploy: Deploy, verdict: Verdict | None, action: Action | None, because: str
) -> str:
    """Service, version and symptom first: a phone shows the first hundred characters, a pager only this."""
    place = f"{deploy.service} ({deploy.environment})"
    shipped = f"{deploy.service} {deploy.to_version} ({deploy.environment})"
    back = f"{deploy.to_version} -> {action.to_version if action else deploy.from_version or 'unknown'}"
    told = verdict.because if verdict else ""
    why = because or told or (action.because if action else "")
    match kind:
        case "regressed":
            return _joined(f"{shipped} regressed", told or why)
        case "proposed":
            return _joined(f"{shipped} regressed, rollback {back} waits for approval", told or why)
        case "rolling_back":
            return _joined(f"{place}: rolling back {back}", told or why)
        case "recovered":
            return _joined(f"{place} recovered after the rollback {back}", because)
        case "unconfirmed":
            return _joined(f"{place}: rollback {back} accepted, but not recovered", why)
        case "unknown":
            return _joined(f"{place}: rollback {back} sent, but it cannot be told whether it was taken", why)
        case "refused":
            return _joined(f"{place}: rollback {back} refused", why)
        case "expired":
            return _joined(f"{place}: rollback {back} not sent", why)
        case "inconclusive":
            return _joined(f"{shipped}: could not tell", told or why)
        case "blind":
            return _joined(f"{shipped} is not being judged", told or why)
        case "healthy":
            return _joined(f"{shipped} is healthy", told or why)
        case "deployed":
            versions = f"{deploy.from_version or 'unknown'} -> {deploy.to_version}"
            author = f" by {deploy.author}" if deploy.author else ""
            return f"{deploy.service} {deploy.environment} {versions}{author}"
        case "vetoed":
            return _joined(f"{place}: rollback {back} vetoed", why)
        case "internal":
            return _joined(f"{place}: the watchdog is in trouble", why)


def _joined(claim: str, reason: str) -> str:
    return f"{claim}: {reason}" if reason else claim


def _worse(verdict: Verdict | None) -> list[Evidence]:
    return [e for e in verdict.evidence if e.state == "worse"] if verdict else []


def _what(verdict: Verdict | None) -> str:
    return listed(
        [f"{e.series}: {e.because}" if e.because else e.series for e in _worse(verdict)], _SERIES_MAX
    )


def _since(verdict: Verdict | None, deploy: Deploy, now: float) -> str:
    worst = next((e for e in _worse(verdict) if e.onset_at is not None), None)
    if worst is None or worst.onset_at is None:
        return ""
    text = clock_time(worst.onset_at, now)
    if worst.onset_low_at is not None and worst.onset_high_at is not None:
        low, high = (
            clock_time(at, now).removesuffix(" UTC") for at in (worst.onset_low_at, worst.onset_high_at)
        )
        text += f" ({low} to {high})"
    ended_at = deploy.finished_at if deploy.finished_at is not None else deploy.started_at
    after_s = worst.onset_at - ended_at
    if after_s >= 0:
        return f"{text}, {_span(after_s)} after the deploy"
    if worst.onset_at >= deploy.started_at:
        return f"{text}, during the deploy"
    return f"{text}, {_span(deploy.started_at - worst.onset_at)} before the deploy"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _blame(verdict: Verdict | None, deploy: Deploy) -> str:
    shares = next((e.shares for e in _worse(verdict) if e.shares), {})
    names = {deploy.id: "this deploy", "before": "from before it", "none": "no change at all"}
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    told = [
        f"{share * 100:.0f} % {names.get(who, f'deploy {who}')}" for who, share in ranked if share >= 0.005
    ]
    return listed(told, 4, ", ")


def _not_seen(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    dark = [
        f"{e.series}: {e.because}" if e.because else e.series for e in verdict.evidence if e.state == "blind"
    ]
    return listed(dark, _SERIES_MAX)


def _done(kind: AlertKind, action: Action | None) -> str:
    if action is None:
        return "" if kind in ("deployed", "healthy") else "Nothing was sent to a rollback target."
    to = f"rollback to {action.to_version} through {action.target}"
    match kind:
        case "proposed":
            return f"Proposed a {to}; nothing was sent."
        case "expired" | "vetoed":
            return f"The {to} was not sent."
        case "refused":
            return f"Sent the {to}; it was refused."
        case "unknown":
            return (
                f"Sent the {to} in {max(action.attempts, 1)} attempt(s); whether it was taken is not known."
            )
        case _:
            return f"{to[0].upper()}{to[1:]}: {'accepted' if action.acked_at else 'on its way'}."


def _next(kind: AlertKind, watch: Watch, action: Action | None, now: float) -> str:
    match kind:
        case "proposed" if action is not None:
            return (
                f"Nothing until someone approves; the offer ends at {clock_time(action.valid_until_at, now)}."
            )
        case "rolling_back" if action is not None and action.deadline_at is not None:
            return f"Version check, then recovery by {clock_time(action.deadline_at, now)}, else a page."
        case "rolling_back":
            return "It is sent to the target; then version check and recovery, else a page."
        case "unconfirmed" | "unknown" | "refused" | "expired":
            return "No second rollback happens by itself. A person is needed."
        case "regressed":
            return "Nothing happens by itself."
        case "blind":
            return "Judged again by itself when data returns. Not cleared, and nothing will be rolled back."
        case "recovered":
            return f"{watch.service} stays on the version it went back to."
        case _:
            return ""


def _link(public_url: str | None, deploy: Deploy) -> str | None:
    return f"{public_url.rstrip('/')}/d/{quote(deploy.id, safe='')}" if public_url else None
