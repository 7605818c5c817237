"""What the page of metrics costs grows with the number of checks."""

from __future__ import annotations

from prometheus_client import generate_latest

from watchdog.metrics import Metrics


def test_an_outcome_of_a_check_is_one_line_of_the_page() -> None:
    metrics = Metrics()
    metrics.checks.count("shop", "home", "pass")
    lines = [line for line in generate_latest(metrics.registry).decode().splitlines() if "shop" in line]
    assert lines == ['watchdog_checks_total{check="home",outcome="pass",service="shop"} 1.0']
