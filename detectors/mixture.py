"""The likelihood of a step against none when its size is unknown."""

from __future__ import annotations

import math

import numpy as np

from detectors.model import FloatArray
from detectors.normal import log_ndtr


def log_mixture(s: FloatArray, v: FloatArray) -> FloatArray:
    """log E of a one-sided normal mixture with a half-normal prior of s.d. 1 on the effect.

    s: sum of response times score; v: sum of squared responses; v = 0 gives 0. With independent unit
    normal scores an e-process: P(sup E >= 1/alpha) <= alpha. Source: S. R. Howard and others, Annals of
    Statistics 49 (2021), 1055-1080 (arXiv 1810.08240), one-sided normal mixture with r = 1.
    """
    w = 1.0 + v
    result: FloatArray = (
        math.log(2.0) - 0.5 * np.log(w) + 0.5 * s * s / w + log_ndtr(np.clip(s / np.sqrt(w), -37.0, 37.0))
    )
    return result
