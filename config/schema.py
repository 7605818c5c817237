"""The configuration as the daemon sees it: every key, its unit and its default.

Plug-in sections (`sources`, `databases`, `targets`, `channels`, checks) keep their `kind`; the fields beside
it are those of the kind's dataclass, checked against the registry that `config.load` was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.values import Duration, Fraction, Magnitude, Name, SeriesName

Mode = Literal["observe", "approve", "auto"]
Scope = Literal["read", "deploy", "approve", "admin"]


class Section(BaseModel):
    """Base of every section: unknown keys are refused, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Plugin(BaseModel):
    """A section whose keys depend on `kind`; `params` holds them as written, `built` the plug-in."""

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: str


class Token(Section):
    """One API token. hash: `sha256:<hex>` as printed by `deploy-watchdog token`; the token itself is not kept."""

    hash: str
    scopes: frozenset[Scope] = frozenset({"read"})


class Api(Section):
    """Where the API and the dashboard listen. Beyond loopback at least one token is required."""

    listen: str = "127.0.0.1:8099"
    tokens: Mapping[Name, Token] = Field(default_factory=dict)
    webhook_secrets: tuple[str, ...] = ()


class Alerts(Section):
    """Which channels hear what; empty `default` means the only channel there is."""

    default: tuple[Name, ...] = ()
    page: tuple[Name, ...] = ()
    blind_page_after: Duration = 900.0


class Budget(Section):
    """The promise about false rollbacks; the tighter of the two counts."""

    false_rollbacks: Fraction = 1 / 200


class WatchTimes(Section):
    """How long a deploy is judged after it finished, and how long a restart blip may last."""

    for_: Duration = Field(default=2700.0, alias="for")
    warm_up: Duration = 180.0


class Defaults(Section):
    """What a service has unless it says otherwise."""

    mode: Mode = "observe"
    budget: Budget = Budget()
    watch: WatchTimes = WatchTimes()


class LimitSettings(Section):
    """Hard counts that bound automatic rollbacks."""

    rollbacks_per_hour: int = Field(default=2, ge=0)
    rollbacks_per_day: int = Field(default=6, ge=0)
    cool_down: Duration = 6 * 3600.0
    services_regressed_max: int = Field(default=3, ge=1)


class Series(Section):
    """One judged series. Which selectors a kind needs is checked after loading."""

    kind: Literal["ratio", "rate", "latency", "gauge", "count"]
    source: Name | None = None
    bad: Literal["up", "down"] | None = None
    unit: str | None = None
    counter: str | None = None
    numerator: str | None = None
    denominator: str | None = None
    histogram: str | None = None
    quantile: float = Field(default=0.95, gt=0, lt=1)
    gauge: str | None = None
    query: str | None = None
    by: tuple[str, ...] = ()
    ignore_below: Magnitude | None = None
    acts: bool = True
    impact: str | None = None


class Burst(Section):
    """More frequent runs after a deploy."""

    every: Duration = 5.0
    for_: Duration = Field(default=600.0, alias="for")


class CheckCommon(Plugin):
    """The keys every kind of check has; the rest belong to its kind."""

    every: Duration = 60.0
    timeout: Duration = 10.0
    burst: Burst | None = None
    judge: tuple[str, ...] = ()
    acts: bool = True


class VersionSignal(Section):
    """Where the running version is told: an HTTP JSON field, or the label of a metric."""

    http: str | None = None
    path: str = "$.version"
    series: str | None = None
    label: str = "version"
    source: Name | None = None


class Rollback(Section):
    """Where a rollback goes and by when it must have been sent and confirmed."""

    target: Name
    valid_for: Duration = 900.0
    confirm_within: Duration = 900.0


class Service(Section):
    """One service: what is watched, and what may be done about it."""

    owner: str | None = None
    runbook: str | None = None
    mode: Mode | None = None
    timezone: str = "UTC"
    depends_on: tuple[Name, ...] = ()
    controls: tuple[Name, ...] = ()
    step: Duration | None = None
    history: Duration = 7 * 86400.0
    history_min: Duration = 7 * 86400.0
    rollout_max: Duration = 300.0
    budget: Budget | None = None
    watch: WatchTimes | None = None
    rollback: Rollback | None = None
    version: VersionSignal | None = None
    series: Mapping[SeriesName, Series] = Field(default_factory=dict)
    checks: Mapping[Name, CheckCommon] = Field(default_factory=dict)


class Log(Section):
    """How log lines look: `auto` is console on a terminal and JSON elsewhere."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """The whole configuration. Environment variables `WATCHDOG__API__LISTEN=...` override files."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="WATCHDOG__", env_nested_delimiter="__"
    )
    version: Literal[1] = 1
    environment: Name = "prod"
    public_url: str | None = None
    state_dir: str = "watchdog-state"
    single_instance: bool = False
    step: Duration = 60.0
    lag: Duration = 30.0
    log: Log = Log()
    api: Api = Api()
    alerts: Alerts = Alerts()
    defaults: Defaults = Defaults()
    limits: LimitSettings = LimitSettings()
    sources: Mapping[Name, Plugin] = Field(default_factory=dict)
    databases: Mapping[Name, Plugin] = Field(default_factory=dict)
    targets: Mapping[Name, Plugin] = Field(default_factory=dict)
    channels: Mapping[Name, Plugin] = Field(default_factory=dict)
    services: Mapping[Name, Service] = Field(default_factory=dict)


# What `config.load` is given: section name to kind name to the dataclass of that kind.
Kinds = Mapping[str, Mapping[str, type[Any]]]
