"""Two days of a shop, whole: its deploys, its placebos, the effects put into them, and its sources."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import config
from tests.support.prometheus import prometheus_server
from tests.support.servers import wait_until
from tests.watchdog.backtest.shop_past import DAY_S, FIRST_AT, HOUR_S, Fault, Shop, ShopPast
from watchdog.backtest.cases import Cases, cases_of, injected_count, placebo_count
from watchdog.backtest.injection import effects_of, inject, level_of
from watchdog.backtest.openmetrics import read_file
from watchdog.backtest.past import Recording
from watchdog.backtest.trial import replay
from watchdog.cli import exits, main
from watchdog.kinds import KINDS
from watchdog.plan import plan_services
from watchdog.sources.protocol import Grid

BAD_AT = DAY_S + 10 * HOUR_S


def a_shop(days: float = 2.0) -> Shop:
    """Checkout fails after 4.2.0 for forty minutes, until 4.1.0 is back."""
    shop = Shop(days=days, faults=[Fault(at=BAD_AT, for_s=2400, errors=0.05)])
    shop.ship(14 * HOUR_S, "4.1.0")
    shop.ship(BAD_AT, "4.2.0")
    shop.ship(BAD_AT + 2500, "4.1.0", kind="rollback")
    shop.ship(round(days * DAY_S) - 600, "4.3.0")
    return shop


def backtested(past: ShopPast, *more: str) -> Mapping[str, Any]:
    """The JSON of a backtest that ended well."""
    report = past.folder / "report.json"
    command = ["backtest", "-c", str(past.config), *past.options, "--json", str(report), *more]
    assert main(command) == exits.HEALTHY
    made: Mapping[str, Any] = json.loads(report.read_text())
    return made


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> ShopPast:
    return a_shop().write(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def report(past: ShopPast) -> Mapping[str, Any]:
    page = str(past.folder / "report.html")
    from_file = ["--openmetrics", str(past.file), "--html", page]
    return backtested(past, *from_file, "--placebos", "4", "--inject")


def test_the_real_deploys_are_judged_as_they_were(report: Mapping[str, Any]) -> None:
    (service,) = report["services"]
    good, bad, back, late = service["deploys"]
    assert (good["state"], bad["state"], back["state"]) == ("healthy", "regressed", "healthy")
    assert bad["reason"] == "evidence"
    assert bad["because"].startswith("Errors rose from 0.98 % to 4.7 %")
    assert 0 < bad["delay_s"] <= 600
    assert {would["mode"]: would["do"] for would in bad["would"]} == dict.fromkeys(
        ("observe", "approve", "auto"), "alert"
    )
    assert (late["state"], late["would"]) == ("open", [])
    assert service["deploys_per_month"] == pytest.approx(4 / 2 * 30, rel=0.01)


def test_placebos_lie_where_nothing_was_deployed_and_have_a_history(report: Mapping[str, Any]) -> None:
    (service,) = report["services"]
    placebos = service["placebos"]
    assert placebos["used"] == 4
    assert sum(placebos["states"].values()) == 4
    watches = [(FIRST_AT + at, FIRST_AT + at + 1920) for at in (14 * HOUR_S, BAD_AT, BAD_AT + 2500)]
    for placebo in placebos["each"]:
        assert placebo["at"] >= FIRST_AT + 12 * HOUR_S
        assert not any(start < placebo["at"] + 1920 and end > placebo["at"] for start, end in watches)


def test_large_effects_are_found_and_small_ones_are_not(report: Mapping[str, Any]) -> None:
    (service,) = report["services"]
    by_name = {series["series"]: series for series in service["series"]}
    errors = by_name["errors"]["power"]
    assert [one["label"] for one in errors] == ["+0.5 pt", "+1 pt", "+2 pt", "+5 pt"]
    assert errors[-1]["found"]["share"] == 1.0
    assert errors[-1]["delay_s"] <= 600
    assert by_name["latency"]["power"][0]["found"]["share"] < 1.0
    assert by_name["memory"]["power"] == []
    assert all(series["coverage"] > 0.99 for series in service["series"])


def test_the_page_is_written_beside_the_json(report: Mapping[str, Any], past: ShopPast) -> None:
    text = (past.folder / "report.html").read_text()
    assert text.startswith("<!doctype html>")
    assert "4.1.0 → 4.2.0" in text


def test_several_processes_say_what_one_says(report: Mapping[str, Any], past: ShopPast) -> None:
    from_file = ["--openmetrics", str(past.file), "--inject", "--placebos", "4", "--jobs", "2"]
    assert backtested(past, *from_file)["services"] == report["services"]


def test_the_service_says_how_much_history_its_budget_lacks(report: Mapping[str, Any]) -> None:
    texts = {one["what"]: one["text"] for one in report["services"][0]["suggestions"]}
    assert "history hold 24 stretches as long as a watch" in texts["budget"]


@pytest.fixture(scope="module")
def cases(past: ShopPast) -> tuple[Cases, dict[str, Recording]]:
    plan = plan_services(config.load([past.config], KINDS))["checkout"]
    file = read_file(past.file, ("job", "instance"))
    grid = Grid(first_at=FIRST_AT + 60.0, last_at=FIRST_AT + 2.0 * DAY_S, step_s=60.0)
    recordings = {
        item.id: Recording(
            spec=item.spec, first_at=grid.first_at, values=file._read_one(item.query, grid).values
        )
        for item in plan.series
        if item.query is not None
    }
    return cases_of(plan, list(recordings.values()), [], placebos_max=4, inject=True), recordings


def test_an_effect_is_found_alone_as_among_effects_in_every_series(
    cases: tuple[Cases, dict[str, Recording]],
) -> None:
    """What lets one run stand for all series: the evidence of each rests on its own samples."""
    group, recordings = cases
    latency = next(item for item in group.plan.series if item.spec.name == "latency")
    recording = recordings[latency.id]
    seen = 0
    for case in group.placebos[:2]:
        together = replay(case, group.plan, recordings)
        finished_at = case.deploy.finished_at or math.nan
        first = round((finished_at - recording.first_at) / 60) + 1
        level = level_of(latency.spec, recording.values[first - 30 : first])
        assert level is not None
        for size, effect in enumerate(effects_of(latency.spec)):
            values = recording.values.copy()
            # A latency is shifted without chance, so that the rows are the same ones.
            values[first:] = inject(latency.spec, values[first:], effect, level, np.random.default_rng(0))
            altered = {**recordings, latency.id: replace(recording, values=values)}
            alone = replay(replace(case, effects=False), group.plan, altered)
            assert together.injected[size]["latency"] == alone.fired.get("latency"), effect.label
            seen += alone.fired.get("latency") is not None
    assert seen >= 4


def test_ended_from_outside_it_leaves_nothing_behind(past: ShopPast, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "watchdog", "backtest", "-c", str(past.config), *past.options]
    running = subprocess.Popen(
        [*command, "--openmetrics", str(past.file), "--inject", "--jobs", "2"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with running:
        wait_until(lambda: any(tmp_path.glob("*/*.npy")), timeout_s=30, what="the recordings on disk")
        running.terminate()
    assert running.returncode == exits.INTERRUPTED
    assert list(tmp_path.iterdir()) == []
    wait_until(lambda: not is_there(running.pid), timeout_s=10, what="every process of it gone")


def is_there(group: int) -> bool:
    """Whether a process of that group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_how_many_placebos_are_tried() -> None:
    assert placebo_count(None, 1) == 200
    assert placebo_count(None, 10) == 50
    assert placebo_count(None, 500) == 10
    assert placebo_count(7, 500) == 7
    assert [injected_count(n) for n in (0, 5, 20, 200)] == [0, 5, 8, 50]


def test_nine_days_of_a_real_prometheus_say_what_their_file_says(tmp_path: Path) -> None:
    """More than one answer holds: 11,000 points at the most, and here are 12,960."""
    shop = a_shop(days=9.0)
    past = shop.write(tmp_path, history="7d")
    few = ["--placebos", "2", "--inject"]
    from_file = backtested(past, *few, "--openmetrics", str(past.file))
    with prometheus_server(tmp_path, past.file.read_text()) as url:
        shop.configure(past, url=url, history="7d")
        from_server = backtested(past, *few)
    assert from_server["notes"] == []
    assert from_server["services"] == from_file["services"]
    states = [deploy["state"] for deploy in from_server["services"][0]["deploys"]]
    assert states == ["healthy", "regressed", "healthy", "open"]
