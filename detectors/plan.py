"""The watch laid on the grid: every constant in steps, derived from the settings and the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from detectors.looks import Look, plan_looks
from detectors.model import DeployInterval, JudgeSettings

# Of a step: what rounding of times may cost without moving a sample into the next step.
_SLACK = 1e-6
# What a deploy breaks it mostly breaks at once, however long it is watched.
_HALF_LIFE_S = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When what happens, in ticks after the end of the history (tick 0 is the first of them).

    end_at: epoch seconds, end of the last step of the history. gap: ticks that begin during the roll-out or
    the warm-up. judged: ticks after those, up to the end of the watch. finished: ticks that begin before
    the deploy finished. level: ticks before the deploy that give the level to compare with. dwell,
    severe_dwell: ticks a crossing must hold, and a hard break inside the warm-up. half_life: of the prior
    of the onset, in ticks. lookback: ticks before the deploy in which an onset is looked for. looks: what is
    compared with what. zone_s: the clocks of the service before UTC.
    """

    step_s: float
    end_at: float
    gap: int
    judged: int
    finished: int
    level: int
    dwell: int
    severe_dwell: int
    half_life: float
    lookback: int
    zone_s: float = 0.0
    looks: tuple[Look, ...] = ()

    @property
    def span(self) -> int:
        """Ticks from the deploy to the end of its watch."""
        return self.gap + self.judged

    def tick_end(self, i: int) -> float:
        """End of tick i, epoch seconds."""
        return self.end_at + (i + 1) * self.step_s


def plan_watch(
    deploy: DeployInterval,
    settings: JudgeSettings,
    step_s: float,
    end_at: float,
    history: int,
    learned_s: float = 0.0,
) -> Plan:
    """Plan of one watch. history: ticks of history there are; end_at: where they end. learned_s: how long
    past deploys took to settle (`warmup`), where that is longer than the warm-up that was configured.

    The level rests on twice the watch (and at least 30 ticks), at most half of the history, so that
    placebo deploys remain. The half-life is an 18th of the watch, at most 150 s: two deploys 10 min
    apart can then still be told apart by the prior alone.
    """
    to_finish = (deploy.finished_at - end_at) / step_s
    gap = max(0, math.ceil(to_finish + max(settings.warm_up_s, learned_s) / step_s - _SLACK))
    last = max(math.floor(to_finish + settings.watch_s / step_s + _SLACK), gap + 1)
    level = max(min(history, 30), min(max(2 * last, 30), history // 2))
    return Plan(
        step_s=step_s,
        end_at=end_at,
        gap=gap,
        judged=last - gap,
        finished=max(0, math.ceil(to_finish - _SLACK)),
        level=level,
        dwell=max(1, min(2, (last - gap) // 4)),
        severe_dwell=max(2, math.ceil(settings.warm_up_s / 2 / step_s)),
        half_life=max(min(settings.watch_s / 18, _HALF_LIFE_S) / step_s, 0.5),
        lookback=min(level, 100),
        zone_s=settings.zone_s,
        looks=plan_looks(gap, last - gap, step_s),
    )
