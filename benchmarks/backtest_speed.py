"""`python -m benchmarks.backtest_speed`: how long a backtest of 14 days, 50 series and 1-minute steps takes.

Made-up series of every kind in ten services, a deploy a day each, once from an OpenMetrics file and, where
`prometheus` is installed, once from a real one that imported the same file. Printed, not asserted.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.prometheus import prometheus_server

_DAYS, _SERVICES, _STEP_S = 14, 10, 60
_FIRST_AT = 1_790_000_000 // 86400 * 86400
_SERIES = """
      errors: {{kind: ratio, numerator: 'r_total{{app="{s}",ok="n"}}', denominator: 'r_total{{app="{s}"}}'}}
      refused: {{kind: ratio, numerator: 'p_total{{app="{s}",ok="n"}}', denominator: 'p_total{{app="{s}"}}'}}
      latency: {{kind: latency, gauge: 'latency_seconds{{app="{s}"}}'}}
      orders: {{kind: count, counter: 'orders_total{{app="{s}"}}'}}
      memory: {{kind: gauge, gauge: 'memory_bytes{{app="{s}"}}'}}
"""


def measure() -> Iterator[str]:
    """One line per way of reading and of asking."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = _write_history(folder / "history.om")
        yield f"{_DAYS} days, {5 * _SERVICES} series, steps of {_STEP_S} s, {samples:,} samples"
        file = ["--openmetrics", str(folder / "history.om")]
        _write_configuration(folder, "http://127.0.0.1:1")
        yield _one(folder, "from a file", file)
        yield _one(folder, "from a file, with --inject", [*file, "--inject"])
        if shutil.which("prometheus") and shutil.which("promtool"):
            with prometheus_server(folder, (folder / "history.om").read_text()) as url:
                _write_configuration(folder, url)
                yield _one(folder, "from Prometheus", [])
        else:
            yield "from Prometheus: not measured, it is not installed"


def main() -> int:
    """Print the lines."""
    print(f"{os.cpu_count()} processors")
    for line in measure():
        print(line, flush=True)
    return 0


def _one(folder: Path, how: str, options: list[str]) -> str:
    span = ["--since", str(_FIRST_AT), "--until", str(_FIRST_AT + _DAYS * 86400)]
    command = [sys.executable, "-m", "watchdog", "backtest", "-c", str(folder / "watchdog.yaml"), *span]
    logged = ["--deploys", str(folder / "deploys.jsonl"), "--json", str(folder / "report.json")]
    began_s, cpu_s = time.perf_counter(), _cpu_s()
    ran = subprocess.run([*command, *logged, *options], capture_output=True, text=True, check=False)
    took_s = time.perf_counter() - began_s
    if ran.returncode != 0:
        raise RuntimeError(f"backtest ended with {ran.returncode}: {ran.stderr}")
    report: Any = json.loads((folder / "report.json").read_text())
    placebos = sum(service["placebos"]["used"] for service in report["services"])
    deploys = sum(len(service["deploys"]) for service in report["services"])
    cpu_s = _cpu_s() - cpu_s
    return f"{how}: {took_s:.1f} s ({cpu_s:.1f} s of CPU) for {placebos} placebos and {deploys} deploys"


def _cpu_s() -> float:
    """Of all processes that were started here and have ended: what a machine with other work cannot blur."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _write_configuration(folder: Path, url: str) -> None:
    services = "".join(f"  shop-{i}:\n    series:{_SERIES.format(s=f'shop-{i}')}" for i in range(_SERVICES))
    text = f"state_dir: {folder}/state\nsources: {{prom: {{kind: prometheus, url: '{url}'}}}}\n"
    (folder / "watchdog.yaml").write_text(f"{text}services:\n{services}")


def _write_history(path: Path) -> int:
    """The history and, beside it, the deploy log; how many samples."""
    rng = np.random.default_rng(1)
    n = _DAYS * 86400 // _STEP_S
    times = _FIRST_AT + _STEP_S * np.arange(1, n + 1) - 7
    day = 1.0 + 0.5 * np.sin(2 * np.pi * times / 86400)
    written = 0
    with path.open("w") as out:
        for i in range(_SERVICES):
            requests, paid = rng.poisson(900 * day), rng.poisson(300 * day)
            errors, refused = rng.binomial(requests, 0.008), rng.binomial(paid, 0.03)
            streams = {
                ("r_total", 'ok="n"'): np.cumsum(errors),
                ("r_total", 'ok="y"'): np.cumsum(requests - errors),
                ("p_total", 'ok="n"'): np.cumsum(refused),
                ("p_total", 'ok="y"'): np.cumsum(paid - refused),
                ("orders_total", ""): np.cumsum(rng.poisson(50 * day)),
                ("latency_seconds", ""): 0.2 * np.exp(rng.normal(0.0, 0.1, n)),
                ("memory_bytes", ""): 4e8 + 1e7 * rng.normal(0.0, 1.0, n),
            }
            for (name, label), values in streams.items():
                labels = f'job="shop",instance="10.0.0.{i}:80",app="shop-{i}",{label}'.rstrip(",")
                rows = zip(values.tolist(), times.tolist(), strict=True)
                out.writelines(f"{name}{{{labels}}} {value!r} {at}\n" for value, at in rows)
                written += n
        out.write("# EOF\n")
    with path.with_name("deploys.jsonl").open("w") as out:
        for k in range(_DAYS * _SERVICES):
            at = _FIRST_AT + (k // _SERVICES) * 86_400 + 36_000 + 600 * (k % _SERVICES)
            told = {"service": f"shop-{k % _SERVICES}", "version": f"1.{k}", "started_at": at}
            out.write(json.dumps({**told, "finished_at": at + 120}) + "\n")
    return written


if __name__ == "__main__":
    sys.exit(main())
