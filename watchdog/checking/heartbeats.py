"""What jobs report: taken in, kept, and handed to the check that waits for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from checks.heartbeat import HeartbeatCheck
from checks.model import Beat, DatabaseUnable
from watchdog.model import Heartbeat
from watchdog.plan import CheckPlan, ServicePlan
from watchdog.store.protocol import Store, StoreUnavailable

log = logging.getLogger("watchdog.checking.heartbeats")


class Reading(Protocol):
    """Where reports are read from."""

    async def heartbeats(self, service: str, name: str) -> list[Heartbeat]:
        """See `Store.heartbeats`."""
        ...


@dataclass(frozen=True, slots=True)
class KeptBeats:
    """Implements `checks.model.Beats` over the store."""

    store: Reading
    plan: CheckPlan

    async def heard(self) -> Sequence[Beat]:
        """Everything kept, oldest first; raises DatabaseUnable if the store cannot be read."""
        try:
            kept = await self.store.heartbeats(self.plan.service, self.plan.name)
        except StoreUnavailable as error:
            raise DatabaseUnable("our store cannot be read now; the daemon's log says why") from error
        return [beat_of(beat) for beat in kept]

    def due_after(self, at: float) -> float:
        """The first time the job is due after `at`."""
        return self.plan.due_after(at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeats:
    """The reports of every check of kind `heartbeat`."""

    plans: Mapping[str, ServicePlan]
    store: Store

    async def await_all(self, now: float) -> None:
        """Wait from now on for every job that is not waited for since an earlier start."""
        await self.store.await_heartbeats(
            [self._kept(check, Beat(state="awaited", at=now)) for check in self._checks()]
        )

    async def hear(self, service: str, name: str, beat: Beat) -> bool:
        """Keep a report; answers when it is durable, False for one that is kept already.

        Raises LookupError with a sentence for a check that waits for none.
        """
        known = {check.due_name: check for check in self._checks()}
        check = known.get(f"{service}/{name}")
        if check is None:
            listed = f"They are: {', '.join(known)}." if known else "None is configured."
            raise LookupError(f"There is no check of kind heartbeat at this address. {listed}")
        is_new = await self.store.hear(self._kept(check, beat))
        log.info(
            "heartbeat",
            extra={"service": service, "check": name, "state": beat.state, "duplicate": not is_new},
        )
        return is_new

    def beats_for(self, plan: CheckPlan) -> KeptBeats | None:
        """What a check waits for, None for a check that asks by itself."""
        return beats_for(self.store, plan)

    def _checks(self) -> Iterator[CheckPlan]:
        for plan in self.plans.values():
            yield from (check for check in plan.checks if isinstance(check.check, HeartbeatCheck))

    def _kept(self, check: CheckPlan, beat: Beat) -> Heartbeat:
        return Heartbeat(
            environment=self.plans[check.service].environment,
            service=check.service,
            name=check.name,
            state=beat.state,
            at=beat.at,
            run=beat.run,
            exit_code=beat.exit_code,
        )


def beats_for(store: Reading, plan: CheckPlan) -> KeptBeats | None:
    """What a check waits for, None for a check that asks by itself."""
    return KeptBeats(store, plan) if isinstance(plan.check, HeartbeatCheck) else None


def beat_of(kept: Heartbeat) -> Beat:
    """The report without whose it is."""
    return Beat(state=kept.state, at=kept.at, run=kept.run, exit_code=kept.exit_code)
