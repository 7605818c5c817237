"""How long this service takes to settle after a deploy, learned from its own past ones.

Random stretches of the history hold no restarts, so placebos cannot tell what a cold cache costs; the deploys
before this one can.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from detectors.model import DeployInterval, FloatArray, SeriesSpec
from detectors.robust import median, medians, robust_sd
from detectors.scores import choose_score, clean_pairs

_DEPLOYS_MIN = 10
_BEFORE = 30  # ticks that give the level before a deploy
_HABIT = 0.3  # quantile over the deploys: what is not exceeded by most of them is no habit
_RISE = 0.5  # s.d.: that quantile of ten normal samples lies at -0.5, s.d. 0.4
_EVERY = 7  # ticks between two looks at how far samples stray
_LATEST = 2  # ticks after the end of a deploy by which a restart must show


def learned_warm_up(
    spec: SeriesSpec, history: FloatArray, end_at: float, past: Sequence[DeployInterval], most_s: float
) -> float:
    """Seconds after a deploy for which most past deploys raised this series; 0 when they did not.

    history: shape (n, width), ending at `end_at`. past: deploys before this one; ten of them must lie in the
    history. most_s: a rise that lasts longer is no restart, and is not learned. What counts is the rise over
    the level before that seven of ten deploys reach, in s.d. of such rises, tick by tick: a few bad deploys
    among them teach nothing. Only rises in the bad direction count.
    """
    most = math.floor(most_s / spec.step_s)
    if most < 1 or len(past) < _DEPLOYS_MIN:
        return 0.0
    y = _values(spec, history)
    if y is None:
        return 0.0
    rises = []
    for deploy in past:
        started, finished = (
            len(y) - math.ceil((end_at - at) / spec.step_s) for at in (deploy.started_at, deploy.finished_at)
        )
        if started < _BEFORE or finished + most + 1 > len(y):
            continue
        before = y[started - _BEFORE : started]
        seen = before[np.isfinite(before)]
        if len(seen) >= 0.5 * _BEFORE:
            rises.append(y[finished : finished + most + 1] - median(seen))
    if len(rises) < _DEPLOYS_MIN:
        return 0.0
    # A gap is no rise.
    usual = np.quantile(np.where(np.isfinite(rises), rises, 0.0), _HABIT, axis=0)
    raised = usual > max(_RISE * _stray(y), 1e-12)
    if not raised[:_LATEST].any():
        return 0.0
    begin = int(np.argmax(raised))
    calm = np.flatnonzero(~raised[begin:])
    return (begin + int(calm[0])) * spec.step_s if calm.size else 0.0


def _stray(y: FloatArray) -> float:
    """By how much a sample usually lies off the level of the ticks before it, as a robust s.d."""
    windows = np.lib.stride_tricks.sliding_window_view(y, _BEFORE + 1)[::_EVERY]
    whole = windows[np.isfinite(windows).all(axis=1)]
    if not len(whole):
        return 0.0
    return robust_sd(whole[:, -1] - medians(whole[:, :-1]), 0.0)


def _values(spec: SeriesSpec, history: FloatArray) -> FloatArray | None:
    """One number per tick of which more is worse; None for what is not judged by looks at values."""
    sign = 1.0 if spec.bad == "up" else -1.0
    if spec.kind == "ratio":
        k, n = clean_pairs(history)
        return sign * np.where(n > 0.0, k / np.maximum(n, 1e-300), np.nan)
    if spec.width == 1:
        return choose_score(spec, history[:, 0]).of(history[:, 0])
    return None
