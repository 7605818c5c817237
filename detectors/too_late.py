"""What a watch has no look left for: a level that is worse when it ends.

Looks begin with the deploy or soon after, because what begins later is not this deploy's without better
reasons. But a service that stands at twice its latency when its watch ends is not well either. So the last
stretch is compared as every look is, with placebo deploys as far away; that blames nobody, it only withholds
the all-clear.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from detectors.bernoulli import log_bets
from detectors.contrast import Samples, after, count_contrast
from detectors.effect import Effect
from detectors.looks import Look
from detectors.model import FloatArray
from detectors.other_days import foretold
from detectors.past import base_of, history_min, rates_before
from detectors.ruler import make_mark
from detectors.scores import clean_pairs
from detectors.subject import Subject

_DAY_S = 86400.0
_NEWEST = 3  # ticks
_STILL = 0.5  # of a change the newest ticks must show


def too_late_for_looks(subject: Subject, smallest: float) -> tuple[int, Effect] | None:
    """(first tick, effect) of what is worse at the end of a watch though no look found it; None without it.

    smallest: the effect that the watch promises to find (`witness.visible`); less is not asked for. The
    shortest stretch that lies beyond chance, which allows each what it allows a look of its length.
    """
    newest = subject.effect_since(max(len(subject.raw) - _NEWEST, 0))
    if not subject.acts or newest is None:
        return None
    for look in _last_looks(subject):
        effect = subject.effect_since(look.first)
        if effect is None or effect.size <= smallest or newest.size < _STILL * effect.size:
            continue
        if (_beyond_bets if subject.is_probe else _beyond)(subject, look) > 1.0:
            return look.first, effect
    return None


def _last_looks(subject: Subject) -> list[Look]:
    """The looks that begin with the deploy, shortest first, moved to the newest tick."""
    return [
        replace(look, first=len(subject.raw) - look.length, sees_tail=False)
        for look in subject.plan.looks
        if not look.is_late and look.length < subject.judged
    ]


def _beyond_bets(subject: Subject, look: Look) -> float:
    """`_beyond` of a probe: bets on the failures of these ticks alone, which pay for every start tried."""
    failed, run = (x[look.first :].sum(keepdims=True) for x in clean_pairs(subject.raw.rows))
    won = float(log_bets(failed, run, subject.level)[0])
    return won / (subject.bound + math.log(len(subject.plan.looks)))


def _beyond(subject: Subject, look: Look) -> float:
    """How far a look at the newest ticks lies beyond chance, in multiples of what that is allowed; 0 where it
    cannot be told."""
    ticks, origins = len(subject.base.raw), subject.origins
    if subject.unmeasured or ticks < history_min(look.length):
        return 0.0
    contrast, level, rise, floor = (_of_counts if subject.base.is_paired else _of_values)(subject, look)
    if not rise >= subject.least_rise(level):
        return 0.0
    # Of the others only those that ended before the deploy are placebos.
    contrast[1:][origins.at[1:] + look.first + look.length > ticks] = np.nan
    told = foretold(contrast, origins, has_season=subject.has_season)
    mark = make_mark(contrast, told, look, origins, floor, subject.alpha, ticks)
    if mark is None or math.isnan(contrast[0]):
        return 0.0
    return float((contrast[0] - mark.expected) / mark.scale / mark.limit / subject.joint)


def _of_values(subject: Subject, look: Look) -> tuple[FloatArray, float, float, float]:
    """(contrast at every origin, level before the deploy, rise above it, least scale)."""
    raw = np.concatenate([subject.base.raw[:, 0], subject.raw.column])
    samples, at = Samples.of(subject.base.score.of(raw)), subject.origins.at
    (found,) = after(samples, at, look)
    level = base_of(samples, at, look.length, found).level
    return found - level, float(level[0]), float(found[0] - level[0]), subject.floor


def _of_counts(subject: Subject, look: Look) -> tuple[FloatArray, float, float, float]:
    """The same of a series of events; its level and rise are shares."""
    at, usual = subject.origins.at, max(round(_DAY_S / subject.plan.step_s), 1)
    k, n = subject.events_of(np.concatenate([subject.base.raw, subject.raw.rows]))
    rate = rates_before(k, n, at, usual)
    some, all_of = k[-look.length :].sum(), n[-look.length :].sum()
    rise = float(some / all_of - rate[0]) if all_of > 0.0 else 0.0
    return count_contrast(k, n, rate, at, look), float(rate[0]), rise, 1.0
