"""`python -m benchmarks.deploybench.ablation --data DIR`: what the judge is worth without each of its parts.

A part is taken out of a copy of the source (`parts.toml`), and the copy judges the families in which the
part should be felt. Counted are the cases it gets right: no rollback where nothing broke, one not before the
onset where something did, the guilty deploy of several.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.deploybench.made_up import FAMILIES as MADE_UP
from benchmarks.deploybench.made_up import made_up

ROOT = Path(__file__).resolve().parents[2]
PARTS = Path(__file__).with_name("parts.toml")
_PACKAGES = ("watchdog", "checks", "config", "detectors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the judge and its removal: `old` stands exactly once in `file`."""

    name: str
    file: str
    old: str
    new: str
    families: tuple[str, ...]


def main() -> int:
    """Print a line per part and family; exit 2 when DIR does not hold the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deploybench.ablation", description=__doc__)
    parser.add_argument("only", nargs="*", help="parts whose name holds one of these texts")
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark (with score.py)")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if not (given.data / "score.py").is_file():
        print(f"error: --data {given.data}: no score.py there", file=sys.stderr)
        return 2
    sys.path.insert(0, str(given.data))
    bench = Bench(str(given.data / given.split), given.jobs)
    parts = [p for p in parts_of(PARTS) if not given.only or any(text in p.name for text in given.only)]
    with removed(None) as folder:
        whole = bench.right(folder, sorted({name for part in parts for name in part.families}))
    print(f"{'without':<48}{'family':<22}{'cases':>6}{'right':>7}{'without':>9}")
    for part in parts:
        with removed(part) as folder:
            without = bench.right(folder, part.families)
        for family in part.families:
            of = f"{bench.count(family):>6}{whole[family]:>7}{without[family]:>9}"
            print(f"{part.name:<48}{family:<22}{of}", flush=True)
    return 0


def parts_of(path: Path) -> list[Part]:
    """The entries of the file."""
    entries = tomllib.loads(path.read_text())["part"]
    return [Part(**{**entry, "families": tuple(entry["families"])}) for entry in entries]


@contextmanager
def removed(part: Part | None) -> Iterator[Path]:
    """A temporary copy of the source without that part. Raises ValueError when its text is not there once."""
    with tempfile.TemporaryDirectory(prefix="ablation-") as name:
        folder = Path(name)
        for package in _PACKAGES:
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        if part is not None:
            source = (folder / part.file).read_text()
            if source.count(part.old) != 1:
                raise ValueError(f"{part.name}: its text does not stand exactly once in {part.file}")
            (folder / part.file).write_text(source.replace(part.old, part.new))
        yield folder


class Bench:
    """The cases of one split."""

    def __init__(self, folder: str, jobs: int) -> None:
        self._folder, self._jobs = folder, jobs
        self._score = importlib.import_module("score")
        lines = (Path(folder) / "cases.jsonl").read_text().splitlines()
        truth = (Path(folder) / "truth.jsonl").read_text().splitlines()
        family_of = {case["id"]: case["family"] for case in map(json.loads, truth)}
        self._families = [family_of[json.loads(line)["id"]] for line in lines]

    def count(self, family: str) -> int:
        """Cases of that family."""
        return len(made_up(family)) if family in MADE_UP else self._families.count(family)

    def right(self, source: Path, families: Sequence[str]) -> dict[str, int]:
        """Cases that the judge in `source` gets right, by family."""
        # The interpreter may know an installed copy; the folder named here comes first.
        command = f"env PYTHONPATH={source} {sys.executable} -P -m watchdog judge"
        made = {
            name: _right_of_made_up(self._score.harness, command, name)
            for name in families
            if name in MADE_UP
        }
        places = [i for i, family in enumerate(self._families) if family in families]
        if not places:
            return made
        parts = [(self._folder, ("cmd", command), places[k :: self._jobs]) for k in range(self._jobs)]
        with ProcessPoolExecutor(self._jobs) as pool:
            done = pool.map(self._score.work, [part for part in parts if part[2]])
            results = {result["id"]: result for some in done for result in some}
        evaluation = self._score.Eval(self._folder, results)
        return made | {family: _right(evaluation, family) for family in families if family not in MADE_UP}


def _right_of_made_up(harness: Any, command: str, family: str) -> int:
    judge = harness.Subprocess(command.split())
    right = 0
    for one in made_up(family):
        at = harness.run_case(judge, one.values, one.case)["confirm"]
        right += at is None if one.due is None else at is not None and at <= one.due
    judge.close()
    return right


def _right(evaluation: Any, family: str) -> int:
    cases = evaluation.fam[family]
    if family.startswith("o_"):
        return round(evaluation.overlap(None)["right"] * len(cases))
    found = 0
    for case in cases:
        at = evaluation.res[case]["confirm"]
        is_due = at is not None and at >= (evaluation.truth[case]["onset"] or 0)
        found += at is None if family.startswith("n_") else is_due
    return found


if __name__ == "__main__":
    sys.exit(main())
