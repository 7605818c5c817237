"""The command line: one file per command, one line each in COMMANDS."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from watchdog.cli import exits

# Name to module; imported when used, so that a short command does not load the daemon.
COMMANDS = {
    "init": "watchdog.cli.init",
    "run": "watchdog.cli.run",
    "deploy": "watchdog.cli.deploy",
    "heartbeat": "watchdog.cli.heartbeat",
    "rollback": "watchdog.cli.rollback",
    "kill-switch": "watchdog.cli.kill_switch",
    "check": "watchdog.cli.check",
    "validate": "watchdog.cli.validate",
    "import": "watchdog.cli.import_",
    "verdict": "watchdog.cli.verdict",
    "backtest": "watchdog.cli.backtest",
    "calibration": "watchdog.cli.calibration",
    "judge": "watchdog.cli.judge",
    "schema": "watchdog.cli.schema",
    "token": "watchdog.cli.token",
    "init-role": "watchdog.cli.init_role",
    "health": "watchdog.cli.health",
    "demo": "watchdog.cli.demo",
}
SUMMARIES = {
    "init": "write a first configuration, from what a Prometheus holds",
    "run": "run the daemon",
    "deploy": "tell the daemon about a deploy, and wait for its verdict",
    "heartbeat": "run a job and report to the daemon that it did, and how it ended",
    "rollback": "list, approve or veto rollbacks",
    "kill-switch": "stop all rollbacks, or allow them again",
    "check": "run one configured check now and show everything",
    "validate": "find every error in a configuration",
    "import": "turn the file of another probe daemon into a configuration",
    "verdict": "judge an evidence packet again, or explain it",
    "backtest": "replay the past: false alarms, power, and what would have been done",
    "calibration": "does the false-rollback budget hold on a service's own past",
    "judge": "judge cases from standard input as a black box, one answer per tick",
    "schema": "print the JSON Schema of the configuration",
    "token": "make an API token",
    "init-role": "print the SQL of a database role that may only read",
    "health": "is the daemon alive and ready",
    "demo": "a small shop, four deploys, and what the daemon makes of them",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code (see docs/architecture.md)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words and words[0] in COMMANDS else None
    parser = argparse.ArgumentParser(
        prog="deploy-watchdog",
        description="Watches services around their deploys, decides whether this deploy made this "
        "service worse, and rolls it back safely.",
        exit_on_error=True,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command, summary in SUMMARIES.items():
        sub = commands.add_parser(command, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if command == name:
            module = importlib.import_module(COMMANDS[command])
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
            if getattr(module, "TAKES_JOB", False) and "--" in words:
                at = words.index("--")
                sub.set_defaults(job=words[at + 1 :])
                words = words[:at]
    try:
        parsed = parser.parse_args(words)
    except SystemExit as leaving:
        # argparse says 2 for a typo; 2 must never read like a verdict.
        return exits.USAGE if leaving.code == 2 else int(leaving.code or 0)
    try:
        return int(parsed.run(parsed))
    except KeyboardInterrupt:
        return exits.INTERRUPTED
