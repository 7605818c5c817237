"""Takes guards out of a copy of the project, one at a time, and looks whether the named tests notice.

A guard that can be taken out without a failing test is not proved. Nothing here is part of the product: it
has no switch that turns a guard off, so the only way to be without one is another source text.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path
from typing import Literal

from tests.guards.table import ROOT, Guard

# Far above what the named tests of one entry take; a removal may also make them wait for ever.
_RUN_S = 180.0
_BASELINE_S = 900.0

Outcome = Literal["killed", "survived", "skipped", "hung", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one removal.

    killed: every named test failed. survived: at least one passed. skipped: a named test needs a program
    that is not installed. hung: no end within the limit. broken: the tests could not even be started, which
    proves nothing.
    """

    guard: Guard
    outcome: Outcome
    why: str
    seconds: float

    @property
    def is_proof(self) -> bool:
        """The guard is proved, as far as can be told on this machine."""
        return self.outcome in ("killed", "skipped")


@contextmanager
def copied() -> Iterator[Path]:
    """A temporary folder with the tracked files as they are in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    with tempfile.TemporaryDirectory(prefix="guards-") as name:
        folder = Path(name)
        for path in filter(None, listed):
            # Deleted but not yet committed: it is gone from the working tree.
            if (ROOT / path).is_file():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, folder / path)
        yield folder


def campaign(guards: Sequence[Guard], *, jobs: int = 2) -> Iterator[Result]:
    """The result of each removal, as they come. `jobs` copies of the project are used side by side."""
    with ExitStack() as stack:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for _ in range(min(jobs, len(guards))):
            copies.put(stack.enter_context(copied()))

        def one(guard: Guard) -> Result:
            folder = copies.get()
            try:
                return removal(guard, folder)
            finally:
                copies.put(folder)

        with ThreadPoolExecutor(max_workers=jobs) as pool:
            for done in as_completed([pool.submit(one, guard) for guard in guards]):
                yield done.result()


def removal(guard: Guard, folder: Path) -> Result:
    """Take one guard out of the copy in `folder`, run its tests there, and put it back."""
    path = folder / guard.file
    source, began = path.read_text(), time.monotonic()
    try:
        _write(path, guard.removed_from(source))
        outcome, why = _judged(guard.tests, *_run(guard.tests, folder, _RUN_S))
    finally:
        _write(path, source)
    return Result(guard=guard, outcome=outcome, why=why, seconds=time.monotonic() - began)


def baseline(guards: Sequence[Guard], *, jobs: int = 2) -> str | None:
    """None if all named tests pass with every guard in place, else what went wrong.

    A test that always fails would prove everything.
    """
    tests = sorted({test for guard in guards for test in guard.tests})
    with copied() as folder:
        code, found = _run(tests, folder, _BASELINE_S, "-n", str(jobs), "--dist", "loadfile")
    wrong = [name for name, how in found.items() if how in ("failure", "error")]
    if code == 0 and not wrong:
        return None
    return f"with every guard in place: {', '.join(wrong[:5]) or f'pytest ended with {code}'}"


def _write(path: Path, source: str) -> None:
    path.write_text(source)
    # Two texts of one length written within a second look alike to the cache of compiled modules.
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def _run(
    tests: Sequence[str], folder: Path, timeout_s: float, *more: str
) -> tuple[int | None, dict[str, str]]:
    """Exit code of pytest (None = it did not end in time) and each test that ran to how it ended."""
    report = folder / "guards-report.xml"
    report.unlink(missing_ok=True)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *more),
            *(f"--junit-xml={report}", "-o", "junit_family=xunit1", *tests),
        ],
        cwd=folder,
        # The interpreter may know an installed copy of the project; this one comes first.
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code: int | None = process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        if process.poll() is None:
            # Its own session: the servers that the tests started go with it.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return code, dict(_cases(report)) if report.is_file() else {}


def _cases(report: Path) -> Iterator[tuple[str, str]]:
    # The report is pytest's own, made a moment ago in our folder.
    for case in ET.parse(report).iter("testcase"):  # noqa: S314
        how = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        # A method is told by its class, the last part of `classname`.
        module = case.attrib.get("file", "").removesuffix(".py").replace("/", ".")
        inside = case.attrib.get("classname", "").removeprefix(module).strip(".").replace(".", "::")
        yield "::".join(filter(None, (case.attrib.get("file", ""), inside, case.attrib["name"]))), how


def _judged(tests: Sequence[str], code: int | None, found: dict[str, str]) -> tuple[Outcome, str]:
    if code is None:
        return "hung", f"no end within {_RUN_S:g} s"
    for test in tests:
        ways = [how for name, how in found.items() if name == test or name.startswith(f"{test}[")]
        if not ways:
            return "broken", f"{test} did not run (pytest ended with {code})"
        if set(ways) == {"skipped"}:
            return "skipped", f"{test} is skipped on this machine"
        if "failure" not in ways:
            return "survived", f"{test} does not fail: {', '.join(sorted(set(ways)))}"
    return "killed", ""
