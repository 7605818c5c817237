"""A deadline for each of thousands of probes: as `asyncio.timeout`, but one timer looks after all of them.

A timer for each, armed and disarmed a thousand times a second, costs a probe a twentieth of its time; this
way one ends up to `EVERY_S` late, of seconds.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from types import TracebackType

EVERY_S = 0.05


class Deadlines:
    """Of one event loop."""

    def __init__(self) -> None:
        self._open: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> Deadline:
        """A context manager: what is in it when the time is over is cancelled, and TimeoutError raised."""
        return Deadline(self, seconds)

    def add(self, deadline: Deadline) -> None:
        """Look after it."""
        self._open.add(deadline)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._look)

    def remove(self, deadline: Deadline) -> None:
        """It was left."""
        self._open.remove(deadline)

    def _look(self) -> None:
        now_s = monotonic()
        for deadline in self._open:
            if deadline.until_s <= now_s:
                deadline.end()
        self._timer = None
        if self._open:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._look)


class Deadline:
    """One of them, entered once. until_s: when it ends, monotonic."""

    __slots__ = ("_all", "_cancelling", "_has_ended", "_task", "until_s")

    def __init__(self, all_: Deadlines, seconds: float) -> None:
        self._all = all_
        self._has_ended = False
        self.until_s = monotonic() + seconds

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._all.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._all.remove(self)
        # A cancellation from elsewhere goes on as one, as in `asyncio.Timeout`.
        if self._has_ended and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """The time is over."""
        if not self._has_ended:
            self._has_ended = True
            self._task.cancel()
