"""`deploy-watchdog check run SERVICE/NAME -c watchdog.yaml`: run one check now, without a daemon."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import config
from checks.model import CheckResult
from watchdog.checking.cleanups import seen_cleanups_for
from watchdog.checking.heartbeats import beats_for
from watchdog.checking.run import checker
from watchdog.checking.selfcheck import SelfCheck
from watchdog.cli import exits
from watchdog.clock import SystemClock
from watchdog.kinds import KINDS
from watchdog.plan import CheckPlan, plan_services
from watchdog.store.looking import LookedAt

_EXITS = {"pass": exits.HEALTHY, "fail": exits.REGRESSED, "error": exits.BLIND}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `check`."""
    doing = parser.add_subparsers(dest="doing", required=True, metavar="run")
    running = doing.add_parser("run", help="run one check now; cleanup runs, nothing is stored")
    running.add_argument("name", help="SERVICE/CHECK")
    running.add_argument("-c", "--config", action="append", required=True, type=Path)
    running.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 pass, 10 fail, 12 error (could not tell), 64 for an unknown name, 78 for bad configuration."""
    try:
        loaded = config.load(arguments.config, KINDS)
    except config.ConfigError as error:
        print(error, file=sys.stderr)
        return exits.CONFIGURATION
    plans = {check.due_name: check for plan in plan_services(loaded).values() for check in plan.checks}
    plan = plans.get(arguments.name)
    if plan is None:
        known = ", ".join(sorted(plans)) or "none"
        print(f"error: there is no check `{arguments.name}`\nhelp: checks: {known}", file=sys.stderr)
        return exits.USAGE
    started_s = time.monotonic()
    result = asyncio.run(_run(plan, loaded))
    if arguments.json:
        print(json.dumps(asdict(result), default=str))
    else:
        for line in result.details:
            print(f"  {line}")
        if result.readings:
            print(
                f"  readings  {', '.join(f'{name} {value:.4g}' for name, value in result.readings.items())}"
            )
        because = f": {result.because}" if result.because else ""
        print(f"{result.outcome} in {time.monotonic() - started_s:.2f} s{because}")
    return _EXITS[result.outcome]


async def _run(plan: CheckPlan, loaded: config.Loaded) -> CheckResult:
    state = Path(loaded.settings.state_dir) / "state.db"
    beats = partial(beats_for, LookedAt(state)) if state.exists() else lambda plan: None
    cleanups = partial(seen_cleanups_for, LookedAt(state)) if state.exists() else lambda plan: None
    clock = SystemClock()
    self_check = SelfCheck(loaded.settings.self_check.targets, clock)
    async with checker(loaded.databases, clock, beats, self_check, cleanups) as checking:
        try:
            return await checking.run(plan)
        finally:
            for database in loaded.databases.values():
                await database.close()
