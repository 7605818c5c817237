"""`deploy-watchdog demo` as a process: what it leaves behind when it is told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import wait_until
from watchdog.cli import exits, main

ROOT = Path(__file__).parents[3]


def processes_in(folder: Path) -> list[str]:
    """Command lines of the running processes that name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for children in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_it_takes_its_children_and_its_folder_along(how: signal.Signals, tmp_path: Path) -> None:
    told = tmp_path / "told"
    folder = tmp_path / "tmp"
    folder.mkdir()
    with told.open("wb") as out:
        demo = subprocess.Popen(
            [sys.executable, "-m", "watchdog", "demo"],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=out,
            stderr=out,
        )
    try:
        wait_until(lambda: b"the shop is open" in told.read_bytes(), timeout_s=120, what="the shop is open")
        assert processes_in(folder)
        demo.send_signal(how)
        assert demo.wait(timeout=60) == exits.INTERRUPTED, told.read_text()
    finally:
        demo.kill()
        demo.wait()
    assert processes_in(folder) == []
    assert list(folder.iterdir()) == []
    assert "Traceback" not in told.read_text()


def test_a_campaign_of_nothing_is_a_typo(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seeds", "0"]) == exits.USAGE
    assert "1 to 1000" in capsys.readouterr().err


def test_a_bad_deploy_is_found_by_its_data_when_its_metrics_show_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["demo", "--scenario", "unseen"]) == exits.HEALTHY
    told = capsys.readouterr().out
    assert "answers 503 from now on" in told
    assert any(f"{check} rose from 0 % to" in told for check in ("Books-balance", "Orders-have-payments"))
