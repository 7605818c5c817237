"""The configuration as the daemon sees it: every key, its unit and its default.

Plug-in sections (`sources`, `databases`, `targets`, `channels`, checks) keep their `kind`; the fields beside
it are those of the kind's dataclass, checked against the registry that `config.load` was given.
The text under a key is its description in the JSON Schema and in docs/configuration.md.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.cron import Cron
from config.probes import Allowed
from config.values import (
    Duration,
    Fraction,
    Magnitude,
    ModuleName,
    Name,
    Number,
    Period,
    SecretText,
    SeriesName,
    Switch,
    Whole,
    no_switch,
)

Mode = Literal["observe", "approve", "auto"]
Scope = Literal["read", "deploy", "approve", "admin"]
SeriesKind = Literal["ratio", "rate", "latency", "histogram", "gauge", "count"]

# Ways to say where a series comes from: each is a set of keys that are given together.
SELECTORS: Mapping[SeriesKind, tuple[tuple[str, ...], ...]] = {
    # A finished ratio has lost its counts, so there is no `query` here.
    "ratio": (("numerator", "denominator"),),
    "rate": (("counter",), ("query",)),
    "count": (("counter",), ("query",)),
    "latency": (("histogram",), ("gauge",), ("query",)),
    # Whatever PromQL makes of a distribution is one number of it, so there is no `query` here either.
    "histogram": (("histogram",),),
    "gauge": (("gauge",), ("query",)),
}
SELECTOR_KEYS = frozenset(key for ways in SELECTORS.values() for way in ways for key in way)


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as error:
        raise PydanticCustomError(
            "unknown-zone", "there is no such time zone. Write one such as Europe/Berlin or UTC."
        ) from error
    return name


def _link(url: str) -> str:
    # Links are shown to people; `javascript:` must not become one.
    if not url.startswith(("https://", "http://")) or any(char.isspace() for char in url):
        raise PydanticCustomError("bad-url", "this is not a link. Write one that begins with https://.")
    return url


def _token_hash(text: str) -> str:
    scheme, _, digits = text.partition(":")
    if scheme != "sha256" or len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise PydanticCustomError(
            "bad-token-hash",
            "this is not `sha256:` and 64 hex digits. Make one with: deploy-watchdog token.",
        )
    return text


def _allowed_target(text: str) -> str:
    try:
        Allowed.parse(text)
    except ValueError as error:
        raise PydanticCustomError("bad-target", "{text}", {"text": f"{error}."}) from error
    return text


AllowedTarget = Annotated[str, AfterValidator(_allowed_target)]
Zone = Annotated[str, AfterValidator(_zone)]
Link = Annotated[str, AfterValidator(_link), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
TokenHash = Annotated[
    str,
    AfterValidator(_token_hash),
    WithJsonSchema({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
]
_Secret = Annotated[
    str, SecretText(), WithJsonSchema({"type": "string", "format": "password", "writeOnly": True})
]


class Section(BaseModel):
    """Base of every section: unknown keys are refused, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Plugin(BaseModel):
    """A section whose keys depend on `kind`; the other keys, secrets masked, are in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)
    kind: str
    """Which plug-in this is; the other keys are those of that kind."""


class Token(Section):
    """One API token; only its hash is kept."""

    hash: TokenHash
    """`sha256:<hex>` as printed by `deploy-watchdog token`."""
    scopes: frozenset[Scope] = frozenset({"read"})
    """What the token may do."""


class Api(Section):
    """Where the API and the dashboard listen. Beyond loopback at least one token is required."""

    listen: str = "127.0.0.1:8099"
    """Address and port; `[::1]:8099` for IPv6."""
    tokens: Mapping[Name, Token] = Field(default_factory=dict)
    """Tokens by the name that the audit log shows."""
    webhook_secrets: tuple[_Secret, ...] = Field(default=(), repr=False)
    """Standard Webhooks secrets that deploy events may be signed with; several while one is replaced."""


class Alerts(Section):
    """Which channels hear what."""

    default: tuple[Name, ...] = ()
    """Channels for everything; empty means the only channel there is."""
    page: tuple[Name, ...] = ()
    """Channels for what a person must act on, beside `default`."""
    blind_page_after: Duration = 900.0
    """A service not judged for this long pages."""


class Budget(Section):
    """The promise about false rollbacks."""

    false_rollbacks: Fraction = 1 / 200
    """At most this share of healthy deploys may be called regressed."""


class WatchTimes(Section):
    """How long a deploy is judged after it finished, and how long a restart blip may last."""

    for_: Period = Field(default=2700.0, alias="for")
    """How long a deploy is judged, counted from its end."""
    warm_up: Duration = 180.0
    """Time after the end in which a restart blip is expected."""


class AlwaysOn(Section):
    """Judging between deploys: it alerts, never pages and never rolls back."""

    enabled: Switch = True
    """Needs two days of history, or half of `history` where that is shorter."""
    false_alarms_per_month: Number = Field(default=1.0, gt=0, le=100)
    """At most so many for a service in 30 days, over all its series."""
    accept_after: Period = 86400.0
    """A shift that stays for so long is taken as usual, and that is said."""


class Defaults(Section):
    """What a service has unless it says otherwise."""

    mode: Mode = "observe"
    """`observe` says what it would do, `approve` asks, `auto` acts."""
    budget: Budget = Budget()
    watch: WatchTimes = WatchTimes()
    always_on: AlwaysOn = AlwaysOn()


class LimitSettings(Section):
    """Hard counts that bound automatic rollbacks."""

    rollbacks_per_hour: Whole = Field(default=2, ge=0)
    """Over all services."""
    rollbacks_per_day: Whole = Field(default=6, ge=0)
    """Over all services."""
    cool_down: Duration = 6 * 3600.0
    """After a rollback of a service, none of the same service for this long."""
    services_regressed_max: Whole = Field(default=3, ge=1)
    """With more services regressed at once it is no single deploy's fault: nothing is rolled back."""


