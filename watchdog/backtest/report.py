"""What a backtest found: the JSON of `--json`, schema deploy-watchdog/backtest/v1 (docs/backtest.md).

Times are epoch seconds UTC, durations seconds, shares between 0 and 1. None is what could not be known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from watchdog.model import DecisionDo, Mode

SCHEMA = "deploy-watchdog/backtest/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """found of `of`, and the 95 % Wilson interval of the share; low and high are 0 and 1 when `of` is 0."""

    found: int
    of: int
    share: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """One injected size. label: the size as people say it. found: of the placebos without a call of its own.

    delay_s: median from the end of the deploy to the first step at which the series was worse.
    """

    label: str
    size: float
    found: Share
    delay_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesReport:
    """One series. unit: of its changes. coverage: share of the steps with a value. problem: why samples are
    missing, if said.

    fired: placebos at which it alone would have called a regression, whatever the others said. allowed: its
    part of the budget. Of a series that only informs nothing is counted: fired of 0, allowed 0. is_noisy:
    fired more often than its part can explain. smallest_found: the smallest injected size found in 80 %; None
    if none was. smallest_visible: what the judge itself says it finds in 80 %, median over the placebos, in
    `unit`.
    """

    series: str
    kind: str
    unit: str
    acts: bool
    coverage: float
    problem: str | None
    fired: Share
    allowed: float
    is_noisy: bool
    power: tuple[Power, ...]
    smallest_found: str | None
    smallest_visible: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placebo:
    """One deploy that never happened. fired: the series that alone would have called a regression."""

    at: float
    state: str
    reason: str
    because: str
    fired: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placebos:
    """All of a service. room: how many the past has room for. states: how their watches ended.

    broken: those at which the judge failed, a bug. false_alarms: regressed of those that were judged (neither
    blind nor broken). per_month: expected false alarms in 30 days at the observed frequency of deploys, with
    the interval; None without a deploy log. own_calibration: share of them whose limits came from the
    service's own past.
    """

    room: int
    used: int
    broken: int
    states: Mapping[str, int]
    false_alarms: Share
    per_month: float | None
    per_month_low: float | None
    per_month_high: float | None
    own_calibration: float | None
    each: tuple[Placebo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Would:
    """What policy would have done in one mode, and why."""

    mode: Mode
    do: DecisionDo
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RealDeploy:
    """One real deploy. state: how its watch ends in the replay; `open` if the past ends before that.

    recorded: how the daemon's watch ended then, if it was there. history_s: how much past it was compared
    with, None if nothing was judged. decided_at, delay_s: when the last word was
    said, and how long after the deploy's end. onset_at: of the worst series, if something changed.
    """

    deploy: str
    to_version: str
    from_version: str | None
    kind: str
    started_at: float
    finished_at: float | None
    state: str
    reason: str
    because: str
    recorded: str | None
    history_s: float | None
    decided_at: float | None
    delay_s: float | None
    onset_at: float | None
    would: tuple[Would, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What to change. series: None = the service."""

    what: Literal["bug", "drop_series", "budget", "history", "coverage", "deploys", "sensitivity"]
    series: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReport:
    """One service. history_s: what a watch is compared with, as configured; past_s: what was read.

    deploys_per_month: of the log, per 30 days of the span; None without a log.
    """

    service: str
    mode: Mode
    step_s: float
    watch_s: float
    history_s: float
    past_s: float
    budget: float
    deploys_per_month: float | None
    placebos: Placebos
    series: tuple[SeriesReport, ...]
    deploys: tuple[RealDeploy, ...]
    suggestions: tuple[Suggestion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole backtest. notes: what a reader must know before believing it: holes, failures, limits."""

    schema: str
    config: str
    environment: str
    since_at: float
    until_at: float
    took_s: float
    deploy_log: str
    notes: tuple[str, ...]
    services: tuple[ServiceReport, ...]


def as_json(report: Report) -> str:
    """The report as JSON, strict: no NaN."""
    return json.dumps(asdict(report), allow_nan=False, indent=2) + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `as_json`."""
    return TypeAdapter(Report).json_schema(mode="serialization")
