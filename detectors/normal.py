"""The logarithm of the normal distribution function, so that the daemon need not import scipy."""

from __future__ import annotations

import math

import numpy as np

from detectors.model import FloatArray

# Rational approximations of erf and erfc by S. L. Moshier, Cephes Math Library 2.2 (1988), ndtr.c.
# Highest power first; the denominators with an implied leading 1 have it written out.
_ERF = (
    (9.604973739870516, 90.02601972038427, 2232.005345946843, 7003.325141128051, 55592.30130103949),
    (1.0, 33.56171416475031, 521.3579497801527, 4594.323829709801, 22629.000061389095, 49267.39426086359),
)
_ERFC_NEAR = (
    (
        2.461969814735305e-10,
        0.5641895648310689,
        7.463210564422699,
        48.63719709856814,
        196.5208329560771,
        526.4451949954773,
        934.5285271719576,
        1027.5518868951572,
        557.5353353693994,
    ),
    (
        1.0,
        13.228195115474499,
        86.70721408859897,
        354.9377788878199,
        975.7085017432055,
        1823.9091668790973,
        2246.3376081871097,
        1656.6630919416134,
        557.5353408177277,
    ),
)
_ERFC_FAR = (
    (
        0.5641895835477551,
        1.275366707599781,
        5.019050422511805,
        6.160210979930536,
        7.4097426995044895,
        2.9788666537210022,
    ),
    (
        1.0,
        2.2605286322011726,
        9.396035249380015,
        12.048953980809666,
        17.08144507475659,
        9.608968090632859,
        3.369076451000815,
    ),
)


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], t: FloatArray) -> FloatArray:
    above, below = (c[0] * t + c[1] for c in coefficients)
    for c in coefficients[0][2:]:
        above = above * t + c
    for c in coefficients[1][2:]:
        below = below * t + c
    result: FloatArray = above / below
    return result


def log_ndtr(x: FloatArray) -> FloatArray:
    """log P(Z <= x) of a standard normal Z, elementwise; relative error below 1e-12 on [-40, 40].

    x: any shape, finite. Right of 0 the result is log1p(-upper tail), so that it keeps its digits near 0.
    """
    x = np.asarray(x, dtype=np.float64)
    t = np.abs(x) / math.sqrt(2.0)
    # log(erfc(t) / 2), in three pieces; a piece nobody needs is not worked out, which matters for one number.
    is_small, is_far = t < 1.0, t >= 8.0
    log_tail = np.zeros_like(t)
    if is_small.any():
        small = np.minimum(t, 1.0)
        log_tail = np.where(is_small, np.log(0.5 * (1.0 - small * _ratio(_ERF, small * small))), log_tail)
    if is_far.any():
        log_tail = np.where(
            is_far, -0.5 * x * x + np.log(0.5 * _ratio(_ERFC_FAR, np.maximum(t, 8.0))), log_tail
        )
    if not (is_small | is_far).all():
        near = -0.5 * x * x + np.log(0.5 * _ratio(_ERFC_NEAR, np.clip(t, 1.0, 8.0)))
        log_tail = np.where(is_small | is_far, log_tail, near)
    result: FloatArray = np.where(x <= 0.0, log_tail, np.log1p(-np.exp(np.minimum(log_tail, -math.log(2.0)))))
    return result
