"""Samples that keep coming: an array that grows by doubling, so that a tick costs the same early and late."""

from __future__ import annotations

import numpy as np

from detectors.model import FloatArray


class Tape:
    """Rows of `width` numbers in the order they came."""

    def __init__(self, width: int, room: int) -> None:
        self._rows = np.empty((max(room, 1), width))
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, row: FloatArray | float) -> None:
        """Add one row: shape (width,), or a number when width is 1."""
        if self._length == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._length] = row
        self._length += 1

    @property
    def rows(self) -> FloatArray:
        """All rows so far, shape (t, width); a view, not to be written to."""
        return self._rows[: self._length]

    @property
    def column(self) -> FloatArray:
        """The first column, shape (t,); a view."""
        return self._rows[: self._length, 0]
