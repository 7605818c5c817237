"""Exit codes. Never 1 or 2 by intent: Python uses them for a crash and argparse for a typo."""

from __future__ import annotations

from collections.abc import Mapping

HEALTHY = 0
REGRESSED = 10
INCONCLUSIVE = 11
BLIND = 12
TIMED_OUT = 13
USAGE = 64
UNREACHABLE = 69
BUG = 70
REFUSED = 77
CONFIGURATION = 78
INTERRUPTED = 130

# A watch that ended without a verdict of its own could not tell.
OF_WATCH: Mapping[str, int] = {
    "healthy": HEALTHY,
    "regressed": REGRESSED,
    "blind": BLIND,
    "inconclusive": INCONCLUSIVE,
    "superseded": INCONCLUSIVE,
    "cancelled": INCONCLUSIVE,
    "missed": INCONCLUSIVE,
}
