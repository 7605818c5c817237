"""`validate --online`: does every query find what its series needs? Asked before anything depends on it.

A Prometheus is asked through `client`; what is judged later comes through the source itself.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from config import Loaded
from watchdog.discovery.client import REQUEST_S, ask_each, connect
from watchdog.plan import plan_services
from watchdog.sources.fetch import without_secrets
from watchdog.sources.prometheus import PrometheusSource
from watchdog.sources.protocol import Grid, Query, Source
from watchdog.sources.selector import Selector, parse_selector

LOOK_BACK_S = 28 * 86400.0
# Enough to see that there is one, or more than one.
_SERIES_MAX = 2
_COUNTERS = ("counter", "numerator", "denominator")
_SELECTORS = (*_COUNTERS, "histogram", "gauge")

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a source said of one key. path: of the key in the configuration."""

    path: Path
    code: str
    message: str
    hint: str = ""
    is_warning: bool = False


def ask_sources(loaded: Loaded, *, now: float, timeout_s: float = 60.0) -> list[Finding]:
    """Ask each source about the series that use it, within `timeout_s` per source.

    Blocking; must not be called in a running loop. The world's failure is a finding on the source.
    """
    queries: dict[str, dict[Path, Query]] = {name: {} for name in loaded.sources}
    for service, plan in plan_services(loaded).items():
        for one in plan.series:
            if one.source is not None and one.query is not None:
                queries[one.source]["services", service, "series", one.spec.name] = one.query
    found: list[Finding] = []
    for name, source in loaded.sources.items():
        path = ("sources", name)
        if isinstance(source, PrometheusSource):
            answers, failures = ask_each(_Prometheus(source, now).questions(path, queries[name]), timeout_s)
            found += answers
            found += [Finding(path=one.about or path, code="no-answer", message=one.text) for one in failures]
        else:
            found += asyncio.run(_one_read(path, source, queries[name], now, timeout_s))
    return found


async def _one_read(
    path: Path, source: Source, queries: Mapping[Path, Query], now: float, timeout_s: float
) -> list[Finding]:
    """What one read of all queries has to complain of; the same complaint of every query is the source's."""
    at = now // 60 * 60
    grid = Grid(first_at=at, last_at=at, step_s=60.0)
    try:
        readings = await source.read(list(queries.values()), grid, now=now, timeout_s=timeout_s)
    finally:
        await source.close()
    problems = {reading.problem for reading in readings}
    if len(readings) > 1 and len(problems) == 1:
        return [Finding(path=path, code="no-answer", message=text) for text in problems if text]
    return [
        Finding(path=key, code="no-data", message=reading.problem)
        for key, reading in zip(queries, readings, strict=True)
        if reading.problem is not None
    ]


Question = Callable[[], list[Finding]]


