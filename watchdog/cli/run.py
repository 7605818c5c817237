"""`deploy-watchdog run -c watchdog.yaml`: the daemon."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import config
from watchdog import app
from watchdog.cli import exits
from watchdog.kinds import KINDS
from watchdog.process import files, log, memory
from watchdog.store.protocol import StoreUnavailable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    parser.add_argument(
        "-c", "--config", action="append", required=True, type=Path, help="a YAML file or folder; repeatable"
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 after SIGTERM, 78 for bad configuration, 69 without a usable store or address, 70 for a bug."""
    memory.share_one_arena()
    files.open_many()
    try:
        loaded = config.load(arguments.config, KINDS)
    except config.ConfigError as error:
        print(error, file=sys.stderr)
        return exits.CONFIGURATION
    logger = log.set_up(loaded.settings.log.format, loaded.settings.log.level)
    for problem in loaded.warnings:
        logger.warning("configuration", extra={"at_path": problem.path, "because": problem.message})
    try:
        asyncio.run(app.run(loaded, os.environ))
    except (StoreUnavailable, app.CannotListen) as error:
        print(f"error: {error}", file=sys.stderr)
        return exits.UNREACHABLE
    except ExceptionGroup as group:
        logger.critical("the daemon ends because of a bug", exc_info=group)
        return exits.BUG
    return exits.HEALTHY
