"""`python -m benchmarks.deploybench --data DIR`: score `deploy-watchdog judge`, and the peers beside it.

DIR holds the benchmark: its harness, its scorer and a split named `dev`. Nothing of it is part of this
project, because parts of its data carry research licences. The judge runs as a separate process and is shown
one sample at a time; it never sees the labels.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.deploybench.table import data_sets, families, operating_point, peers_table

COMMAND = f"{sys.executable} -m watchdog judge"


def main() -> int:
    """Run the benchmark and print its tables; exit 2 when DIR does not hold it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deploybench", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark (with score.py)")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--sample", type=int, help="only every n-th case")
    parser.add_argument("--peers", default="", help="names of peers to run too, or all; they need packages")
    given = parser.parse_args()
    if not (given.data / "score.py").is_file():
        print(f"error: --data {given.data}: no score.py there", file=sys.stderr)
        return 2
    sys.path.insert(0, str(given.data))
    score = importlib.import_module("score")
    folder = str(given.data / given.split)
    ours = _run(score, folder, ("cmd", COMMAND), given.jobs, given.sample)
    evaluation = score.Eval(folder, ours)
    print(operating_point(evaluation))
    print(families(evaluation))
    print(data_sets(score.Eval, folder, ours, evaluation))
    names = _peers(given.peers)
    rows = {"deploy-watchdog": evaluation}
    for name in names:
        print(f"running {name}", file=sys.stderr)
        rows[name] = score.Eval(folder, _run(score, folder, ("py", name), given.jobs, given.sample))
    print(peers_table(rows))
    return 0


def _peers(asked: str) -> list[str]:
    if not asked:
        return []
    known: dict[str, Any] = {}
    for module in ("peers", "candidate"):
        known |= importlib.import_module(module).METHODS
    return list(known) if asked == "all" else asked.split(",")


def _run(score: Any, folder: str, method: tuple[str, str], jobs: int, sample: int | None) -> dict[str, Any]:
    """Results by case id. Cases are dealt out in turn, so that each process gets some of every family."""
    count = len((Path(folder) / "cases.jsonl").read_text().splitlines())
    places = list(range(0, count, sample or 1))
    parts = [places[i::jobs] for i in range(jobs)]
    with ProcessPoolExecutor(jobs) as pool:
        done = pool.map(score.work, [(folder, method, part) for part in parts if part])
        return {result["id"]: result for part in done for result in part}


if __name__ == "__main__":
    sys.exit(main())
