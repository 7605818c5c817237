"""More frequent checks for a while after a deploy, and back to normal afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from watchdog.plan import ServicePlan
from watchdog.schedule import Schedule


@dataclass(slots=True)
class Bursts:
    """Which services are in a burst; `start` at a deploy, `settle` now and then."""

    plans: Mapping[str, ServicePlan]
    schedule: Schedule
    # Name of a check to when its burst ends and the interval it goes back to, None where cron says when.
    _ends: dict[str, tuple[float, float | None]] = field(default_factory=dict)

    def start(self, service: str, now: float) -> None:
        """Run the service's bursting checks at their burst interval from now on."""
        for check in self.plans[service].checks:
            if check.burst_every_s is not None:
                self._ends[check.due_name] = (now + check.burst_for_s, check.interval_s)
                self.schedule.every(check.due_name, check.burst_every_s)

    def settle(self, now: float) -> None:
        """Put every check whose burst is over back to its own interval."""
        for name, (end_at, every_s) in list(self._ends.items()):
            if end_at <= now:
                del self._ends[name]
                if every_s is None:
                    self.schedule.stop(name)
                else:
                    self.schedule.every(name, every_s)
