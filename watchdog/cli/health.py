"""`deploy-watchdog health`: for HEALTHCHECK and for people; alive and ready, or why not."""

from __future__ import annotations

import argparse
import json

from watchdog.cli import exits
from watchdog.cli.client import Client, Refused, add_connection, talk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `health`."""
    add_connection(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 when ready, 69 otherwise."""
    return talk(arguments, lambda client: _ask(client, arguments))


async def _ask(client: Client, arguments: argparse.Namespace) -> int:
    await client.call("GET", "/livez")
    try:
        answer = await client.call("GET", "/readyz")
    except Refused as refused:
        raise Refused(f"alive but not ready: {refused}", exits.UNREACHABLE) from None
    print(json.dumps(answer) if arguments.json else "alive and ready")
    return exits.HEALTHY
