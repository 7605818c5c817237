"""More frequent checks for a while after a deploy, and back to normal afterwards."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from watchdog.plan import CheckPlan, ServicePlan
from watchdog.scheduling.schedule import Schedule


@dataclass(slots=True)
class Bursts:
    """Which checks are in a burst; `start` at a deploy, `settle` now and then.

    peers: whom each check asks. per_peer: runs a second that bursts may make of one peer: many services may
    be deployed at once, and what they ask may be one host that has just been deployed, too.
    """

    plans: Mapping[str, ServicePlan]
    schedule: Schedule
    peers: Mapping[str, str]
    per_peer: float
    _ends: dict[str, float] = field(default_factory=dict)
    _checks: dict[str, CheckPlan] = field(default_factory=dict)
    _every_s: dict[str, float] = field(default_factory=dict)

    def start(self, service: str, now: float) -> None:
        """Run the service's bursting checks at their burst interval from now on."""
        for check in self.plans[service].checks:
            if check.burst_every_s is not None:
                self._checks[check.due_name] = check
                self._ends[check.due_name] = now + check.burst_for_s
        self._spread()

    def settle(self, now: float) -> None:
        """Put every check whose burst is over back to its own interval."""
        over = [name for name, end_at in self._ends.items() if end_at <= now]
        for name in over:
            del self._ends[name], self._every_s[name]
            every_s = self._checks.pop(name).interval_s
            if every_s is None:
                self.schedule.stop(name)
            else:
                self.schedule.every(name, every_s)
        if over:
            self._spread()

    def _spread(self) -> None:
        for name, every_s in spread(self._checks, self.peers, self.per_peer).items():
            if self._every_s.get(name) != every_s:
                self._every_s[name] = every_s
                self.schedule.every(name, every_s)


def spread(bursting: Mapping[str, CheckPlan], peers: Mapping[str, str], per_peer: float) -> dict[str, float]:
    """Seconds between two runs of each bursting check: stretched alike for those that ask one peer, so that
    together they ask it `per_peer` times a second at most; but none runs less often than without a burst."""
    wanted: dict[str, float] = defaultdict(float)
    for name, check in bursting.items():
        wanted[peers.get(name, "")] += 1.0 / (check.burst_every_s or math.inf)
    made = {}
    for name, check in bursting.items():
        # What asks nobody (a command, a heartbeat) is no load on a peer.
        stretch = max(wanted[peer] / per_peer, 1.0) if (peer := peers.get(name, "")) else 1.0
        made[name] = min((check.burst_every_s or math.inf) * stretch, check.interval_s or math.inf)
    return made
