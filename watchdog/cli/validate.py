"""`deploy-watchdog validate -c watchdog.yaml`: everything wrong with a configuration, in one go.

Changes nothing and sends nothing; with `--online` it asks the sources whether each query finds its series.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import config
from config.errors import Problem, in_order, render, summary
from config.reading import read
from watchdog.cli import exits
from watchdog.clock import SystemClock
from watchdog.discovery.online import ask_sources
from watchdog.kinds import KINDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `validate`."""
    parser.add_argument(
        "-c", "--config", action="append", type=Path, help="file or folder (default: watchdog.yaml)"
    )
    parser.add_argument(
        "--online", action="store_true", help="also ask each source whether its queries find data"
    )
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    parser.add_argument("--json", action="store_true", help="problems as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 if the daemon would start with this configuration, 78 if not."""
    paths: Sequence[Path] = arguments.config or [Path("watchdog.yaml")]
    found = _find(paths, arguments.online)
    problems = in_order([replace(p, severity="error") if arguments.strict else p for p in found.problems])
    is_refused = any(problem.severity == "error" for problem in problems)
    if arguments.json:
        print(json.dumps(_as_json(problems, found), indent=2))
    elif problems:
        print(f"{render(problems, left_out=found.left_out)}. Nothing was changed.")
    else:
        print(f"{summary(())}: configuration {found.digest}, {found.contents}.")
    return exits.CONFIGURATION if is_refused else exits.HEALTHY


@dataclass(frozen=True, slots=True)
class _Found:
    problems: Sequence[Problem]
    left_out: int = 0
    digest: str | None = None
    contents: str = ""


def _find(paths: Sequence[Path], is_online: bool) -> _Found:
    try:
        loaded = config.load(paths, KINDS)
    except config.ConfigError as error:
        return _Found([*error.problems, *error.warnings], left_out=error.left_out)
    problems = [*loaded.warnings, *(_online(paths, loaded) if is_online else ())]
    series = sum(len(service.series) for service in loaded.settings.services.values())
    counts = f"services {len(loaded.settings.services)}, series {series}, checks {len(loaded.checks)}"
    return _Found(problems, digest=loaded.digest, contents=counts)


def _online(paths: Sequence[Path], loaded: config.Loaded) -> list[Problem]:
    """What the sources said, at the places in the files."""
    findings = ask_sources(loaded, now=SystemClock().wall_s())
    tree, _ = read(paths)
    placed = [
        (finding, tree.problem(finding.code, finding.message, finding.path, on_value=True, hint=finding.hint))
        for finding in findings
    ]
    return [
        replace(problem, severity="warning" if finding.is_warning else "error") for finding, problem in placed
    ]


def _as_json(problems: Sequence[Problem], found: _Found) -> dict[str, object]:
    return {
        "schema": "deploy-watchdog/v1",
        "digest": found.digest,
        "summary": summary(problems, left_out=found.left_out),
        "problems": [asdict(problem) for problem in problems],
        "left_out": found.left_out,
    }