class Concurrency(Section):
    """How many checks run at once; those that hang hold up nobody beyond that."""

    checks: Whole = Field(default=1000, ge=1, le=10_000)
    """In all."""
    per_host: Whole = Field(default=16, ge=1, le=10_000)
    """That ask one host, or one of `databases`; more of them wait without holding up others."""
    bursts_per_host: Number = Field(default=2.0, gt=0)
    """Runs a second that bursts after deploys may make of one host; their checks share it, and run no less
    often than without a burst."""


class SelfCheckSettings(Section):
    """Whether this machine itself is cut off: then a failed check has outcome `error` and is no evidence."""

    targets: tuple[str, ...] = Field(default=(), max_length=10)
    """`host:port` each, of what is always there: the network counts as down when none takes a connection."""


class Series(Section):
    """One judged series. Give the selectors of raw counters: the watchdog takes differences and rates."""

    kind: SeriesKind
    """What is measured; decides which of the selectors below are needed."""
    source: Name | None = None
    """Needed only with more than one source."""
    bad: Literal["up", "down"] | None = None
    """The direction that is worse: `up`, except for `count`."""
    unit: str | None = None
    """Shown with the values. Kind `histogram`: what its bounds are in; `s` (default) is told apart from 1 ms
    to 64 s, any other unit from 1 to 65,536 of it."""
    counter: str | None = None
    """Selector of a counter: kinds `rate` and `count`."""
    numerator: str | None = None
    """Selector of the counter of what went wrong: kind `ratio`."""
    denominator: str | None = None
    """Selector of the counter of everything: kind `ratio`."""
    histogram: str | None = None
    """Selector of a classic histogram's `_bucket` series: kinds `latency` (one quantile is judged) and
    `histogram` (the whole distribution); or of native histograms: kind `histogram`."""
    quantile: Number = Field(default=0.95, gt=0, lt=1)
    """Which quantile of a `latency` is judged, of a `histogram` shown."""
    gauge: str | None = None
    """Selector of a gauge: kinds `gauge` and `latency`."""
    query: str | None = None
    """Finished PromQL, for what the selectors cannot say; not for `ratio` and `histogram`. It must return one
    series."""
    by: tuple[str, ...] = ()
    """Labels that identify the series beside its name."""
    ignore_below: Magnitude | None = None
    """A smaller change is not worth a rollback: `5%` of the level before, `0.5pt` of a share, `80ms`. Of a
    `histogram` the level is the share of requests above a bound; of a `ratio` with `bad: down` what is
    missing from 100 %."""
    acts: Switch = True
    """`false` for a series that informs but never causes a rollback."""
    impact: str | None = None
    """What one unit of it is, in words for people: `failed payments`."""


