"""What no single key can know: references, loops, what a kind of series needs, what a mode needs."""

from __future__ import annotations

import graphlib
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from config.errors import Problem
from config.messages import did_you_mean, noun, short
from config.promql import is_expression, is_selector, longest_range_s
from config.reading import Keys, Tree
from config.schema import SELECTOR_KEYS, SELECTORS, Series, Service, Settings
from config.values import written_duration

# A roll-out replaces the values of these labels, so a series they identify ends at every deploy.
_REPLACED_BY_ROLLOUT = frozenset({"pod", "instance", "version", "container"})

# Where finished PromQL goes, by kind: what is judged by its counts has no `query`. Without quotes, between
# which a long text would be cut as a secret may be (`masking`).
_ESCAPE: Mapping[str, str] = {
    "ratio": "A finished ratio goes under query of kind gauge.",
    "histogram": "A finished quantile goes under query of kind latency.",
}


def broken_rules(settings: Settings, tree: Tree) -> Iterator[Problem]:
    """Every broken rule, errors and warnings. settings: what of the tree is valid by itself."""
    yield from _listening(settings, tree)
    yield from _self_check(settings, tree)
    yield from _alerts(settings, tree)
    for name, service in settings.services.items():
        path: Keys = ("services", name)
        yield from _observed(path, tree)
        yield from _neighbours(path, service, tree)
        yield from _series(path, service, settings, tree)
        yield from _version(path, service, tree)
        yield from _mode(path, service, settings, tree)
        yield from _databases(path, tree)
        yield from _times(path, tree)
        yield from _alerting(path, service, tree)
    yield from _cycles(settings, tree)
    if not settings.services:
        yield _warning(
            tree.problem("nothing-to-watch", "there is no service: nothing will be watched.", ("services",))
        )


def _warning(problem: Problem) -> Problem:
    return replace(problem, severity="warning")


def _names(tree: Tree, section: str) -> list[str]:
    # From the tree: an entry that is wrong inside still exists, and needs no second error where it is named.
    entries = tree.value.get(section)
    return list(entries) if isinstance(entries, Mapping) else []


def _reference(path: Keys, name: str, section: str, tree: Tree) -> Iterator[Problem]:
    known = _names(tree, section)
    if name not in known:
        listed = f"{section.capitalize()}: {', '.join(known)}." if known else f"There are no {section}."
        yield tree.problem(
            "unknown-reference",
            f"{short(path)} `{name}` does not exist. {listed}",
            path,
            on_value=True,
            hint=did_you_mean(name, known),
        )


def _listening(settings: Settings, tree: Tree) -> Iterator[Problem]:
    path: Keys = ("api", "listen")
    host, _, port = settings.api.listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        yield tree.problem(
            "bad-address",
            f"api.listen `{settings.api.listen}` is not an address and a port. Write 127.0.0.1:8099.",
            path,
            on_value=True,
        )
    elif not _is_loopback(host.strip("[]")) and not settings.api.tokens:
        yield tree.problem(
            "no-token",
            f"api.listen {settings.api.listen} can be reached by others, and there is no token.",
            path,
            on_value=True,
            remedy="add one under api.tokens (deploy-watchdog token makes it), or listen on 127.0.0.1",
        )


