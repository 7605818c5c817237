"""The tables of `state.db`, in one place and in plain SQL, so that what is on disk can be read here.

Column names of deploy, watch, action, incident, heartbeat, pending_cleanup and alert_outbox are the field
names of the dataclasses in `watchdog.model`; a test compares them.
"""

from __future__ import annotations

SCHEMA_VERSION = 1

# Written into the file's header ("DWDG"), so that somebody else's database is never taken for ours.
APPLICATION_ID = 0x44574447

DDL = """
CREATE TABLE schema_version (version INTEGER NOT NULL, epoch INTEGER NOT NULL);

CREATE TABLE deploy (
    id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    kind TEXT NOT NULL,
    to_version TEXT NOT NULL,
    from_version TEXT,
    started_at REAL NOT NULL,
    finished_at REAL CHECK (finished_at >= started_at),
    rollback_safe INTEGER,
    depends_on TEXT NOT NULL,
    author TEXT,
    link TEXT,
    rolls_back TEXT,
    is_failed INTEGER NOT NULL,
    is_start_assumed INTEGER NOT NULL
);
CREATE INDEX deploy_by_service ON deploy (environment, service, started_at);
CREATE INDEX deploy_by_time ON deploy (started_at);

CREATE TABLE deploy_event (
    n INTEGER PRIMARY KEY,
    deploy_id TEXT NOT NULL REFERENCES deploy (id),
    sender TEXT NOT NULL,
    sender_id TEXT NOT NULL,
    received_at REAL NOT NULL,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    to_version TEXT NOT NULL,
    state TEXT NOT NULL,
    kind TEXT NOT NULL,
    from_version TEXT,
    started_at REAL,
    finished_at REAL,
    rollback_safe INTEGER,
    depends_on TEXT NOT NULL,
    author TEXT,
    link TEXT,
    UNIQUE (sender, sender_id)
);

CREATE TABLE watch (
    id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    deploy_id TEXT NOT NULL UNIQUE REFERENCES deploy (id),
    suspect_ids TEXT NOT NULL,
    state TEXT NOT NULL,
    because TEXT NOT NULL,
    mode TEXT NOT NULL,
    opened_at REAL NOT NULL,
    observe_at REAL NOT NULL,
    ends_at REAL NOT NULL,
    is_alert_only INTEGER NOT NULL,
    config_digest TEXT NOT NULL,
    closed_at REAL
);
CREATE INDEX watch_by_state ON watch (environment, state);
CREATE INDEX watch_by_time ON watch (opened_at);

CREATE TABLE evidence_packet (
    watch_id TEXT PRIMARY KEY REFERENCES watch (id),
    at REAL NOT NULL,
    packet TEXT NOT NULL
);

CREATE TABLE decision (
    n INTEGER PRIMARY KEY,
    watch_id TEXT NOT NULL REFERENCES watch (id),
    at REAL NOT NULL,
    "do" TEXT NOT NULL,
    because TEXT NOT NULL,
    watch_state TEXT NOT NULL
);
CREATE INDEX decision_by_watch ON decision (watch_id, n);
CREATE INDEX decision_by_state ON decision (watch_state, at);

-- intended_at: when the action became something to be sent; NULL for what was only proposed.
CREATE TABLE action (
    key TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    deploy_id TEXT NOT NULL REFERENCES deploy (id),
    watch_id TEXT NOT NULL REFERENCES watch (id),
    step TEXT NOT NULL,
    target TEXT NOT NULL,
    from_version TEXT NOT NULL,
    to_version TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL,
    because TEXT NOT NULL,
    created_at REAL NOT NULL,
    valid_until_at REAL NOT NULL,
    epoch INTEGER NOT NULL,
    evidence_digest TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt_at REAL,
    acked_at REAL,
    deadline_at REAL,
    poll_url TEXT,
    intended_at REAL,
    UNIQUE (environment, service, deploy_id)
);
CREATE INDEX action_by_time ON action (created_at);
CREATE INDEX action_by_intent ON action (intended_at);

-- key: of an action, or the id of an alert.
CREATE TABLE attempt (
    n INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    at REAL NOT NULL,
    what TEXT NOT NULL
);
CREATE INDEX attempt_by_key ON attempt (key, n);

-- series: JSON, name to its shift. check_name: '' where it is the series. The index: one incident of them and
-- of each check at a time, whoever asks.
CREATE TABLE incident (
    id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    state TEXT NOT NULL,
    because TEXT NOT NULL,
    series TEXT NOT NULL,
    opened_at REAL NOT NULL,
    onset_at REAL NOT NULL,
    closed_at REAL,
    check_name TEXT NOT NULL,
    held TEXT NOT NULL,
    is_page INTEGER NOT NULL
);
CREATE INDEX incident_by_service ON incident (environment, service, opened_at);
CREATE UNIQUE INDEX incident_open ON incident (environment, service, check_name) WHERE closed_at IS NULL;

-- What jobs report of their runs. The second index: a report told twice under its run's name is kept once.
CREATE TABLE heartbeat (
    n INTEGER PRIMARY KEY,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    at REAL NOT NULL,
    run TEXT NOT NULL,
    exit_code INTEGER
);
CREATE INDEX heartbeat_by_check ON heartbeat (service, name, n);
CREATE UNIQUE INDEX heartbeat_once ON heartbeat (service, name, run, state) WHERE run <> '';

-- What runs of checks have created and not removed yet. steps, "values": JSON.
CREATE TABLE pending_cleanup (
    run_id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    name TEXT NOT NULL,
    steps TEXT NOT NULL,
    "values" TEXT NOT NULL,
    since_at REAL NOT NULL,
    attempts INTEGER NOT NULL,
    because TEXT NOT NULL,
    next_attempt_at REAL NOT NULL
);

CREATE TABLE alert_outbox (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    channel TEXT NOT NULL,
    event TEXT NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    deploy_id TEXT NOT NULL,
    text TEXT NOT NULL,
    fields TEXT NOT NULL,
    link TEXT,
    created_at REAL NOT NULL,
    from_version TEXT,
    to_version TEXT,
    page INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt_at REAL,
    state TEXT NOT NULL
);
CREATE INDEX alert_pending ON alert_outbox (channel, dedup_key, n) WHERE state = 'pending';

-- AUTOINCREMENT: sqlite_sequence then remembers the last number given, which tells a cut-off tail.
CREATE TABLE audit (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    key TEXT NOT NULL,
    prev_digest TEXT NOT NULL,
    digest TEXT NOT NULL
);

CREATE TABLE switch (
    name TEXT PRIMARY KEY,
    is_on INTEGER NOT NULL,
    by TEXT NOT NULL,
    at REAL NOT NULL,
    because TEXT NOT NULL
);

CREATE TABLE start (
    n INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    ended_at REAL
);
"""
