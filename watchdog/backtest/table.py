"""The report as a person reads it on a terminal: plain text, 110 columns, nothing hidden that matters."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from detectors import say
from watchdog.backtest.report import Power, RealDeploy, Report, SeriesReport, ServiceReport
from watchdog.backtest.words import day, days, interval, one_in, per_month, would_be, young

_WIDTH = 110
# A longer log shows only what was not healthy; JSON and HTML show all.
_DEPLOYS_SHOWN = 30


def render(report: Report) -> str:
    """The whole report, ending with a line feed."""
    head = (
        f"Backtest of {report.environment}, {day(report.since_at)} to {day(report.until_at)} UTC "
        f"({days(report.until_at - report.since_at)}), deploys from {report.deploy_log}"
    )
    lines = [head] + [line for note in report.notes for line in _wrapped(note, "note: ")]
    for service in report.services:
        lines += ["", *_service(service)]
    return "\n".join([*lines, "", f"Took {report.took_s:.1f} s. Configuration {report.config}."]) + "\n"


def _service(service: ServiceReport) -> Iterator[str]:
    placebos = service.placebos
    states = ", ".join(f"{count} {state}" for state, count in placebos.states.items()) or "none"
    yield (
        f"{service.service}  (mode {service.mode}, budget {one_in(service.budget)}, watch of "
        f"{say.span(service.watch_s)}, steps of {say.span(service.step_s)})"
    )
    yield f"  placebo deploys   {placebos.used} of {placebos.room} there is room for: {states}"
    yield f"  false alarms      {interval(placebos.false_alarms)}; allowed {100 * service.budget:.2g} %"
    monthly = per_month(service)
    if monthly:
        yield f"                    {monthly}"
    for each in placebos.each:
        if each.state == "regressed":
            yield from _wrapped(f"{day(each.at)}  {each.because}", "    ! ")
    yield ""
    yield from _series(service.series)
    yield from _powers(service.series)
    yield from _deploys(service)
    if service.suggestions:
        yield ""
        yield "  suggestions"
        for suggestion in service.suggestions:
            yield from _wrapped(suggestion.text, "    - ")


def _series(series: Sequence[SeriesReport]) -> Iterator[str]:
    wide = max(len(_named(one)) for one in series)
    heads = f"{'kind':<8} {'data':>5}  {'alone fired':>13}   {'allowed':>10}   found in 80 %"
    yield f"  {'series':<{wide}}  {heads}"
    for one in series:
        fired = f"{one.fired.found} of {one.fired.of}{' !' if one.is_noisy else '  '}" if one.acts else "-  "
        allowed = one_in(one.allowed) if one.acts else "-"
        found = one.smallest_found or ("none" if one.power else "not tried")
        yield (
            f"  {_named(one):<{wide}}  {one.kind:<8} {100 * one.coverage:>4.0f}%  {fired:>15} "
            f"{allowed:>10}   {found}"
        )
    if any(not one.acts for one in series):
        yield "  * informs only, never acts"
    if any(one.is_noisy for one in series):
        yield "  ! more often than its part of the budget can explain"


def _powers(series: Sequence[SeriesReport]) -> Iterator[str]:
    tried = [one for one in series if one.power]
    if not tried:
        return
    wide = max(len(_named(one)) for one in tried)
    yield ""
    yield "  injected effects that were found, and the median delay"
    for one in tried:
        yield f"  {_named(one):<{wide}}  {'   '.join(f'{_power(each):<21}' for each in one.power)}".rstrip()


def _named(series: SeriesReport) -> str:
    return series.series if series.acts else f"{series.series} *"


def _power(power: Power) -> str:
    share = "-" if power.found.share is None else f"{100 * power.found.share:.0f}%"
    delay = "" if power.delay_s is None else f" ({say.span(power.delay_s)})"
    return f"{power.label} {share}{delay}"


def _deploys(service: ServiceReport) -> Iterator[str]:
    deploys = service.deploys
    if not deploys:
        return
    yield ""
    yield "  on these real deploys I would have done"
    short = young(service)
    if short:
        yield from _wrapped(short, "    ")
    healthy = [deploy for deploy in deploys if deploy.state == "healthy"]
    is_long = len(deploys) > _DEPLOYS_SHOWN
    if is_long:
        yield f"    {len(healthy)} were healthy and are not listed here"
    for deploy in deploys:
        if not is_long or deploy.state != "healthy":
            yield from _deploy(deploy)


def _deploy(deploy: RealDeploy) -> Iterator[str]:
    version = f"{deploy.from_version or '?'} -> {deploy.to_version}"
    then = f", then {deploy.recorded}" if deploy.recorded and deploy.recorded != deploy.state else ""
    after = "" if deploy.delay_s is None else f" after {say.span(max(deploy.delay_s, 0.0))}"
    reason = f" ({deploy.reason})" if deploy.reason else ""
    yield f"    {day(deploy.started_at)}  {version:<24}  {deploy.state}{reason}{after}{then}"
    # The usual deploy takes one line; what was not healthy is explained.
    if deploy.state != "healthy":
        yield from _wrapped(deploy.because, " " * 8)
        for what, because in would_be(deploy):
            yield from _wrapped(f"{what}: {because}", " " * 8)


def _wrapped(text: str, lead: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead)) or [lead]
