"""What is wrong with a configuration: a problem with its place and remedy, and all of them as one error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PROBLEMS_MAX = 50
_LINE_MAX = 160
# A key, text in quotes, or a plain value up to what ends it: what the caret line underlines.
_TOKEN = re.compile(r'\$\{[^}]*\}|"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'|[^\s,:{}\[\]#]+(?::[^\s,{}\[\]#]+)*')


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong (or, with severity `warning`, doubtful) in the configuration.

    code: stable, for programs. message: one sentence, without secrets. path: dotted, empty for a whole file.
    file: as given by the user, or `environment`; line and column: counted from 1, None where there is none.
    source_line: that line, secrets masked. hint: drawn beside the caret. help: the remedy.
    """

    code: str
    message: str
    path: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    source_line: str | None = None
    hint: str = ""
    help: str = ""
    severity: Literal["error", "warning"] = "error"

    def render(self) -> str:
        """The problem as a person reads it: code and message, place, the line with a caret, help."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        lines = [f"{self.severity}[{self.code}]: {self.message}"]
        if place or self.path:
            lines.append(f"  --> {'   '.join(part for part in (place, self.path) if part)}")
        if self.source_line is not None and self.line is not None and self.column is not None:
            lines += self._excerpt(self.source_line, self.line, self.column)
        elif self.hint:
            lines.append(f"  {self.hint}")
        if self.help:
            lines.append(f"help: {self.help}")
        return "\n".join(lines)

    def _excerpt(self, text: str, line: int, column: int) -> list[str]:
        number = str(line)
        gap = " " * len(number)
        # A long line is cut so that the caret stays in view.
        start = 0 if column <= _LINE_MAX // 2 else column - _LINE_MAX // 2
        shown = text[start : start + _LINE_MAX].replace("\t", " ").rstrip()
        token = _TOKEN.match(text, column - 1)
        width = max(1, len(token[0]) if token else 1)
        at = column - 1 - start
        caret = " " * at + "^" * max(1, min(width, _LINE_MAX - at))
        return [f"{gap} |", f"{number} | {shown}", f"{gap} | {caret} {self.hint}".rstrip()]


class ConfigError(Exception):
    """Everything wrong with a configuration, found in one go.

    problems: errors sorted by file and line, at most 50; left_out: how many more there were.
    warnings: what was doubtful beside them. str() is the text for a terminal.
    """

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        ordered = in_order(problems)
        self.problems: tuple[Problem, ...] = ordered[:PROBLEMS_MAX]
        self.left_out = len(ordered) - len(self.problems)
        self.warnings: tuple[Problem, ...] = in_order(warnings)[:PROBLEMS_MAX]
        super().__init__(len(ordered))

    def __str__(self) -> str:
        return render((*self.problems, *self.warnings), left_out=self.left_out)


def in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """By file, line, column, path; equal ones once."""
    return tuple(
        sorted(
            dict.fromkeys(problems),
            key=lambda p: (p.file or "", p.line or 0, p.column or 0, p.path, p.code, p.message),
        )
    )


def render(problems: Sequence[Problem], *, left_out: int = 0) -> str:
    """All problems, a blank line between them, then how many there are in how many files."""
    blocks = [problem.render() for problem in in_order(problems)]
    return "\n\n".join([*blocks, summary(problems, left_out=left_out)])


def summary(problems: Sequence[Problem], *, left_out: int = 0) -> str:
    """`3 errors, 1 warning in 2 files`, and how many errors were left out."""
    errors = sum(problem.severity == "error" for problem in problems) + left_out
    warnings = sum(problem.severity == "warning" for problem in problems)
    files = len({problem.file for problem in problems if problem.file})
    counts = [_counted(errors, "error")] if errors else []
    counts += [_counted(warnings, "warning")] if warnings else []
    text = ", ".join(counts) or "no problems"
    if files:
        text += f" in {_counted(files, 'file')}"
    return f"{text} ({left_out} not shown)" if left_out else text


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
