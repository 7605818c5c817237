"""Real servers for tests: found or skipped by name, on free ports, in temporary folders, always ended."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest


def binary(name: str, package: str, *, also_in: Sequence[str] = ()) -> str:
    """Path of an executable; skips the test naming the Debian package, or fails it under REQUIRE_REAL=1."""
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *also_in]))
    if path is None:
        message = f"{name} is not installed: apt-get install {package}"
        if os.environ.get("REQUIRE_REAL") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return path


def free_port() -> int:
    """A loopback TCP port nobody listened on a moment ago."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """True if something accepts connections on that loopback port."""
    with closing(socket.socket()) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(seen: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Poll an observable condition; fails the test with `what` when it does not come true in time."""
    deadline = time.monotonic() + timeout_s
    pause = 0.005
    while not seen():
        if time.monotonic() > deadline:
            pytest.fail(f"not seen within {timeout_s:.0f} s: {what}")
        # A poll of another process's state has nothing to be notified by.
        select_pause(pause)
        pause = min(pause * 1.5, 0.1)


def select_pause(seconds: float) -> None:
    """Give the processor away while another process works."""
    signal.sigtimedwait([], seconds)


def completed(
    command: Sequence[str | Path],
    *,
    given: str | None = None,
    cwd: Path | None = None,
    timeout_s: float = 60.0,
) -> str:
    """Run a command to its end; what it printed, stripped. Fails the test with what it complained of."""
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, check=False, cwd=cwd, timeout=timeout_s
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def running(
    command: Sequence[str],
    *,
    ready: Callable[[], bool],
    log: Path,
    timeout_s: float = 120.0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ready, ended with SIGTERM and then SIGKILL; its output goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=env, cwd=cwd
        )
    try:

        def is_up() -> bool:
            if process.poll() is not None:
                pytest.fail(f"{command[0]} ended with {process.returncode}: {log.read_text()[-2000:]}")
            return ready()

        wait_until(is_up, timeout_s=timeout_s, what=f"{command[0]} ready")
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
