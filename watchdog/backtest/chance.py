"""What a few counts can say: intervals and tails of the binomial distribution, by hand, without scipy."""

from __future__ import annotations

import math

_Z_95 = 1.959964


def wilson(found: int, of: int) -> tuple[float, float]:
    """95 % interval of a share, (0, 1) when nothing was tried.

    Holds its level on average for any share, also at 0 of n, where it ends near 3.8 / n.
    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209-212.
    """
    if of == 0:
        return 0.0, 1.0
    share, z2 = found / of, _Z_95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z_95 * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    # At 0 and n the interval ends exactly there; rounding must not say otherwise.
    return (0.0 if found == 0 else middle - half), (1.0 if found == of else middle + half)


def at_least(found: int, of: int, probability: float) -> float:
    """P(X >= found) for X ~ Binomial(of, probability)."""
    if found <= 0:
        return 1.0
    if probability <= 0.0:
        return 0.0
    below = 0.0
    for k in range(found):
        below += math.comb(of, k) * probability**k * (1.0 - probability) ** (of - k)
    return min(1.0, max(0.0, 1.0 - below))
