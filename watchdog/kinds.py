"""Every kind of plug-in there is: what `config.load` and the exported schema are given."""

from __future__ import annotations

from checks import CHECKS
from checks.databases import DATABASES
from config import Kinds
from watchdog.alerts.channels import CHANNELS
from watchdog.rollback.targets import TARGETS
from watchdog.sources import SOURCES

# Kinds that a caller of `/probe` may point at a target: those that only connect and look.
PROBES = {kind: CHECKS[kind] for kind in ("http", "tcp", "tls", "dns", "grpc", "websocket")}

KINDS: Kinds = {
    "sources": SOURCES,
    "databases": DATABASES,
    "targets": TARGETS,
    "channels": CHANNELS,
    "checks": CHECKS,
    "modules": PROBES,
}
