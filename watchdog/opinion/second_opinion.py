"""The interrupted-time-series second opinion: the script of the worker process.

Here and nowhere else statsmodels is imported, and only when a job arrives: it brings scipy and pandas, 150 MB
and seconds, which the daemon must not carry. The daemon imports this module for its answer type only. One
JSON job per line comes in and one JSON answer per line goes out, so nothing is pickled. `habits.py` and
`residuals.py` are the other two jobs of this process.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.model import FloatArray
from watchdog.opinion.habits import Habits, fit_habits
from watchdog.opinion.residuals import Diagnostic, diagnose

_Z_95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOpinion:
    """What an interrupted time series says, independently of the judge.

    effect with its 95 % interval [low, high]: after minus before, in the unit of the values (of the ratio for
    two columns), positive = larger. p_value: two-sided, against no change, valid for this one look. model:
    which was fitted. note: what limits it, empty if nothing. Numbers are None where they cannot be had.
    diagnostics: of the model's residuals; empty where no model was fitted.
    """

    effect: float | None
    low: float | None
    high: float | None
    p_value: float | None
    model: str
    note: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()


def fit_second_opinion(before: FloatArray, after: FloatArray, kind: str | None) -> SecondOpinion:
    """The fit itself; imports statsmodels, so it runs in the worker process only.

    Continuous values: y = a + b t + c [after], least squares with Newey-West errors (lag 4 (n/100)^(2/9)),
    c is the effect (Bernal, Cummins, Gasparrini, Int. J. Epidemiology 46, 2017). k of n and counts: binomial
    and Poisson GLM on [after], errors widened by Pearson's dispersion (McCullagh and Nelder 1989, 4.5), the
    effect brought back to the ratio or the count by the delta method; where one side has no event the model
    has no maximum, and intervals of two proportions or rates are given.
    """
    with np.errstate(all="ignore"):
        before = before[np.isfinite(before).all(axis=1)]
        after = after[np.isfinite(after).all(axis=1)]
        if min(len(before), len(after)) < 3:
            note = f"{len(before)} steps before and {len(after)} after are too few"
            return SecondOpinion(effect=None, low=None, high=None, p_value=None, model="none", note=note)
        if before.shape[1] == 2:
            return _of_proportions(before, after)
        if kind in ("count", "rate") and min(before.min(), after.min()) >= 0.0:
            return _of_counts(before[:, 0], after[:, 0])
        return _of_levels(before[:, 0], after[:, 0])


def _of_levels(before: FloatArray, after: FloatArray) -> SecondOpinion:
    import statsmodels.api as sm

    y = np.concatenate([before, after])
    if np.ptp(y) == 0.0:
        return _constant()
    is_after = np.arange(len(y)) >= len(before)
    t = (np.arange(len(y)) - len(before)) / len(y)
    lags = int(4 * (len(y) / 100) ** (2 / 9))
    fit = sm.OLS(y, np.column_stack([np.ones(len(y)), t, is_after])).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True}, use_t=True
    )
    low, high = fit.conf_int()[2]
    note = "perfect fit: the interval is not to be believed" if fit.bse[2] < 1e-12 else ""
    told = _told(fit.params[2], low, high, fit.pvalues[2], f"OLS with trend, HAC errors, {lags} lags", note)
    return replace(told, diagnostics=() if note else diagnose(fit.resid, is_after.astype(np.float64), lags))


def _of_proportions(before: FloatArray, after: FloatArray) -> SecondOpinion:
    import statsmodels.api as sm
    from statsmodels.stats import proportion

    k = np.array([before[:, 0].sum(), after[:, 0].sum()])
    n = np.array([before[:, 1].sum(), after[:, 1].sum()])
    if n.min() <= 0.0 or (k > n).any() or (k < 0.0).any():
        note = "no observations on one side, or more failures than observations"
        return SecondOpinion(effect=None, low=None, high=None, p_value=None, model="none", note=note)
    share = k / n
    if (k == 0.0).any() or (k == n).any():
        sides = (k[1], n[1], k[0], n[0])
        # Newcombe's interval exists also where both sides are all or nothing, the score test does not.
        low, high = proportion.confint_proportions_2indep(*sides, method="newcomb")
        p_value = 1.0
        if share[0] != share[1]:
            p_value = proportion.test_proportions_2indep(*sides, method="score").pvalue
        note = "one side has no event or nothing else; overdispersion is not accounted for"
        return _told(share[1] - share[0], low, high, p_value, "two proportions, Newcombe interval", note)
    rows = np.vstack([before, after])
    is_after = np.arange(len(rows)) >= len(before)
    rows, is_after = rows[rows[:, 1] > 0.0], is_after[rows[:, 1] > 0.0]
    pairs = np.column_stack([rows[:, 0], rows[:, 1] - rows[:, 0]])
    fit = sm.GLM(pairs, _design(is_after), family=sm.families.Binomial()).fit()
    expected = rows[:, 1] * share[is_after.astype(int)]
    variance = expected * (1.0 - share[is_after.astype(int)])
    slope = share * (1.0 - share)
    # d(p1 - p0) by the two coefficients of the logit; p0 depends on the first only.
    gradient = np.array([slope[1] - slope[0], slope[1]])
    dispersion = float(((rows[:, 0] - expected) ** 2 / variance).sum()) / (len(rows) - 2)
    told = _delta(share[1] - share[0], gradient, fit, dispersion, "binomial GLM")
    left = (rows[:, 0] - expected) / np.sqrt(variance)
    return replace(told, diagnostics=diagnose(left, is_after.astype(np.float64), 0))


def _of_counts(before: FloatArray, after: FloatArray) -> SecondOpinion:
    import statsmodels.api as sm
    from statsmodels.stats import rates

    means = np.array([before.mean(), after.mean()])
    y = np.concatenate([before, after])
    if np.ptp(y) == 0.0:
        return _constant()
    if (means == 0.0).any():
        sides = (after.sum(), float(len(after)), before.sum(), float(len(before)))
        low, high = rates.confint_poisson_2indep(*sides, compare="diff", method="score")
        p_value = rates.test_poisson_2indep(*sides, compare="diff", method="score").pvalue
        note = "one side has no event; overdispersion is not accounted for"
        return _told(means[1] - means[0], low, high, p_value, "two Poisson rates, score interval", note)
    is_after = np.arange(len(y)) >= len(before)
    fit = sm.GLM(y, _design(is_after), family=sm.families.Poisson()).fit()
    expected = means[is_after.astype(int)]
    gradient = np.array([means[1] - means[0], means[1]])
    dispersion = float(((y - expected) ** 2 / expected).sum()) / (len(y) - 2)
    told = _delta(means[1] - means[0], gradient, fit, dispersion, "Poisson GLM")
    left = (y - expected) / np.sqrt(expected)
    return replace(told, diagnostics=diagnose(left, is_after.astype(np.float64), 0))


def _design(is_after: npt.NDArray[np.bool_]) -> FloatArray:
    return np.column_stack([np.ones(len(is_after)), is_after]).astype(np.float64)


def _constant() -> SecondOpinion:
    return SecondOpinion(effect=0.0, low=0.0, high=0.0, p_value=1.0, model="none", note="constant")


def _delta(effect: float, gradient: FloatArray, fit: Any, dispersion: float, model: str) -> SecondOpinion:
    # Less spread than the model's is chance: an interval is widened by dispersion, never narrowed.
    covariance = fit.cov_params() * max(1.0, dispersion)
    half = _Z_95 * math.sqrt(max(0.0, float(gradient @ covariance @ gradient)))
    p_value = math.erfc(abs(float(fit.params[1])) / math.sqrt(2.0 * covariance[1, 1]))
    note = f"dispersion {dispersion:.1f}: the steps vary more than chance" if dispersion > 1.5 else ""
    return _told(effect, effect - half, effect + half, p_value, model, note)


def _told(effect: float, low: float, high: float, p: float, model: str, note: str) -> SecondOpinion:
    numbers = [float(x) if math.isfinite(x) else None for x in (effect, low, high, p)]
    return SecondOpinion(
        effect=numbers[0], low=numbers[1], high=numbers[2], p_value=numbers[3], model=model, note=note
    )


def answer_line(line: str) -> Mapping[str, Any]:
    """The answer to one job; a job that fails is answered with its exception, and the process goes on."""
    job = json.loads(line)
    try:
        return asdict(_JOBS[job["do"]](job))
    except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
        return {"bug": f"{type(error).__name__}: {error}"[:500]}


def _opinion_job(job: Mapping[str, Any]) -> SecondOpinion:
    before, after = (
        np.array(job[side], dtype=np.float64).reshape(-1, job["width"]) for side in ("before", "after")
    )
    return fit_second_opinion(before, after, job["kind"])


def _habits_job(job: Mapping[str, Any]) -> Habits:
    past = np.array(job["past"], dtype=np.float64)
    return fit_habits(past, job["step_s"], job["size"], job["before"], job["after"])


_JOBS: Mapping[str, Callable[[Mapping[str, Any]], SecondOpinion | Habits]] = {
    "second_opinion": _opinion_job,
    "habits": _habits_job,
}


def main() -> None:
    """Answer jobs from standard input until it ends."""
    # What a library prints must not land between two answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answer_line(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
