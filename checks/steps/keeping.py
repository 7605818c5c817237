"""What a run of a scenario has to clean up, written down before it can be lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from checks.blame import Problem
from checks.model import Cleanup, Cleanups, DatabaseUnable
from checks.steps.cleaning import Cleaning
from checks.steps.model import Run

# Runs of one check that may wait to be cleaned up; with so many of them nothing more is created.
PENDING_MAX = 100
VALUES_CHARS_MAX = 8192  # of one run, as JSON


async def pending(cleanups: Cleanups, timeout_s: float) -> Sequence[Cleanup] | Problem:
    """What earlier runs left, or why nothing may be created now."""
    try:
        async with asyncio.timeout(timeout_s):
            found = await cleanups.pending()
    except (TimeoutError, DatabaseUnable) as error:
        return Problem("error", f"not begun: what is left to be cleaned up cannot be read ({_said(error)})")
    if len(found) >= PENDING_MAX:
        because = f"not begun: {len(found)} earlier runs are not cleaned up yet ({found[0].because})"
        return Problem("error", because)
    return found


@dataclass(slots=True)
class Keeping:
    """Keeps what one run has to clean up.

    cleanups: where it is kept, None where nobody does. timeout_s: of our own store, which takes milliseconds.
    """

    cleanups: Cleanups | None
    timeout_s: float
    cleaning: Cleaning
    run: Run
    began_at: float
    _kept: Cleanup | None = field(init=False, default=None)

    async def keep(self) -> Problem | None:
        """Write down what the run's values let be cleaned up; a problem if that cannot be."""
        values = self.run.values
        owed = self.cleaning.owed(values)
        used = {
            name for place in owed for name in self.cleaning.steps[place].step.placeholders()
        } & values.keys()
        cleanup = Cleanup(
            run_id=values["run_id"],
            steps=owed,
            values={name: values[name] for name in sorted(used - {"run_id"} - self.run.secrets)},
            since_at=self.began_at,
        )
        if self.cleanups is None or not owed or cleanup == self._kept:
            return None
        if len(json.dumps(cleanup.values)) > VALUES_CHARS_MAX:
            return Problem("error", f"the values for cleanup are longer than {VALUES_CHARS_MAX} characters")
        # Before it is known to be durable: one that is kept for nothing is only cleaned up twice.
        self._kept = cleanup
        try:
            async with asyncio.timeout(self.timeout_s):
                await self.cleanups.keep(cleanup)
        except (TimeoutError, DatabaseUnable) as error:
            return Problem("error", f"what is to be cleaned up cannot be written down ({_said(error)})")
        return None

    async def settle(self, left: Sequence[str], because: str) -> None:
        """Note which steps are left after the run's own cleanup."""
        if self.cleanups is not None and self._kept is not None:
            await settle(self.cleanups, self.run, left, because, self.timeout_s)


async def settle(cleanups: Cleanups, run: Run, left: Sequence[str], because: str, timeout_s: float) -> None:
    """Note which steps are left after a cleanup; where that fails, all of it is tried again later."""
    try:
        async with asyncio.timeout(timeout_s):
            await cleanups.settle(run.values["run_id"], left, because)
    except (TimeoutError, DatabaseUnable) as error:
        run.details.append(f"skip noting what was cleaned up ({_said(error)}): it is done again")


def _said(error: Exception) -> str:
    return str(error) or "our store did not answer in time"
