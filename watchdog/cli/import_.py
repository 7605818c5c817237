"""`deploy-watchdog import gatus|blackbox FILE`: a peer's file as a configuration, and what that leaves out.

The configuration goes to standard output, everything without an equivalent to standard error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from watchdog.cli import exits
from watchdog.importing.blackbox import from_blackbox
from watchdog.importing.gatus import from_gatus
from watchdog.importing.peer import Imported, NoEquivalent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `import`."""
    peers = parser.add_subparsers(dest="peer", required=True, metavar="gatus|blackbox")
    gatus = peers.add_parser("gatus", help="a configuration of Gatus: its endpoints become checks")
    gatus.add_argument("file", type=Path)
    blackbox = peers.add_parser("blackbox", help="blackbox.yml: its modules become checks of targets")
    blackbox.add_argument("file", type=Path)
    for option, text in (("--target", "what to probe"), ("--module", "by which module")):
        blackbox.add_argument(
            option, action="append", default=[], help=f"{text}; as many as of the other, in the same order"
        )


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 with a configuration that `validate` accepts, 64 for options, 78 for a file without any."""
    targets: list[tuple[str, str]] = []
    if arguments.peer == "blackbox":
        if not arguments.target or len(arguments.target) != len(arguments.module):
            print(
                "error: blackbox.yml holds no targets: write --target and --module once for each",
                file=sys.stderr,
            )
            return exits.USAGE
        targets = list(zip(arguments.module, arguments.target, strict=True))
    try:
        text = arguments.file.read_text(encoding="utf-8")
        imported = from_blackbox(text, targets) if targets else from_gatus(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        print(f"error: {arguments.file} cannot be read: {reason}", file=sys.stderr)
        return exits.CONFIGURATION
    except NoEquivalent as error:
        print(f"error: {arguments.file}: {error}", file=sys.stderr)
        return exits.CONFIGURATION
    print(f"# From {arguments.file.name} by `deploy-watchdog import {arguments.peer}`.")
    print(yaml.safe_dump(imported.configuration, sort_keys=False, allow_unicode=True, width=110), end="")
    _tell(imported)
    return exits.HEALTHY


def _tell(imported: Imported) -> None:
    checks = sum(len(service["checks"]) for service in imported.configuration["services"].values())
    for left in imported.left:
        print(f"{left.path}: {left.why}", file=sys.stderr)
    print(f"{checks} checks; {len(imported.left)} things without an equivalent", file=sys.stderr)
