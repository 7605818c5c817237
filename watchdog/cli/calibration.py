"""`deploy-watchdog calibration SERVICE`: does the false-rollback budget hold on this service's own past?"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import config
from detectors import say
from detectors.fitness import Held
from detectors.model import DeployInterval
from detectors.survey import Surveyed, survey
from watchdog.backtest import openmetrics
from watchdog.backtest.deploylog import DeployLog, read_store
from watchdog.backtest.past import PastBook
from watchdog.backtest.progress import Progress
from watchdog.backtest.reading import CannotRead
from watchdog.backtest.run import Wanted, read
from watchdog.cli import exits
from watchdog.clock import SystemClock
from watchdog.deploys.rules import end_of
from watchdog.kinds import KINDS
from watchdog.plan import ServicePlan, plan_services


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `calibration`."""
    parser.add_argument("service", help="the service to look at")
    parser.add_argument(
        "-c", "--config", action="append", type=Path, help="file or folder (default: watchdog.yaml)"
    )
    parser.add_argument(
        "--openmetrics", type=Path, help="read the past from this file instead of the sources"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 when every series that may act holds its budget, 11 when one does not, 12 without a history.

    64 for a service or file that is not there, 69 if nothing could be read, 78 for bad configuration.
    """
    clock, progress = SystemClock(), Progress(sys.stderr)
    try:
        loaded = config.load(arguments.config or [Path("watchdog.yaml")], KINDS)
    except config.ConfigError as error:
        print(error, file=sys.stderr)
        return exits.CONFIGURATION
    plans = plan_services(loaded)
    plan = plans.get(arguments.service)
    if plan is None:
        print(f"error: there is no `{arguments.service}`. Services: {', '.join(plans)}", file=sys.stderr)
        return exits.USAGE
    try:
        file = openmetrics.read_for(arguments.openmetrics, loaded.sources.values())
        until_at = plan.settled_at(clock.wall_s()) if file is None else file.span[1]
        wanted = Wanted(since_at=until_at - plan.history_s, until_at=until_at)
        past = asyncio.run(
            read(loaded, plans, [plan.name], wanted, file=file, now=clock.wall_s, progress=progress)
        )
        state = Path(loaded.settings.state_dir) / "state.db"
        log = read_store(state, plans) if state.exists() else DeployLog()
    except CannotRead as error:
        print(f"error: {error}", file=sys.stderr)
        return exits.UNREACHABLE
    except openmetrics.BadFile as error:
        print(f"error: {error}", file=sys.stderr)
        return exits.USAGE
    book, grid = PastBook(past.recordings), plan.history_grid(until_at)
    found = survey(
        [book.history(s.id, end_at=grid.last_at, n=grid.n, name=s.spec.name) for s in plan.series],
        plan.judge,
        grid.last_at,
        _deploys(log, plan),
    )
    if arguments.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        print("\n".join(_lines(plan, found)))
    if all(one.error for one in found):
        return exits.BLIND
    return exits.HEALTHY if all(one.is_fit for one in found) else exits.INCONCLUSIVE


def _deploys(log: DeployLog, plan: ServicePlan) -> list[DeployInterval]:
    return [
        DeployInterval(id=d.id, started_at=d.started_at, finished_at=end_of(d))
        for d in log.deploys
        if d.service == plan.name
    ]


def _lines(plan: ServicePlan, found: Sequence[Surveyed]) -> list[str]:
    budget = plan.judge.false_rollbacks
    width = max(len(one.name) for one in found)
    allowed = [f"{100 * share:g} %" for share in (0.05, 0.01, budget)]
    lines = [
        f"{plan.name}: at most 1 healthy deploy in {1 / budget:.0f} is rolled back.",
        "Each series by itself: limits from the older 60 % of its past, and the share of placebo deploys in",
        "the newer 40 % that exceed them (98 % interval).",
        "",
        f"{'series':<{width}}  {'windows':>7}  {'  '.join(f'{text:>22}' for text in allowed)}  finds",
    ]
    for one in found:
        if one.error:
            lines.append(f"{one.name:<{width}}  not judged: {one.error}")
            continue
        windows = f"{one.held[0].windows:.0f}" if one.held else "-"
        shares = (
            "  ".join(f"{_share(held):>22}" for held in one.held)
            if one.held
            else f"{'no past to try it on':<70}"
        )
        lines.append(f"{one.name:<{width}}  {windows:>7}  {shares}  {_finds(one)}{_remark(one)}")
    return lines


def _share(held: Held) -> str:
    return f"{100 * held.found:.1f} % [{100 * held.low:.1f}, {100 * held.high:.1f}]"


def _finds(one: Surveyed) -> str:
    if one.smallest_visible is None:
        return "unknown"
    before = f" from {say.value(one.before, one.unit)}" if one.before is not None else ""
    return f"{say.value(one.smallest_visible, one.unit)}{before}"


def _remark(one: Surveyed) -> str:
    if not one.is_fit:
        return "; informs only: its past does not foretell its present"
    if not one.acts:
        return "; informs only, as configured"
    return "; bound of the model" if one.calibration == "model" else ""
