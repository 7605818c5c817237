"""Processes that are measured: started, waited for, asked by /proc, ended."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def program(name: str, package: str) -> str:
    """Path of an executable; RuntimeError names the Debian package."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        raise RuntimeError(f"{name} is not installed: apt-get install {package}")
    return path


def free_port() -> int:
    """A loopback port nobody listened on a moment ago."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_listening(port: int) -> bool:
    """True if something accepts connections on that loopback port."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(command: Sequence[str], ready: Callable[[], bool], *, timeout_s: float = 120.0) -> Iterator[int]:
    """Pid of a process that is ready, ended with the block."""
    process = subprocess.Popen(command)
    deadline_s = time.monotonic() + timeout_s
    try:
        while not ready():
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with {process.returncode}")
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{command[0]} was not ready within {timeout_s:g} s")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far, its threads included. Source: proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def rss_mb(pid: int) -> float:
    """Resident memory of a process, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell a process's memory")
