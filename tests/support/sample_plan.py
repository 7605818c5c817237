"""A service plan without a configuration file, and open watches without a judge."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from detectors.model import JudgeSettings
from watchdog.model import Limits
from watchdog.plan import ServicePlan

_PLAN = ServicePlan(
    name="checkout",
    environment="prod",
    step_s=1.0,
    history_s=3600.0,
    rollout_max_s=300.0,
    depends_on=(),
    series=(),
    checks=(),
    controls={},
    judge=JudgeSettings(watch_s=60.0, warm_up_s=5.0),
    mode="auto",
    target="deployer",
    valid_s=900.0,
    confirm_s=900.0,
    version=None,
    history_min_s=600.0,
    limits=Limits(),
    is_single_instance=True,
)


def a_plan(**changes: Any) -> ServicePlan:
    """The plan with some of its fields changed."""
    return replace(_PLAN, **changes)


@dataclass
class Watched:
    """As much of a bench as is asked between deploys: which services have an open watch."""

    services: set[str] = field(default_factory=set)

    def is_watched(self, service: str) -> bool:
        """Whether it is one of them."""
        return service in self.services
