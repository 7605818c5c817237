"""From configuration to what each service is watched by: series, queries, checks, judge and policy settings.

Pure. Everything downstream reads these plans, so defaults are applied in exactly one place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from checks.model import Check, may_act
from checks.readings import meaning
from config import Loaded
from config.cron import Cron
from config.schema import CheckAlert, CheckCommon, Maintenance, Series, Service, Settings, VersionSignal
from detectors.always_on import AlwaysOnSettings
from detectors.model import JudgeSettings, SeriesKind, SeriesSpec
from watchdog.model import Limits, Mode
from watchdog.policy import Rules
from watchdog.series import HEAL_STEPS
from watchdog.sources.protocol import Grid, Query

# A change below both is not worth a rollback unless the user says otherwise (absolute: of a share).
_IGNORE_REL = 0.05
_IGNORE_SHARE = 0.005
_UNITS: Mapping[SeriesKind, str] = {
    "ratio": "ratio",
    "probe": "ratio",
    "latency": "s",
    "histogram": "s",
    "rate": "per_step",
    "count": "per_step",
    "gauge": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPlan:
    """One judged series: from a source (`source` and `query` set) or a check (`check`, maybe `reading`)."""

    id: str
    spec: SeriesSpec
    source: str | None = None
    query: Query | None = None
    check: str | None = None
    reading: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPlan:
    """One check with its schedule; `name` is unique within the service.

    cron: when it is due, in the time zone `zone`; None = every `every_s`. looks_every_s: of a check that
    looks whether something else was done when it was due; None = it runs when it is due itself.
    """

    service: str
    name: str
    check: Check
    every_s: float
    timeout_s: float
    burst_every_s: float | None
    burst_for_s: float
    cron: Cron | None = None
    zone: str = "UTC"
    looks_every_s: float | None = None
    alert: CheckAlert | None = None

    @property
    def due_name(self) -> str:
        """The name under which the schedule knows it."""
        return f"{self.service}/{self.name}"

    @property
    def interval_s(self) -> float | None:
        """Time between two runs; None where `cron` says when."""
        due_s = None if self.cron else self.every_s
        return due_s if self.looks_every_s is None else min(self.looks_every_s, due_s or math.inf)

    def due_after(self, at: float) -> float:
        """The first time it is due after `at`."""
        return at + self.every_s if self.cron is None else self.cron.after(at, self.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlwaysOnPlan:
    """How a service is judged between its deploys."""

    is_enabled: bool = True
    settings: AlwaysOnSettings = field(default_factory=AlwaysOnSettings)
    accept_after_s: float = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """One service: what is observed, how it is judged, what may be done.

    lag_s: how long after its end a step is read. controls: series name to the ids of the same-named series of
    the control services.
    """

    name: str
    environment: str
    step_s: float
    history_s: float
    rollout_max_s: float
    depends_on: tuple[str, ...]
    series: tuple[SeriesPlan, ...]
    checks: tuple[CheckPlan, ...]
    controls: Mapping[str, tuple[str, ...]]
    judge: JudgeSettings
    mode: Mode
    target: str | None
    valid_s: float
    confirm_s: float
    version: VersionSignal | None
    history_min_s: float
    limits: Limits
    is_single_instance: bool
    lag_s: float = 0.0
    always_on: AlwaysOnPlan = field(default_factory=AlwaysOnPlan)
    maintenance: tuple[Maintenance, ...] = ()

    @property
    def control_services(self) -> frozenset[str]:
        """The services whose series are controls of this one's."""
        return frozenset(name.partition("/")[0] for ids in self.controls.values() for name in ids)

    def history_grid(self, end_at: float) -> Grid:
        """The steps of the past that a judge compares with, ending with `end_at` (a step's end)."""
        n = round(self.history_s / self.step_s)
        return Grid(first_at=end_at - (n - 1) * self.step_s, last_at=end_at, step_s=self.step_s)

    def settled_at(self, now: float) -> float:
        """End of the newest step that no tick after `now` fills any more."""
        return (math.floor((now - self.lag_s) / self.step_s) - HEAL_STEPS) * self.step_s

    def rules(self, history_s: float, *, are_controls_blind: bool) -> Rules:
        """Policy's rules, given how much judged history there is and whether the controls were seen."""
        return Rules(
            mode=self.mode,
            limits=self.limits,
            target=self.target,
            has_version_signal=self.version is not None,
            is_single_instance=self.is_single_instance,
            are_controls_blind=are_controls_blind,
            history_s=history_s,
            history_min_s=self.history_min_s,
            evidence_s_max=self.valid_s,
        )


def plan_services(loaded: Loaded) -> dict[str, ServicePlan]:
    """A plan per service, in the order of the configuration."""
    settings = loaded.settings
    own = {
        name: _series(name, service, loaded, settings.step if service.step is None else service.step)
        for name, service in settings.services.items()
    }
    return {
        name: _service(name, service, loaded, own[name], own) for name, service in settings.services.items()
    }


def reading_spec(check: str, reading: str, step_s: float, *, acts: bool) -> SeriesSpec:
    """The series of a reading, whether it may act or informs: which of both changes nothing of its past.

    Who names one that has no bad direction by itself says that more of it is worse.
    """
    means = meaning(reading)
    return SeriesSpec(
        name=f"{check}.{reading}",
        kind=means.kind,
        unit=means.unit,
        bad=means.bad or "up",
        step_s=step_s,
        acts=acts,
    )


def ring_steps(plan: ServicePlan) -> int:
    """Steps a ring of that service holds: the history, the longest roll-out and the watch."""
    span_s = plan.history_s + plan.rollout_max_s + 2 * plan.judge.watch_s
    return math.ceil(span_s / plan.step_s) + HEAL_STEPS + 1


