"""The drawn and tabled parts of a deploy's page: suspects, timeline, series table, charts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from typing import Any

from detectors import say
from watchdog.api.dashboard.html import Child, Html, el
from watchdog.api.dashboard.words import (
    after,
    amount,
    badge,
    change,
    clock,
    judged,
    score,
    sentence,
    share,
    shown,
    sign_of,
    visible,
    when,
)
from watchdog.model import Action, Deploy, Watch

CHARTS_MAX = 12
TABLE_ROWS_MAX = 30
TIMELINE_MAX = 30
SHARE_SHOWN_MIN = 0.005


def suspects(
    evidence: Sequence[Mapping[str, Any]], acting: Set[str], deploy_id: str, names: Mapping[str, str]
) -> Html | None:
    """Who is to blame, by the series with the strongest evidence, those that act first; None while nothing
    changed."""
    blamed = [
        one for one in evidence if one.get("shares") and one.get("onset_at") is not None and one["threshold"]
    ]
    if not blamed:
        return None
    worst = max(
        blamed,
        key=lambda one: (one["series"] in acting, float(one["statistic"] or 0.0) / float(one["threshold"])),
    )
    shares = sorted(
        ((who, part) for who, part in worst["shares"].items() if who == deploy_id or part >= SHARE_SHOWN_MIN),
        key=lambda item: (item[0] != deploy_id, -item[1]),
    )
    words = {"before": "before any deploy", "none": "nothing happened", deploy_id: "this deploy"}
    bars: list[Child] = []
    labels: list[Child] = []
    x = 0.0
    for n, (who, part) in enumerate(shares[:6]):
        tone = "this" if who == deploy_id else f"other{n % 3}"
        bars.append(el("rect", x=f"{100 * x:.2f}%", y=0, width=f"{100 * part:.2f}%", height=12, class_=tone))
        x += part
        name = words.get(who) or names.get(who) or who
        labels.append(el("li", el("i", class_=f"key {tone}"), f"{name} ", el("b", share(part))))
    said = ", ".join(f"{words.get(who) or names.get(who) or who} {share(part)}" for who, part in shares[:6])
    return el(
        "section",
        el("h2", "Who is to blame"),
        el("svg", bars, class_="bar", height=12, width="100%", role="img", aria_label=f"Blame: {said}"),
        el("ul", labels, class_="keys"),
        el(
            "p",
            "by ",
            el("b", say.name(str(worst["series"]))),
            ", the strongest evidence",
            class_="dim",
        ),
        id="suspects",
        data_live=True,
    )


def timeline(
    deploy: Deploy,
    watch: Watch,
    evidence: Sequence[Mapping[str, Any]],
    actions: Sequence[Action],
    decisions: Sequence[tuple[float, str, str]],
    now: float,
) -> Html:
    """What happened when: a bar to scale, and the same as a list."""
    found: list[tuple[float, str, str]] = [
        (deploy.started_at, "deploy", f"deploy {deploy.to_version} started")
    ]
    if deploy.finished_at is not None:
        found.append((deploy.finished_at, "deploy", "deploy finished"))
    onset = next((one for one in evidence if one.get("onset_at") is not None), None)
    if onset is not None:
        low, high = (
            onset.get("onset_low_at") or onset["onset_at"],
            onset.get("onset_high_at") or onset["onset_at"],
        )
        name = say.name(str(onset["series"]))
        text = f"{name} began to change (between {clock(low)} and {clock(high)})"
        found.append((onset["onset_at"], "onset", text))
    said = ""
    for at, do, because in decisions:
        if do != said:
            found.append((at, "decision", f"{do.replace('_', ' ')}: {because}"))
        said = do
    found.extend(
        (action.acked_at, "action", f"accepted by {action.target}") for action in actions if action.acked_at
    )
    if watch.closed_at is not None:
        found.append((watch.closed_at, "decision", f"watch closed: {sign_of(watch.state).word}"))
    found.sort(key=lambda item: item[0])
    if len(found) > TIMELINE_MAX:
        found = found[: TIMELINE_MAX // 2] + found[-TIMELINE_MAX // 2 :]
    items = [
        el(
            "li",
            when(at),
            " ",
            el("span", after(at, deploy.started_at), class_="dim"),
            " ",
            el("span", text),
            class_=kind,
        )
        for at, kind, text in found
    ]
    return el(
        "section",
        el("h2", "Timeline ", el("span", "UTC", class_="dim zone")),
        _bar(deploy, watch, onset, found, now),
        el("ol", items, class_="timeline"),
        id="timeline",
        data_live=True,
    )


def _bar(
    deploy: Deploy,
    watch: Watch,
    onset: Mapping[str, Any] | None,
    found: Sequence[tuple[float, str, str]],
    now: float,
) -> Html:
    first = deploy.started_at - 0.08 * max(1.0, watch.ends_at - deploy.started_at)
    last = max(watch.ends_at, *(at for at, _, _ in found))

    def x(at: float) -> str:
        return f"{100 * min(1.0, max(0.0, (at - first) / (last - first))):.2f}%"

    def width(low: float, high: float) -> str:
        return f"{max(0.6, 100 * (min(high, last) - max(low, first)) / (last - first)):.2f}%"

    finished_at = deploy.finished_at or min(now, last)
    marks: list[Child] = [
        el("rect", x=0, y=10, width="100%", height=4, class_="rail"),
        el(
            "rect",
            x=x(deploy.started_at),
            y=10,
            width=width(deploy.started_at, min(now, last)),
            height=4,
            class_="done",
        ),
        el(
            "rect",
            x=x(deploy.started_at),
            y=4,
            width=width(deploy.started_at, finished_at),
            height=16,
            class_="deploy",
        ),
    ]
    if onset is not None and onset.get("onset_low_at") is not None and onset.get("onset_high_at") is not None:
        low, high = onset["onset_low_at"], onset["onset_high_at"]
        marks.append(el("rect", x=x(low), y=1, width=width(low, high), height=22, class_="onset"))
    marks += [el("circle", cx=x(at), cy=12, r=3.5, class_=kind) for at, kind, _ in found if kind != "deploy"]
    if now < last:
        marks.append(el("rect", x=x(now), y=0, width=2, height=24, class_="now"))
    spoken = (
        f"From {say.span(deploy.started_at - first)} before the deploy to {clock(last)} UTC; "
        f"{len(found)} events, listed below."
    )
    return el("svg", marks, class_="rail", width="100%", height=24, role="img", aria_label=spoken)


def series_table(chart: Mapping[str, Any]) -> Html:
    """Every series: before, now, change, evidence, smallest visible change, data, state."""
    rows = []
    for one in chart["series"]:
        spec, evidence = one["spec"], one["evidence"]
        name = el("th", el("a", say.name(spec["name"]), href=f"#chart-{spec['name']}"), scope="row")
        if evidence is None:
            rows.append(el("tr", name, el("td", "nothing judged yet", colspan=7)))
            continue
        is_blind = evidence["state"] == "blind"
        cells = (
            ("before", judged(spec, evidence, "before")),
            ("now", "no data" if is_blind else judged(spec, evidence, "now")),
            ("change (95 %)", change(spec, evidence)),
            ("evidence / needed", f"{score(evidence['statistic'])} / {score(evidence['threshold'])}"),
            ("smallest visible", visible(spec, evidence)),
            ("data", share(evidence["coverage"])),
        )
        rows.append(
            el(
                "tr",
                name,
                [el("td", value, data_label=label) for label, value in cells],
                el("td", badge(evidence["state"]), data_label="state"),
                class_=sign_of(evidence["state"]).tone,
                data_row=True,
            )
        )
    heads = (
        "series",
        "before",
        "now",
        "change (95 %)",
        "evidence / needed",
        "smallest visible",
        "data",
        "state",
    )
    return el(
        "section",
        el("h2", "Series"),
        el(
            "table",
            el("thead", el("tr", [el("th", head, scope="col") for head in heads])),
            el("tbody", rows),
            class_="stack",
        ),
        id="series",
        data_live=True,
    )


def figures(chart: Mapping[str, Any], watch_id: str) -> Html:
    """One figure per series with its sentence and its table; the script draws into it."""
    series = chart["series"]
    hidden = len(series) - CHARTS_MAX
    return el(
        "section",
        el("h2", "Charts ", el("span", "UTC", class_="dim zone")),
        _legend(),
        el("div", [_figure(chart, one) for one in series[:CHARTS_MAX]], class_="charts"),
        el("p", f"{hidden} more series are in the table above.", class_="dim") if hidden > 0 else None,
        id="charts",
        data_chart=f"/api/v1/watches/{watch_id}/chart",
    )


def _figure(chart: Mapping[str, Any], one: Mapping[str, Any]) -> Html:
    spec, evidence = one["spec"], one["evidence"]
    name = spec["name"]
    is_bad = evidence is not None and evidence["state"] in ("worse", "suspect")
    return el(
        "figure",
        el(
            "figcaption",
            el(
                "div",
                el("b", shown(spec)),
                " ",
                el("span", change(spec, evidence), class_="effect") if is_bad and evidence else None,
                " ",
                badge(evidence["state"]) if evidence else None,
                id=f"caption-{name}",
                data_live=True,
            ),
            el("p", sentence(spec, evidence), class_="spoken dim", id=f"sentence-{name}", data_live=True),
        ),
        el("p", one["problem"], class_="wrong") if one["problem"] else None,
        el("div", class_="plot", data_series=name),
        el("div", class_="strip", data_series=name) if is_bad else None,
        el(
            "details",
            el("summary", "show as table"),
            el("div", _rows(chart, one), id=f"table-{name}", data_live=True),
        ),
        id=f"chart-{name}",
        class_=f"chart {'bad' if is_bad else 'calm'}",
    )


def _rows(chart: Mapping[str, Any], one: Mapping[str, Any]) -> Html:
    """The newest samples, thinned to what a person reads."""
    at, unit = one["at"], one["spec"]["unit"]
    stride = max(1, math.ceil(len(at) / TABLE_ROWS_MAX))
    picked = range((len(at) - 1) % stride, len(at), stride) if at else range(0)
    rows = [
        el(
            "tr",
            el("td", when(at[i])),
            el("td", after(at[i], chart["started_at"])),
            el("td", "no data" if one["value"][i] is None else amount(one["value"][i], unit)),
            el("td", _expected(one["expected_low"][i], one["expected_high"][i], unit)),
        )
        for i in picked
    ]
    heads = ("time (UTC)", "from deploy", "value", "expected")
    return el(
        "table",
        el("thead", el("tr", [el("th", head, scope="col") for head in heads])),
        el("tbody", rows),
    )


def _expected(low: float | None, high: float | None, unit: str) -> str:
    if low is None or high is None:
        return "-"
    return f"{amount(low, unit)} to {amount(high, unit)}"


def _legend() -> Html:
    signs: tuple[tuple[str, str], ...] = (
        ("ink", "measured"),
        ("band", "expected"),
        ("onset", "when it began"),
        ("line", "deploy"),
        ("cross", "evidence over the limit"),
        ("hatch", "no data"),
    )
    return el(
        "ul",
        [el("li", el("i", class_=f"key {name}"), text) for name, text in signs],
        class_="keys",
        aria_label="Legend",
    )
