"""The types that join the leaves: deploys, watches, decisions, actions, alerts, and the facts of a decision.

Pure data. All times are epoch seconds UTC and end in `_at`; all durations are seconds and end in `_s`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

DeployKind = Literal["code", "config", "flag", "infra", "schema", "rollback"]
EventState = Literal["announced", "started", "finished", "failed"]
Mode = Literal["observe", "approve", "auto"]
WatchState = Literal[
    "announced",
    "warming",
    "observing",
    "suspect",
    "healthy",
    "regressed",
    "inconclusive",
    "blind",
    "superseded",
    "cancelled",
    "missed",
]
OPEN_WATCH_STATES: frozenset[WatchState] = frozenset({"announced", "warming", "observing", "suspect"})
DecisionDo = Literal["wait", "close", "alert", "propose", "roll_back"]
ActionState = Literal[
    "proposed",
    "vetoed",
    "awaiting_approval",
    "armed",
    "intended",
    "sending",
    "acked",
    "retry_wait",
    "unknown",
    "refused",
    "expired",
    "confirmed",
    "unconfirmed",
]
# States from which nothing more happens by itself.
ENDED_ACTION_STATES: frozenset[ActionState] = frozenset(
    {"proposed", "vetoed", "unknown", "refused", "expired", "confirmed", "unconfirmed"}
)
AlertEvent = Literal["trigger", "update", "resolve", "change"]
AlertKind = Literal[
    "regressed",
    "proposed",
    "rolling_back",
    "recovered",
    "unconfirmed",
    "unknown",
    "refused",
    "expired",
    "inconclusive",
    "blind",
    "healthy",
    "deployed",
    "vetoed",
    "internal",
]
# Of trouble without a deploy.
IncidentAlertKind = Literal["drifted", "settled", "failing", "passing"]
IncidentState = Literal["held", "raised", "resolved", "accepted"]
Severity = Literal["critical", "error", "warning", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployEvent:
    """What one sender said about one deploy, after validation at intake.

    sender, sender_id: together unique; a repeat is a duplicate and changes nothing.
    started_at, finished_at: None where the sender did not say.
    rollback_safe: None = not stated. link: shown to people, never fetched.
    """

    sender: str
    sender_id: str
    received_at: float
    environment: str
    service: str
    to_version: str
    state: EventState
    kind: DeployKind = "code"
    from_version: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    rollback_safe: bool | None = None
    depends_on: tuple[str, ...] = ()
    author: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """One canonical deploy: many events, one interval.

    finished_at is None while it is in progress. rolls_back: id of the deploy our own rollback undid,
    when this deploy is that rollback coming back to us. is_failed: its deployer gave up on it.
    is_start_assumed: nobody said when it started; together with no end it was only announced.
    """

    id: str
    environment: str
    service: str
    kind: DeployKind
    to_version: str
    from_version: str | None
    started_at: float
    finished_at: float | None
    rollback_safe: bool | None = None
    depends_on: tuple[str, ...] = ()
    author: str | None = None
    link: str | None = None
    rolls_back: str | None = None
    is_failed: bool = False
    is_start_assumed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The judging of one deploy.

    deploy_id: the deploy judged. suspect_ids: every deploy that shares the onset posterior, this one first.
    observe_at, ends_at: the judged span; ends_at counts from the deploy's end. is_alert_only: this is the
    watch of a rollback of ours: it may alert but never act. verdict: the newest, as stored in its packet.
    """

    id: str
    environment: str
    service: str
    deploy_id: str
    suspect_ids: tuple[str, ...]
    state: WatchState
    because: str
    mode: Mode
    opened_at: float
    observe_at: float
    ends_at: float
    is_alert_only: bool = False
    config_digest: str = ""
    closed_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What policy makes of a verdict. because: one sentence; every branch of policy writes its own."""

    do: DecisionDo
    because: str


def action_key(environment: str, service: str, deploy_id: str, step: str) -> str:
    """Idempotency key of one step of one rollback: 64 hex digits.

    Holds no attempt, time, host or version, so that every replica and every restart derives the same
    key. Parts are joined with NUL, which no name may contain.
    """
    return hashlib.sha256("\0".join((environment, service, deploy_id, step)).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to carry out; for now always one rollback step.

    body: the exact bytes sent on every attempt. valid_until_at: no send starts after it.
    epoch: of the store when the intent was written. next_attempt_at: when a retry is due.
    deadline_at: by when an acked rollback must be confirmed. evidence_digest: what an approval is bound to.
    """

    key: str
    environment: str
    service: str
    deploy_id: str
    watch_id: str
    step: str
    target: str
    from_version: str
    to_version: str
    body: bytes
    state: ActionState
    because: str
    created_at: float
    valid_until_at: float
    epoch: int
    evidence_digest: str = ""
    attempts: int = 0
    next_attempt_at: float | None = None
    acked_at: float | None = None
    deadline_at: float | None = None
    poll_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One message to one channel, durable before it is sent.

    dedup_key: `service|environment|deploy id`, one incident per deploy; between deploys the
    incident's id stands for it and deploy_id is empty. text: the headline, plain text.
    fields: the answers in fixed order (what, since, blame, impact, done, next, because, not_seen,
    safe_to_go_back): present ones only. page: a person must act now.
    """

    id: str
    channel: str
    event: AlertEvent
    kind: AlertKind | IncidentAlertKind
    severity: Severity
    dedup_key: str
    environment: str
    service: str
    deploy_id: str
    text: str
    fields: Mapping[str, str]
    link: str | None
    created_at: float
    from_version: str | None = None
    to_version: str | None = None
    page: bool = False
    attempts: int = 0
    next_attempt_at: float | None = None
    state: Literal["pending", "sent", "failed"] = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesShift:
    """One series of an incident. before, now: in its unit. told_at: the step it joined at."""

    before: float
    now: float
    onset_at: float
    told_at: float
    because: str
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Trouble of a service that no deploy explains; one of its series at a time, and one of each check.

    opened_at, closed_at: when it was told and was over; of series the ends of those steps. onset_at: when it
    began, by the earliest of its series. check_name: of the check that fails, empty where it is the series.
    held: what keeps people from being told (state `held`), or kept them for a while. is_page: whether a
    person was asked to act.
    """

    id: str
    environment: str
    service: str
    state: IncidentState
    because: str
    series: Mapping[str, SeriesShift]
    opened_at: float
    onset_at: float
    closed_at: float | None = None
    check_name: str = ""
    held: str = ""
    is_page: bool = False


