"""`deploy-watchdog calibration`: what the budget is worth on a service's own past."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.watchdog.backtest.shop_past import HOUR_S, Fault, Shop, ShopPast
from watchdog.cli import exits, main


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> ShopPast:
    return Shop(days=2.0).write(tmp_path_factory.mktemp("calm"), history="2d")


@pytest.fixture(scope="module")
def restless(tmp_path_factory: pytest.TempPathFactory) -> ShopPast:
    """For the last sixteen hours the latency jumps up and down, half an hour each."""
    faults = [
        Fault(at=(32 + i) * HOUR_S, for_s=HOUR_S // 2, latency=1.3 + 0.25 * (i * 7 % 5)) for i in range(16)
    ]
    return Shop(days=2.0, faults=faults).write(tmp_path_factory.mktemp("restless"), history="2d")


def run(past: ShopPast, *more: str) -> int:
    return main(["calibration", "checkout", "-c", str(past.config), "--openmetrics", str(past.file), *more])


def test_a_calm_service_holds_its_budget(past: ShopPast, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(past) == exits.HEALTHY
    out = capsys.readouterr().out
    assert out.startswith("checkout: at most 1 healthy deploy in 200 is rolled back.")
    lines = {line.split()[0]: line for line in out.splitlines()[4:]}
    assert set(lines) == {"series", "errors", "latency", "orders", "memory"}
    assert "informs only, as configured" in lines["memory"]
    assert "informs" not in lines["errors"] + lines["latency"] + lines["orders"]


def test_its_figures_can_be_read_by_a_program(past: ShopPast, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(past, "--json") == exits.HEALTHY
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    latency = found["latency"]
    assert latency["before"] == pytest.approx(0.2, rel=0.1)
    assert 0.01 < latency["smallest_visible"] < 0.1
    assert [held["allowed"] for held in latency["held"]] == [0.05, 0.01, 0.005]
    assert all(held["low"] <= held["found"] + 1e-9 <= held["high"] + 1e-9 for held in latency["held"])


def test_a_series_that_became_another_one_is_named(
    restless: ShopPast, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(restless) == exits.INCONCLUSIVE
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("latency"))
    assert "informs only: its past does not foretell its present" in line


def test_what_is_not_there_is_named(past: ShopPast, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibration", "search", "-c", str(past.config)]) == exits.USAGE
    assert "there is no `search`. Services: checkout" in capsys.readouterr().err
    assert run(past, "--openmetrics", "/nowhere.om") == exits.USAGE
    assert "/nowhere.om" in capsys.readouterr().err
    assert main(["calibration", "checkout", "-c", "/nowhere.yaml"]) == exits.CONFIGURATION


def test_nothing_to_read_is_said(past: ShopPast, capsys: pytest.CaptureFixture[str]) -> None:
    assert Path(past.config).is_file()
    # The Prometheus of the configuration is not there, and no daemon has kept anything.
    assert main(["calibration", "checkout", "-c", str(past.config)]) == exits.UNREACHABLE
    assert capsys.readouterr().err.startswith("error: ")
