from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr as oracle

from detectors.normal import log_ndtr


def test_log_ndtr_agrees_with_scipy_to_twelve_digits() -> None:
    x = np.concatenate(
        [np.linspace(-40.0, 40.0, 20_001), [0.0, -np.sqrt(2.0), np.sqrt(2.0), -8 * np.sqrt(2.0)]]
    )
    expected = oracle(x)
    # The absolute part is for answers that are themselves subnormal (x > 37).
    assert np.all(np.abs(log_ndtr(x) - expected) <= 1e-12 * np.abs(expected) + 1e-300)
