"""The daemon as a process: started from a configuration text, asked over its API, ended or killed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import free_port, running, wait_until
from watchdog.cli import main

ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class Daemon:
    """A running daemon. folder holds its configuration, state and log."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where its API listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Everything it has logged."""
        return (self.folder / "daemon.log").read_text()

    @property
    def tracebacks(self) -> list[str]:
        """What it has logged of each exception, from the word on."""
        _, *after = self.log.split("Traceback")
        return [text[:3000] for text in after]

    def call(
        self, path: str, body: Mapping[str, Any] | None = None, *, token: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a GET, or of a POST when there is a body; with the local token."""
        if token is None:
            token = (self.folder / "state" / "local-token").read_text()
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.loads(refused.read())

    def deploy(self, service: str, version: str, **event: Any) -> dict[str, Any]:
        """Report a deploy; the answer."""
        status, answer = self.call("/api/v1/deploys", {"service": service, "version": version, **event})
        assert status in (200, 202), answer
        return answer

    def watch_of(self, deploy_id: str) -> dict[str, Any]:
        """The watch of that deploy."""
        watch: dict[str, Any] = self.call(f"/api/v1/deploys/{deploy_id}")[1]["watch"]
        return watch

    def wait_for_verdict(self, deploy_id: str, *, timeout_s: float) -> dict[str, Any]:
        """The watch of that deploy once it is closed."""
        seen: list[dict[str, Any]] = []

        def is_closed() -> bool:
            seen[:] = [self.watch_of(deploy_id)]
            return seen[0]["closed_at"] is not None

        wait_until(is_closed, timeout_s=timeout_s, what=f"a verdict on {deploy_id}")
        return seen[0]

    def actions(self) -> list[dict[str, Any]]:
        """Every action, newest first."""
        actions: list[dict[str, Any]] = self.call("/api/v1/actions")[1]["actions"]
        return actions

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command against this daemon, in this process; its exit code and what it printed."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in _told(self.url, self.folder / "state").items():
                patch.setenv(name, value)
            code = main(words)
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    def start_cli(self, *words: str) -> subprocess.Popen[str]:
        """The same as a process of its own, still running: end it with `communicate`."""
        return start_cli(*words, url=self.url, state_dir=self.folder / "state")

    def metrics(self) -> dict[str, float]:
        """/metrics: name with its labels to value."""
        lines = self.text("/metrics").splitlines()
        pairs = [line.rpartition(" ") for line in lines if not line.startswith("#")]
        return {name: float(value) for name, _, value in pairs}

    def text(self, path: str) -> str:
        """The body of a GET with the local token."""
        token = (self.folder / "state" / "local-token").read_text()
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=10) as response:
            return str(response.read().decode())

    def end(self) -> float:
        """SIGTERM, and exit 0 within 10 seconds; how many it took."""
        began_s = time.monotonic()
        self.process.terminate()
        assert self.process.wait(timeout=10) == 0, self.log[-3000:]
        return time.monotonic() - began_s

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)


def _told(url: str, state_dir: Path) -> dict[str, str]:
    """What tells a command by the environment where the daemon is."""
    return {"WATCHDOG_URL": url, "WATCHDOG_STATE_DIR": str(state_dir)}


def start_cli(*words: str, url: str, state_dir: Path) -> subprocess.Popen[str]:
    """`deploy-watchdog <words>`, told where the daemon is by the environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "watchdog", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **_told(url, state_dir)},
    )


def is_ready(port: int) -> bool:
    """True if the daemon on that port says it is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@contextmanager
def daemon(
    folder: Path, configuration: str, *, port: int | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """Run the daemon on `configuration` (without `api` and `state_dir`, which are added) until it is ready.

    Started again with the same folder it finds its state; `port` keeps its address.
    """
    port = free_port() if port is None else port
    file = folder / "watchdog.yaml"
    file.write_text(
        f"state_dir: {folder / 'state'}\napi: {{listen: '127.0.0.1:{port}'}}\n{configuration}", "utf-8"
    )
    file.chmod(0o600)
    with running(
        [sys.executable, "-m", "watchdog", "run", "-c", str(file)],
        ready=lambda: is_ready(port),
        log=folder / "daemon.log",
        env={**os.environ, **(environ or {})},
        cwd=ROOT,
    ) as process:
        yield Daemon(folder, port, process)
