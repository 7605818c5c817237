"""Where metrics come from: one file per kind, one line in `SOURCES`."""

from __future__ import annotations

from collections.abc import Mapping

from watchdog.sources.prometheus import PrometheusSource
from watchdog.sources.protocol import Source
from watchdog.sources.scrape import ScrapeSource

SOURCES: Mapping[str, type[Source]] = {
    "prometheus": PrometheusSource,
    "scrape": ScrapeSource,
}
