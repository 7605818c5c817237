"""What the demo prints: one line per event with the time since the start, and the table at the end."""

from __future__ import annotations

import os
import shutil
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from watchdog.demo.scenario import PlannedDeploy

_EXPECTED = {"none": "", "confirmed": ", rollback", "awaiting_approval": ", proposal"}
_STYLES = {
    "": "",
    "dim": "\x1b[2m",
    "bold": "\x1b[1m",
    "good": "\x1b[32m",
    "bad": "\x1b[31m",
    "warn": "\x1b[33m",
}
_OF_WORD = {
    "healthy": "good",
    "confirmed": "good",
    "regressed": "bad",
    "blind": "warn",
    "inconclusive": "warn",
    "suspect": "warn",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one planned deploy. because: the daemon's own sentence. alerted: somebody was told."""

    planned: PlannedDeploy
    watch_id: str
    verdict: str
    action: str
    because: str
    alerted: bool

    @property
    def is_as_expected(self) -> bool:
        """True if verdict, action and alert are those of the scenario."""
        expected = self.planned.expect
        return (self.verdict, self.action, self.alerted) == (
            expected.verdict,
            expected.action,
            expected.alert,
        )


class Narrator:
    """Writes plain lines; colours only on a terminal and unless NO_COLOR is set. is_quiet: says nothing."""

    def __init__(self, out: TextIO, *, is_quiet: bool = False) -> None:
        self._out = out
        self._is_quiet = is_quiet
        self._has_colour = out.isatty() and not os.environ.get("NO_COLOR")
        self._started_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of the demo."""
        return time.monotonic() - self._started_s

    def say(self, text: str, style: str = "") -> None:
        """One line of the story."""
        if not self._is_quiet:
            self.write(f"{self.elapsed_s:6.1f} s  {self.painted(text, style)}")

    def title(self, text: str) -> None:
        """An empty line and a heading."""
        if not self._is_quiet:
            self.write("")
            self.say(text, "bold")

    def write(self, text: str) -> None:
        """A line as it is, also when quiet."""
        print(text, file=self._out, flush=True)

    def painted(self, text: str, style: str) -> str:
        """The text in that style, or as the style that goes with a word of the verdicts."""
        code = (
            _STYLES[_OF_WORD.get(style, style) if style not in _STYLES else style] if self._has_colour else ""
        )
        return f"{code}{text}\x1b[0m" if code else text

    def table(self, outcomes: Sequence[Outcome]) -> None:
        """deploy | expected | daemon said | rollback | because, one deploy under the other."""
        head = ("deploy", "expected", "daemon said", "rollback", "because")
        rows = [_cells(outcome) for outcome in outcomes]
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(4)]
        room = max(30, shutil.get_terminal_size((120, 24)).columns - sum(widths) - 2 * 4 - 3)
        self.write("")
        self.write("   " + self.painted(_line(head, widths), "bold"))
        for outcome, row in zip(outcomes, rows, strict=True):
            first, *others = textwrap.wrap(row[4], room) or [""]
            mark = self.painted("ok", "good") if outcome.is_as_expected else self.painted("NO", "bad")
            self.write(f"{mark} {_line((*row[:4], first), widths)}")
            for line in others:
                self.write(" " * (3 + sum(widths) + 2 * 4) + line)


def _cells(outcome: Outcome) -> tuple[str, str, str, str, str]:
    planned, expected = outcome.planned, outcome.planned.expect

    def told(verdict: str, is_alert: bool) -> str:
        return f"{verdict}, alert" if is_alert else verdict

    return (
        f"{planned.service} {planned.version} ({planned.name})",
        told(expected.verdict, expected.alert) + _EXPECTED[expected.action],
        told(outcome.verdict, outcome.alerted),
        outcome.action,
        outcome.because,
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)), cells[4]])