HeartbeatState = Literal["awaited", "start", "success", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCleanup:
    """What one run of the check `name` has created and not removed yet; see `checks.model.Cleanup`.

    attempts: how often it was tried again after the run.
    next_attempt_at: when somebody else than the run itself may try; epoch seconds.
    """

    run_id: str
    environment: str
    service: str
    name: str
    steps: tuple[str, ...]
    values: Mapping[str, Any]
    since_at: float
    attempts: int
    because: str
    next_attempt_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What a job reported of one of its runs to the check `name`, at the time we heard it.

    awaited: not a report, but since when one is waited for. run: the job's name for the run, may be empty.
    """

    environment: str
    service: str
    name: str
    state: HeartbeatState
    at: float
    run: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything a decision may depend on beside the verdict, read inside the write transaction.

    intent: the rollback action of this deploy if one exists, whatever its state: one intent per deploy,
    for ever. live_deploy_id: newest deploy of the service that is not a failed one. last_rollback_at: newest
    intent of this service, in any deploy. rollbacks_last_hour, rollbacks_last_day: intents of all services.
    services_regressed_10_min: services with a regressed verdict in the last 10 minutes, this one apart.
    kill_switch: the reason it is on, None when off. disarmed: why actions are disarmed (crash loop), or None.
    to_version_state: the newest closed watch state of the version to go back to, None if never watched.
    """

    watch: Watch
    deploy: Deploy
    epoch: int
    live_deploy_id: str | None
    intent: Action | None = None
    in_flight: int = 0
    last_rollback_at: float | None = None
    rollbacks_last_hour: int = 0
    rollbacks_last_day: int = 0
    services_regressed_10_min: int = 0
    kill_switch: str | None = None
    disarmed: str | None = None
    to_version_state: WatchState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """Everything one transaction writes: decision, watch, packet, action, alerts, audit row.

    watch: the watch as it is to be stored. packet: the evidence packet (JSON), None = leave the stored one.
    action: a new action: proposed, awaiting_approval or intended. audit: one sentence, empty = no row.
    """

    decision: Decision
    watch: Watch
    packet: Mapping[str, Any] | None = None
    action: Action | None = None
    alerts: tuple[Alert, ...] = ()
    audit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One line of the hash-chained audit log; digest = SHA-256 over prev_digest and the other fields."""

    n: int
    at: float
    who: str
    what: str
    key: str
    prev_digest: str
    digest: str


SendOutcome = Literal["done", "accepted", "retry", "refused", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What one send attempt came to; the policy of retrying is the outbox's, not the sender's.

    done: the receiver took it. accepted: taken, completion is told at `poll_url`. retry: not taken,
    another attempt can help. refused: no attempt can help. unknown: cannot be told whether it was taken.
    """

    outcome: SendOutcome
    because: str
    retry_after_s: float | None = None
    poll_url: str | None = None


Progress = Literal["running", "succeeded", "failed", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchState:
    """The kill switch: on or off, who, when and why."""

    is_on: bool
    by: str = ""
    at: float = 0.0
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Hard counts that bound automatic rollbacks, whatever the verdicts."""

    rollbacks_per_hour: int = 2
    rollbacks_per_day: int = 6
    cool_down_s: float = 6 * 3600.0
    services_regressed_max: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What became of a deploy event. is_duplicate: this sender said it before; nothing was changed.

    changed: other watches that this event changed (superseded, or given one more suspect).
    """

    deploy: Deploy
    watch: Watch | None
    is_duplicate: bool
    alerts: tuple[Alert, ...] = field(default_factory=tuple)
    changed: tuple[Watch, ...] = ()
