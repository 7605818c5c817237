"""How far the work is: one line on a terminal, nothing anywhere else."""

from __future__ import annotations

from typing import TextIO

_WIDTH = 30


class Progress:
    """A bar that is drawn over itself on `out` while it is a terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_shown = out.isatty()
        self._what = ""
        self._done = self._of = self._drawn = 0

    def begin(self, what: str, of: int) -> None:
        """The next piece of work, in `of` equal parts."""
        self.end()
        self._what, self._of, self._done, self._drawn = what, of, 0, -1
        self._draw()

    def advance(self) -> None:
        """One part is done."""
        self._done += 1
        self._draw()

    def end(self) -> None:
        """Take the bar away."""
        if self._is_shown and self._what:
            self._out.write("\r\x1b[K")
            self._out.flush()
        self._what = ""

    def _draw(self) -> None:
        filled = _WIDTH * self._done // max(self._of, 1)
        if not self._is_shown or not self._what or (filled == self._drawn and self._done % 10):
            return
        self._drawn = filled
        bar = "#" * filled + "." * (_WIDTH - filled)
        self._out.write(f"\r\x1b[K{self._what} [{bar}] {self._done}/{self._of}")
        self._out.flush()
