"""`deploy-watchdog verdict replay | explain FILE`: what an evidence packet says, without a daemon."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from watchdog.cli import exits
from watchdog.judging.accounts import differences, sentences


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `verdict`."""
    doing = parser.add_subparsers(dest="doing", required=True, metavar="replay|explain")
    for name, text in (
        ("replay", "judge again, and say whether the verdict is the same"),
        ("explain", "tell the chain from the samples to the verdict"),
    ):
        sub = doing.add_parser(name, help=text)
        sub.add_argument(
            "file", help="a packet, as GET /api/v1/watches/ID/packet gives it; - for standard input"
        )


def run(arguments: argparse.Namespace) -> int:
    """Exit 0; 64 for a file that is no packet; 70 when judging again says something else."""
    name = "standard input" if arguments.file == "-" else arguments.file
    try:
        text = sys.stdin.read() if arguments.file == "-" else Path(arguments.file).read_text("utf-8")
        packet: Any = json.loads(text)
        if isinstance(packet, dict) and isinstance(packet.get("packet"), dict):
            packet = packet["packet"]  # as the API wraps it
        if not isinstance(packet, dict) or "schema" not in packet:
            raise ValueError("there is no `schema` in it; it is not an evidence packet")
        if arguments.doing == "explain":
            print("\n".join(sentences(packet)))
            return exits.HEALTHY
        found = differences(packet)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        what = f"{error} is missing; the packet is damaged" if isinstance(error, KeyError) else error
        print(f"error: {name}: {what}", file=sys.stderr)
        return exits.USAGE
    verdict = packet["verdict"]
    if found:
        print("\n".join(found))
        print(f"error: {name}: judged again it differs in {len(found)} places", file=sys.stderr)
        return exits.BUG
    print(f"same: {verdict['state']} ({verdict['reason']}), to six digits. {verdict['because']}")
    return exits.HEALTHY
