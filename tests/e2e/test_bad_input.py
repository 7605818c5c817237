"""What the daemon refuses to start with: one sentence with the place and the remedy, and nothing is lost."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.support.daemon import ROOT, daemon, is_ready
from tests.support.servers import free_port

SERVICE = """
sources: {own: {kind: scrape, url: "http://127.0.0.1:9/metrics"}}
services:
  shop:
    series:
      orders: {kind: count, counter: orders_created_total}
"""


def refused(folder: Path, text: str, *, mode: int = 0o600) -> subprocess.CompletedProcess[str]:
    """`run` with that configuration, which has to end by itself."""
    file = folder / "refused.yaml"
    file.write_text(text)
    file.chmod(mode)
    command = [sys.executable, "-m", "watchdog", "run", "-c", str(file)]
    return subprocess.run(
        command, cwd=ROOT, timeout=30, check=False, capture_output=True, text=True, env={**os.environ}
    )


def test_a_wrong_configuration_is_named_with_file_line_and_remedy(tmp_path: Path) -> None:
    wrong = f"state_dir: {tmp_path / 'state'}\nstepp: 60s\nlag: 30{SERVICE}"
    ended = refused(tmp_path, wrong)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert f"{tmp_path / 'refused.yaml'}:2:1" in ended.stderr
    assert "Did you mean `step`?" in ended.stderr or "did you mean `step`?" in ended.stderr
    assert f"{tmp_path / 'refused.yaml'}:3:" in ended.stderr
    assert "2 errors" in ended.stderr
    assert not (tmp_path / "state").exists()

    ended = refused(tmp_path, f"state_dir: {tmp_path / 'state'}\n{SERVICE}", mode=0o666)
    assert ended.returncode == 78
    assert "refused.yaml" in ended.stderr
    assert "chmod" in ended.stderr

    missing = subprocess.run(
        [sys.executable, "-m", "watchdog", "run", "-c", str(tmp_path / "nowhere.yaml")],
        cwd=ROOT, timeout=30, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert missing.returncode == 78
    assert "nowhere.yaml" in missing.stderr


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

        held = f"state_dir: {state}\napi: {{listen: '127.0.0.1:{free_port()}'}}\n{SERVICE}"
        ended = refused(tmp_path, held)
        assert ended.returncode == 69
        assert f"another deploy-watchdog (process {running.process.pid}) has it open" in ended.stderr
        assert "its own state_dir" in ended.stderr
        # The loser has not touched what the first one lives by: its token, its store.
        assert is_ready(port)
        assert running.call("/api/v1/deploys", {"service": "shop", "version": "2"})[0] == 202
        assert running.end() < 10

    with closing(socket.create_server(("127.0.0.1", 0))) as foreign:
        address = f"127.0.0.1:{foreign.getsockname()[1]}"
        ended = refused(tmp_path, f"state_dir: {state}\napi: {{listen: '{address}'}}\n{SERVICE}")
        assert ended.returncode == 69
        assert "Traceback" not in ended.stderr


def test_a_damaged_store_is_kept_as_it_is(tmp_path: Path) -> None:
    with daemon(tmp_path, SERVICE) as running:
        running.deploy("shop", "2")
        running.end()
    file = tmp_path / "state" / "state.db"
    for damage in (_scratched, _cut, _foreign):
        content = damage(file.read_bytes())
        file.write_bytes(content)
        ended = refused(tmp_path, f"state_dir: {tmp_path / 'state'}\n{SERVICE}")
        assert ended.returncode == 69, ended.stderr
        assert str(file) in ended.stderr
        assert "restore it from a backup" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(content).digest()


def _scratched(content: bytes) -> bytes:
    """Pages in the middle overwritten, as by a bad disk."""
    middle = len(content) // 2 // 4096 * 4096
    return content[:middle] + b"\xff" * 8192 + content[middle + 8192 :]


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 3]


def _foreign(content: bytes) -> bytes:
    return b"not a database at all" + content[21:]
