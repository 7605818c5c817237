"""`deploy-watchdog heartbeat SERVICE/CHECK -- COMMAND`: run a job and report its start and its end.

The job comes first: it runs and its exit code is passed on, whatever becomes of the reports.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from config.values import seconds
from watchdog.cli import exits
from watchdog.cli.client import UNANSWERED, Client, Refused, add_connection, talk

_TRY_S = 5.0  # a report takes milliseconds
_PAUSE_S = 1.0
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126

# Words after `--` are not ours to read.
TAKES_JOB = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `heartbeat`."""
    parser.usage = "deploy-watchdog heartbeat [options] SERVICE/CHECK (-- COMMAND ... | --state STATE)"
    parser.add_argument("name", metavar="SERVICE/CHECK", help="a check of kind heartbeat")
    parser.add_argument("--run", dest="run_id", default="", help="your name for this run (default: made up)")
    parser.add_argument("--state", choices=("start", "success", "fail"), help="only report this, run nothing")
    parser.add_argument(
        "--patience",
        type=seconds,
        default=30.0,
        help="how long the end of the job is told again while no daemon answers (default 30s): a report that "
        "is lost looks like a job that is late",
    )
    add_connection(parser)
    parser.set_defaults(job=[])
    parser.epilog = "The job and its arguments follow after `--`; its exit code is passed on."


def run(arguments: argparse.Namespace) -> int:
    """The job's exit code, 128 + n after signal n; 0 for a report alone; 64 for neither or both."""
    service, slash, check = arguments.name.partition("/")
    if bool(arguments.job) == bool(arguments.state) or not (service and slash and check):
        print(
            "error: a job or a state is needed, and SERVICE/CHECK\n"
            "help: deploy-watchdog heartbeat shop/nightly -- /usr/local/bin/nightly, or --state success",
            file=sys.stderr,
        )
        return exits.USAGE
    path = f"/api/v1/heartbeats/{quote(service, safe='')}/{quote(check, safe='')}"
    if arguments.state:
        return talk(arguments, lambda client: _tell(client, path, arguments.state, arguments.run_id))
    return asyncio.run(_wrap(arguments, path))


async def _tell(client: Client, path: str, state: str, run_id: str) -> int:
    await client.call("POST", path, {"state": state, "run": run_id})
    return exits.HEALTHY


async def _wrap(arguments: argparse.Namespace, path: str) -> int:
    run_id = arguments.run_id or uuid.uuid4().hex
    timeout = aiohttp.ClientTimeout(total=_TRY_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client = Client(arguments.url.rstrip("/"), Path(arguments.state_dir), session)
        starting = asyncio.ensure_future(_report(client, path, {"state": "start", "run": run_id}, 0.0))
        code = await _work(arguments.job)
        # A start that arrived after its end would look like a run that never ends.
        await starting
        state = "success" if code == 0 else "fail"
        await _report(client, path, {"state": state, "run": run_id, "exit": code}, arguments.patience)
    return code


async def _work(job: list[str]) -> int:
    """Run the job with our own streams, passing on the signals that would end us."""
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, signals.put_nowait, number)
    # A terminal sends it to the job as well; we stay to report how that ended.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    try:
        process = await asyncio.create_subprocess_exec(*job)
    except FileNotFoundError:
        print(f"error: {job[0]}: there is no such program", file=sys.stderr)
        return _NOT_FOUND
    except OSError as error:
        print(f"error: {job[0]}: {error.strerror}", file=sys.stderr)
        return _NOT_EXECUTABLE

    passing = asyncio.ensure_future(_pass_on(signals, process))
    try:
        code = await process.wait()
    finally:
        passing.cancel()
    return code if code >= 0 else 128 - code


async def _pass_on(signals: asyncio.Queue[signal.Signals], process: asyncio.subprocess.Process) -> None:
    while True:
        number = await signals.get()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)


async def _report(client: Client, path: str, body: dict[str, Any], tries_s: float) -> None:
    """Tell the daemon, again and again for `tries_s`; that it could not be told is one line on stderr."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + tries_s
    while True:
        try:
            await client.call("POST", path, body)
        except (*UNANSWERED, ValueError, Refused) as error:
            is_away = not isinstance(error, Refused) or error.code == exits.UNREACHABLE
            if not is_away or loop.time() >= until_s:
                said = str(error) or type(error).__name__
                print(f"warning: could not report {body['state']}: {said}", file=sys.stderr)
                return
        else:
            return
        await asyncio.sleep(_PAUSE_S)
