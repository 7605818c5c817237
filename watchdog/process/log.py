"""How the daemon's log lines look: one line per event, JSON for machines, `key=value` for people."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Literal, TextIO

# What logging puts on every record; anything else came in through `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class JsonFormatter(logging.Formatter):
    """One JSON object a line; control characters and newlines in values cannot forge a second line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON with `at`, `level`, `event` and its extra fields."""
        line = {"at": _time(record), "level": record.levelname.lower(), "event": record.getMessage()}
        line |= _fields(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """`time level event key=value`, values quoted when they hold anything but a plain word."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, a traceback below it if there is one."""
        words = [_time(record)[11:19], record.levelname.lower(), record.getMessage()]
        words += [f"{key}={_quoted(value)}" for key, value in _fields(record).items()]
        line = " ".join(words)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _quoted(value: object) -> str:
    text = str(value)
    is_plain = text.isprintable() and " " not in text and '"' not in text and text != ""
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def set_up(
    form: Literal["auto", "json", "console"], level: str, stream: TextIO | None = None
) -> logging.Logger:
    """Configure the daemon's logger and return it; `auto` is console on a terminal and JSON elsewhere."""
    out = stream if stream is not None else sys.stderr
    handler = logging.StreamHandler(out)
    is_console = form == "console" or (form == "auto" and out.isatty())
    handler.setFormatter(ConsoleFormatter() if is_console else JsonFormatter())
    logger = logging.getLogger("watchdog")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    # Libraries speak only when something is wrong, through the same handler.
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    return logger
