"""`deploy-watchdog judge`: the judge as a black box over JSON lines, for benchmarks and for the curious."""

from __future__ import annotations

import argparse
import json
import sys

from watchdog.cli import exits
from watchdog.judging.blackbox import BadMessage, BlackBox


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options: cases and ticks come on standard input, answers go to standard output."""


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 at the end of the input, 64 for a line that cannot be understood."""
    box = BlackBox()
    for number, line in enumerate(sys.stdin, start=1):
        if not line.strip():
            continue
        try:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise BadMessage("not an object")
            answer = box.answer(message)
        except (json.JSONDecodeError, BadMessage) as error:
            print(f"error: line {number}: {error}", file=sys.stderr)
            return exits.USAGE
        if answer is not None:
            print(json.dumps(answer, allow_nan=False, separators=(",", ":")), flush=True)
    return exits.HEALTHY
