"""How long the daemon takes to be ready from nothing, and how much memory it then holds."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import rss_mb

_RUNS = 7
_PORT = 18_399
_CONFIGURATION = """
state_dir: {folder}/state
log: {{level: error}}
api: {{listen: "127.0.0.1:{port}"}}
sources: {{page: {{kind: scrape, url: "http://127.0.0.1:1/metrics"}}}}
services:
  shop:
    series: {{errors: {{kind: ratio, numerator: 'x{{code="500"}}', denominator: x}}}}
    checks: {{home: {{kind: http, get: "http://127.0.0.1:1/", expect: status == 200}}}}
"""


def measure() -> Iterator[str]:
    """Two lines: start to ready, resident memory when ready."""
    starts_s, memory_mb = [], []
    for _ in range(_RUNS):
        start_s, rss_mb = _one()
        starts_s.append(start_s)
        memory_mb.append(rss_mb)
    yield (
        f"cold start to ready: median {statistics.median(starts_s):.2f} s, max {max(starts_s):.2f} s "
        f"over {_RUNS} starts"
    )
    yield f"resident memory when ready: median {statistics.median(memory_mb):.0f} MB"


def _one() -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.yaml"
        file.write_text(_CONFIGURATION.format(folder=folder, port=_PORT))
        began_s = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "watchdog", "run", "-c", str(file)])
        try:
            while not _is_ready():
                if process.poll() is not None:
                    raise RuntimeError(f"the daemon ended with {process.returncode}")
                time.sleep(0.005)
            return time.perf_counter() - began_s, rss_mb(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=15)


def _is_ready() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{_PORT}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
