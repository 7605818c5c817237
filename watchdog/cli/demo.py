"""`deploy-watchdog demo`: a small real shop, four deploys, and what the daemon makes of them."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import get_args

from watchdog.cli import exits
from watchdog.demo.narrator import Narrator, Outcome
from watchdog.demo.receivers import Receivers
from watchdog.demo.scenario import BuiltIn, Scenario, built_in
from watchdog.demo.stage import DemoFailed, Stage
from watchdog.demo.story import problems, save_packets, tell
from watchdog.demo.theatre import theatre

HELP = "a small shop, four deploys, and what the daemon makes of them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `demo`."""
    parser.add_argument(
        "--keep", action="store_true", help="leave shop, daemon and dashboard up at the end, until Ctrl-C"
    )
    parser.add_argument("--seed", type=int, default=1, help="of customers, errors and history (default 1)")
    parser.add_argument(
        "--seeds", type=_count, metavar="N", help="a campaign: N performances from --seed on, one line each"
    )
    parser.add_argument(
        "--scenario",
        choices=get_args(BuiltIn),
        default="scenario",
        help="`unseen`: one bad deploy that only the data checks can see (default: four deploys)",
    )
    parser.add_argument(
        "--packets",
        type=Path,
        metavar="FOLDER",
        help="write the evidence packets of deploys that did not end as expected there",
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 if every deploy ended as the scenario expects, 10 if not, 70 if the demo itself broke down."""
    try:
        return asyncio.run(_until_told_to_end(arguments))
    except DemoFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return exits.BUG


async def _until_told_to_end(arguments: argparse.Namespace) -> int:
    """SIGTERM ends the demo as Ctrl-C does: through every `finally`, so that no child is left behind."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    scenario = built_in(arguments.scenario)
    try:
        if arguments.seeds is not None:
            return await _campaign(scenario, arguments)
        return await _performance(scenario, arguments)
    except asyncio.CancelledError:
        if this.cancelling() > 1:
            raise
        this.uncancel()
        return exits.INTERRUPTED


async def _performance(scenario: Scenario, arguments: argparse.Namespace) -> int:
    narrator = Narrator(sys.stdout)
    async with theatre(scenario, seed=arguments.seed, narrator=narrator) as (stage, receivers):
        outcomes, wrong = await _judged(scenario, stage, receivers, narrator, arguments, arguments.seed)
        narrator.table(outcomes)
        _tell_end(narrator, wrong)
        if arguments.keep:
            narrator.write(f"The dashboard stays up at {stage.api} until Ctrl-C.")
            await _told_to_end()
    return exits.REGRESSED if wrong else exits.HEALTHY


async def _judged(
    scenario: Scenario,
    stage: Stage,
    receivers: Receivers,
    narrator: Narrator,
    arguments: argparse.Namespace,
    seed: int,
) -> tuple[list[Outcome], list[str]]:
    outcomes = await tell(scenario, stage, receivers, narrator)
    if arguments.packets is not None:
        await save_packets(outcomes, stage, arguments.packets, seed)
    return outcomes, await problems(outcomes, stage)


async def _told_to_end() -> None:
    """Wait for Ctrl-C or SIGTERM: here it is the expected end, so the exit code stays the outcome's."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        this = asyncio.current_task()
        assert this is not None
        this.uncancel()


async def _campaign(scenario: Scenario, arguments: argparse.Namespace) -> int:
    """Every seed is a whole performance: its own folder, shop, history and daemon."""
    narrator = Narrator(sys.stdout, is_quiet=True)
    failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        started_s, outcomes = narrator.elapsed_s, list[Outcome]()
        try:
            async with theatre(scenario, seed=seed, narrator=narrator) as (stage, receivers):
                outcomes, wrong = await _judged(scenario, stage, receivers, narrator, arguments, seed)
        except DemoFailed as failure:
            wrong = [str(failure)]
        failed += bool(wrong)
        told = ", ".join(_told(outcome) for outcome in outcomes)
        mark = narrator.painted("NO", "bad") if wrong else narrator.painted("ok", "good")
        narrator.write(f"{mark} seed {seed:<4} {narrator.elapsed_s - started_s:4.0f} s  {told}")
        for problem in wrong:
            narrator.write(f"     {problem}")
        for outcome in outcomes if wrong else []:
            narrator.write(f"     {outcome.planned.version}: {outcome.because}")
    narrator.write(f"{arguments.seeds - failed} of {arguments.seeds} seeds ended as expected")
    return exits.REGRESSED if failed else exits.HEALTHY


def _told(outcome: Outcome) -> str:
    return outcome.verdict if outcome.action == "none" else f"{outcome.verdict} ({outcome.action})"


def _tell_end(narrator: Narrator, wrong: list[str]) -> None:
    narrator.write("")
    if wrong:
        narrator.write(narrator.painted("Not as the scenario expects: " + "; ".join(wrong) + ".", "bad"))
    else:
        took = f"in {narrator.elapsed_s:.0f} s"
        narrator.write(narrator.painted(f"Every deploy ended as the scenario expects, {took}.", "good"))


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("write a number from 1 to 1000")
    return number
