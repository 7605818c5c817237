"""Where arrays come in: shape checked, infinity refused, a private copy made."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from detectors.model import FloatArray, History, SeriesSpec

SLACK = 1e-3  # of a step: how far a tick may lie off the grid
_PAD_MAX = 20_000  # steps by which a history may end before the deploy


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


def aligned(histories: Sequence[History], started_at: float, step_s: float) -> tuple[float, list[FloatArray]]:
    """(end of the last step, arrays): all histories on one grid that ends with the last whole step before the
    deploy, equally long; missing is NaN. Raises ValueError for one that cannot be laid on it."""
    arrays = [checked(h.spec, h.values, "history") for h in histories]
    newest = max(h.end_at for h in histories)
    late = (started_at - newest) / step_s
    if late < -SLACK:
        raise ValueError(f"history: ends {-late * step_s:.0f} s after the start of the deploy; cut it there")
    if late > _PAD_MAX:
        raise ValueError(f"history: ends {late:.0f} steps before the deploy; fetch it up to the deploy")
    end_at = newest + math.floor(late + SLACK) * step_s
    length, made = 0, []
    for h, values in zip(histories, arrays, strict=True):
        behind = (end_at - h.end_at) / step_s
        if abs(behind - round(behind)) > SLACK:
            raise ValueError(
                f"{h.spec.name}: history lies {behind % 1 * step_s:.3f} s off the grid of the others"
            )
        if round(behind) > _PAD_MAX:
            raise ValueError(
                f"{h.spec.name}: history ends {behind:.0f} steps early; fetch it up to the deploy"
            )
        made.append(np.concatenate([values, np.full((round(behind), h.spec.width), np.nan)]))
        length = max(length, len(made[-1]))
    return end_at, [np.concatenate([np.full((length - len(a), a.shape[1]), np.nan), a]) for a in made]
