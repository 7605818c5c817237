"""What the configuration of a service becomes for those who judge it."""

from __future__ import annotations

from pathlib import Path

import pytest

import config
from watchdog.kinds import KINDS
from watchdog.plan import plan_services

CONFIGURATION = """
sources: {prom: {kind: prometheus, url: "http://127.0.0.1:9"}}
services:
  checkout:
    timezone: ZONE
    series:
      errors: {kind: gauge, gauge: errors}
"""


@pytest.mark.parametrize(("zone", "hours"), [("UTC", 0.0), ("Asia/Tokyo", 9.0), ("America/New_York", -5.0)])
def test_the_weekend_is_that_of_the_clocks_of_the_service(tmp_path: Path, zone: str, hours: float) -> None:
    path = tmp_path / "watchdog.yaml"
    path.write_text(CONFIGURATION.replace("ZONE", zone))
    planned = plan_services(config.load([path], KINDS, {}))["checkout"]
    assert planned.judge.zone_s == hours * 3600.0
