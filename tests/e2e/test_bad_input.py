"""What the daemon refuses to start with: one sentence with the place and the remedy, and nothing is lost."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, daemon, is_ready
from tests.support.servers import free_port
from watchdog.cli import main

SERVICE = """
sources: {own: {kind: scrape, url: "http://127.0.0.1:9/metrics"}}
services:
  shop:
    series:
      orders: {kind: count, counter: orders_created_total}
"""


def refused(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """`run` with that configuration, as a process that has to end by itself."""
    file = folder / "refused.yaml"
    file.write_text(text)
    file.chmod(0o600)
    command = [sys.executable, "-m", "watchdog", "run", "-c", str(file)]
    return subprocess.run(command, cwd=ROOT, timeout=30, check=False, capture_output=True, text=True)


def test_a_wrong_configuration_is_named_with_file_line_and_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: nothing has been started yet when a configuration is refused."""
    file = tmp_path / "refused.yaml"
    file.write_text(f"state_dir: {tmp_path / 'state'}\nstepp: 60s\nlag: 30{SERVICE}")
    file.chmod(0o600)
    assert main(["run", "-c", str(file)]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{file}:2:1" in err
    assert "did you mean `step`?" in err.lower()
    assert f"{file}:3:" in err
    assert "2 errors" in err
    assert not (tmp_path / "state").exists()

    file.write_text(f"state_dir: {tmp_path / 'state'}\n{SERVICE}")
    file.chmod(0o666)
    assert main(["run", "-c", str(file)]) == 78
    err = capsys.readouterr().err
    assert "refused.yaml" in err
    assert "chmod" in err

    assert main(["run", "-c", str(tmp_path / "nowhere.yaml")]) == 78
    assert "nowhere.yaml" in capsys.readouterr().err


def test_a_taken_address_or_state_folder_is_left_to_its_owner(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    with daemon(first, SERVICE) as running:
        port, state = running.port, first / "state"
        ended = refused(
            tmp_path, f"state_dir: {tmp_path / 'own'}\napi: {{listen: '127.0.0.1:{port}'}}\n{SERVICE}"
        )
        assert ended.returncode == 69
        assert f"error: cannot listen on 127.0.0.1:{port}: " in ended.stderr
        assert "change api.listen" in ended.stderr
        assert "Traceback" not in ended.stderr

        held = f"state_dir: {state}\napi: {{listen: '127.0.0.1:{free_port()}'}}\n{SERVICE}"
        ended = refused(tmp_path, held)
        assert ended.returncode == 69
        assert f"another deploy-watchdog (process {running.process.pid}) has it open" in ended.stderr
        assert "its own state_dir" in ended.stderr
        # The loser has not touched what the first one lives by: its token, its store.
        assert is_ready(port)
        assert running.call("/api/v1/deploys", {"service": "shop", "version": "2"})[0] == 202
        assert running.end() < 10


def test_a_damaged_store_is_kept_as_it_is(tmp_path: Path) -> None:
    with daemon(tmp_path, SERVICE) as running:
        running.deploy("shop", "2")
        running.end()
    file = tmp_path / "state" / "state.db"
    content = file.read_bytes()
    # Pages in the middle overwritten, as by a bad disk; tests/watchdog/store has every other damage.
    middle = len(content) // 2 // 4096 * 4096
    content = content[:middle] + b"\xff" * 8192 + content[middle + 8192 :]
    file.write_bytes(content)
    ended = refused(tmp_path, f"state_dir: {tmp_path / 'state'}\n{SERVICE}")
    assert ended.returncode == 69, ended.stderr
    assert str(file) in ended.stderr
    assert "restore it from a backup" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(content).digest()
