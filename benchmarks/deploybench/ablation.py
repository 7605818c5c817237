"""`python -m benchmarks.deploybench.ablation --data DIR`: what the judge is worth without each of its parts.

A part is taken out of a copy of the source (`parts.toml`), and the copy judges the families in which the
part should be felt. Counted are the cases it gets right: no rollback where nothing broke, one not before the
onset where something did, the guilty deploy of several. Families are those of the benchmark, the made-up
cases (`m_`), and the deploys that never happened on which the budget is tried, by kind and step (`c_`; with
half of the samples taken away `s_`): right is one that stays within a limit of 1 %.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, NamedTuple

from benchmarks.deploybench.made_up import FAMILIES as MADE_UP
from benchmarks.deploybench.made_up import MadeUp, made_up

ROOT = Path(__file__).resolve().parents[2]
PARTS = Path(__file__).with_name("parts.toml")
_PACKAGES = ("watchdog", "checks", "config", "detectors")
_THIN = {"c_": "0.0", "s_": "0.5"}  # share of the samples taken away from the placebos
_BUDGET = "0.01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the judge and its removal: `old` stands exactly once in `file`."""

    name: str
    file: str
    old: str
    new: str
    families: tuple[str, ...]


class Count(NamedTuple):
    """Cases that are right, of how many."""

    right: int
    cases: int


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
    bench = Bench(given.data, given.split, given.jobs)
    parts = [p for p in parts_of(PARTS) if not given.only or any(text in p.name for text in given.only)]
    with removed(None) as folder:
        whole = bench.judged(folder, sorted({name for part in parts for name in part.families}))
    print(f"{'without':<48}{'family':<22}{'cases':>6}{'right':>7}{'without':>9}")
    for part in parts:
        with removed(part) as folder:
            without = bench.judged(folder, part.families)
        for family in part.families:
            with_it, of = whole[family]
            print(f"{part.name:<48}{family:<22}{of:>6}{with_it:>7}{without[family].right:>9}", flush=True)
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
    """All families: those of one split of the benchmark, the made-up ones, and the placebos."""

    def __init__(self, data: Path, split: str, jobs: int) -> None:
        sys.path.insert(0, str(data))
        self._data, self._folder, self._jobs = data, data / split, jobs
        self._score = importlib.import_module("score")
        lines = (self._folder / "cases.jsonl").read_text().splitlines()
        truth = (self._folder / "truth.jsonl").read_text().splitlines()
        family_of = {case["id"]: case["family"] for case in map(json.loads, truth)}
        self._families = [family_of[json.loads(line)["id"]] for line in lines]

    def judged(self, source: Path, families: Sequence[str]) -> dict[str, Count]:
        """How the judge in `source` does, by family."""
        placebos = [name for name in families if name[:2] in _THIN]
        made_up = [name for name in families if name in MADE_UP]
        known = [name for name in families if name not in (*placebos, *made_up)]
        return self._known(source, known) | self._made_up(source, made_up) | self._placebos(source, placebos)

    def _known(self, source: Path, families: Sequence[str]) -> dict[str, Count]:
        if not families:
            return {}
        places = [i for i, family in enumerate(self._families) if family in families]
        command = f"env PYTHONPATH={_path(source)} {sys.executable} -P -m watchdog judge"
        parts = [(str(self._folder), ("cmd", command), places[k :: self._jobs]) for k in range(self._jobs)]
        with ProcessPoolExecutor(self._jobs) as pool:
            done = pool.map(self._score.work, [part for part in parts if part[2]])
            results = {result["id"]: result for some in done for result in some}
        evaluation = self._score.Eval(str(self._folder), results)
        return {name: Count(_right(evaluation, name), self._families.count(name)) for name in families}

    def _made_up(self, source: Path, families: Sequence[str]) -> dict[str, Count]:
        counts = {}
        for name in families:
            cases = list(made_up(name))
            command = [sys.executable, "-P", "-m", "watchdog", "judge"]
            with subprocess.Popen(
                command, stdin=PIPE, stdout=PIPE, text=True, env=os.environ | {"PYTHONPATH": _path(source)}
            ) as judge:
                counts[name] = Count(sum(_is_right(judge, case) for case in cases), len(cases))
        return counts

    def _placebos(self, source: Path, families: Sequence[str]) -> dict[str, Count]:
        command = [sys.executable, "-P", "-m", "benchmarks.deploybench.calibration"]
        command += ["--data", str(self._data), "--budget", _BUDGET, "--jobs", str(self._jobs)]
        counts = {}
        for name in families:
            told = subprocess.run(
                [*command, "--thin", _THIN[name[:2]], name[2:]],
                env=os.environ | {"PYTHONPATH": _path(source)},
                check=True,
                stdout=PIPE,
                text=True,
            )
            over, of = told.stdout.splitlines()[-1].split()[-3::2]
            counts[name] = Count(int(of) - int(over), int(of))
        return counts


def _path(source: Path) -> str:
    """Where Python looks first: the interpreter may know an installed copy. The benchmarks are not copied."""
    return f"{source}{os.pathsep}{ROOT}"


def _is_right(judge: Popen[str], case: MadeUp) -> bool:
    at = None
    _tell(judge, case.case)
    for tick in case.ticks:
        _tell(judge, tick)
        assert judge.stdout is not None
        if json.loads(judge.stdout.readline())["confirm"] and at is None:
            at = tick["i"]
    return case.is_right(at)


def _tell(judge: Popen[str], message: Any) -> None:
    assert judge.stdin is not None
    judge.stdin.write(json.dumps(message) + "\n")
    judge.stdin.flush()


def _right(evaluation: Any, family: str) -> int:
    cases = evaluation.fam[family]
    if family.startswith("o_"):
        share: float = evaluation.overlap(None)["right"]
        return round(share * len(cases))
    found = 0
    for case in cases:
        at = evaluation.res[case]["confirm"]
        is_due = at is not None and at >= (evaluation.truth[case]["onset"] or 0)
        found += at is None if family.startswith("n_") else is_due
    return found


if __name__ == "__main__":
    sys.exit(main())
