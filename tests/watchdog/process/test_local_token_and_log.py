"""The local token is its owner's alone, and no value can begin a second line of the log."""

from __future__ import annotations

import io
import json
import logging
import stat
from pathlib import Path

import pytest

from watchdog.localtoken import FILE_NAME, read_local_token, write_local_token
from watchdog.process.log import ConsoleFormatter, JsonFormatter

HOSTILE = [
    "4.12\n00:00:00 info ready",
    "4.12\r\nx",
    "4.12\u2028x",
    "a\x1b[2Jb",
    'say "yes"',
    "",
    "\x85x",
    "a b=c",
]


def test_only_its_owner_reads_the_local_token(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text("left by an earlier run")
    path.chmod(0o644)
    token = write_local_token(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_local_token(tmp_path) == token
    assert write_local_token(tmp_path) != token, "every run has its own"


@pytest.mark.parametrize("version", HOSTILE)
@pytest.mark.parametrize(
    "formatter", [JsonFormatter(), ConsoleFormatter()], ids=lambda made: type(made).__name__
)
def test_a_value_stays_on_its_line_and_at_its_key(formatter: logging.Formatter, version: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    record = logging.makeLogRecord({"msg": "decision", "version": version, "level": "INFO"})
    handler.handle(record)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "\r" not in text
    if isinstance(formatter, JsonFormatter):
        assert json.loads(text)["version"] == version
    else:
        assert f"version={json.dumps(version, ensure_ascii=False)}" in text
