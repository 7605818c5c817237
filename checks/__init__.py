"""Observes: one file per kind of check; a new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checks.freshness import FreshnessCheck
from checks.http import HttpCheck
from checks.lag import LagCheck
from checks.ledger import LedgerCheck
from checks.reconcile import ReconcileCheck
from checks.replication import ReplicationCheck
from checks.rows import RowsCheck
from checks.scenario import ScenarioCheck
from checks.sql import SqlCheck
from checks.tcp import TcpCheck
from checks.volume import VolumeCheck

# Kind as written in YAML -> dataclass whose fields are its configuration, a `checks.model.Check`.
CHECKS: Mapping[str, type[Any]] = {
    "http": HttpCheck,
    "scenario": ScenarioCheck,
    "tcp": TcpCheck,
    "sql": SqlCheck,
    "reconcile": ReconcileCheck,
    "freshness": FreshnessCheck,
    "volume": VolumeCheck,
    "rows": RowsCheck,
    "ledger": LedgerCheck,
    "lag": LagCheck,
    "replication": ReplicationCheck,
}
