"""One probe on request, answered in the metrics of blackbox_exporter.

Source of the names and of what they mean: prober/handler.go, http.go and tcp.go of blackbox_exporter. The
address and the chain that was verified are not known here, so probe_ip_protocol, probe_ip_addr_hash and the
probe_ssl_last_chain_* are absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from checks.http import HttpCheck
from checks.model import Check, CheckResult, World
from checks.web.messages import Answer
from checks.wire.certificate import DAY_S
from config.probes import Module
from watchdog.checking.run import Checker
from watchdog.plan import CheckPlan

# What of a scrape's time is left for the way back, as there.
_OFFSET_S = 0.5


class Busy(Exception):
    """As many probes run as may."""


class Prober:
    """Probes allowed targets by configured modules. modules: by name. at_once_max: more are refused."""

    def __init__(self, modules: Mapping[str, Module], checker: Checker, *, at_once_max: int) -> None:
        self._modules = modules
        self._checker = checker
        self._at_once_max = at_once_max
        self._running = 0

    async def probe(self, module: str, target: str, scrape_timeout_s: float | None) -> bytes:
        """The page of one probe. Raises LookupError, `config.probes.Refused` or Busy."""
        if module not in self._modules:
            raise LookupError(module)
        said = self._modules[module]
        check = said.check(target)
        if self._running >= self._at_once_max:
            raise Busy
        timeout_s = said.timeout_s
        if scrape_timeout_s is not None:
            timeout_s = min(timeout_s, max(scrape_timeout_s - _OFFSET_S, 0.1))
        self._running += 1
        try:
            return await self._page(module, check, timeout_s)
        finally:
            self._running -= 1

    async def _page(self, module: str, check: Check, timeout_s: float) -> bytes:
        seen = _Seen(check)
        plan = CheckPlan(
            service="probe",
            name=module,
            check=seen,
            every_s=0.0,
            timeout_s=timeout_s,
            burst_every_s=None,
            burst_for_s=0.0,
        )
        clock = self._checker.clock
        began_s = clock.mono_s()
        result = await self._checker.run(plan)
        page = _Page()
        page.add("probe_success", "Whether the probe succeeded", float(result.outcome == "pass"))
        page.add("probe_duration_seconds", "How long the probe took", clock.mono_s() - began_s)
        page.add("probe_dns_lookup_time_seconds", "Time for the name", result.readings.get("dns_s", 0.0))
        if isinstance(check, HttpCheck):
            _http(page, check, seen.answer, result)
        elif "certificate_days" in result.readings:
            end_s = clock.wall_s() + result.readings["certificate_days"] * DAY_S
            page.add("probe_ssl_earliest_cert_expiry", _EXPIRY, end_s)
        registry = CollectorRegistry()
        registry.register(page)
        return generate_latest(registry)


_EXPIRY = "When the first certificate of the presented chain expires, epoch seconds"


@dataclass(slots=True)
class _Seen:
    """A check that remembers what was answered."""

    check: Check
    answer: Answer | None = None

    async def run(self, world: World) -> CheckResult:
        """See `Check.run`."""
        if not isinstance(self.check, HttpCheck):
            return await self.check.run(world)
        result, self.answer = await self.check.observe(world)
        return result


@dataclass(slots=True, eq=False)
class _Page(Collector):
    """Gauges in the order they were added."""

    families: list[GaugeMetricFamily] = field(default_factory=list)

    def add(self, name: str, text: str, value: float) -> None:
        """One gauge without labels."""
        self.families.append(GaugeMetricFamily(name, text, value=value))

    def add_labelled(self, name: str, text: str, label: str, values: Mapping[str, float]) -> None:
        """One gauge with a value per value of a label."""
        family = GaugeMetricFamily(name, text, labels=[label])
        for key, value in values.items():
            family.add_metric([key], value)
        self.families.append(family)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See `Collector`."""
        yield from self.families


def _http(page: _Page, check: HttpCheck, answer: Answer | None, result: CheckResult) -> None:
    """What is told of an HTTP probe; all of it is 0 where nothing was answered."""
    length = body_bytes = status = version = redirects = 0.0
    is_secure = failed_by_pattern = False
    phases = dict.fromkeys(("connect", "processing", "resolve", "tls", "transfer"), 0.0)
    if answer is not None:
        stages = answer.stages
        length = float(answer.fields.get("content-length", -1))
        body_bytes = stages.body_bytes or 0.0
        status, redirects = float(answer.status), float(answer.redirects)
        version = float(answer.version)
        is_secure = answer.is_secure
        failed_by_pattern = result.outcome == "fail" and check.blames(answer) == "content"
        before_s = (stages.dns_s or 0.0) + (stages.connect_s or 0.0) + (stages.tls_s or 0.0)
        first_s = stages.first_byte_s or 0.0
        phases |= {
            "connect": stages.connect_s or 0.0,
            "processing": max(0.0, first_s - before_s),
            "resolve": stages.dns_s or 0.0,
            "tls": stages.tls_s or 0.0,
            "transfer": max(0.0, (stages.total_s or first_s) - first_s),
        }
    page.add("probe_failed_due_to_regex", "Whether body or headers were to blame", float(failed_by_pattern))
    page.add("probe_http_content_length", "Length of the content as sent, -1 if not told", length)
    page.add_labelled("probe_http_duration_seconds", "Time per phase", "phase", phases)
    page.add("probe_http_redirects", "Redirects followed", redirects)
    page.add("probe_http_ssl", "Whether the last answer came over TLS", float(is_secure))
    page.add("probe_http_status_code", "Status of the answer", status)
    page.add("probe_http_uncompressed_body_length", "Length of the body as read", body_bytes)
    page.add("probe_http_version", "Version of HTTP of the answer", version)
    if answer is not None:
        _of_answer(page, answer)


def _of_answer(page: _Page, answer: Answer) -> None:
    """What only some answers tell."""
    stages = answer.stages
    if stages.certificate_end_s is not None:
        page.add("probe_ssl_earliest_cert_expiry", _EXPIRY, stages.certificate_end_s)
        version = stages.tls_version.replace("TLSv", "TLS ")
        page.add_labelled("probe_tls_version_info", "Version of TLS", "version", {version: 1.0})
    try:
        changed = parsedate_to_datetime(answer.fields.get("last-modified", ""))
    except ValueError:
        return
    page.add(
        "probe_http_last_modified_timestamp_seconds", "Last-Modified, epoch seconds", changed.timestamp()
    )
