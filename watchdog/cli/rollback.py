"""`deploy-watchdog rollback list | approve KEY | veto KEY`."""

from __future__ import annotations

import argparse
import json
import sys
import time

from watchdog.cli import exits
from watchdog.cli.client import Client, add_connection, talk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `rollback`."""
    doing = parser.add_subparsers(dest="doing", required=True, metavar="list|approve|veto")
    listing = doing.add_parser("list", help="the newest rollbacks and what became of them")
    listing.add_argument("--service")
    add_connection(listing)
    for name, text in (("approve", "let a proposed rollback go out"), ("veto", "stop one that is not sent")):
        sub = doing.add_parser(name, help=text)
        sub.add_argument(
            "key", help="the rollback's key or as much of its beginning as is unique, or its deploy's id"
        )
        sub.add_argument("--because", default="", help="your reason, kept in the audit log")
        add_connection(sub)


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 when done, 64 when the rollback is not in a state for it."""
    work = _list if arguments.doing == "list" else _move
    return talk(arguments, lambda client: work(client, arguments))


async def _list(client: Client, arguments: argparse.Namespace) -> int:
    answer = await client.call("GET", "/api/v1/actions")
    actions = [
        action
        for action in answer["actions"]
        if arguments.service is None or action["service"] == arguments.service
    ]
    if arguments.json:
        print(json.dumps({**answer, "actions": actions}))
        return exits.HEALTHY
    for action in actions:
        at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(action["created_at"]))
        print(
            f"{action['key'][:12]}  {at}  {action['service']}  {action['from_version']} -> "
            f"{action['to_version']}  {action['state']}: {action['because']}"
        )
        if action["state"] == "awaiting_approval":
            until = time.strftime("%H:%M:%S UTC", time.gmtime(action["valid_until_at"]))
            print(f"              until {until}: deploy-watchdog rollback approve {action['key'][:12]}")
    if not actions:
        print("no rollbacks yet")
    return exits.HEALTHY


async def _move(client: Client, arguments: argparse.Namespace) -> int:
    key = await _whole_key(client, arguments.key)
    if key is None:
        print(
            f"error: no single rollback is `{arguments.key}` or begins with it\n"
            "help: see `deploy-watchdog rollback list`",
            file=sys.stderr,
        )
        return exits.USAGE
    answer = await client.call(
        "POST", f"/api/v1/actions/{key}/{arguments.doing}", {"because": arguments.because}
    )
    action = answer["action"]
    if arguments.json:
        print(json.dumps(answer))
    else:
        done = "approved; it is sent now" if arguments.doing == "approve" else "vetoed; it is not sent"
        print(f"{action['service']} {action['from_version']} -> {action['to_version']}: {done}")
    return exits.HEALTHY


async def _whole_key(client: Client, start: str) -> str | None:
    """The key of the one rollback that is meant; None if there is no such one, or several."""
    answer = await client.call("GET", "/api/v1/actions?limit=500")
    keys = [
        action["key"]
        for action in answer["actions"]
        if action["deploy_id"] == start or action["key"].startswith(start)
    ]
    return keys[0] if len(keys) == 1 else None
