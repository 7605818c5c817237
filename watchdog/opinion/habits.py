"""What a series does by itself: its daily pattern and the level changes before a deploy.

Runs in the worker process, for the report: "it jumped like this three times last week, without any deploy" is
the first thing to be asked of a verdict. The judge has its own, stricter answer in its limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.model import FloatArray
from detectors.segments import fitted, level_changes, segment

_DAY_S = 86400.0
_WEEK_S = 7 * _DAY_S
_DAYS_MIN = 3
_BINS_MAX = 2016  # a week of five minutes: the fits take a second, and spikes are gone
_SAMPLES_MIN = 50  # of noise with fewer, the segments break every second series
_SEEN_MIN = 0.7  # of a season's samples: what is filled in is not to be what is found
_STRETCH_MIN = 5  # samples: fewer would let one line's own noise count
_EXPLAINED_MIN = 0.3  # of the variance within days; a weaker pattern moves no level that matters


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What the stretch before a deploy shows, in the unit of its values.

    days: its length. changes: level changes of at least half of the size asked for, up or down, with the
    daily pattern taken off; None where too little was seen. largest: the largest of all, without sign, 0 if
    there is none. season_explains: share of the variance within days that a daily pattern accounts for, None
    where that cannot be told. season_effect: what the time of day alone does from just before the deploy to
    after it, positive = larger; None without a pattern.
    """

    days: float
    changes: int | None = None
    largest: float | None = None
    season_explains: float | None = None
    season_effect: float | None = None


def coarse(rows: FloatArray, step_s: float) -> tuple[FloatArray, float]:
    """The last week of rows, shape (n, width), in at most 2,016 bins: (levels, shape (m,); length of a bin).

    A level is the median of its samples, or the quotient of its sums for two columns; NaN where nothing was
    seen. The bins end with the last row; an incomplete first one is left out.
    """
    rows = rows[-round(_WEEK_S / step_s) :]
    size = max(1, -(-len(rows) // _BINS_MAX))
    bins = rows[len(rows) % size :].reshape(-1, size, rows.shape[1])
    levels = np.full(len(bins), np.nan)
    if rows.shape[1] == 1:
        seen = np.isfinite(bins[:, :, 0]).any(axis=1)
        levels[seen] = np.nanmedian(bins[seen, :, 0], axis=1)
        return levels, size * step_s
    paired = np.where(np.isfinite(bins).all(axis=2, keepdims=True), bins, 0.0)
    above, below = paired.sum(axis=1).T
    np.divide(above, below, out=levels, where=below > 0.0)
    return levels, size * step_s


def fit_habits(past: FloatArray, step_s: float, size: float, before: int, after: int) -> Habits:
    """The habits of a series; imports statsmodels, so it runs in the worker process only.

    past: shape (n,), NaN = missing, ending with the deploy. size: of the change to be compared with, > 0.
    before, after: samples compared on each side of the deploy.

    Season: STL (Cleveland et al., J. Official Statistics 6, 1990), robust and the same every day, fitted
    twice: the second time to the series less its own segments, found in what the first season leaves.
    Otherwise a level change is smeared into the season, and comes back every day with the other sign. It is
    believed if it explains 0.3 of the variance within days (X. Wang, K. Smith, R. Hyndman, Data Mining and
    Knowledge Discovery 13, 2006), corrected for the samples it was fitted to.
    """
    days = len(past) * step_s / _DAY_S
    if np.isfinite(past).sum() < _SAMPLES_MIN:
        return Habits(days=days)
    profile, explains = _season(past, np.zeros(len(past)), step_s)
    if explains is not None:
        own = fitted(segment(past - np.resize(profile, len(past))))
        profile, explains = _season(past, own, step_s)
    effect = None
    if explains is not None and explains >= _EXPLAINED_MIN:
        n = len(past)
        now, then = np.arange(n, n + after), np.arange(max(0, n - before), n)
        effect = float(profile[now % len(profile)].mean() - profile[then % len(profile)].mean())
        past = past - np.resize(profile, n)
    found = np.abs(level_changes(segment(past), max(after, _STRETCH_MIN)))
    return Habits(
        days=days,
        changes=int((found >= 0.5 * size).sum()),
        largest=float(found.max(initial=0.0)),
        season_explains=explains,
        season_effect=effect,
    )


def _season(past: FloatArray, own: FloatArray, step_s: float) -> tuple[FloatArray, float | None]:
    """The daily pattern of past less its own lines, shape (period,), mean 0; what it explains, or None."""
    period = round(_DAY_S / step_s)
    cycles = len(past) // max(period, 1)
    seen = np.isfinite(past)
    is_whole = period >= 4 and abs(period * step_s - _DAY_S) < 1e-6 * _DAY_S
    if not is_whole or cycles < _DAYS_MIN or seen.mean() < _SEEN_MIN or np.ptp(past[seen]) == 0.0:
        return np.zeros(1), None
    from statsmodels.tsa.seasonal import STL

    at = np.arange(len(past))
    filled = np.interp(at, at[seen], (past - own)[seen])
    jump = max(1, period // 10)
    fit = STL(
        filled,
        period=period,
        # A window wider than the series and degree 0: one pattern for all days.
        seasonal=20 * cycles + 1,
        seasonal_deg=0,
        robust=True,
        trend_jump=jump,
        low_pass_jump=jump,
    ).fit()
    phase = at % period
    profile = np.bincount(phase, fit.seasonal, period) / np.bincount(phase, minlength=period)
    profile -= profile.mean()
    within = (filled - fit.trend)[seen]
    if np.var(within) <= 1e-9 * np.var(past[seen]):
        return profile, 0.0
    left = within - profile[phase[seen]]
    # A pattern of `period` means takes one part in `cycles` of any noise.
    explains = 1.0 - float(np.var(left) / np.var(within)) * cycles / (cycles - 1)
    return profile, min(max(explains, 0.0), 1.0)
