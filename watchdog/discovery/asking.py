"""What a Prometheus holds: which families of metrics, and under which labels. A few small questions each.

The server sums up and is asked for a bounded number of rows, one question at a time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from prometheus_api_client import PrometheusConnect

from watchdog.discovery.client import REQUEST_S, ask_each, connect
from watchdog.discovery.conventions import (
    MEASURES,
    PLACES,
    PLATFORM,
    REQUESTS,
    SERVICES,
    STATUSES,
    VERSION,
    Measure,
    Requests,
)
from watchdog.sources.prometheus import PrometheusSource
from watchdog.sources.selector import Matcher, Selector, parse_selector

# With those about names, types and intervals 83 questions at most.
FAMILIES_MAX = 40
ROWS_MAX = 5_000
_NAMES_MAX = 50_000
# Whoever counted in this time is running now, and it tells how much.
RECENT_S = 3600.0

_NAMED_MAX = 5

Type = Literal["counter", "gauge", "histogram", "native", "summary"]
Convention = Requests | Measure | None

_ROWS: Sequence[tuple[re.Pattern[str], Convention]] = (
    *((re.compile(row.family), row) for row in (*REQUESTS, *MEASURES)),
    (VERSION, None),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric with its parts. convention: what it means; None of one that tells the version."""

    name: str
    type: Type
    convention: Convention

    @property
    def counted(self) -> str:
        """Name of the counter in it."""
        return f"{self.name}_count" if self.type in ("histogram", "summary") else self.name

    @property
    def fits(self) -> bool:
        """It is of the type that the convention means."""
        means_gauge = isinstance(self.convention, Measure) and self.convention.kind == "gauge"
        return self.convention is None or means_gauge == (self.type == "gauge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Series that are alike in the labels of interest. per_minute: by how much they count, together."""

    labels: Mapping[str, str]
    per_minute: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A family as it is now. only: what was asked for beside its name. other_labels: where it has no status,
    what it has instead."""

    family: Family
    only: tuple[Matcher, ...]
    rows: Sequence[Row]
    other_labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """What becomes no series, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything of interest in a Prometheus.

    interval_s: how far apart scrapes are, by job, as far as known. problem: why there is nothing more.
    """

    sightings: Sequence[Sighting]
    left: Sequence[Left]
    interval_s: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None


def look(
    source: PrometheusSource,
    *,
    now: float,
    timeout_s: float,
    by: str | None = None,
    only: Sequence[Matcher] = (),
) -> Seen:
    """Ask that Prometheus what it holds, within `timeout_s` each for names, types, intervals and the rest.

    by: the label that names the service. only: conditions on every series. Blocking; must not be called in a
    running loop. The world's failure is a problem.
    """
    asking = _Asking(connect(source), now, by, tuple(only))
    names, failures = ask_each({"names": asking.names}, timeout_s)
    if failures:
        return Seen(sightings=(), left=(), problem=failures[0].text)
    # Some servers keep no metadata; then names have to tell the types. Some were sent no `up`.
    types, _ = ask_each({"types": asking.types}, timeout_s)
    intervals, _ = ask_each({"intervals": asking.intervals}, timeout_s)
    wanted, left = families(set(names), dict(types))
    questions = {family.name: partial(asking.sighting, family) for family in wanted}
    sightings, refused = ask_each(questions, timeout_s)
    left += [Left(failure.about, failure.text) for failure in refused if failure.about is not None]
    problem = next((failure.text for failure in refused if failure.about is None), None)
    return Seen(sightings=sightings, left=left, interval_s=dict(intervals), problem=problem)


def families(names: set[str], types: Mapping[str, str]) -> tuple[list[Family], list[Left]]:
    """The families that a convention knows, in the order of the tables, and those that it leaves out.

    types: by family, as in the metadata; may be empty.
    """
    types_by_base = {base: _typed(base, names, types) for base in sorted(_bases(names))}
    known: dict[str, Family] = {}
    for pattern, convention in _ROWS:
        for base, type_ in types_by_base.items():
            if base not in known and pattern.fullmatch(base):
                known[base] = Family(name=base, type=type_, convention=convention)
    platform = [base for base in known if PLATFORM.fullmatch(base)]
    misfits = [base for base, family in known.items() if base not in platform and not family.fits]
    wanted = [family for base, family in known.items() if base not in (*platform, *misfits)]
    reasons = (
        (platform, "counts the platform, or calls to somebody else"),
        (misfits, "its metadata contradicts its name: one of them says gauge"),
        (
            [family.name for family in wanted[FAMILIES_MAX:]],
            f"not looked at: {FAMILIES_MAX} metrics are the most",
        ),
    )
    left = [Left(", ".join(bases[:_NAMED_MAX]), why) for bases, why in reasons if bases]
    return wanted[:FAMILIES_MAX], left


def _bases(names: set[str]) -> set[str]:
    """Names without what a histogram or a summary adds to its own."""
    parts = {
        name
        for name in names
        for suffix in ("_bucket", "_count", "_sum")
        if name.endswith(suffix)
        and {f"{name.removesuffix(suffix)}_sum", f"{name.removesuffix(suffix)}_count"} <= names
    }
    return (names - parts) | {name.rpartition("_")[0] for name in parts}


def _typed(base: str, names: set[str], types: Mapping[str, str]) -> Type:
    """What a family is: by its parts, then by its metadata, then by its name."""
    if f"{base}_count" in names and f"{base}_sum" in names:
        return "histogram" if f"{base}_bucket" in names else "summary"
    # The metadata of OpenMetrics names a counter without its `_total`.
    said = types.get(base) or types.get(base.removesuffix("_total"))
    said = None if said in ("unknown", "untyped") else said
    if said == "histogram" or (said is None and base.endswith(("_seconds", "_milliseconds"))):
        return "native"
    if said == "gauge" or (
        said is None and any(re.fullmatch(m.family, base) for m in MEASURES if m.kind == "gauge")
    ):
        return "gauge"
    return "counter"


class _Asking:
    """Questions to one Prometheus."""

    def __init__(
        self, client: PrometheusConnect, now: float, by: str | None, only: tuple[Matcher, ...]
    ) -> None:
        self._client = client
        self._span = {"start": now - RECENT_S, "end": now}
        self._by, self._only = by, only

    def names(self) -> list[str]:
        """Names of the metrics that had samples in the last hour."""
        return [str(name) for name in self._client.all_metrics({**self._span, "limit": _NAMES_MAX})]

    def types(self) -> list[tuple[str, str]]:
        """(name, type) of everything that was scraped."""
        told = self._client.get_metric_metadata("", limit=_NAMES_MAX, limit_per_metric=1)
        return [(str(entry["metric_name"]), str(entry["type"])) for entry in told]

    def intervals(self) -> list[tuple[str, float]]:
        """(job, seconds between two scrapes of it), of the target of it that is scraped most often."""
        recent = f"[{RECENT_S:.0f}s"
        since = f"(timestamp(up) - min_over_time(timestamp(up){recent}:15s]))"
        found = self._query(f"min by (job) ({since} / (count_over_time(up{recent}]) - 1))")
        return [(str(one["metric"].get("job", "")), float(one["value"][1])) for one in found]

    def sighting(self, family: Family) -> list[Sighting]:
        """The rows of one family, of which there may be none."""
        convention = family.convention
        only = self._only
        statuses: tuple[str, ...] = ()
        if isinstance(convention, Requests):
            only = (*parse_selector(f"x{{{convention.only}}}").matchers, *only)
            statuses = (*convention.statuses, *STATUSES)
        elif convention is None:
            statuses = ("version",)
        services = (self._by,) if self._by else (*(convention.services if convention else ()), *SERVICES)
        labels = ", ".join(dict.fromkeys((*services, *statuses, *PLACES, "job")))
        selector = Selector(family.counted, only)
        result = self._query(f"topk({ROWS_MAX}, {_summed(family, selector, labels)})")
        rows = [
            Row(
                labels={str(k): str(v) for k, v in one["metric"].items()},
                per_minute=60.0 * float(one["value"][1]),
            )
            for one in result
        ]
        if not rows:
            return []
        has_status = not statuses or any(label in row.labels for row in rows for label in statuses)
        others = (
            ()
            if has_status
            else tuple(self._client.get_label_names({"match[]": str(selector), **self._span}))
        )
        return [Sighting(family=family, only=only, rows=rows, other_labels=others)]

    def _query(self, text: str) -> list[Any]:
        params = {"time": self._span["end"]}
        result = self._client.custom_query(text, params=params, timeout=REQUEST_S)
        return [one for one in result if math.isfinite(float(one["value"][1]))]


def _summed(family: Family, selector: Selector, labels: str) -> str:
    """PromQL for how much a family counted a second, by those labels."""
    recent = f"{selector}[{RECENT_S:.0f}s]"
    if family.convention is None:
        return f"count by ({labels}) ({selector})"
    if family.type == "native":
        return f"histogram_count(sum by ({labels}) (rate({recent})))"
    if family.type == "gauge":
        # How often it changed, in an hour.
        return f"sum by ({labels}) (changes({recent})) / {RECENT_S:.0f}"
    return f"sum by ({labels}) (rate({recent}))"
