"""`deploy-watchdog kill-switch on | off | status`: works with the daemon, its network or its store half dead.

`on` always writes the file in the state folder first, which every send looks at; telling the daemon comes
second and may fail.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from watchdog.cli import exits
from watchdog.cli.client import Client, add_connection, talk
from watchdog.killswitch import FILE_NAME


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `kill-switch`."""
    parser.add_argument("doing", choices=("on", "off", "status"))
    parser.add_argument("--because", default="", help="why; shown wherever the switch is")
    add_connection(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 when the switch is as asked, 69 when only the file could be set."""
    file = Path(arguments.state_dir) / FILE_NAME
    if arguments.doing == "on" and file.parent.is_dir():
        file.write_text(arguments.because or "switched on from the command line")
        print(f"the file {file} is there: nothing is sent from now on", file=sys.stderr)
    if arguments.doing == "off":
        file.unlink(missing_ok=True)
    return talk(arguments, lambda client: _tell(client, arguments))


async def _tell(client: Client, arguments: argparse.Namespace) -> int:
    if arguments.doing == "status":
        answer = await client.call("GET", "/api/v1/kill-switch")
    else:
        body = {"on": arguments.doing == "on", "because": arguments.because or "command line"}
        answer = await client.call("POST", "/api/v1/kill-switch", body)
    if arguments.json:
        print(json.dumps(answer))
    else:
        switch = answer["kill_switch"]
        print("on: " + switch["because"] if switch["is_on"] else "off: rollbacks may be sent")
    return exits.HEALTHY
