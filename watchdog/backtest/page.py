"""The report as one HTML page: everything inside, no script, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from detectors import say
from watchdog.api.dashboard.html import Child, Html, el, join
from watchdog.api.dashboard.words import badge
from watchdog.backtest.charts import alarms, power, timeline
from watchdog.backtest.report import RealDeploy, Report, SeriesReport, ServiceReport
from watchdog.backtest.words import day, interval, one_in, per_month, would_be, young

# Nothing may be loaded or run, whatever a name in the data says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(report: Report) -> str:
    """The page, complete."""
    css = (files("watchdog.backtest") / "report.css").read_text(encoding="utf-8")
    title = f"Backtest of {report.environment}, {day(report.since_at)} to {day(report.until_at)} UTC"
    page = el(
        "html",
        el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            el("title", title),
            # Ours, and without any value from outside.
            el("style", Html(css)),
        ),
        el(
            "body",
            el(
                "main",
                el("h1", title),
                el(
                    "p",
                    f"Deploys from {report.deploy_log}. Configuration {report.config}. "
                    f"Took {report.took_s:.1f} s.",
                    class_="dim",
                ),
                _notes(report.notes),
                _overview(report.services) if len(report.services) > 1 else None,
                [_service(service, report) for service in report.services],
            ),
        ),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


def _notes(notes: Sequence[str]) -> Html | None:
    if not notes:
        return None
    return el(
        "section",
        el("h2", "Before you believe it"),
        el("ul", [el("li", note) for note in notes], class_="notes"),
    )


def _overview(services: Sequence[ServiceReport]) -> Html:
    rows = [
        el(
            "tr",
            el("th", el("a", one.service, href=f"#{one.service}"), scope="row"),
            el("td", interval(one.placebos.false_alarms)),
            el("td", one_in(one.budget)),
            el("td", f"{sum(d.state == 'regressed' for d in one.deploys)} of {len(one.deploys)}"),
            el("td", str(len(one.suggestions))),
        )
        for one in services
    ]
    heads = ("service", "false alarms", "budget", "deploys regressed", "suggestions")
    return el("section", el("h2", "Services"), _table(heads, rows))


def _service(service: ServiceReport, report: Report) -> Html:
    placebos = service.placebos
    states = ", ".join(f"{count} {state}" for state, count in placebos.states.items()) or "none"
    monthly = per_month(service)
    return el(
        "section",
        el("h2", service.service),
        el(
            "p",
            f"Mode {service.mode}, budget {one_in(service.budget)}, watch of {say.span(service.watch_s)}, "
            f"steps of {say.span(service.step_s)}.",
            class_="dim",
        ),
        el(
            "dl",
            _fact("Placebo deploys", f"{placebos.used} of {placebos.room} there is room for: {states}"),
            _fact(
                "False alarms",
                f"{interval(placebos.false_alarms)}; allowed {100 * service.budget:.2g} %",
            ),
            _fact("A month", f"{monthly}") if monthly else None,
        ),
        timeline(placebos.each, service.deploys, report.since_at, report.until_at),
        _suggestions(service),
        _false_alarms(service),
        _series(service.series),
        _power(service.series),
        _deploys(service),
        id=service.service,
    )


def _fact(name: str, text: str) -> Html:
    return el("div", el("dt", name), el("dd", text))


def _suggestions(service: ServiceReport) -> Html | None:
    if not service.suggestions:
        return None
    items = [el("li", _marked(one.text)) for one in service.suggestions]
    return el("div", el("h3", "Suggestions"), el("ul", items, class_="suggestions"))


def _marked(text: str) -> list[Child]:
    """What stands between backticks as code."""
    return [el("code", part) if i % 2 else part for i, part in enumerate(text.split("`"))]


def _false_alarms(service: ServiceReport) -> Html | None:
    found = [one for one in service.placebos.each if one.state == "regressed"]
    if not found:
        return None
    rows = [
        el("tr", el("td", day(one.at), class_="whole"), el("td", ", ".join(one.fired)), el("td", one.because))
        for one in found
    ]
    return el(
        "div", el("h3", "False alarms"), _table(("placebo at (UTC)", "series that fired", "because"), rows)
    )


def _series(series: Sequence[SeriesReport]) -> Html:
    rows = [
        el(
            "tr",
            el("th", say.name(one.series), None if one.acts else " (informs only)", scope="row"),
            el("td", one.kind),
            el(
                "td",
                f"{100 * one.coverage:.0f} %",
                el("div", one.problem, class_="wrong") if one.problem else None,
            ),
            el("td", alarms(one), el("div", interval(one.fired), class_="dim"))
            if one.acts
            else el("td", "-"),
            el("td", one_in(one.allowed), el("b", " noisy", class_="bad") if one.is_noisy else None)
            if one.acts
            else el("td", "-"),
            el("td", one.smallest_found or ("none" if one.power else "not tried")),
        )
        for one in series
    ]
    heads = ("series", "kind", "data", "alone fired on placebos", "allowed", "found in 80 %")
    return el("div", el("h3", "Series"), _table(heads, rows))


def _power(series: Sequence[SeriesReport]) -> Html | None:
    tried = [one for one in series if one.power]
    if not tried:
        return None
    return el(
        "div",
        el("h3", "What is found, and how fast"),
        el(
            "p",
            "Share of injected effects that are found within the watch (with 95 % interval), and the median "
            "time from the end of the deploy. The broken line is 80\u00a0%.",
            class_="dim",
        ),
        el("div", [power(one) for one in tried], class_="charts"),
    )


def _deploys(service: ServiceReport) -> Html | None:
    """What was not healthy in the open, the rest folded away."""
    if not service.deploys:
        return None
    healthy = [one for one in service.deploys if one.state == "healthy"]
    others = [one for one in service.deploys if one.state != "healthy"]
    short = young(service)
    folded = el(
        "details",
        el("summary", f"{len(healthy)} of {len(service.deploys)} were healthy"),
        _deploy_table(healthy),
        open=not others,
    )
    return el(
        "div",
        el("h3", "On these real deploys I would have done"),
        el("p", _marked(short), class_="dim") if short else None,
        _deploy_table(others) if others else None,
        folded if healthy else None,
    )


def _deploy_table(deploys: Sequence[RealDeploy]) -> Html:
    is_recorded = any(one.recorded for one in deploys)
    rows = [
        el(
            "tr",
            el("td", day(one.started_at), class_="whole"),
            el("td", f"{one.from_version or '?'} → {one.to_version}"),
            el("td", badge(one.state), el("div", one.reason.replace("_", " "), class_="dim")),
            el("td", "-" if one.delay_s is None else say.span(max(one.delay_s, 0.0)), class_="whole"),
            el("td", one.recorded or "-") if is_recorded else None,
            el("td", one.because, _would(one)),
        )
        for one in deploys
    ]
    then = ("was then",) if is_recorded else ()
    return _table(("started (UTC)", "version", "would be", "after", *then, "because"), rows)


def _would(deploy: RealDeploy) -> Html | None:
    if deploy.state == "healthy" or not deploy.would:
        return None
    return el(
        "ul",
        [el("li", el("b", what), f": {because}") for what, because in would_be(deploy)],
        class_="would",
    )


def _table(heads: Sequence[str], rows: Sequence[Child]) -> Html:
    return el(
        "div",
        el(
            "table",
            el("thead", el("tr", [el("th", head, scope="col") for head in heads])),
            el("tbody", join(rows)),
        ),
        class_="scroll",
    )
