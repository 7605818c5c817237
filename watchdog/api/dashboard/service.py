"""The page of one service: its deploys with their verdicts, its checks, its series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from config.schema import Service
from detectors import say
from watchdog.api.dashboard.html import Child, Html, el, join, link
from watchdog.api.dashboard.words import badge, sign_of, when
from watchdog.api.picture import ServiceView
from watchdog.model import Action, Deploy, Watch

DEPLOYS_MAX = 50
READINGS_MAX = 100


def service_body(
    view: ServiceView,
    service: Service,
    deploys: Sequence[Deploy],
    watches: Sequence[Watch],
    actions: Sequence[Action],
    environment: str,
    readings: Sequence[Mapping[str, Any]],
) -> Html:
    """The whole page. deploys newest first; watches and actions are looked up by deploy.

    readings: see `watchdog.api.protocol.Board.readings`.
    """
    facts: list[Child] = [f"mode {view.mode}"]
    if service.owner:
        facts.append(f"owner {service.owner}")
    if service.runbook:
        facts.append(link(service.runbook, "runbook"))
    if service.depends_on:
        facts.append(f"depends on {', '.join(service.depends_on)}")
    if service.rollback:
        facts.append(f"goes back through {service.rollback.target}")
    return join(
        el(
            "div",
            el("h1", view.name, " ", el("span", environment)),
            el("p", [join(" · " if n else None, fact) for n, fact in enumerate(facts)], class_="facts"),
            el("p", badge("blind"), " no data since ", when(view.blind_since, "day"), " UTC")
            if view.blind_since is not None
            else None,
            el("p", view.always_on, class_="because") if view.always_on else None,
            [el("p", problem, class_="because") for problem in view.problems],
            class_="title",
            id="title",
            data_live=True,
        ),
        _deploys(view.name, deploys, watches, actions),
        _checks(view.checks, service),
        _series(service, readings),
    )


def _deploys(
    name: str, deploys: Sequence[Deploy], watches: Sequence[Watch], actions: Sequence[Action]
) -> Html:
    watch_of = {watch.deploy_id: watch for watch in reversed(watches)}
    action_of = {action.deploy_id: action for action in reversed(actions)}
    rows = []
    for deploy in deploys[:DEPLOYS_MAX]:
        watch, action = watch_of.get(deploy.id), action_of.get(deploy.id)
        rows.append(
            el(
                "tr",
                el("th", link(f"/d/{deploy.id}", deploy.to_version), scope="row"),
                el("td", when(deploy.started_at, "day"), data_label="when (UTC)"),
                el("td", badge(watch.state) if watch else "not watched", data_label="verdict"),
                el("td", watch.because if watch else "-", data_label="because", class_="long"),
                el("td", badge(action.state) if action else "-", data_label="rollback"),
                el("td", deploy.author or "-", data_label="by"),
                class_=sign_of(watch.state).tone if watch else None,
                data_row=True,
                data_find=f"{deploy.to_version} {watch.state if watch else ''} {deploy.author or ''}".lower(),
            )
        )
    heads = ("version", "when (UTC)", "verdict", "because", "rollback", "by")
    empty = f"No deploys yet. Send one: deploy-watchdog deploy {name} --version VERSION"
    return el(
        "section",
        el("h2", "Deploys"),
        _table(heads, rows) if rows else el("p", empty, class_="empty"),
        id="deploys",
        data_live=True,
        data_list=True,
    )


def _checks(checks: Mapping[str, Mapping[str, Any]], service: Service) -> Html:
    rows = []
    for name, check in service.checks.items():
        result = checks.get(name) or {}
        readings = result.get("readings") or {}
        said = ", ".join(f"{key} {say.digits(float(value))}" for key, value in list(readings.items())[:3])
        at = result.get("at")
        rows.append(
            el(
                "tr",
                el("th", name, scope="row"),
                el("td", check.kind, data_label="kind"),
                el("td", badge(result.get("outcome")) if result else "not run yet", data_label="result"),
                el("td", str(result.get("because") or "") or said or "-", data_label="last", class_="long"),
                el("td", when(at) if isinstance(at, int | float) else "-", data_label="at (UTC)"),
                el("td", say.span(check.every), data_label="every"),
                data_row=True,
            )
        )
    return el(
        "section",
        el("h2", "Checks"),
        _table(("check", "kind", "result", "last", "at (UTC)", "every"), rows)
        if rows
        else el(
            "p", "No checks are configured. Metrics alone do not see a broken business flow.", class_="empty"
        ),
        id="checks",
        data_live=True,
    )


def _series(service: Service, readings: Sequence[Mapping[str, Any]]) -> Html:
    rows = [
        el(
            "tr",
            el("th", say.name(name), scope="row"),
            el("td", series.kind, data_label="kind"),
            el("td", el("code", _asked(series)), data_label="asked for", class_="long"),
            el("td", "yes" if series.acts else "no: informs only", data_label="may act"),
        )
        for name, series in service.series.items()
    ]
    rows += [
        el(
            "tr",
            el("th", say.name(str(reading["name"])), scope="row"),
            el("td", reading["kind"], data_label="kind"),
            el("td", f"a reading of check {str(reading['name']).partition('.')[0]}", data_label="asked for"),
            el("td", _may_act(reading), data_label="may act"),
        )
        for reading in readings[:READINGS_MAX]
    ]
    more = len(readings) - READINGS_MAX
    return el(
        "section",
        el("h2", "Series"),
        _table(("series", "kind", "asked for", "may act"), rows)
        if rows
        else el("p", "No series are configured.", class_="empty"),
        el("p", f"{more} more readings are in /api/v1/services.", class_="dim") if more > 0 else None,
        id="series",
    )


def _may_act(reading: Mapping[str, Any]) -> str:
    if reading["acts"]:
        return "yes"
    return "no: informs only" if reading["bad"] else "no: not judged, neither direction is worse by itself"


def _asked(series: Any) -> str:
    found = [
        getattr(series, key) for key in ("numerator", "denominator", "counter", "histogram", "gauge", "query")
    ]
    return " / ".join(text for text in found if text)


def _table(heads: Sequence[str], rows: Sequence[Html]) -> Html:
    return el(
        "table",
        el("thead", el("tr", [el("th", head, scope="col") for head in heads])),
        el("tbody", rows),
        class_="stack",
    )