def _service(
    name: str,
    service: Service,
    loaded: Loaded,
    series: tuple[SeriesPlan, ...],
    all_series: Mapping[str, tuple[SeriesPlan, ...]],
) -> ServicePlan:
    settings = loaded.settings
    budget = service.budget or settings.defaults.budget
    times = service.watch or settings.defaults.watch
    always_on = service.always_on or settings.defaults.always_on
    step_s = settings.step if service.step is None else service.step
    # A control on another grid cannot be compared step by step.
    others = [
        plan for control in service.controls for plan in all_series[control] if plan.spec.step_s == step_s
    ]
    return ServicePlan(
        name=name,
        environment=settings.environment,
        step_s=step_s,
        history_s=service.history,
        rollout_max_s=service.rollout_max,
        depends_on=service.depends_on,
        series=series,
        checks=tuple(
            _check(name, check_name, check, loaded.checks[name, check_name], service.timezone)
            for check_name, check in service.checks.items()
        ),
        controls={
            plan.spec.name: tuple(other.id for other in others if _is_comparable(plan.spec, other.spec))
            for plan in series
        },
        judge=JudgeSettings(
            false_rollbacks=budget.false_rollbacks,
            watch_s=times.for_,
            warm_up_s=times.warm_up,
            zone_s=_before_utc(service.timezone),
        ),
        mode=service.mode or settings.defaults.mode,
        target=service.rollback.target if service.rollback else None,
        valid_s=service.rollback.valid_for if service.rollback else 900.0,
        confirm_s=service.rollback.confirm_within if service.rollback else 900.0,
        version=service.version,
        history_min_s=service.history_min,
        limits=Limits(
            rollbacks_per_hour=settings.limits.rollbacks_per_hour,
            rollbacks_per_day=settings.limits.rollbacks_per_day,
            cool_down_s=settings.limits.cool_down,
            services_regressed_max=settings.limits.services_regressed_max,
        ),
        is_single_instance=settings.single_instance,
        lag_s=settings.lag,
        maintenance=service.maintenance,
        always_on=AlwaysOnPlan(
            is_enabled=always_on.enabled,
            settings=AlwaysOnSettings(
                false_alarms_per_month=always_on.false_alarms_per_month, history_s=service.history
            ),
            accept_after_s=always_on.accept_after,
        ),
    )


def _before_utc(zone: str) -> float:
    """By how many seconds the clocks there are before UTC, on one day for all: where a day begins to be
    another day of the week, an hour of summer time makes no difference."""
    offset = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)).utcoffset()
    return offset.total_seconds() if offset is not None else 0.0


def _is_comparable(spec: SeriesSpec, control: SeriesSpec) -> bool:
    is_one = spec.kind == control.kind and spec.unit == control.unit
    # A whole distribution can be compared with nothing but another one on the same grid.
    return spec.name == control.name and (is_one or "histogram" not in (spec.kind, control.kind))


def _check(service: str, name: str, common: CheckCommon, check: Check, zone: str) -> CheckPlan:
    return CheckPlan(
        service=service,
        name=name,
        check=check,
        every_s=common.every,
        timeout_s=common.timeout,
        burst_every_s=common.burst.every if common.burst else None,
        burst_for_s=common.burst.for_ if common.burst else 0.0,
        cron=common.cron,
        zone=zone,
        looks_every_s=getattr(check, "looks_every_s", None),
        alert=common.alert,
    )


def _series(name: str, service: Service, loaded: Loaded, step_s: float) -> tuple[SeriesPlan, ...]:
    plans = [
        _from_source(name, series_name, series, loaded.settings, step_s)
        for series_name, series in service.series.items()
    ]
    for check_name, check in service.checks.items():
        acts = check.acts and may_act(loaded.checks[name, check_name])
        plans += _from_check(name, check_name, check, step_s, acts=acts)
    return tuple(plans)


def _from_source(service: str, name: str, series: Series, settings: Settings, step_s: float) -> SeriesPlan:
    series_id = f"{service}/{name}"
    is_share = series.kind in ("ratio", "histogram")
    unit = series.unit or _UNITS[series.kind]
    ignore = series.ignore_below
    return SeriesPlan(
        id=series_id,
        spec=SeriesSpec(
            name=name,
            kind=series.kind,
            unit=unit,
            bad=series.bad or ("down" if series.kind == "count" else "up"),
            step_s=step_s,
            ignore_below_rel=_IGNORE_REL if ignore is None else ignore.relative or 0.0,
            ignore_below_abs=(_IGNORE_SHARE if is_share else 0.0)
            if ignore is None
            else ignore.absolute or 0.0,
            acts=series.acts,
            quantile=series.quantile,
        ),
        source=series.source or next(iter(settings.sources)),
        query=Query(
            series_id=series_id,
            kind=series.kind,
            counter=series.counter,
            numerator=series.numerator,
            denominator=series.denominator,
            histogram=series.histogram,
            quantile=series.quantile,
            unit=unit,
            gauge=series.gauge,
            query=series.query,
            by=series.by,
        ),
    )


def _from_check(
    service: str, name: str, check: CheckCommon, step_s: float, *, acts: bool
) -> list[SeriesPlan]:
    probe = SeriesPlan(
        id=f"{service}/{name}",
        spec=SeriesSpec(
            name=name,
            kind="probe",
            unit=_UNITS["probe"],
            bad="up",
            step_s=step_s,
            ignore_below_abs=_IGNORE_SHARE,
            acts=acts,
        ),
        check=name,
    )
    readings = [
        SeriesPlan(
            id=f"{service}/{name}.{reading}",
            spec=reading_spec(name, reading, step_s, acts=acts),
            check=name,
            reading=reading,
        )
        for reading in check.judge
    ]
    return [probe, *readings]
