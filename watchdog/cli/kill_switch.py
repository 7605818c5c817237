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
from watchdog.rollback.killswitch import FILE_NAME


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `kill-switch`."""
    parser.add_argument("doing", choices=("on", "off", "status"))
    parser.add_argument("--because", default="", help="why; shown wherever the switch is")
    add_connection(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 when the switch is as asked, 77 when it stays on, 69 when only the file could be changed."""
    file = Path(arguments.state_dir) / FILE_NAME
    if arguments.doing == "on" and file.parent.is_dir():
        file.write_text(arguments.because or "switched on from the command line")
    if arguments.doing == "off":
        file.unlink(missing_ok=True)
    if file.exists():
        print(f"the file {file} is there: nothing is sent while it is", file=sys.stderr)
    return talk(arguments, lambda client: _tell(client, arguments))


async def _tell(client: Client, arguments: argparse.Namespace) -> int:
    if arguments.doing == "status":
        answer = await client.call("GET", "/api/v1/kill-switch")
    else:
        body = {"on": arguments.doing == "on", "because": arguments.because or "command line"}
        answer = await client.call("POST", "/api/v1/kill-switch", body)
    switch = answer["kill_switch"]
    if arguments.json:
        print(json.dumps(answer))
    elif switch["is_on"]:
        print(f"on, by {switch['by']}: {switch['because'] or 'no reason given'}")
    else:
        print("off: rollbacks may be sent")
    if arguments.doing == "off" and switch["is_on"]:
        # The daemon's own file or environment variable: out of reach from here.
        print(
            f"error: the switch stays on until `{switch['by']}` is gone where the daemon runs\n"
            "help: remove that file from its state folder (say --state-dir), or unset that variable",
            file=sys.stderr,
        )
        return exits.REFUSED
    return exits.HEALTHY
