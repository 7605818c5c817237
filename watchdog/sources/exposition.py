"""Reads the Prometheus text format, keeping only sums over what was asked for.

A page may hold 100,000 samples of which a service's series need a dozen: lines of other names are skipped
before they are parsed, and nothing of a page outlives its reading but the sums.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from watchdog.sources.selector import Selector
from watchdog.sources.unreadable import Unreadable

# A line that is not a comment, and the metric name it begins with.
_LINE = re.compile(r"^[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)[^\n]*$", re.MULTILINE)
_LINES_MAX = 20_000
_STREAMS_MAX = 2_000

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Demand:
    """Samples wanted: those a selector matches, summed over every label but `keep` (None = keep all)."""

    selector: Selector
    keep: tuple[str, ...] | None

    def kept(self, labels: Mapping[str, str]) -> Labels:
        """The labels a sample's sum goes by, sorted."""
        names = labels.keys() if self.keep is None else [name for name in self.keep if name in labels]
        return tuple(sorted((name, labels[name]) for name in names))


Sums = dict[Demand, dict[Labels, float]]


def read_exposition(body: bytes, demands: Iterable[Demand]) -> Sums:
    """Sums of every demand over a page of metrics; a demand nothing matches has none.

    A sum with a sample that is not finite is left out. Raises Unreadable for a page that is empty, cut off,
    not the text format, repeats a series, or has more than is sensible of what was asked for.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("the page is not UTF-8 text") from error
    if not text.strip():
        raise Unreadable("the page of metrics is empty")
    if text.lstrip()[0] in "<{[":
        raise Unreadable("the page is HTML or JSON, not metrics: is this the address of /metrics?")
    if not text.endswith("\n"):
        # Every line of the format ends with a line feed; one that does not may be half a number.
        raise Unreadable("the page of metrics is cut off")
    by_name: dict[str, list[Demand]] = {}
    for demand in demands:
        by_name.setdefault(demand.selector.name, []).append(demand)
    lines = [line.group() for line in _LINE.finditer(text) if line.group(1) in by_name]
    if len(lines) > _LINES_MAX:
        raise Unreadable(f"the page has {len(lines)} samples of what is asked for, {_LINES_MAX} is the most")
    try:
        families = list(text_string_to_metric_families("\n".join(lines) + "\n"))
    except (ValueError, IndexError, KeyError) as error:
        raise Unreadable("the page is not in Prometheus' text format") from error
    sums: Sums = {}
    seen: set[tuple[str, Labels]] = set()
    for sample in (sample for family in families for sample in family.samples):
        identity = (sample.name, tuple(sorted(sample.labels.items())))
        if identity in seen:
            raise Unreadable(f"the page has a series of {sample.name} twice")
        seen.add(identity)
        for demand in by_name.get(sample.name, ()):
            if demand.selector.matches(sample.name, sample.labels):
                totals = sums.setdefault(demand, {})
                labels = demand.kept(sample.labels)
                totals[labels] = totals.get(labels, 0.0) + sample.value
                if len(totals) > _STREAMS_MAX:
                    raise Unreadable(f"{demand.selector} matches more than {_STREAMS_MAX} series")
    return {
        demand: {labels: total for labels, total in totals.items() if math.isfinite(total)}
        for demand, totals in sums.items()
    }
