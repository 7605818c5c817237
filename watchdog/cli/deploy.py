"""`deploy-watchdog deploy SERVICE --version V`: tell the daemon, and with --wait take its verdict home."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from typing import Any

from config.values import seconds
from watchdog.cli import exits
from watchdog.cli.client import Client, add_connection, talk
from watchdog.model import OPEN_WATCH_STATES

_POLL_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `deploy`."""
    parser.add_argument("service")
    parser.add_argument("--version", required=True, help="the version that was deployed")
    parser.add_argument("--from", dest="from_version", help="the version before (default: the last known)")
    parser.add_argument("--environment", help="default: the daemon's")
    parser.add_argument(
        "--kind", choices=("code", "config", "flag", "infra", "schema", "rollback"), default="code"
    )
    parser.add_argument("--state", choices=("announced", "started", "finished", "failed"), default="finished")
    parser.add_argument("--started", help="when it started, RFC 3339 with zone, or epoch seconds")
    parser.add_argument("--finished", help="when it finished (default: now, for state finished)")
    parser.add_argument("--id", help="your deployer's id of this deploy; a repeat changes nothing")
    parser.add_argument("--author")
    parser.add_argument("--link", help="shown to people beside the verdict")
    parser.add_argument("--rollback-unsafe", action="store_true", help="never roll this deploy back")
    parser.add_argument("--wait", action="store_true", help="wait for the verdict; it becomes the exit code")
    parser.add_argument("--timeout", type=seconds, default=math.inf, help="with --wait, e.g. 45m (exit 13)")
    parser.add_argument(
        "--fail-on",
        choices=("any", "regressed"),
        default="any",
        help="regressed: exit 0 for everything but a regression",
    )
    add_connection(parser)


def run(arguments: argparse.Namespace) -> int:
    """Send the event; exit 0, or the verdict's code with --wait."""
    return talk(arguments, lambda client: _deploy(client, arguments))


async def _deploy(client: Client, arguments: argparse.Namespace) -> int:
    answer = await client.call("POST", "/api/v1/deploys", _event(arguments))
    deploy, watch = answer["deploy"], answer["watch"]
    if not arguments.json:
        before = f"{deploy['from_version']} -> " if deploy["from_version"] else ""
        print(
            f"{deploy['service']} {deploy['environment']} {before}{deploy['to_version']}   "
            f"deploy {deploy['id']}   "
            + (f"watch until {_clock(watch['ends_at'])}" if watch else "not watched")
        )
    if not arguments.wait or watch is None:
        if arguments.json:
            print(json.dumps(answer))
        return exits.HEALTHY
    return await _wait(client, arguments, deploy["id"])


async def _wait(client: Client, arguments: argparse.Namespace, deploy_id: str) -> int:
    give_up_at = time.monotonic() + arguments.timeout
    told = ""
    while True:
        answer = await client.call("GET", f"/api/v1/deploys/{deploy_id}")
        watch = answer["watch"]
        if not arguments.json and watch["state"] != told:
            print(f"{_clock(time.time())} {watch['state']:<12} {watch['because']}", flush=True)
            told = watch["state"]
        if watch["state"] not in OPEN_WATCH_STATES:
            return _tell_end(arguments, answer, watch["state"])
        if time.monotonic() > give_up_at:
            print(f"no verdict within the timeout; the watch goes on until {_clock(watch['ends_at'])}")
            return exits.TIMED_OUT if arguments.fail_on == "any" else exits.HEALTHY
        await asyncio.sleep(_POLL_S)


def _tell_end(arguments: argparse.Namespace, answer: dict[str, Any], state: str) -> int:
    if arguments.json:
        print(json.dumps(answer))
    else:
        for action in answer["actions"]:
            print(f"next: rollback to {action['to_version']} is {action['state']}: {action['because']}")
            if action["state"] == "awaiting_approval":
                print(f"      deploy-watchdog rollback approve {action['key']}")
    code = exits.OF_WATCH[state]
    return code if arguments.fail_on == "any" or code == exits.REGRESSED else exits.HEALTHY


def _event(arguments: argparse.Namespace) -> dict[str, Any]:
    event: dict[str, Any] = {
        "service": arguments.service,
        "version": arguments.version,
        "kind": arguments.kind,
        "state": arguments.state,
        "from_version": arguments.from_version,
        "environment": arguments.environment,
        "started_at": _time(arguments.started),
        "finished_at": _time(arguments.finished),
        "id": arguments.id,
        "author": arguments.author,
        "link": arguments.link,
        "rollback_safe": False if arguments.rollback_unsafe else None,
    }
    if arguments.state == "finished" and arguments.finished is None:
        event["finished_at"] = time.time()
    return {key: value for key, value in event.items() if value is not None}


def _time(text: str | None) -> float | str | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))
