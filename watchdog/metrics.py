"""The daemon's own numbers, for /metrics: what an operator needs to trust that it is awake.

Labels are names from the configuration only, so their number is bounded by it.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from checks.model import Outcome


class Runs(Collector):
    """Runs of checks by their outcome: the one metric that counts a thousand times a second and has tens of
    thousands of lines, for which the library's own counters are too dear."""

    def __init__(self) -> None:
        self._counts: Counts[tuple[str, str, Outcome]] = Counts()

    def count(self, service: str, check: str, outcome: Outcome) -> None:
        """Count one run."""
        self._counts[service, check, outcome] += 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        """See `Collector`."""
        family = CounterMetricFamily("watchdog_checks", "Check runs", labels=("service", "check", "outcome"))
        # A page is made in a thread: what counts meanwhile must not disturb it.
        for labels, n in self._counts.copy().items():
            family.add_metric(labels, n)
        yield family


class Metrics:
    """Every metric of the daemon, on a registry of its own (two daemons in one test must not share one)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # When each counter began is a second line for every check, and half of the time a page takes: with
        # thousands of checks that is time in which they start late.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"watchdog_{name}", text, labels, registry=self.registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"watchdog_{name}", text, labels, registry=self.registry)

        self.loop_lag_s = gauge("loop_lag_seconds", "How late the event loop woke last")
        self.schedule_lateness_s = gauge(
            "schedule_lateness_seconds", "How late the newest due name was taken"
        )
        self.start_lateness_s = Histogram(
            "watchdog_check_start_lateness_seconds",
            "How long after it was due a check began",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0),
            registry=self.registry,
        )
        self.queue_depth = gauge("queue_depth", "Names waiting to be worked on", ("queue",))
        self.drops = counter("drops_total", "Work dropped because a limit was reached", ("what",))
        self.overruns = gauge("schedule_overruns", "Due names skipped because the turn before still ran")
        self.checks = Runs()
        self.registry.register(self.checks)
        self.informing = gauge("informing_series", "Readings of checks that are kept and may not act")
        self.dropped_readings = gauge("dropped_readings", "Readings of checks not taken, since the start")
        self.leaked_runs = gauge(
            "leaked_runs",
            "Runs of a scenario that are not cleaned up though leak_after is over",
            ("service", "check"),
        )
        self.reads = counter("source_reads_total", "Reads of a source", ("source", "outcome"))
        self.blind_s = gauge("blind_seconds", "How long a service has had no data", ("service",))
        self.open_watches = gauge("open_watches", "Watches being judged")
        self.verdicts = counter("verdicts_total", "Watches closed", ("service", "verdict"))
        self.judge_bugs = counter("judge_bugs_total", "Series judges that raised", ("service",))
        self.incident_open = gauge(
            "incident_open", "1 while a service is worse without a deploy", ("service",)
        )
        self.always_on_series = gauge(
            "always_on_series",
            "Series judged between deploys; 0 while there is too little history",
            ("service",),
        )
        self.oldest_intent_s = gauge(
            "oldest_intent_age_seconds", "Age of the oldest rollback not yet settled"
        )
        self.rollbacks_left = gauge(
            "rollbacks_left_today", "Automatic rollbacks the daily limit still allows"
        )
        self.kill_switch = gauge("kill_switch", "1 while the kill switch is on")
        self.last_tick_at = gauge(
            "last_tick_timestamp_seconds", "Grid time of the last judged tick", ("step",)
        )
