"""The page of one deploy: is it to blame, what is broken, since when, what next, and why believe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detectors import say
from watchdog.api.dashboard.figures import figures, series_table, suspects, timeline
from watchdog.api.dashboard.html import Child, Html, el, join, link
from watchdog.api.dashboard.steps import action_item, next_step
from watchdog.api.dashboard.words import badge, share, sign_of, when
from watchdog.model import Action, Deploy, SwitchState, Watch
from watchdog.opinion.remarks import remarks


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployView:
    """Everything the page shows. chart: `watchdog.api.charts.chart`, None before anything was judged.

    names: deploy id to `service version` for the suspects. before, after: neighbours of the same service.
    """

    deploy: Deploy
    watch: Watch | None
    packet: Mapping[str, Any] | None
    chart: Mapping[str, Any] | None
    actions: Sequence[Action]
    attempts: Mapping[str, list[tuple[float, str]]]
    decisions: Sequence[tuple[float, str, str]]
    names: Mapping[str, str]
    switch: SwitchState
    runbook: str | None
    owner: str | None
    now: float
    before: str | None
    after: str | None


def deploy_body(view: DeployView) -> Html:
    """The whole page, worst first."""
    deploy, watch = view.deploy, view.watch
    verdict = (view.packet or {}).get("verdict") or {}
    parts: list[Child] = [_title(view)]
    if watch is None:
        parts.append(el("p", "This deploy is not watched: no verdict will come.", class_="empty"))
        return join(parts)
    parts.append(_verdict(view, watch, verdict))
    evidence = (view.packet or {}).get("evidence") or []
    series = (view.packet or {}).get("series") or []
    acting = {one["spec"]["name"] for one in series if one["spec"]["acts"]}
    parts.append(suspects(evidence, acting, deploy.id, view.names))
    parts.append(timeline(deploy, watch, evidence, view.actions, view.decisions, view.now))
    parts.append(_actions(view))
    if view.chart is None:
        parts.append(el("p", "Nothing was judged yet: charts come with the first tick.", class_="empty"))
    else:
        parts.append(figures(view.chart, watch.id))
        parts.append(series_table(view.chart))
        parts.append(_remarks(view.packet or {}))
    return join(parts)


def _title(view: DeployView) -> Html:
    deploy = view.deploy
    versions = f"{deploy.from_version} → {deploy.to_version}" if deploy.from_version else deploy.to_version
    facts: list[Child] = [deploy.kind]
    if deploy.author:
        facts.append(f"by {deploy.author}")
    if deploy.link:
        facts.append(link(deploy.link, "change"))
    if view.runbook:
        facts.append(link(view.runbook, "runbook"))
    if view.owner:
        facts.append(f"owner {view.owner}")
    if deploy.rolls_back:
        facts.append(join("the watchdog's own rollback of ", link(f"/d/{deploy.rolls_back}", "this deploy")))
    if view.watch:
        facts.append(link(f"/api/v1/watches/{view.watch.id}/packet", "packet.json"))
    return el(
        "div",
        el(
            "h1",
            link(f"/s/{deploy.service}", deploy.service),
            f" {deploy.environment} ",
            el("span", versions),
        ),
        el(
            "p",
            when(deploy.started_at, "day"),
            " UTC",
            f", took {say.span(deploy.finished_at - deploy.started_at)}"
            if deploy.finished_at
            else ", still rolling out",
            [join(" · ", fact) for fact in facts],
            class_="facts",
        ),
        el(
            "nav",
            el("a", "[ before", href=f"/d/{view.before}", id="before") if view.before else None,
            " ",
            el("a", "after ]", href=f"/d/{view.after}", id="after") if view.after else None,
            aria_label="Deploys of this service",
        ),
        class_="title",
        id="title",
        data_live=True,
    )


def _verdict(view: DeployView, watch: Watch, verdict: Mapping[str, Any]) -> Html:
    action = view.actions[0] if view.actions else None
    because = verdict.get("because") or watch.because
    reason = str(verdict.get("reason") or "").replace("_", " ")
    is_word = reason not in ("", "evidence", "steady", "watching", "warming")
    return el(
        "section",
        el("p", badge(watch.state), f" ({reason})" if is_word else None, class_="state"),
        el("p", because, class_="sentence", id="verdict-sentence"),
        el("p", el("b", "Next: "), next_step(watch, action, view.switch), class_="next"),
        _belief(verdict),
        id="verdict",
        class_=f"verdict {sign_of(watch.state).tone}",
        data_live=True,
        data_spoken=f"{view.deploy.service}: {sign_of(watch.state).word}. {because}",
    )


_CALIBRATION = {
    "own": "calibrated on this service's own past",
    "model": "hardly calibrated: the past is short, so the margin is wide",
}


def _belief(verdict: Mapping[str, Any]) -> Html | None:
    if not verdict:
        return None
    said = [_CALIBRATION.get(str(verdict.get("calibration")), "calibration unknown")]
    if verdict.get("coverage") is not None:
        said.append(f"{share(verdict['coverage'])} of the expected data arrived")
    return el("p", "; ".join(said), class_="dim")


def _remarks(packet: Mapping[str, Any]) -> Html | None:
    found = remarks(packet) if packet else {}
    if not found:
        return None
    return el(
        "section",
        el("h2", "Second opinion ", el("span", "nothing is decided by it", class_="dim")),
        el(
            "ul",
            [el("li", el("b", say.name(name)), ": ", " ".join(said)) for name, said in found.items()],
            class_="remarks",
        ),
        id="remarks",
        data_live=True,
    )


def _actions(view: DeployView) -> Html:
    items = [action_item(action, view.attempts.get(action.key, [])) for action in view.actions]
    return el(
        "section",
        el("h2", "Actions"),
        el("ul", items, class_="actions")
        if items
        else el("p", "Nothing was done and nothing is planned.", class_="empty"),
        id="actions",
        data_live=True,
    )
