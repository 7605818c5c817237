"""What the second opinion's fit leaves over, and what that means for believing it. Worker process only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.model import FloatArray

_SAMPLES_MIN = 20  # fewer residuals tell nothing about their own shape
_LAGS_MAX = 10
# Three tests per series, each read as a warning: one false one in 33 reports.
_P_MAX = 0.01
_MEMORY_MAX = 0.1  # correlation that may be left beyond the steps the errors allow for
_KURTOSIS_MIN = 1.0  # excess; less moves no 95 % interval by a tenth


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One test of the residuals. value: lag-1 correlation, ratio of variances or excess kurtosis.

    p_value: against residuals as the model has them, for this one look. means: what follows for the second
    opinion, one sentence; empty when nothing does.
    """

    name: str
    value: float
    p_value: float
    means: str = ""


def diagnose(left: FloatArray, is_after: FloatArray, lags: int) -> tuple[Diagnostic, ...]:
    """The tests of residuals of shape (n,), oldest first; imports statsmodels. Empty for fewer than 20.

    is_after: shape (n,), 1 after the deploy. lags: steps of correlation that the model's errors allow for.
    Correlation: G. Ljung, G. Box, Biometrika 65 (1978). Spread: M. Brown, A. Forsythe, JASA 69 (1974). Tails:
    C. Jarque, A. Bera, Int. Statistical Review 55 (1987).
    """
    later = is_after > 0.0
    if len(left) < _SAMPLES_MIN or np.ptp(left) == 0.0 or min(later.sum(), (~later).sum()) < 3:
        return ()
    return _correlation(left, lags), _spread(left[~later], left[later]), _tails(left)


def _correlation(left: FloatArray, lags: int) -> Diagnostic:
    from statsmodels.stats.diagnostic import acorr_ljungbox

    tested = acorr_ljungbox(left, lags=[min(_LAGS_MAX, len(left) // 5)])
    p_value = float(tested["lb_pvalue"].iloc[0])
    centred = left - left.mean()
    first = float(centred[1:] @ centred[:-1]) / float(centred @ centred)
    means = ""
    if p_value < _P_MAX and max(first, 0.0) ** (lags + 1) > _MEMORY_MAX:
        means = "The residuals are still correlated: the second opinion's interval is too narrow."
    return Diagnostic(name="Ljung-Box", value=first, p_value=p_value, means=means)


def _spread(before: FloatArray, after: FloatArray) -> Diagnostic:
    from statsmodels.stats.oneway import test_scale_oneway

    ratio = float(np.var(after)) / max(float(np.var(before)), 1e-300)
    p_value = float(
        test_scale_oneway([before, after], method="equal", center="median", transform="abs").pvalue
    )
    means = ""
    if p_value < _P_MAX:
        word = "more" if ratio > 1.0 else "less"
        means = f"Single steps vary {word} after the deploy: a change of level is not all that happened."
    return Diagnostic(name="Brown-Forsythe", value=ratio, p_value=p_value, means=means)


def _tails(left: FloatArray) -> Diagnostic:
    from statsmodels.stats.stattools import jarque_bera

    _, p_value, _, kurtosis = (float(x) for x in jarque_bera(left))
    means = ""
    if p_value < _P_MAX and kurtosis - 3.0 > _KURTOSIS_MIN:
        means = "A few steps lie far out: the second opinion's effect may be theirs, the judge trims them."
    return Diagnostic(name="Jarque-Bera", value=kurtosis - 3.0, p_value=p_value, means=means)
