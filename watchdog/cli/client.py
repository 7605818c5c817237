"""Talks to a running daemon: where it listens, with which token, and what its refusals mean as exit codes."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from watchdog.cli import exits
from watchdog.localtoken import read_local_token

_TIMEOUT_S = 30.0
# What a daemon that is just being started again looks like from outside.
UNANSWERED = (aiohttp.ClientError, TimeoutError)


class Refused(Exception):
    """The daemon answered, and said no. Holds its sentence and the exit code for it."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


def add_connection(parser: argparse.ArgumentParser) -> None:
    """The options every command that talks to a daemon has."""
    parser.add_argument(
        "--url",
        default=os.environ.get("WATCHDOG_URL", "http://127.0.0.1:8099"),
        help="where the daemon listens (or WATCHDOG_URL; default %(default)s)",
    )
    parser.add_argument(
        "--state-dir",
        default=os.environ.get("WATCHDOG_STATE_DIR", "watchdog-state"),
        help="the daemon's state folder, whose local token is used when WATCHDOG_TOKEN is not set",
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


@dataclass(slots=True)
class Client:
    """One connection to a daemon. state_dir: where its local token is, if WATCHDOG_TOKEN is not set."""

    url: str
    state_dir: Path
    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON answer; Refused for anything but 2xx, one of UNANSWERED when there is none."""
        # Read each time: a daemon makes a new local token whenever it starts.
        token = os.environ.get("WATCHDOG_TOKEN") or read_local_token(self.state_dir)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.session.request(
            method, f"{self.url}{path}", json=body, headers=headers, allow_redirects=False
        ) as response:
            text = await response.text()
            if response.status // 100 != 2:
                raise Refused(_sentence(response.status, text), _code(response.status))
            answer: dict[str, Any] = json.loads(text)
            return answer


def talk(arguments: argparse.Namespace, work: Callable[[Client], Awaitable[int]]) -> int:
    """Run `work` against the daemon; every failure is one sentence on stderr and an exit code."""

    async def connected() -> int:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            return await work(Client(arguments.url.rstrip("/"), Path(arguments.state_dir), session))

    try:
        return asyncio.run(connected())
    except Refused as refused:
        print(f"error: {refused}", file=sys.stderr)
        return refused.code
    except (*UNANSWERED, ValueError) as error:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        print(
            f"error: no daemon answers at {arguments.url} ({what})\n"
            "help: start one with `deploy-watchdog run -c watchdog.yaml`, or say --url",
            file=sys.stderr,
        )
        return exits.UNREACHABLE


def _sentence(status: int, text: str) -> str:
    try:
        body = json.loads(text)
        sentence = str(body["error"])
    except (ValueError, KeyError, TypeError):
        return f"the daemon answered {status}"
    if status == 401:
        return f"{sentence} (set WATCHDOG_TOKEN, or --state-dir to the daemon's state folder)"
    return sentence


def _code(status: int) -> int:
    if status in (401, 403):
        return exits.REFUSED
    return exits.USAGE if status < 500 else exits.UNREACHABLE
