"""Evidence from passes and failures of a probe: valid from the first run, without any history."""

from __future__ import annotations

import numpy as np

from detectors.model import FloatArray

# Assumed share of failures before the deploy: at least 1 % (one lost packet proves nothing), and 5 % as
# long as fewer than 20 runs were seen.
_BASE_MIN = 0.01
_BASE_UNKNOWN = 0.05
_RUNS_MIN = 20
_BETS = 32


def base_rate(failed: FloatArray, run: FloatArray) -> FloatArray:
    """Conservative share of failures: upper 95 % Wilson bound of failed of run, at least 1 %, at most 50 %.

    Arrays broadcast. Fewer than 20 runs give at least 5 %.
    """
    return np.where(
        run >= _RUNS_MIN,
        np.clip(wilson(failed, np.maximum(run, 1.0), 1.645)[1], _BASE_MIN, 0.5),
        np.clip(np.where(run > 0.0, failed / np.maximum(run, 1.0), 0.0), _BASE_UNKNOWN, 0.5),
    )


def wilson(k: FloatArray, n: FloatArray, z: float) -> tuple[FloatArray, FloatArray]:
    """Score interval of k of n at +-z s.d. Source: E. B. Wilson, JASA 22 (1927), 209-212."""
    p = k / n
    middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n)
    half = z / (1.0 + z * z / n) * np.sqrt(np.maximum(p * (1.0 - p), 0.0) / n + z * z / (4.0 * n * n))
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def log_bets(failed: FloatArray, run: FloatArray, base: FloatArray) -> FloatArray:
    """log E that the share of failures exceeds `base`, for `failed` of `run`; arrays of one shape (m,).

    The mean over 32 bets, each the likelihood ratio of one higher share against `base`: a test martingale
    when failures are independent with share `base`, smaller still when it is lower. Valid at every look.
    Source: I. Waudby-Smith, A. Ramdas, JRSS B 86 (2024), 1-27 (arXiv 2010.09686), with a grid of bets.
    """
    part = (np.arange(_BETS) + 0.5) / _BETS
    share = base[:, None] + (1.0 - base[:, None]) * part
    ratio = failed[:, None] * np.log(share / base[:, None])
    ratio += (run - failed)[:, None] * np.log((1.0 - share) / (1.0 - base[:, None]))
    top = ratio.max(axis=1)
    result: FloatArray = top + np.log(np.mean(np.exp(ratio - top[:, None]), axis=1))
    return result


class ProbeTracks:
    """Running evidence of S probes since the deploy; the counterpart of `tracks.Tracks`."""

    def __init__(self, base: FloatArray) -> None:
        """base: the conservative shares of failures before, shape (S,)."""
        self._base = base
        self._failed, self._run = np.zeros(len(base)), np.zeros(len(base))

    def take(self, failed: FloatArray, run: FloatArray) -> None:
        """One more tick, each of shape (S,); run = 0 where nothing was seen."""
        self._failed += failed
        self._run += run

    @property
    def evidence(self) -> FloatArray:
        """Log E of the bets so far, shape (S,)."""
        return log_bets(self._failed, self._run, self._base)
