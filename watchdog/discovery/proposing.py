"""What of a Prometheus is judged: errors, latency and traffic of each service, and its business.

Pure. Each proposal says why it was made, and everything that became none says why not.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from config.values import NAME_CHARS_MAX, SERIES_NAME_PATTERN, slug
from watchdog.discovery.asking import ROWS_MAX, Family, Left, Row, Seen, Sighting
from watchdog.discovery.conventions import PLACES, SERVICES, STATUSES, Measure, Requests, Vocabulary
from watchdog.sources.selector import Matcher, Selector

# With fewer most steps of a minute are empty, and an empty step of a ratio or a latency is missing.
PER_MINUTE_MIN = 1.0
# The step of a service that says nothing else; a shorter one than the scrape interval is mostly missing.
_STEP_S = 60.0
_SERVICES_OF_A_LABEL_MAX = 500
_VALUE_CHARS_MAX = 200
_SHOWN_MAX = 10
_FIRST = ("errors", "latency", "traffic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One series. keys: as configuration has them. because: why it was chosen, for people."""

    keys: Mapping[str, str | bool]
    because: str


@dataclass(slots=True, kw_only=True)
class ProposedService:
    """One service.

    value: of the label that names it. series: by name, in the order of preference. version: selector of what
    tells it. step_s: None for the usual one.
    """

    name: str
    value: str
    per_minute: float = 0.0
    series: dict[str, Proposal] = field(default_factory=dict)
    version: str | None = None
    step_s: float | None = None
    remarks: list[str] = field(default_factory=list)

    def offer(self, series: Mapping[str, Proposal]) -> None:
        """Take what it does not have yet."""
        for name, proposal in series.items():
            self.series.setdefault(name, proposal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """services: busiest first. left: what became no series, and why."""

    services: Sequence[ProposedService]
    left: Sequence[Left]


# A service, what selects its series of a family, and how many they are.
Named = Sequence[tuple[ProposedService, Selector, Sequence[Row]]]


def propose(seen: Seen, *, by: str | None, services_max: int, series_max: int) -> Proposed:
    """What to judge, of what was seen.

    by: the label that names the service. series_max: of each service.
    """
    made = _Made(left=list(seen.left), interval_s=seen.interval_s)
    for sighting in seen.sightings:
        made.add(sighting, by)
    busiest = made.services_by_traffic()
    left = [*made.left, *made.still_lacking()]
    if len(busiest) > services_max:
        names = _listed(service.name for service in busiest[services_max:])
        left.append(Left(names, f"the {services_max} busiest services are proposed"))
    for service in busiest:
        over = list(service.series)[series_max:]
        service.series = {name: service.series[name] for name in list(service.series)[:series_max]}
        if over:
            service.remarks.append(f"left out, {series_max} series are the most: {_listed(over)}")
    return Proposed(services=busiest[:services_max], left=left)


@dataclass(slots=True)
class _Made:
    """What was proposed so far. _lacking: a series that a family does not give, the services it gives it not
    to, and why."""

    left: list[Left]
    interval_s: Mapping[str, float]
    _services: dict[str, ProposedService] = field(default_factory=dict)
    _lacking: list[tuple[str, list[ProposedService], Left]] = field(default_factory=list)

    def services_by_traffic(self) -> list[ProposedService]:
        """Those with series, busiest first; of each errors, latency and traffic before the rest."""
        found = [service for service in self._services.values() if service.series]
        for service in found:
            service.series = dict(sorted(service.series.items(), key=lambda item: _rank(item[0])))
        return sorted(found, key=lambda service: (-service.per_minute, service.name))

    def still_lacking(self) -> list[Left]:
        """What a family does not give and no other one gave instead."""
        return [
            left for series, services, left in self._lacking if any(series not in s.series for s in services)
        ]

    def add(self, sighting: Sighting, by: str | None) -> None:
        """Propose what this family tells of each service."""
        family = sighting.family
        convention = family.convention
        preferred = (by,) if by else (*(convention.services if convention else ()), *SERVICES)
        label = _naming(sighting.rows, preferred)
        if label is None:
            why = f"no label names a service: none of {_listed(preferred)}; say which with --by"
            return self.left.append(Left(family.name, why))
        if not all(row.labels.get(label) for row in sighting.rows):
            self.left.append(Left(family.name, f"some of its series have no label {label}, and are nobody's"))
        if len(sighting.rows) >= ROWS_MAX:
            self.left.append(Left(family.name, f"only {ROWS_MAX} combinations of labels were looked at"))
        named = [
            (service, Selector(family.counted, (Matcher(label, "=", value), *sighting.only)), rows)
            for value, rows in _by_value(sighting.rows, label).items()
            if (service := self._service(family.name, label, value)) is not None
        ]
        match convention:
            case None:
                for service, selector, rows in named:
                    _tell_version(service, selector, rows)
            case Requests():
                self._add_requests(sighting, convention, named)
            case Measure():
                self._add_measure(family.name, convention, named)
        for service, _, rows in named:
            _tell_places(service, label, rows)
            self._tell_step(service, rows)
        return None

    def _add_requests(self, sighting: Sighting, convention: Requests, named: Named) -> None:
        family = sighting.family
        served, mute = [], []
        for service, selector, rows in named:
            per_minute = sum(row.per_minute for row in rows)
            if per_minute < PER_MINUTE_MIN:
                why = f"{per_minute:.2g} requests a minute are too few to judge by: add a check"
                self.left.append(Left(str(selector), why))
                continue
            status = _status(rows, convention)
            service.per_minute = max(service.per_minute, per_minute)
            service.offer(_of_requests(family, convention, selector, per_minute, status))
            served.append(service)
            mute += [] if status else [service]
        other = [label for label in sighting.other_labels if label != "__name__"]
        has = f": it has {_listed(other)}" if other else ""
        mute_why = f"no label tells what failed{has}. No errors from it"
        native_why = "native histograms hold no counter for a ratio. No errors from it"
        summary_why = (
            "a summary without buckets: quantiles of several processes are not one. No latency from it"
        )
        self._lacking += [
            ("errors", mute if family.type != "native" else [], Left(family.name, mute_why)),
            ("errors", served if family.type == "native" else [], Left(family.name, native_why)),
            ("latency", served if family.type == "summary" else [], Left(family.name, summary_why)),
        ]

    def _add_measure(self, metric: str, measure: Measure, named: Named) -> None:
        for service, selector, rows in named:
            per_minute = sum(row.per_minute for row in rows)
            if measure.kind == "count" and per_minute < PER_MINUTE_MIN:
                why = f"{per_minute:.2g} a minute are too few to see that they become fewer"
                self.left.append(Left(str(selector), why))
            elif measure.kind == "gauge" and per_minute <= 0.0:
                self.left.append(Left(str(selector), "did not move in the last hour"))
            else:
                # That nothing fails is what a counter of failures should say.
                service.offer(_of_measure(metric, measure, selector))

    def _tell_step(self, service: ProposedService, rows: Sequence[Row]) -> None:
        interval_s = max((self.interval_s.get(row.labels.get("job", ""), 0.0) for row in rows), default=0.0)
        # Scrapes come some seconds early or late.
        step_s = _STEP_S * math.ceil(interval_s / _STEP_S - 0.1)
        if step_s > (service.step_s or _STEP_S):
            service.step_s = step_s

    def _service(self, metric: str, label: str, value: str) -> ProposedService | None:
        """The service that a label's value names, None for a value that cannot."""
        name = slug(value)
        if not value.isprintable() or len(value) > _VALUE_CHARS_MAX or name == "unnamed":
            self.left.append(Left(f"{label} of {metric}", "one value cannot be the name of a service"))
            return None
        service = self._services.setdefault(name, ProposedService(name=name, value=value))
        if service.value != value:
            why = f"would have the name of another service, {name}"
            self.left.append(Left(f'{metric}{{{label}="{value}"}}', why))
            return None
        return service


def _rank(series: str) -> int:
    return _FIRST.index(series) if series in _FIRST else len(_FIRST)


def _naming(rows: Sequence[Row], preferred: Iterable[str]) -> str | None:
    """The first label that most rows have, with several values if there is one such."""
    values = {label: [row.labels[label] for row in rows if row.labels.get(label)] for label in preferred}
    usual = [label for label, found in values.items() if 2 * len(found) >= len(rows)]
    several = [label for label in usual if 2 <= len(set(values[label])) <= _SERVICES_OF_A_LABEL_MAX]
    single = [label for label in usual if len(set(values[label])) == 1]
    return next(iter((*several, *single)), None)


def _by_value(rows: Iterable[Row], label: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.labels.get(label):
            found[row.labels[label]].append(row)
    return dict(sorted(found.items()))


def _status(rows: Sequence[Row], convention: Requests) -> tuple[str, Vocabulary] | None:
    """The label that tells what failed, and its vocabulary: one that knows most of its values."""
    for label in (*convention.statuses, *STATUSES):
        values = {row.labels[label] for row in rows if row.labels.get(label)}
        known = Counter({words: sum(map(words.knows, values)) for words in convention.vocabularies})
        words, n = known.most_common(1)[0]
        if 2 * n > len(values):
            return label, words
    return None


def _of_requests(
    family: Family,
    convention: Requests,
    requests: Selector,
    per_minute: float,
    status: tuple[str, Vocabulary] | None,
) -> dict[str, Proposal]:
    """errors, latency and traffic, as far as this family has them."""
    counted = f"{convention.title}: {per_minute:,.3g} requests a minute"
    found = {}
    if family.type in ("histogram", "native"):
        is_classic = family.type == "histogram"
        name = f"{family.name}_bucket" if is_classic else family.name
        keys: dict[str, str | bool] = {
            "kind": "histogram",
            "histogram": str(Selector(name, requests.matchers)),
        }
        if convention.unit != "s":
            keys["unit"] = convention.unit
        how = "its buckets" if is_classic else "native histograms"
        found["latency"] = Proposal(
            keys=keys, because=f"{convention.title}: the whole distribution, from {how}"
        )
    if family.type == "native":
        # Their counts are no counters that a selector could name.
        return found
    if status is not None:
        label, words = status
        failed = Selector(requests.name, (*requests.matchers, Matcher(label, "=~", words.failed)))
        found["errors"] = Proposal(
            keys={"kind": "ratio", "numerator": str(failed), "denominator": str(requests)},
            because=f"{counted}; {label}=~{words.failed} is the server's fault ({words.name})",
        )
    found["traffic"] = Proposal(
        keys={"kind": "count", "counter": str(requests)}, because=f"{counted}; fewer is worse"
    )
    return found


def _of_measure(metric: str, measure: Measure, selector: Selector) -> dict[str, Proposal]:
    name = metric.removesuffix("_total")[:NAME_CHARS_MAX].strip("_")
    if not re.match(SERIES_NAME_PATTERN, name):
        return {}
    if measure.kind == "gauge":
        # Of several processes each has its own; a backlog has no usual level, so it informs.
        keys: dict[str, str | bool] = {"kind": "gauge", "query": f"sum({selector})", "acts": False}
        return {name: Proposal(keys=keys, because=f"{measure.title}; it informs and causes no rollback")}
    return {name: Proposal(keys={"kind": measure.kind, "counter": str(selector)}, because=measure.title)}


def _tell_version(service: ProposedService, selector: Selector, rows: Iterable[Row]) -> None:
    versions = {row.labels["version"] for row in rows if row.labels.get("version")}
    if versions and service.version is None:
        service.version = str(selector)


def _tell_places(service: ProposedService, label: str, rows: Sequence[Row]) -> None:
    for place in PLACES:
        values = sorted({row.labels[place] for row in rows if row.labels.get(place)})
        if place != label and len(values) > 1:
            remark = f"{place} is {_listed(values)}: counted together unless you say which, with --match"
            service.remarks += [] if remark in service.remarks else [remark]


def _listed(words: Iterable[str]) -> str:
    """At most _SHOWN_MAX of them, and how many more there are."""
    every = list(words)
    more = f" and {len(every) - _SHOWN_MAX} more" if len(every) > _SHOWN_MAX else ""
    return ", ".join(every[:_SHOWN_MAX]) + more
