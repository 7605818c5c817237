"""Kind `command`: any executable that keeps the contract of the Monitoring Plugins; there are thousands.

The contract: https://www.monitoring-plugins.org/doc/guidelines.html, on output, return codes and
performance data.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from pydantic import SecretStr

from checks.model import CheckResult, Outcome, World
from checks.text import Mask, finish, sign

OUTPUT_BYTES_MAX = 65_536
READINGS_MAX = 100
LINES_SHOWN_MAX = 20
ENDING_S = 0.5  # how long a killed process may take to be gone, and its pipes to be closed

_OUT, _ERR = 1, 2


@dataclass(slots=True, kw_only=True, repr=False)
class CommandCheck:
    """Run a program and take its exit code as the outcome: 0 pass, 1 `warning`, 2 fail, else error.

    The first line of its output says why. It has no input and runs in a session of its own. When it ends,
    when the time is over, or when it writes more than 64 KiB, every process left in its group is killed. To
    run out of time or output is an `error`; a program that can give up by itself (`-t`) should do so earlier.

    argv: the program and its arguments; no shell is involved. Every user of the machine can see them, so
    secrets go into environment. warning: what exit code 1 counts as, `pass` or `fail`.
    environment: the variables it gets, beside PATH; it inherits no other. Values are treated as secrets.
    cwd: an absolute folder to run in.
    Readings: total_s, and what follows a `|` in its output (`'label'=value[unit]`), named by label and unit:
    time_s (s, ms, us), load_ratio (%), size_bytes (B, KB, KiB, ...; KB is 1000, KiB 1024), requests_total
    (c); at most 100, durations only of runs that passed, none of an `error`.
    """

    argv: tuple[str, ...]
    warning: Literal["pass", "fail"] = "fail"
    environment: Mapping[str, SecretStr] = field(default_factory=dict)
    cwd: str = "/"
    _mask: Mask = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise ValueError(
                "argv: empty; write the program and its arguments, [/usr/lib/x/check_y, -H, host]"
            )
        if any("\0" in word for word in self.argv):
            raise ValueError("argv: an argument cannot hold a NUL character")
        for name, value in self.environment.items():
            if not name or "=" in name or "\0" in name + value.get_secret_value():
                raise ValueError(f"environment: {name!r} or its value cannot be a variable")
        if not PurePath(self.cwd).is_absolute() or "\0" in self.cwd:
            raise ValueError(f"cwd: {self.cwd!r} is not an absolute path; write it from the root")
        self._mask = Mask(value.get_secret_value() for value in self.environment.values())

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        began_s = world.mono_s()
        program = PurePath(self.argv[0]).name
        try:
            ended = await self._execute(world.timeout_s)
        except (OSError, ValueError) as error:
            return self._told("error", f"{program} cannot be started ({_reason(error)})", "", {}, ())
        total_s = world.mono_s() - began_s
        text, perfdata = _parts(ended.out)
        lines = (*text.splitlines()[:LINES_SHOWN_MAX], *ended.err.splitlines()[:LINES_SHOWN_MAX])
        if ended.limit:
            return self._told("error", f"{program}: stopped by our own limit of {ended.limit}", "", {}, lines)
        outcome, meaning = self._meaning(ended.code)
        said = next((line.strip() for line in lines if line.strip()), "it said nothing")
        return self._told(
            outcome,
            "" if outcome == "pass" else f"{program} {meaning}: {said}",
            f"{program} {meaning}, {total_s * 1000:.0f} ms",
            _kept({**_readings(perfdata), "total_s": total_s}, outcome),
            lines,
        )

    def _meaning(self, code: int) -> tuple[Outcome, str]:
        match code:
            case 0:
                return "pass", "is OK"
            case 1:
                return self.warning, "warns"
            case 2:
                return "fail", "is critical"
            case 3:
                return "error", "does not know"
        if code < 0:
            return "error", f"was ended by {_signal_name(-code)}"
        return "error", f"exited with {code}, which has no meaning"

    def _told(
        self,
        outcome: Outcome,
        because: str,
        note: str,
        readings: Mapping[str, float],
        lines: tuple[str, ...],
    ) -> CheckResult:
        shown = ", ".join(f"{name} {value:.6g}" for name, value in readings.items())
        details = [f"{sign(outcome)} {note or because}", *(f"     {line}" for line in lines)]
        if shown:
            details.append(f"     readings: {shown}")
        return finish(outcome, because, readings=readings, details=details, mask=self._mask)

    async def _execute(self, timeout_s: float) -> _Ended:
        """Run to the end or to a limit; nothing of it is left. Raises OSError if it cannot be started."""
        transport, heard = await self._started()
        limit = ""
        try:
            async with asyncio.timeout(timeout_s):
                await heard.ended.wait()
        except TimeoutError:
            limit = f"{timeout_s:g} s"
        finally:
            await _end(transport, heard)
        if heard.is_too_much:
            limit = f"{OUTPUT_BYTES_MAX} bytes of output"
        code = transport.get_returncode()
        # One that is not collected yet is one that we killed.
        return _Ended(-signal.SIGKILL if code is None else code, heard.text(_OUT), heard.text(_ERR), limit)

    async def _started(self) -> _Process:
        """A running process; when cancelled, what was just starting is ended with all its children."""
        variables = {name: value.get_secret_value() for name, value in self.environment.items()}
        starting = asyncio.ensure_future(
            asyncio.get_running_loop().subprocess_exec(
                _Heard,
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", os.defpath), **variables},
                cwd=self.cwd,
                start_new_session=True,
            )
        )
        try:
            # Else asyncio would end the first process only, and wait for the pipes that the others hold.
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            with suppress(OSError, ValueError):
                await _end(*await starting)
            raise


async def _end(transport: asyncio.SubprocessTransport, heard: _Heard) -> None:
    """Kill what is left of the group and close the pipes."""
    with suppress(ProcessLookupError):
        os.killpg(transport.get_pid(), signal.SIGKILL)
    # A process that left the group may hold the pipes open for ever.
    with suppress(TimeoutError):
        async with asyncio.timeout(ENDING_S):
            await heard.closed.wait()
    transport.close()


@dataclass(frozen=True, slots=True)
class _Ended:
    """What came of a process. limit: the limit of ours that ended it, empty if none did."""

    code: int
    out: str
    err: str
    limit: str


class _Heard(asyncio.SubprocessProtocol):
    """What a process says, up to a bound."""

    def __init__(self) -> None:
        self.ended, self.closed = asyncio.Event(), asyncio.Event()
        self.is_too_much = False
        self._output = {_OUT: bytearray(), _ERR: bytearray()}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Keep it; what is beyond the bound ends the run."""
        if self.is_too_much or sum(map(len, self._output.values())) + len(data) > OUTPUT_BYTES_MAX:
            self.is_too_much = True
            self.ended.set()
        else:
            self._output[fd] += data

    def process_exited(self) -> None:
        """It is over, though others may still hold its pipes."""
        self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Everything it said has been read."""
        self.closed.set()

    def text(self, fd: int) -> str:
        """What was said there."""
        return self._output[fd].decode("utf-8", "replace")


_Process = tuple[asyncio.SubprocessTransport, _Heard]


def _kept(readings: Mapping[str, float], outcome: Outcome) -> dict[str, float]:
    """What of the readings counts: nothing of a run that could not tell, no latency of one that failed."""
    if outcome == "error":
        return {}
    return {name: value for name, value in readings.items() if outcome == "pass" or not name.endswith("_s")}


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _parts(output: str) -> tuple[str, str]:
    """The text for people and the performance data.

    `|` begins the data of the first line; one in a later line begins data that goes on to the end.
    """
    first, _, rest = output.partition("\n")
    text, _, data = first.partition("|")
    more_text, _, more_data = rest.partition("|")
    return f"{text.rstrip()}\n{more_text}".rstrip(), f"{data} {more_data}"


# A quoted label may hold anything, a quote written twice; thresholds after `;` are not readings.
_PERFDATA = re.compile(
    r"(?<!\S)(?:'(?P<quoted>(?:[^']|'')+)'|(?P<plain>[^\s'=]+))"
    r"=(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?P<unit>[A-Za-zµ%]*)(?=[;\s]|$)"
)
# Unit in lower case -> ending of the reading's name and factor to the unit it names. The guidelines leave the
# size of KB open; it is read as Icinga does: KB = 1000, KiB = 1024.
_UNITS: Mapping[str, tuple[str, float]] = {
    "s": ("s", 1.0),
    "ms": ("s", 1e-3),
    "us": ("s", 1e-6),
    "µs": ("s", 1e-6),
    "ns": ("s", 1e-9),
    "%": ("ratio", 0.01),
    "b": ("bytes", 1.0),
    **{f"{prefix}b": ("bytes", 1000.0**n) for n, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": ("bytes", 1024.0**n) for n, prefix in enumerate("kmgt", 1)},
}


def _readings(perfdata: str) -> dict[str, float]:
    """The first `READINGS_MAX` values that are numbers, in base units; of two with one name the first."""
    readings: dict[str, float] = {}
    for name, value in _values(perfdata):
        if len(readings) < READINGS_MAX and math.isfinite(value):
            readings.setdefault(name, value)
    return readings


def _values(perfdata: str) -> Iterator[tuple[str, float]]:
    for found in _PERFDATA.finditer(perfdata):
        label = (found["quoted"] or found["plain"]).replace("''", "'")
        unit = found["unit"]
        # Only the counter is told by its case: a capital C is a temperature.
        ending, factor = ("total", 1.0) if unit == "c" else _UNITS.get(unit.lower(), (unit.lower(), 1.0))
        # `/` is what check_disk calls the root of the file system.
        name = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") or "root"
        if ending and name != ending and not name.endswith(f"_{ending}"):
            name = f"{name}_{ending}"
        yield name, float(found["value"]) * factor