class _Prometheus:
    """Questions to one Prometheus server."""

    def __init__(self, source: PrometheusSource, now: float) -> None:
        self._client = connect(source)
        self._shown = without_secrets(source.url)
        self._since = datetime.fromtimestamp(now - LOOK_BACK_S, UTC)
        self._until = datetime.fromtimestamp(now, UTC)

    def questions(self, path: Path, queries: Mapping[Path, Query]) -> dict[Path, Question]:
        """One question per query; without any, whether the server is there at all."""
        if not queries:
            return {path: partial(self._is_there, path)}
        return {where: partial(self._series, where, query) for where, query in queries.items()}

    def _is_there(self, path: Path) -> list[Finding]:
        if self._client.check_prometheus_connection():
            return []
        return [Finding(path=path, code="no-answer", message=f"{self._shown} is not a Prometheus server")]

    def _series(self, path: Path, query: Query) -> list[Finding]:
        found = [self._selector((*path, key), query) for key in _SELECTORS if getattr(query, key)]
        if query.query is not None:
            found.append(self._query((*path, "query"), query))
        return [finding for finding in found if finding is not None]

    def _selector(self, path: Path, query: Query) -> Finding | None:
        key = path[-1]
        text: str = getattr(query, key)
        try:
            selector = parse_selector(text)
        except ValueError as error:
            return Finding(path=path, code="bad-selector", message=str(error))
        labels = self._matching(selector)
        if not labels:
            return self._nothing(path, selector)
        if key == "histogram":
            return self._histogram(path, query, selector, labels[0])
        if key == "gauge":
            return self._now(path, query, str(selector))
        if key in _COUNTERS and self._type(selector.name) == "gauge":
            return Finding(
                path=path,
                code="not-a-counter",
                message=f"{selector.name} is a gauge by its metadata. Differences need a counter.",
                is_warning=True,
            )
        return None

    def _histogram(
        self, path: Path, query: Query, selector: Selector, labels: Mapping[str, str]
    ) -> Finding | None:
        if not query.is_native:
            is_one, what = "le" in labels, "has no label `le`"
        else:
            newest = self._client.custom_query(
                str(selector), params={"time": self._until.timestamp()}, timeout=REQUEST_S
            )
            # Without a sample now it cannot be told.
            is_one, what = all("histogram" in one for one in newest), "holds numbers, not native histograms"
        if is_one:
            return None
        message = f"{selector.name} {what}. Give the `_bucket` series of a histogram."
        return Finding(path=path, code="not-a-histogram", message=message)

    def _query(self, path: Path, query: Query) -> Finding | None:
        return self._now(path, query, str(query.query), is_needed=True)

    def _now(self, path: Path, query: Query, asked: str, *, is_needed: bool = False) -> Finding | None:
        """Whether that is one series now; is_needed: none is wrong, too."""
        key = path[-1]
        result = self._client.custom_query(asked, params={"time": self._until.timestamp()}, timeout=REQUEST_S)
        if not result and is_needed:
            return Finding(path=path, code="no-data", message=f"{key} returns nothing now.")
        if len(result) > 1 and not query.by:
            return Finding(
                path=path,
                code="many-series",
                message=f"{key} returns {len(result)} series. Aggregate them to one under `query`, as in "
                "sum(…), or name the labels that tell them apart under `by`.",
            )
        return None

    def _nothing(self, path: Path, selector: Selector) -> Finding:
        """Why a selector matches no series: no such metric, no such label value, or only not yet."""
        message = f"{selector} matches 0 series in 28 days."
        finding = Finding(path=path, code="no-data", message=message)
        if not self._matching(Selector(selector.name)):
            close = _closest(selector.name, self._values("__name__", {}))
            return replace(finding, hint=f"closest metric: {close}") if close else finding
        for matcher in selector.matchers:
            values = self._values(matcher.label, {"match[]": selector.name})
            if matcher.operator == "=" and matcher.value not in values:
                close = _closest(matcher.value, values)
                what = f'{matcher.label}="{close}"' if close else f"there is no {matcher!s}"
                return replace(finding, hint=f"closest label value: {what}" if close else "")
        if path[-1] == "numerator":
            # A counter of failures often does not exist before the first one.
            return replace(
                finding,
                message=f"{message} If nothing failed yet, that is fine: it counts as 0.",
                is_warning=True,
            )
        return finding

    def _matching(self, selector: Selector) -> list[Mapping[str, str]]:
        params: dict[str, Any] = {"match[]": str(selector), "limit": _SERIES_MAX}
        labels = self._client.get_series(self._since, self._until, params)
        if not isinstance(labels, list):
            raise TypeError("series are a list")
        return labels

    def _values(self, label: str, params: Mapping[str, Any]) -> list[str]:
        span = {"start": self._since.timestamp(), "end": self._until.timestamp(), "limit": 10_000}
        values: list[str] = self._client.get_label_values(label, {**params, **span})
        return values

    def _type(self, metric: str) -> str | None:
        known = self._client.get_metric_metadata(metric)
        return str(known[0]["type"]) if known else None


def _closest(word: str, known: Sequence[str]) -> str | None:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return close[0] if close else None
