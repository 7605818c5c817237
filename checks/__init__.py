"""Observes: one file per kind of check; a new kind is one file beside this one, and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checks.command import CommandCheck
from checks.dns import DnsCheck
from checks.freshness import FreshnessCheck
from checks.grpc import GrpcCheck
from checks.heartbeat import HeartbeatCheck
from checks.http import HttpCheck
from checks.lag import LagCheck
from checks.ledger import LedgerCheck
from checks.reconcile import ReconcileCheck
from checks.redis import RedisCheck
from checks.replay import ReplayCheck
from checks.replication import ReplicationCheck
from checks.rows import RowsCheck
from checks.scenario import ScenarioCheck
from checks.schema import SchemaCheck
from checks.sql import SqlCheck
from checks.tcp import TcpCheck
from checks.tls import TlsCheck
from checks.volume import VolumeCheck
from checks.websocket import WebsocketCheck

# Kind as written in YAML -> dataclass whose fields are its configuration, a `checks.model.Check`.
CHECKS: Mapping[str, type[Any]] = {
    "http": HttpCheck,
    "scenario": ScenarioCheck,
    "tcp": TcpCheck,
    "tls": TlsCheck,
    "dns": DnsCheck,
    "grpc": GrpcCheck,
    "websocket": WebsocketCheck,
    "redis": RedisCheck,
    "command": CommandCheck,
    "sql": SqlCheck,
    "reconcile": ReconcileCheck,
    "replay": ReplayCheck,
    "schema": SchemaCheck,
    "freshness": FreshnessCheck,
    "volume": VolumeCheck,
    "rows": RowsCheck,
    "ledger": LedgerCheck,
    "lag": LagCheck,
    "replication": ReplicationCheck,
    "heartbeat": HeartbeatCheck,
}
