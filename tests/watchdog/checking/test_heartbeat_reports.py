"""A job and a running daemon: what the job reports is kept, judged, and there after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import config
from tests.support.daemon import ROOT, Daemon, daemon, start_cli
from tests.support.servers import binary, free_port, wait_until
from watchdog.kinds import KINDS
from watchdog.plan import plan_services

CONFIGURATION = """\
channels: {team: {kind: slack, webhook: "http://127.0.0.1:1/hook"}}
services:
  shop:
    timezone: Europe/Berlin
    checks:
      nightly: {kind: heartbeat, cron: 30 2 * * *, grace: 30m, runs_max: 2h, alert: {fail: 1, recover: 1}}
      hourly: {kind: heartbeat, every: 1h}
      port: {kind: tcp, host: 127.0.0.1, port: 1}
"""
JOB = ("heartbeat", "shop/nightly", "--patience", "0s", "--")


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("heartbeats"), CONFIGURATION) as running:
        yield running


def wrapped(running: Daemon, *job: str) -> subprocess.CompletedProcess[str]:
    """The job under `heartbeat`, as a process of its own, because the job writes where that one does."""
    process = running.start_cli(*JOB, *job)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(job, process.returncode, out, err)


def seen(running: Daemon, check: str = "nightly") -> dict[str, Any]:
    """The newest result of the check."""
    (service,) = running.call("/api/v1/services")[1]["services"]
    found: dict[str, Any] = service["checks"].get(check, {"outcome": None, "because": ""})
    return found


def wait_for(running: Daemon, outcome: str, said: str = "", check: str = "nightly") -> None:
    """The check looks at once when something is reported; its own turn would take half a minute."""
    wait_until(
        lambda: seen(running, check)["outcome"] == outcome and said in seen(running, check)["because"],
        timeout_s=10,
        what=f"{check} is {outcome} {said}",
    )


def wait_for_incident(running: Daemon, state: str, said: str) -> None:
    """What is told of it is recorded in the same transaction as this row of the audit log."""

    def is_there() -> bool:
        whats = [row["what"] for row in running.call("/api/v1/audit")[1]["audit"]]
        return any(what.startswith(f"incident {state}: ") and said in what for what in whats)

    wait_until(is_there, timeout_s=10, what=f"an incident that is {state}: {said}")


def test_a_job_never_causes_a_rollback(tmp_path: Path) -> None:
    file = tmp_path / "watchdog.yaml"
    file.write_text(CONFIGURATION)
    file.chmod(0o600)
    series = plan_services(config.load([file], KINDS, {}))["shop"].series
    assert {item.id: item.spec.acts for item in series} == {
        "shop/nightly": False,
        "shop/hourly": False,
        "shop/port": True,
    }


def test_a_job_that_is_wrapped_passes_on_its_exit_code_and_is_judged_by_it(watching: Daemon) -> None:
    failed = wrapped(watching, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (failed.returncode, failed.stdout, failed.stderr) == (3, "out\n", "err\n")
    wait_for(watching, "fail", "failed with exit code 3")
    wait_for_incident(watching, "raised", "failed with exit code 3")
    # Options after `--` are the job's own.
    good = wrapped(watching, sys.executable, "-c", "import sys; sys.exit(len(sys.argv) - 2)", "--json")
    assert (good.returncode, good.stderr) == (0, "")
    wait_for(watching, "pass")
    assert set(seen(watching)["readings"]) == {"age_s", "run_s"}
    wait_for_incident(watching, "resolved", "passes again after ")


def test_a_job_that_cannot_be_started_has_failed(watching: Daemon, tmp_path: Path) -> None:
    missing = wrapped(watching, str(tmp_path / "nothing"))
    assert missing.returncode == 127
    assert "there is no such program" in missing.stderr
    wait_for(watching, "fail", "exit code 127")
    assert wrapped(watching, str(tmp_path)).returncode == 126
    wait_for(watching, "fail", "exit code 126")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_reaches_the_job_and_its_end_is_reported(
    watching: Daemon, number: signal.Signals, code: int
) -> None:
    process = watching.start_cli(*JOB, "sh", "-c", "echo ready; exec sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == code
    wait_for(watching, "fail", f"exit code {code}")


def test_curl_is_enough(watching: Daemon) -> None:
    token = (watching.folder / "state" / "local-token").read_text()
    command = [binary("curl", "curl"), "-fsS", "-X", "POST", "-H", f"Authorization: Bearer {token}"]
    address = f"{watching.url}/api/v1/heartbeats/shop/hourly"
    subprocess.run([*command, f"{address}/start"], check=True, timeout=20)
    subprocess.run(
        [*command, f"{watching.url}/api/v1/heartbeats/shop/hourly/success"], check=True, timeout=20
    )
    wait_for(watching, "pass", check="hourly")
    assert "run_s" in seen(watching, "hourly")["readings"]


def test_what_cannot_be_told_yet_is_logged_once(tmp_path: Path) -> None:
    configuration = "services: {shop: {checks: {weekly: {kind: heartbeat, every: 7d}}}}"
    with daemon(tmp_path, configuration) as running:
        looked_at: list[float] = []
        for _ in range(3):
            running.call("/api/v1/heartbeats/shop/weekly", {"state": "start"})
            wait_until(
                lambda: seen(running, "weekly").get("at") not in (None, *looked_at),
                timeout_s=10,
                what="it looked",
            )
            looked_at.append(seen(running, "weekly")["at"])
            assert seen(running, "weekly")["outcome"] == "error"
        assert running.log.count("check could not tell") == 1


def test_only_checks_that_wait_for_reports_take_them(watching: Daemon) -> None:
    refused = watching.cli("heartbeat", "shop/port", "--state", "success")
    assert refused.returncode == 64
    assert "They are: shop/nightly, shop/hourly." in refused.stderr
    job = watching.cli("heartbeat", "shop/port", "--", "sh", "-c", "exit 0")
    assert job.returncode == 0
    assert "warning: could not report start: There is no check of kind heartbeat" in job.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("shop/nightly",),
        ("shop/nightly", "--"),
        ("shop/nightly", "--state", "success", "--", "true"),
        ("nightly", "--", "true"),
    ],
)
def test_a_typo_runs_nothing(watching: Daemon, words: tuple[str, ...]) -> None:
    refused = watching.cli("heartbeat", *words)
    assert refused.returncode == 64
    assert "deploy-watchdog heartbeat shop/nightly -- " in refused.stderr


def test_a_job_runs_although_no_daemon_is_there(tmp_path: Path) -> None:
    process = start_cli(*JOB, "sh", "-c", "exit 5", url=f"http://127.0.0.1:{free_port()}", state_dir=tmp_path)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 5
    assert "warning: could not report fail: " in err


def test_what_was_reported_is_there_after_a_kill_and_without_a_daemon(tmp_path: Path) -> None:
    port = free_port()
    with daemon(tmp_path, CONFIGURATION, port=port) as first:
        assert first.cli("heartbeat", "shop/nightly", "--state", "success", "--run", "7").returncode == 0
        first.kill()
    # Without the log of the database it is only looked at; with it, as here, it is still not changed.
    command = [sys.executable, "-m", "watchdog", "check", "run", "shop/nightly", "-c"]
    alone = subprocess.run(
        [*command, str(tmp_path / "watchdog.yaml")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ,
        timeout=30,
    )
    assert alone.returncode == 0, alone.stderr
    assert " ok  ended " in alone.stdout
    with daemon(tmp_path, CONFIGURATION, port=port) as second:
        again = second.call("/api/v1/heartbeats/shop/nightly", {"state": "success", "run": "7"})
        assert (again[0], again[1]["duplicate"]) == (200, True)
        wait_for(second, "pass")
