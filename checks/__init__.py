"""Observes: one file per kind of check; a new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checks.heartbeat import HeartbeatCheck
from checks.http import HttpCheck
from checks.reconcile import ReconcileCheck
from checks.scenario import ScenarioCheck
from checks.sql import SqlCheck
from checks.tcp import TcpCheck
from checks.tls import TlsCheck

# Kind as written in YAML -> dataclass whose fields are its configuration, a `checks.model.Check`.
CHECKS: Mapping[str, type[Any]] = {
    "http": HttpCheck,
    "scenario": ScenarioCheck,
    "tcp": TcpCheck,
    "tls": TlsCheck,
    "sql": SqlCheck,
    "reconcile": ReconcileCheck,
    "heartbeat": HeartbeatCheck,
}
