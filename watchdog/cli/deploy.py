"""`deploy-watchdog deploy SERVICE --version V`: tell the daemon, and with --wait take its verdict home."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from typing import Any

from config.values import seconds
from watchdog.cli import exits
from watchdog.cli.client import UNANSWERED, Client, Refused, add_connection, talk
from watchdog.model import OPEN_WATCH_STATES

_POLL_S = 1.0
# A daemon that is started again during a watch is back long before this.
_UNANSWERED_MAX_S = 60.0


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
            + f"   {client.url}/d/{deploy['id']}",
            flush=True,
        )
    if not arguments.wait or watch is None:
        if arguments.json:
            print(json.dumps(answer))
        return exits.HEALTHY
    return await _wait(client, arguments, deploy["id"])


async def _wait(client: Client, arguments: argparse.Namespace, deploy_id: str) -> int:
    give_up_at_s = time.monotonic() + arguments.timeout
    told = ""
    while True:
        answer = await _ask_patiently(client, f"/api/v1/deploys/{deploy_id}", give_up_at_s)
        watch = answer["watch"]
        if not arguments.json and watch["state"] != told:
            print(f"{_clock(time.time())} {watch['state']:<12} {watch['because']}", flush=True)
            told = watch["state"]
        if watch["state"] not in OPEN_WATCH_STATES:
            await _tell_end(client, arguments, answer)
            return _code(arguments, exits.OF_WATCH[watch["state"]])
        if time.monotonic() > give_up_at_s:
            print(
                f"no verdict within the timeout; the watch goes on until {_clock(watch['ends_at'])}",
                file=sys.stderr,
            )
            if arguments.json:
                print(json.dumps(answer))
            return _code(arguments, exits.TIMED_OUT)
        await asyncio.sleep(_POLL_S)


async def _ask_patiently(client: Client, path: str, give_up_at_s: float) -> dict[str, Any]:
    """The answer, although the daemon may be away for a while: its watch survives a restart."""
    until_s = min(give_up_at_s, time.monotonic() + _UNANSWERED_MAX_S)
    is_told = False
    while True:
        try:
            return await client.call("GET", path)
        except (*UNANSWERED, Refused) as error:
            is_away = not isinstance(error, Refused) or error.code == exits.UNREACHABLE
            if not is_away or time.monotonic() > until_s:
                raise
        if not is_told:
            print("the daemon does not answer now; its watch survives a restart, asking on", file=sys.stderr)
            is_told = True
        await asyncio.sleep(_POLL_S)


async def _tell_end(client: Client, arguments: argparse.Namespace, answer: dict[str, Any]) -> None:
    """What follows from the verdict: the rollback and its state, or why there is none."""
    if arguments.json:
        print(json.dumps(answer))
        return
    for action in answer["actions"]:
        if action["state"] == "awaiting_approval":
            print(
                f"next: rollback to {action['to_version']} waits for approval until "
                f"{_clock(action['valid_until_at'])}, because {action['because']}\n"
                f"      deploy-watchdog rollback approve {action['key'][:12]}"
            )
        else:
            print(f"next: rollback to {action['to_version']} is {action['state']}: {action['because']}")
    if not answer["actions"] and answer["watch"]["state"] == "regressed":
        watched = await client.call("GET", f"/api/v1/watches/{answer['watch']['id']}")
        because = watched["decisions"][-1]["because"] if watched["decisions"] else "nothing was decided"
        print(f"next: nothing happens by itself: {because}")


def _code(arguments: argparse.Namespace, code: int) -> int:
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