def _self_check(settings: Settings, tree: Tree) -> Iterator[Problem]:
    for index, target in enumerate(settings.self_check.targets):
        host, _, port = target.rpartition(":")
        if not host or "/" in host or not port.isdecimal() or not 1 <= int(port) <= 65535:
            yield tree.problem(
                "bad-address",
                f"self_check: `{target}` is not a host and a port. Write gateway.example:443.",
                ("self_check", "targets", index),
                on_value=True,
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _alerts(settings: Settings, tree: Tree) -> Iterator[Problem]:
    for key in ("default", "page"):
        for index, name in enumerate(getattr(settings.alerts, key)):
            yield from _reference(("alerts", key, index), name, "channels", tree)
    channels = _names(tree, "channels")
    if len(channels) > 1 and not settings.alerts.default:
        yield tree.problem(
            "undecided",
            f"there are {len(channels)} channels and alerts.default names none of them.",
            ("alerts", "default"),
            remedy=f"write alerts: {{default: [{channels[0]}]}}. Channels: {', '.join(channels)}",
        )


def _observed(path: Keys, tree: Tree) -> Iterator[Problem]:
    # From the tree: a series that is wrong inside is one error, not two.
    written = tree.value["services"][path[1]]
    if not written.get("series") and not written.get("checks"):
        yield tree.problem(
            "nothing-to-watch",
            f"{path[1]} has neither series nor checks: no deploy of it could be judged.",
            path,
            remedy="add at least one under series or checks, or remove the service",
        )


def _neighbours(path: Keys, service: Service, tree: Tree) -> Iterator[Problem]:
    for key in ("depends_on", "controls"):
        for index, name in enumerate(getattr(service, key)):
            yield from _reference((*path, key, index), name, "services", tree)
            if key == "controls" and name == path[-1]:
                yield tree.problem(
                    "self-reference",
                    f"controls: {name} cannot be its own control.",
                    (*path, key, index),
                    on_value=True,
                )
    if service.rollback is not None:
        yield from _reference((*path, "rollback", "target"), service.rollback.target, "targets", tree)


def _series(path: Keys, service: Service, settings: Settings, tree: Tree) -> Iterator[Problem]:
    step_s = settings.step if service.step is None else service.step
    for name, series in service.series.items():
        here = (*path, "series", name)
        yield from _source(here, series.source, tree)
        yield from _selectors(here, series, tree)
        if series.query is not None and longest_range_s(series.query) > step_s:
            range_s = longest_range_s(series.query)
            yield _warning(
                tree.problem(
                    "smeared",
                    f"query looks back {written_duration(range_s)}, further than the step of "
                    f"{written_duration(step_s)}: a change will seem later and slower than it is.",
                    (*here, "query"),
                    on_value=True,
                    remedy="give the selectors of the raw counters instead, or a range of one step",
                )
            )
        for index, label in enumerate(series.by):
            if label in _REPLACED_BY_ROLLOUT:
                yield tree.problem(
                    "by-rollout",
                    f"`{label}` cannot identify a series: a roll-out replaces its values.",
                    (*here, "by", index),
                    on_value=True,
                )
        if name in service.checks:
            yield tree.problem(
                "same-name",
                f"`{name}` is a series and a check of {path[-1]}, judged under one name. Rename one.",
                here,
            )


def _source(path: Keys, named: str | None, tree: Tree) -> Iterator[Problem]:
    sources = _names(tree, "sources")
    if named is not None:
        yield from _reference((*path, "source"), named, "sources", tree)
    elif len(sources) > 1:
        yield tree.problem(
            "undecided",
            f"{short(path)} does not say which source. Add `source:`. Sources: {', '.join(sources)}.",
            path,
        )
    elif not sources:
        yield tree.problem("undecided", f"{short(path)} has no source: there are no sources.", path)


def _selectors(path: Keys, series: Series, tree: Tree) -> Iterator[Problem]:
    ways = SELECTORS[series.kind]
    given = {key for key in SELECTOR_KEYS if getattr(series, key) is not None}
    wanted = {key for way in ways for key in way}
    for key in sorted(given - wanted):
        yield tree.problem(
            "unknown-key",
            f"`{key}` is not a key of {noun(path, tree)}.",
            (*path, key),
            remedy=_needs(series),
        )
    given &= wanted
    if not any(given == set(way) for way in ways):
        whole = [way for way in ways if set(way) <= given]
        code, what = ("two-selectors", "has more than one of them") if whole else ("missing-key", "has not")
        yield tree.problem(code, f"{short(path)}: {_needs(series)}; it {what}.", path)
    for key in sorted(given - {"query"}):
        yield from _selector((*path, key), getattr(series, key), tree, series.kind)
    if series.kind == "histogram":
        yield from _distribution(path, series, tree)


def _distribution(path: Keys, series: Series, tree: Tree) -> Iterator[Problem]:
    if series.bad == "down":
        yield tree.problem(
            "bad-direction",
            "of a histogram only large values are worse. Where small ones are, take kind latency.",
            (*path, "bad"),
            on_value=True,
        )
    written = str(tree.value["services"][path[1]]["series"][path[3]].get("ignore_below", "%")).strip()
    if not written.endswith(("%", "pt")):
        yield tree.problem(
            "bad-magnitude",
            f"a histogram is judged by shares of its requests, and `{written}` is none. Write 5% "
            "of the share before, or 0.5pt.",
            (*path, "ignore_below"),
            on_value=True,
        )


def _needs(series: Series) -> str:
    ways = " or ".join(" and ".join(f"`{key}`" for key in way) for way in SELECTORS[series.kind])
    return f"a {series.kind} series needs {ways}"


def _selector(path: Keys, text: str, tree: Tree, kind: str = "") -> Iterator[Problem]:
    if is_selector(text):
        return
    if is_expression(text):
        yield tree.problem(
            "ratio-is-a-query",
            f"{path[-1]} is an expression (`{text}`). Give the selector of the raw metric; rates are "
            f"taken by the watchdog. {_ESCAPE.get(kind, 'Finished PromQL goes under query.')}",
            path,
            on_value=True,
        )
    else:
        yield tree.problem(
            "bad-selector",
            f'{path[-1]} is not a selector such as name{{label="value"}}.',
            path,
            on_value=True,
        )


def _version(path: Keys, service: Service, tree: Tree) -> Iterator[Problem]:
    signal = service.version
    if signal is None:
        return
    here = (*path, "version")
    if (signal.http is None) == (signal.series is None):
        yield tree.problem("missing-key", "version needs either `http` or `series`.", here)
    elif signal.series is not None:
        yield from _source(here, signal.source, tree)
        yield from _selector((*here, "series"), signal.series, tree)


def _mode(path: Keys, service: Service, settings: Settings, tree: Tree) -> Iterator[Problem]:
    mode = service.mode or settings.defaults.mode
    written = tree.value["services"][path[1]]
    here = (*path, "mode") if service.mode else ("defaults", "mode")
    if mode != "observe" and "rollback" not in written:
        yield tree.problem(
            "no-target",
            f"mode {mode} of {path[1]} needs a rollback target.",
            (*path, "rollback"),
            remedy="add rollback: {target: …}, or write mode: observe",
        )
    if mode != "auto":
        return
    if not settings.single_instance:
        yield _warning(
            tree.problem(
                "alert-only",
                f"mode auto of {path[1]} will only propose its rollbacks: two watchdogs could act at once.",
                here,
                on_value=True,
                remedy="write single_instance: true if there is only this one",
            )
        )
    if "version" not in written:
        yield _warning(
            tree.problem(
                "propose-only",
                f"mode auto of {path[1]} will only propose: nothing tells which version runs.",
                here,
                on_value=True,
                remedy="add version: {http: …} or version: {series: …} to the service",
            )
        )


def _databases(path: Keys, tree: Tree) -> Iterator[Problem]:
    checks = tree.value["services"][path[1]].get("checks")
    if isinstance(checks, Mapping):
        yield from _named_databases(checks, (*path, "checks"), tree)


def _times(path: Keys, tree: Tree) -> Iterator[Problem]:
    checks = tree.value["services"][path[1]].get("checks")
    for name, check in checks.items() if isinstance(checks, Mapping) else ():
        if isinstance(check, Mapping) and {"every", "cron"} <= check.keys():
            yield tree.problem(
                "two-times",
                f"{name} has `every` and `cron`: it would be due by both. Leave one out.",
                (*path, "checks", name, "cron"),
            )


def _alerting(path: Keys, service: Service, tree: Tree) -> Iterator[Problem]:
    for name, check in service.checks.items():
        rule = check.alert
        if rule is not None and rule.of is not None and rule.of < rule.fail:
            yield tree.problem(
                "bad-value",
                f"alert of {name}: {rule.of} runs cannot have {rule.fail} failures. "
                f"Write of: {rule.fail} or more.",
                (*path, "checks", name, "alert", "of"),
                on_value=True,
            )
    for index, window in enumerate(service.maintenance):
        begins_at = window.cron.after(0.0, service.timezone)
        if window.cron.after(begins_at, service.timezone) - begins_at <= window.for_:
            yield tree.problem(
                "bad-value",
                f"maintenance of {written_duration(window.for_)} begins again before it is over: it might "
                "never end. Write a shorter time, or a cron with longer gaps.",
                (*path, "maintenance", index, "for"),
                on_value=True,
            )


def _named_databases(value: Any, path: Keys, tree: Tree) -> Iterator[Problem]:
    """`database: name` at any depth of a check, as in the sides of `reconcile`."""
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, item in items:
        if key == "database" and isinstance(item, str):
            yield from _reference((*path, key), item, "databases", tree)
        else:
            yield from _named_databases(item, (*path, key), tree)


def _cycles(settings: Settings, tree: Tree) -> Iterator[Problem]:
    """One problem per loop."""
    graph = {
        name: {other for other in service.depends_on if other in settings.services}
        for name, service in settings.services.items()
    }
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            # The library lists what is needed before what needs it, the first again at the end.
            loop = error.args[1][::-1]
            first = min(range(len(loop) - 1), key=lambda i: list(graph).index(loop[i]))
            loop = [*loop[first:-1], *loop[: first + 1]]
            yield tree.problem(
                "cycle",
                f"depends_on: {' -> '.join(loop)}. A rollback order cannot be found; remove one edge.",
                ("services", loop[0], "depends_on"),
            )
            graph[loop[0]].discard(loop[1])
        else:
            return
