"""`deploy-watchdog init --prometheus URL -o watchdog.yaml`: a first configuration, from what is measured.

Only reads. Without `--prometheus` it is the smallest configuration there is, to be filled in by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import config
from config.references import is_reference
from config.values import seconds
from watchdog.cli import exits
from watchdog.clock import SystemClock
from watchdog.discovery.asking import look
from watchdog.discovery.proposing import Proposed, propose
from watchdog.discovery.writing import configuration, sources
from watchdog.kinds import KINDS
from watchdog.sources.fetch import without_secrets
from watchdog.sources.prometheus import PrometheusSource
from watchdog.sources.selector import Matcher, parse_selector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `init`."""
    parser.add_argument("--prometheus", metavar="URL", help="propose services and series from what it holds")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="a new file (default: standard output)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    parser.add_argument(
        "--by", metavar="LABEL", help="the label that names a service (default: found by convention)"
    )
    parser.add_argument(
        "--match",
        action="append",
        default=[],
        metavar="MATCHER",
        help="""only such series: 'namespace="shop"'""",
    )
    for name in ("--bearer-token", "--basic-auth"):
        parser.add_argument(name, metavar="REFERENCE", help="'${NAME}' or file:/path; written as it is given")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME:VALUE",
        help="sent with every request: 'X-Scope-OrgID: shop'",
    )
    parser.add_argument(
        "--max-services", type=int, default=50, metavar="N", help="the N busiest (default: 50)"
    )
    parser.add_argument("--max-series", type=int, default=5, metavar="N", help="of each service (default: 5)")
    parser.add_argument(
        "--timeout", default="60s", help="for the names, and again for the rest (default: 60s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 with a configuration that `validate` accepts, 64 for options and a file that is there, 69 if
    Prometheus does not answer, 78 if it holds nothing that is understood."""
    output: Path | None = arguments.output
    if output is not None and output.exists() and not arguments.force:
        return _refuse(exits.USAGE, f"{output} exists. Choose another file, or overwrite it with --force")
    if arguments.prometheus is None:
        example = resources.files("config").joinpath("examples", "minimal.yaml")
        return _write(example.read_text(encoding="utf-8"), output, arguments.force)
    try:
        keys, only, timeout_s = _asked(arguments)
    except ValueError as error:
        return _refuse(exits.USAGE, str(error))
    try:
        source = _source(keys)
    except config.ConfigError as error:
        return _refuse(exits.CONFIGURATION, "\n".join(problem.message for problem in error.problems))
    shown = without_secrets(source.url)
    seen = look(source, now=SystemClock().wall_s(), timeout_s=timeout_s, by=arguments.by, only=only)
    if seen.problem is not None and not seen.sightings:
        return _refuse(exits.UNREACHABLE, f"{shown}: {seen.problem}")
    proposed = propose(
        seen, by=arguments.by, services_max=arguments.max_services, series_max=arguments.max_series
    )
    if proposed.services:
        code = _write(configuration(shown, keys, proposed), output, arguments.force)
    else:
        code = _refuse(exits.CONFIGURATION, f"{shown} holds nothing from which a series could be proposed")
    _tell(proposed, seen.problem)
    return code


def _asked(arguments: argparse.Namespace) -> tuple[dict[str, object], Sequence[Matcher], float]:
    """(the section of the source, conditions on every series, seconds). Raises ValueError for an option."""
    keys: dict[str, object] = {"kind": "prometheus", "url": arguments.prometheus}
    for key in ("bearer_token", "basic_auth"):
        reference = getattr(arguments, key)
        if reference is None:
            continue
        if not is_reference(reference):
            # Whoever lists the processes of the machine would read it.
            option = key.replace("_", "-")
            raise ValueError(f"--{option} takes no secret, but where it is: '${{NAME}}' or file:/path")
        keys[key] = reference
    if arguments.header:
        headers = dict(text.split(":", 1) for text in arguments.header if ":" in text)
        if len(headers) < len(arguments.header):
            raise ValueError("--header is a name, a colon and a value, each name once")
        keys["headers"] = {name.strip(): value.strip() for name, value in headers.items()}
    if arguments.by is not None and not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", arguments.by):
        raise ValueError("--by is the name of a label, such as app")
    if min(arguments.max_services, arguments.max_series) < 1:
        raise ValueError("--max-services and --max-series are at least 1")
    try:
        only = parse_selector(f"x{{{','.join(arguments.match)}}}").matchers
    except ValueError as error:
        raise ValueError(f"""--match: write it as in 'namespace="shop"' ({error})""") from error
    return keys, only, seconds(arguments.timeout)


def _source(keys: dict[str, object]) -> PrometheusSource:
    """The source as the loader builds it, secrets included. Raises ConfigError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "watchdog.yaml"
        path.write_text(sources(keys), encoding="utf-8")
        source = config.load([path], KINDS).sources["prom"]
    assert isinstance(source, PrometheusSource)
    return source


def _write(text: str, output: Path | None, is_forced: bool) -> int:
    if output is None:
        print(text, end="")
        return exits.HEALTHY
    try:
        with output.open("w" if is_forced else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        return _refuse(exits.USAGE, f"{output} cannot be written: {error.strerror}")
    return exits.HEALTHY


def _tell(proposed: Proposed, problem: str | None) -> None:
    """On standard error: what was found, and what became nothing."""
    for service in proposed.services:
        print(f"{service.name}: {', '.join(service.series)}", file=sys.stderr)
    for left in proposed.left:
        print(f"not proposed: {left.what}: {left.why}", file=sys.stderr)
    if problem is not None:
        print(f"not everything was looked at: {problem}", file=sys.stderr)
    series = sum(len(service.series) for service in proposed.services)
    print(f"services {len(proposed.services)}, series {series}", file=sys.stderr)


def _refuse(code: int, text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return code
