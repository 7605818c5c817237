"""Every kind of plug-in there is: what `config.load` and the exported schema are given."""

from __future__ import annotations

from checks import CHECKS
from checks.databases import DATABASES
from config import Kinds
from watchdog.alerts.channels import CHANNELS
from watchdog.rollback.targets import TARGETS
from watchdog.sources import SOURCES

KINDS: Kinds = {
    "sources": SOURCES,
    "databases": DATABASES,
    "targets": TARGETS,
    "channels": CHANNELS,
    "checks": CHECKS,
}
