"""Where arrays come in: shape checked, infinity refused, a private copy made."""

from __future__ import annotations

import numpy as np

from detectors.model import FloatArray, SeriesSpec


def checked(spec: SeriesSpec, values: FloatArray, what: str) -> FloatArray:
    """`values` as a fresh float64 array of shape (n, spec.width); a vector is taken as one column.

    NaN is missing and stays. Raises ValueError for another shape or an infinite value: infinity is a bug of
    the caller, and as a number it would make every comparison after it meaningless.
    """
    array = np.array(values, dtype=np.float64)
    if array.ndim == 1 and spec.width == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != spec.width:
        raise ValueError(
            f"{spec.name}: {what} has shape {array.shape}; pass (n, {spec.width}) for {spec.kind}"
        )
    if np.isinf(array).any():
        raise ValueError(f"{spec.name}: {what} holds an infinite value; pass NaN for a missing sample")
    return array


def ends_of(n: int, end_at: float, step_s: float) -> FloatArray:
    """Ends of n steps in a row of which the last ends at `end_at`; shape (n,), epoch seconds."""
    ends: FloatArray = end_at - np.arange(n - 1, -1, -1, dtype=np.float64) * step_s
    return ends
