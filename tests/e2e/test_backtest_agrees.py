"""A backtest beside the real daemon and after it: the same verdicts, nothing sent, nothing written."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.town import BAD, CLOCK, GOOD, Shape, Town, town
from tests.support.daemon import ROOT
from tests.support.servers import wait_until
from watchdog.cli import exits
from watchdog.series import HEAL_STEPS

SHAPES = {
    # `auto` may act: what a backtest would have done with it must stay a word.
    "broken": Shape(mode="auto", watch_s=12),
    "sound": Shape(mode="auto", watch_s=12),
    "twice": Shape(mode="observe", watch_s=12, controls="sound"),
}


def backtest(place: Town, *options: str) -> dict[str, Any]:
    """The report of `deploy-watchdog backtest`, as a process of its own, on the town's configuration."""
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "watchdog", "backtest", "-c", str(place.folder / "watchdog.yaml")),
            *("--since", "20m", "--placebos", "2", "--jobs", "1", "--json", "-", *options),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **place.environ},
        check=False,
        timeout=120,
    )
    assert ran.returncode == exits.HEALTHY, ran.stderr
    report: dict[str, Any] = json.loads(ran.stdout)
    return report


def digests(folder: Path) -> dict[str, str]:
    """Every file of the folder and what is in it."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_a_backtest_says_what_the_daemon_said_and_leaves_everything_alone(tmp_path: Path) -> None:
    with town(tmp_path, SHAPES) as place:
        with place.watched() as running:
            shipped = {
                place.ship(running, "broken", "2", BAD),
                place.ship(running, "sound", "2", GOOD),
                place.ship(running, "twice", "2", GOOD),
            }
            closed = {each: running.wait_for_verdict(each, timeout_s=60) for each in shipped}
            # Beside the daemon: it is neither locked out nor in the way.
            assert len(backtest(place)["services"]) == len(SHAPES)
            later = place.ship(running, "twice", "3", BAD)
            closed[later] = running.wait_for_verdict(later, timeout_s=60)
            verdicts = {each: running.call(f"/api/v1/deploys/{each}")[1]["verdict"] for each in closed}
            # The newest steps may still heal, and a backtest does not look at them.
            settled_at = CLOCK.wall_s() + HEAL_STEPS + 3
            wait_until(lambda: CLOCK.wall_s() > settled_at, timeout_s=20, what="the newest steps are settled")
            running.end()
        sent = (len(place.deployer.received), len(place.slack.messages))
        before = digests(place.folder / "state")
        report = backtest(place, "--inject")
        assert digests(place.folder / "state") == before
        assert (len(place.deployer.received), len(place.slack.messages)) == sent
    said = {deploy["deploy"]: deploy for service in report["services"] for deploy in service["deploys"]}
    states = [said[each]["state"] for each in closed]
    assert sorted(states) == ["healthy", "healthy", "regressed", "regressed"]
    for deploy_id, watch in closed.items():
        replayed = said[deploy_id]
        assert (replayed["state"], replayed["recorded"]) == (watch["state"], watch["state"])
        assert replayed["because"] == verdicts[deploy_id]["because"]
    would = {each["mode"]: each["do"] for each in said[later]["would"]}
    assert would["observe"] == "alert"
