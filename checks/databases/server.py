"""What the kinds that connect to a server share: what it is spared, and whose fault it is when it fails.

It is spared statements that cost too much, or that come while it is busy anyway.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from checks.blame import blame
from checks.model import DatabaseFailed, DatabaseUnable

# What pt-table-checksum takes for a busy server (--max-load, Percona Toolkit).
RUNNING_MAX = 25
LAG_S_MAX = 10.0
# A statement cheaper than that, a look-up by an index, never waits: it makes no difference, and a server
# that a bad deploy keeps busy is one that has to be looked at.
COST_LIGHT = 1_000.0
PAUSE_S = 0.1
PAUSE_S_MAX = 2.0
CONNECTING = "connecting"

Told = DatabaseFailed | DatabaseUnable


@dataclass(frozen=True, slots=True)
class Strain:
    """How busy a server is. running: statements of others. lag_s: behind its primary; None where unknown."""

    running: int
    lag_s: float | None = None


@dataclass(slots=True)
class Stage:
    """What a query is doing, to be told if its time is over."""

    doing: str


@dataclass(slots=True, kw_only=True)
class Server:
    """The limits of a database that others use too; the base of the kinds that connect to a server.

    cost_max: a statement whose plan costs more is not run, which is an `error`.
    running_max: while the server runs more statements than that, a costly one of ours waits; it is an `error`
    if that lasts longer than the check has time.
    lag_max_s: while a replica is further behind its primary than that, a costly statement waits likewise.
    connections: how many we hold at once. A check waits for a free one, and that is part of its `timeout`.
    """

    cost_max: float
    running_max: int = RUNNING_MAX
    lag_max_s: float = LAG_S_MAX
    connections: int = 1
    _slots: asyncio.Semaphore = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.cost_max < math.inf:
            raise ValueError("cost_max: write a number above 0")
        if not 1 <= self.running_max <= 100_000:
            raise ValueError("running_max: write a number from 1 to 100000")
        if not 0 < self.lag_max_s < math.inf:
            raise ValueError("lag_max: write a duration above 0")
        if not 1 <= self.connections <= 10:
            raise ValueError("connections: write a number from 1 to 10")
        self._slots = asyncio.Semaphore(self.connections)

    async def let_run(self, cost: float | None, stage: Stage, look: Callable[[], Awaitable[Strain]]) -> None:
        """Return when a statement of that cost may run; the caller's deadline ends the waiting.

        cost: None where the server does not say. Raises DatabaseUnable for one that costs too much.
        """
        if cost is not None and cost > self.cost_max:
            raise DatabaseUnable(f"not run: its plan costs {cost:.0f}, more than cost_max")
        doing, pause_s = stage.doing, PAUSE_S
        while (cost is None or cost > COST_LIGHT) and (because := self._too_busy(await look())):
            stage.doing = f"waiting: {because}"
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
        stage.doing = doing

    def _too_busy(self, strain: Strain) -> str:
        if strain.running > self.running_max:
            return f"the server runs {strain.running} statements, more than running_max"
        if strain.lag_s is not None and strain.lag_s > self.lag_max_s:
            return f"the replica is {strain.lag_s:.0f} s behind, more than lag_max"
        return ""


@contextmanager
def telling(
    timeout_s: float, stage: Stage, own: tuple[type[Exception], ...], told: Callable[[Any], Told]
) -> Iterator[None]:
    """Say whose fault it is, by what is raised inside and at which stage.

    own: the exceptions of the engine's client. told: what one of them means.
    """
    try:
        yield
    except TimeoutError:
        if stage.doing == CONNECTING:
            raise DatabaseFailed(f"no answer within {timeout_s:.3g} s (connecting)") from None
        raise DatabaseUnable(f"stopped by our own limit of {timeout_s:.3g} s ({stage.doing})") from None
    except OSError as error:
        raise told_of_system(error) from None
    except own as error:
        raise told(error) from None


def told_of_system(error: OSError) -> Told:
    """Whose fault an error of the operating system is."""
    outcome, what = blame(error)
    return (DatabaseFailed if outcome == "fail" else DatabaseUnable)(what)