class Burst(Section):
    """More frequent runs after a deploy."""

    every: Period = 5.0
    """Time between two runs."""
    for_: Period = Field(default=600.0, alias="for")
    """How long, counted from the end of the deploy."""


class CheckAlert(Section):
    """When people are told of a check that fails outside a watch. A deploy is judged whatever this says."""

    fail: Whole = Field(default=3, ge=1, le=100)
    """So many failures begin an alert."""
    of: Whole | None = Field(default=None, ge=1, le=100)
    """Counted among so many of the newest runs, by default as many as `fail`. An `error` is no run."""
    recover: Whole = Field(default=2, ge=1, le=100)
    """So many passes in a row end it."""
    page: Switch = False
    """`true` asks a person to act now, also on the channels of `alerts.page`."""

    @property
    def window(self) -> int:
        """How many of the newest runs have to be remembered."""
        return max(self.of or self.fail, self.recover)


class Maintenance(Section):
    """A time in which alerts of checks are held back: told after it if it goes on. Checks run as ever."""

    cron: Cron
    """When it begins, in the `timezone` of the service."""
    for_: Period = Field(alias="for")
    """How long it lasts."""


class CheckCommon(Plugin):
    """The keys every kind of check has; the rest belong to its kind."""

    every: Period = 60.0
    """Time between two runs."""
    cron: Cron | None = None
    """Instead of `every`: minute, hour, day, month and day of week, in the `timezone` of the service."""
    timeout: Period = 10.0
    """A run that takes longer is stopped."""
    burst: Burst | None = None
    alert: CheckAlert | None = None
    """Without it nobody is told between deploys."""
    judge: tuple[str, ...] = ()
    """Readings that may cause a rollback, as pass and fail may; all others are judged too, and inform."""
    acts: Switch = True
    """`false` for a check that informs but never causes a rollback, whatever `judge` says."""


class VersionSignal(Section):
    """Where the running version is told: a JSON field over HTTP, or the label of a metric."""

    http: Link | None = None
    """URL that answers JSON."""
    path: str = "$.version"
    """JSONPath of the version in that answer."""
    series: str | None = None
    """Selector of the metric, instead of `http`."""
    label: str = "version"
    """The label of that metric that holds the version."""
    source: Name | None = None
    """Needed only with more than one source."""


class Rollback(Section):
    """Where a rollback goes and by when it must have been sent and confirmed."""

    target: Name
    """One of `targets`."""
    valid_for: Period = 900.0
    """A rollback not sent within this time expires."""
    confirm_within: Period = 900.0
    """Recovery must show within this time after the target accepted, else a person is paged."""


class Service(Section):
    """One service: what is watched, and what may be done about it."""

    owner: str | None = None
    """Who is responsible; shown in alerts."""
    runbook: Link | None = None
    """Shown in alerts."""
    mode: Mode | None = None
    """Instead of `defaults.mode`."""
    timezone: Zone = "UTC"
    """For `cron`, and for daily and weekly profiles."""
    depends_on: tuple[Name, ...] = ()
    """Services this one calls: their deploys can be to blame for its trouble, and while an alert of theirs is
    open those of this service's checks are held back."""
    maintenance: tuple[Maintenance, ...] = ()
    """When alerts of its checks are held back."""
    controls: tuple[Name, ...] = ()
    """Services that see the same surges but not this deploy; series of the same name are compared."""
    step: Period | None = None
    """Instead of the top-level `step`."""
    history: Period = 7 * 86400.0
    """How much past is compared with."""
    history_min: Duration = 7 * 86400.0
    """With less past, `auto` is held back to a proposal."""
    rollout_max: Duration = 300.0
    """A deploy of which only the end is known began at most this long before."""
    budget: Budget | None = None
    """Instead of `defaults.budget`."""
    watch: WatchTimes | None = None
    """Instead of `defaults.watch`."""
    always_on: AlwaysOn | None = None
    """Instead of `defaults.always_on`."""
    rollback: Rollback | None = None
    version: VersionSignal | None = None
    series: Mapping[SeriesName, Series] = Field(default_factory=dict)
    """Judged metrics by name."""
    checks: Mapping[Name, CheckCommon] = Field(default_factory=dict)
    """Active observations by name."""


