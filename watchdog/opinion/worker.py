"""Keeps the one process beside the daemon, started when first needed: `second_opinion.py`.

What it says annotates an evidence packet and never gates a rollback, so a slow or dead worker costs the
annotation and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detectors.model import FloatArray, SeriesKind
from watchdog.opinion.habits import Habits
from watchdog.opinion.residuals import Diagnostic
from watchdog.opinion.second_opinion import SecondOpinion

_LINE_BYTES_MAX = 1_000_000
_END_WAIT_S = 2.0
_SCRIPT = Path(__file__).with_name("second_opinion.py")
# Where `watchdog` and `detectors` lie, also when the daemon was started as a script from elsewhere.
_ROOT = Path(__file__).parents[2]

log = logging.getLogger("watchdog.opinion.worker")


class Worker:
    """Asks the worker process, one job at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._is_closed = False

    async def second_opinion(
        self,
        before: FloatArray,
        after: FloatArray,
        step_s: float,
        *,
        timeout_s: float,
        kind: SeriesKind | None = None,
    ) -> SecondOpinion | None:
        """Fit both sides of a deploy; None when there was no answer within `timeout_s`, whatever the reason.

        before, after: shape (n, width), NaN = missing, oldest first, adjoining; a few hundred rows at most.
        kind: `count` and `rate` are fitted as counts; two columns as k of n; the rest as continuous. The
        first call starts the process, which takes some seconds more.
        """
        sides = {"before": _listed(before), "after": _listed(after), "width": before.shape[1]}
        told = await self._told({"do": "second_opinion", **sides, "step_s": step_s, "kind": kind}, timeout_s)
        if told is None:
            return None
        diagnostics = tuple(Diagnostic(**one) for one in told.pop("diagnostics"))
        return SecondOpinion(**told, diagnostics=diagnostics)

    async def habits(
        self, past: FloatArray, step_s: float, *, size: float, before: int, after: int, timeout_s: float
    ) -> Habits | None:
        """What the series does by itself, as `habits.fit_habits` says; None when there was no answer in time.

        past: shape (n,), NaN = missing, ending with the deploy; some 2,000 samples at most.
        """
        values = [value for (value,) in _listed(past[:, np.newaxis])]
        sides = {"size": size, "before": before, "after": after}
        told = await self._told({"do": "habits", "past": values, "step_s": step_s, **sides}, timeout_s)
        return None if told is None else Habits(**told)

    async def _told(self, job: Mapping[str, Any], timeout_s: float) -> dict[str, Any] | None:
        line = json.dumps(job).encode() + b"\n"
        if len(line) > _LINE_BYTES_MAX:
            raise ValueError(f"{len(line)} bytes of samples, {_LINE_BYTES_MAX} is the most")
        try:
            async with asyncio.timeout(timeout_s), self._lock:
                return await self._ask(line)
        except TimeoutError:
            log.warning("worker is late", extra={"timeout_s": timeout_s})
            return None

    async def close(self) -> None:
        """End the process; may be called twice, and nothing is answered after it."""
        self._is_closed = True
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        # The end of its input tells an idle worker to go; a busy one is not waited for.
        process.stdin.close()
        try:
            async with asyncio.timeout(_END_WAIT_S):
                await process.wait()
        except TimeoutError:
            await _kill(process)

    async def _ask(self, line: bytes) -> dict[str, Any] | None:
        if self._is_closed:
            return None
        process = self._process = await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        is_answered = False
        try:
            process.stdin.write(line)
            await process.stdin.drain()
            answer = await process.stdout.readline()
            is_answered = answer.endswith(b"\n")
        except (OSError, ValueError) as error:
            # A broken pipe, or a line beyond the limit: the process is replaced below.
            log.warning("worker failed", extra={"because": type(error).__name__})
        finally:
            # Also when the deadline cancels us: an answer to this job must not be read as one to the next.
            if not is_answered:
                self._process = None
                await asyncio.shield(_kill(process))
        if not is_answered:
            log.warning("worker ended without an answer", extra={"returncode": process.returncode})
            return None
        told: dict[str, Any] = json.loads(answer)
        if "bug" in told:
            log.error("worker could not do the job", extra={"because": told["bug"]})
            return None
        return told

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        # -P: the folder of this file holds modules whose names must not hide others'. The environment is not
        # passed on, because it holds secrets; one thread, because the daemon has the other cores.
        passed = {
            name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "HOME") if name in os.environ
        }
        path = os.pathsep.join([str(_ROOT), *(entry for entry in sys.path if entry)])
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(_SCRIPT),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**passed, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            limit=_LINE_BYTES_MAX,
        )


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()


def _listed(values: FloatArray) -> list[list[float | None]]:
    """JSON has no NaN: missing is null."""
    rows: list[list[float]] = np.asarray(values, dtype=np.float64).tolist()
    return [[value if math.isfinite(value) else None for value in row] for row in rows]
