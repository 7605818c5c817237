"""Run every benchmark and print one line per figure, with the machine it was measured on."""

from __future__ import annotations

import os
import platform

from benchmarks import backtest_speed, evidence_to_wire, judge_speed, probes, start_and_memory


def main() -> None:
    """Print the figures; nothing is asserted, because a busy machine is not a failure."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for benchmark in (start_and_memory, evidence_to_wire, judge_speed, backtest_speed, probes):
        for line in benchmark.measure():
            print(line, flush=True)


if __name__ == "__main__":
    main()
