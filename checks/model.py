"""What a check is: one observation of the world, its outcome, and its readings.

This module holds the types every kind of check shares, so that a new kind is one file
that imports only this one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import aiohttp

from checks.blame import Outcome as Outcome
from checks.deadline import Deadlines
from checks.dialect import Dialect
from checks.wire.kept import Kept

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one run of a check saw.

    outcome: `pass`; `fail` = the target answered wrongly or not at all; `error` = the check
    could not tell (our DNS, credentials, a cost gate) and counts as missing data, never as evidence.
    because: one sentence naming what failed and the value it had; empty for `pass`.
    readings: finite numbers; what a name says (`total_s`, `mismatches_per_million`) is in `checks.readings`.
    details: at most 100 lines for `check run`, in the order things happened.
    written_at: when the first and the last of the rows that are wrong were written, epoch seconds, where that
    is known: what lost them ran then.
    """

    outcome: Outcome
    because: str = ""
    readings: Mapping[str, float] = field(default_factory=dict)
    details: tuple[str, ...] = ()
    written_at: tuple[float, float] | None = None


class DatabaseUnable(Exception):
    """The query could not be answered for a reason that says nothing about the service.

    Our credentials, permissions, DNS, a cost gate, or a statement stopped by our own limit:
    a check that meets it has outcome `error`.
    """


class DatabaseMismatch(DatabaseUnable):
    """The statement names what is not there, or does not fit the schema.

    Of a check that never succeeded that is a mistake in its query (`error`); of one that did, the schema
    changed under it (`fail`).
    """


class DatabaseFailed(Exception):
    """The database refused the connection or answered wrongly: an observation, outcome `fail`."""


class Snapshot(Protocol):
    """A database as it was at one moment, whatever is written meanwhile. One statement at a time."""

    async def rows(self, sql: str, params: Mapping[str, Any], *, rows_max: int) -> Sequence[Row]:
        """Rows in the order of the query, at most `rows_max` (more raises DatabaseUnable).

        params: values for `:name` places in `sql`. Raises DatabaseUnable or DatabaseFailed, nothing else.
        """
        ...


class Database(Protocol):
    """A database opened read-only; kinds are listed in `checks.databases.DATABASES`."""

    @property
    def dialect(self) -> Dialect:
        """How this engine spells what the checks write themselves."""
        ...

    def snapshot(self, *, timeout_s: float) -> AbstractAsyncContextManager[Snapshot]:
        """One read-only transaction, on a connection of its own, which together may take `timeout_s`.

        Raises as `Snapshot.rows`.
        """
        ...

    async def close(self) -> None:
        """Give back every connection; may be called twice."""
        ...


BeatState = Literal["awaited", "start", "success", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a job reported of one of its runs, at `at` (epoch seconds, by the clock of who heard it).

    `awaited` is nobody's report: from then on there should have been some. run: the job's name for the run,
    empty where it gives none. exit_code: of its process, None if not told.
    """

    state: BeatState
    at: float
    run: str = ""
    exit_code: int | None = None


class Beats(Protocol):
    """The reports of the one job that a check waits for."""

    async def heard(self) -> Sequence[Beat]:
        """The newest few hundred, oldest first. Raises DatabaseUnable if they cannot be read now."""
        ...

    def due_after(self, at: float) -> float:
        """The first time the job is due after `at`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanup:
    """What one run of a check has created and not removed yet.

    run_id: of that run; whoever cleans up after it sends it again. steps: what is still to be done, as
    `DELETE https://shop.example/orders/{order}`. values: of its places, as JSON has them; never a secret.
    since_at: epoch seconds. because: why the newest try failed, empty before.
    """

    run_id: str
    steps: tuple[str, ...]
    values: Mapping[str, Any]
    since_at: float
    because: str = ""


class Cleanups(Protocol):
    """What the runs of one check still have to clean up, kept over a crash.

    Every method raises DatabaseUnable if that cannot be read or written now.
    """

    async def pending(self) -> Sequence[Cleanup]:
        """All of them, oldest first."""
        ...

    async def keep(self, cleanup: Cleanup) -> None:
        """Durable when it returns; replaces what was kept of the same run."""
        ...

    async def settle(self, run_id: str, left: Sequence[str], because: str) -> None:
        """It was tried, and these steps are left; forgotten if none is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything outside a check: handed in, so that a test can hand in another.

    now_s: epoch seconds UTC. mono_s: monotonic seconds. sleep: seconds.
    run_id: 32 hexadecimal digits, unique per run; sent as `X-Synthetic`, and as the id of the trace.
    timeout_s: how long the world may take to answer; a check ends itself by it, so that it can say whether
    the target (`fail`) or our own limit (`error`) was the cause. See `deadline_s` for the caller's side.
    http: opened by `checks.web.exchange.shared_session`. kept: connections of checks that keep theirs.
    deadlines: what ends those that wait for too long.
    beats: reports for this check, None where nobody takes any in. cleanups: what this check has to clean up,
    None where nobody keeps that. wants_details: whether somebody reads `CheckResult.details`; what is dear to
    write may be left out otherwise.
    """

    http: aiohttp.ClientSession
    databases: Mapping[str, Database]
    now_s: Callable[[], float]
    mono_s: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    run_id: str
    timeout_s: float = 10.0
    beats: Beats | None = None
    cleanups: Cleanups | None = None
    wants_details: bool = True
    kept: Kept = field(default_factory=Kept)
    deadlines: Deadlines = field(default_factory=Deadlines)


class Check(Protocol):
    """One configured check. The fields of the dataclass are its configuration."""

    async def run(self, world: World) -> CheckResult:
        """Observe once. The caller cancels at `deadline_s`; the check cleans up in `finally`.

        Never raises for what the world does; an exception is a bug of the check.
        """
        ...


def may_act(check: Check) -> bool:
    """Whether a failure of the check may lead to a rollback; a kind that may not says so by `may_act`.

    Such a kind warns of what a rollback would do, so its failure must not cause one.
    """
    allowed: bool = getattr(check, "may_act", True)
    return allowed


def deadline_s(check: Check, timeout_s: float) -> float:
    """Seconds after which the caller of `run` cancels: a little after the check should have ended itself.

    A kind that by design takes longer than its `timeout_s` (a scenario that cleans up, a reconciliation
    that lets rows settle) says by how much in its property `beyond_s`.
    """
    beyond_s: float = getattr(check, "beyond_s", 0.0)
    return timeout_s + beyond_s + 1.0