class ProbeModule(Plugin):
    """One module of `/probe`: a check whose target the caller names. The keys beside these are those of the
    kind, with `{target}`, `{host}` or `{port}` where the target goes: `get: "{target}"`,
    `{host: "{host}", port: "{port}"}`. Kinds: `http`, `tcp`, `tls`, `dns`, `grpc`, `websocket`."""

    targets: tuple[AllowedTarget, ...] = Field(min_length=1)
    """What a caller may name: scheme, host and port must match one entry, as in `https://shop.example`,
    `https://*.shop.example:8443`, `cache.shop.example:6379` or `10.0.0.7:*`."""
    timeout: Period = 10.0
    """A run that takes longer fails; a scrape that ends earlier ends it earlier."""


class Probe(Section):
    """Answers `/probe?module=&target=` like blackbox_exporter; off while there is no module."""

    modules: Mapping[ModuleName, ProbeModule] = Field(default_factory=dict)
    """Modules by the name that `module=` gives."""
    concurrency: Whole = Field(default=50, ge=1, le=400)
    """More probes at once are answered 503."""


class Log(Section):
    """How log lines look."""

    format: Literal["auto", "json", "console"] = "auto"
    """`auto` is console on a terminal and JSON elsewhere."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are written."""


class Settings(BaseSettings):
    """The whole configuration.

    Environment variables `WATCHDOG__API__LISTEN=...` override files: `config.load` puts them into the tree
    before validation, so that constructing this class reads nothing but its arguments.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="WATCHDOG__",
        env_nested_delimiter="__",
        # Defaults are seconds already; only text from people is parsed.
        validate_default=False,
        use_attribute_docstrings=True,
    )
    version: Annotated[Literal[1], BeforeValidator(no_switch)] = 1
    """Of this format."""
    environment: Name = "prod"
    """The environment this watchdog stands in; part of every key."""
    public_url: Link | None = None
    """Where people reach the dashboard; used in the links of alerts."""
    state_dir: str = "watchdog-state"
    """Folder of the databases and the local token."""
    single_instance: Switch = False
    """Says that no second watchdog acts on these services; mode `auto` over SQLite needs it."""
    step: Period = 60.0
    """The grid on which series are judged."""
    lag: Duration = 30.0
    """How long after the end of a step its samples are asked for."""
    log: Log = Log()
    api: Api = Api()
    alerts: Alerts = Alerts()
    defaults: Defaults = Defaults()
    limits: LimitSettings = LimitSettings()
    concurrency: Concurrency = Concurrency()
    self_check: SelfCheckSettings = SelfCheckSettings()
    sources: Mapping[Name, Plugin] = Field(default_factory=dict)
    """Where metrics come from, by name."""
    databases: Mapping[Name, Plugin] = Field(default_factory=dict)
    """Databases that checks read, by name."""
    targets: Mapping[Name, Plugin] = Field(default_factory=dict)
    """Where rollbacks go, by name."""
    channels: Mapping[Name, Plugin] = Field(default_factory=dict)
    """Where alerts go, by name."""
    services: Mapping[Name, Service] = Field(default_factory=dict)
    """What is watched, by name."""
    probe: Probe = Probe()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what was handed in; see the class."""
        return (init_settings,)


# What `config.load` is given: section name to kind name to the dataclass of that kind.
Kinds = Mapping[str, Mapping[str, type[Any]]]
