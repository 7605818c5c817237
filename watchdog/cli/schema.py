"""`deploy-watchdog schema`: the configuration's JSON Schema, for editors; `--markdown` for docs/."""

from __future__ import annotations

import argparse
import json

import config
from config.reference import markdown
from watchdog.cli import exits
from watchdog.kinds import KINDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `schema`."""
    parser.add_argument("--markdown", action="store_true", help="as a page for people")


def run(arguments: argparse.Namespace) -> int:
    """Print it; always exit 0."""
    text = markdown(KINDS) if arguments.markdown else json.dumps(config.json_schema(KINDS), indent=2) + "\n"
    print(text, end="")
    return exits.HEALTHY
