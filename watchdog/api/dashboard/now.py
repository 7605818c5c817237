"""The Now page: who needs a person first, then what is being watched, what cannot be told, and the rest."""

from __future__ import annotations

from collections.abc import Mapping

from detectors import say
from watchdog.api.dashboard.html import Child, Html, el, join
from watchdog.api.dashboard.steps import next_step
from watchdog.api.dashboard.words import badge, sign_of, when
from watchdog.api.picture import GROUPS, Group, Picture, ServiceView
from watchdog.model import OPEN_WATCH_STATES

_TITLES: Mapping[Group, str] = {
    "needs_you": "Needs you",
    "watching": "Watching",
    "unsure": "Blind or not sure",
    "fine": "Fine",
}
_EMPTY: Mapping[Group, str] = {
    "needs_you": "Nothing needs you.",
    "watching": "No deploy is being watched. Send one: deploy-watchdog deploy SERVICE --version VERSION",
    "unsure": "Everything can be seen.",
    "fine": "No service is quiet.",
}


def now_body(picture: Picture) -> Html:
    """Everything at a glance."""
    groups = {group: picture.in_group(group) for group in GROUPS}
    tally = el(
        "ul",
        [
            el(
                "li",
                el("a", el("b", str(len(groups[group]))), f" {_TITLES[group]}", href=f"#{group}"),
                class_=group,
            )
            for group in GROUPS
        ],
        class_="tally",
        id="tally",
        data_live=True,
    )
    sections = [_section(group, groups[group], picture) for group in GROUPS[:-1]]
    return join(
        el("h1", "Now", class_="unseen"), tally, sections, _fine(groups["fine"], picture), _sources(picture)
    )


def _section(group: Group, views: list[ServiceView], picture: Picture) -> Html:
    rows: Child = [_row(view, picture) for view in views] or None
    return el(
        "section",
        el("h2", _TITLES[group], " ", el("span", str(len(views)), class_="count")),
        el("ul", rows, class_="rows") if views else el("p", _EMPTY[group], class_="empty"),
        id=group,
        class_=f"group {group}",
        data_live=True,
        data_list=True,
    )


def _row(view: ServiceView, picture: Picture) -> Html:
    watch, deploy = view.watch, view.deploy
    state = "blind" if view.blind_since is not None else (watch.state if watch else None)
    if view.group == "needs_you" and watch is not None:
        state = watch.state
    name = el("a", view.name, href=f"/d/{watch.deploy_id}" if watch else f"/s/{view.name}", class_="who")
    return el(
        "li",
        badge(state),
        el("span", name, " ", el("span", _version(view), class_="version"), class_="what"),
        el(
            "span",
            view.because,
            el(
                "span",
                f"Blind for {say.span(picture.at - view.blind_since)}, since ",
                when(view.blind_since),
                " UTC.",
                class_="also",
            )
            if view.blind_since is not None
            else None,
            [el("span", problem, class_="also") for problem in view.problems[:2]],
            class_="because",
        ),
        el("span", _right(view, picture), class_="next"),
        id=f"row-{view.name}",
        class_=f"row {sign_of(state).tone}",
        data_row=True,
        data_find=f"{view.name} {deploy.to_version if deploy else ''} {state or ''}".lower(),
    )


def _right(view: ServiceView, picture: Picture) -> Child:
    watch = view.watch
    if watch is None:
        return None
    if view.action is None and watch.state in OPEN_WATCH_STATES:
        done, whole = max(0.0, picture.at - watch.opened_at), max(1.0, watch.ends_at - watch.opened_at)
        return join(
            el("progress", value=round(min(done, whole)), max=round(whole), aria_label="watched so far"),
            f" {say.span(min(done, whole))} of {say.span(whole)}",
        )
    review = el("a", "Review", href=f"/d/{watch.deploy_id}") if view.group == "needs_you" else None
    return join(next_step(watch, view.action, picture.switch, is_short=True), " ", review)


def _version(view: ServiceView) -> str:
    if view.deploy is None:
        return ""
    return (
        f"{view.deploy.from_version} → {view.deploy.to_version}"
        if view.deploy.from_version
        else view.deploy.to_version
    )


def _fine(views: list[ServiceView], picture: Picture) -> Html:
    """Quiet on purpose: one short line each, collapsed; colour is for what needs eyes."""
    rows = [
        el(
            "li",
            el("a", view.name, href=f"/s/{view.name}"),
            " ",
            el("span", _version(view).rpartition("→ ")[2], class_="version"),
            " ",
            el("span", _quiet(view)),
            data_row=True,
            data_find=f"{view.name} {_version(view)}".lower(),
            id=f"row-{view.name}",
        )
        for view in views
    ]
    return el(
        "section",
        el(
            "details",
            el("summary", el("h2", _TITLES["fine"], " ", el("span", str(len(views)), class_="count"))),
            el("ul", rows, class_="quiet") if views else el("p", _EMPTY["fine"], class_="empty"),
            open=len(views) <= 20,
        ),
        id="fine",
        class_="group fine",
        data_live=True,
        data_list=True,
    )


def _quiet(view: ServiceView) -> Child:
    if view.watch is None:
        return "no deploy yet"
    at = when(view.watch.closed_at or view.watch.opened_at, "day")
    if view.action is not None and view.action.state == "confirmed":
        return join(f"rolled back to {view.action.to_version} ", at)
    return join(f"{sign_of(view.watch.state).word} ", at)


def _sources(picture: Picture) -> Html:
    said = [
        el(
            "li",
            badge("ok" if note == "ok" else "trouble"),
            f" {name}",
            None if note == "ok" else f": {note}",
        )
        for name, note in sorted(picture.sources.items())
    ]
    return el(
        "section",
        el("h2", "Sources"),
        el("ul", said, class_="plain")
        if said
        else el("p", "No metric source is configured.", class_="empty"),
        id="sources",
        data_live=True,
        class_="group",
    )
