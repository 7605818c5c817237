"""`deploy-watchdog backtest -c watchdog.yaml --since 21d`: what the daemon would have said about the past."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import config
from config.values import seconds
from watchdog.backtest import deploylog, openmetrics, page, report, table
from watchdog.backtest.pool import WorkerEnded
from watchdog.backtest.progress import Progress
from watchdog.backtest.reading import CannotRead
from watchdog.backtest.run import Wanted, backtest, notes_on, read, report_of
from watchdog.cli import exits
from watchdog.clock import SystemClock
from watchdog.kinds import KINDS
from watchdog.plan import ServicePlan, plan_services

_PLACEBOS_MAX = 5_000
_SINCE_S = 21 * 86400.0


class _BadArgument(ValueError):
    """An option that cannot be used: names it and says what to write."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `backtest`."""
    parser.add_argument(
        "-c", "--config", action="append", type=Path, help="file or folder (default: watchdog.yaml)"
    )
    parser.add_argument(
        "--since", help="how far back: 21d, or a time such as 2026-05-01T00:00:00Z (default: 21d)"
    )
    parser.add_argument("--until", help="up to this time (default: now, or the end of the file)")
    parser.add_argument("--service", action="append", default=[], help="only this service; repeatable")
    parser.add_argument(
        "--inject", action="store_true", help="also put effects into placebos: what is found, and how fast"
    )
    parser.add_argument(
        "--deploys", type=Path, help="the deploy log: JSON lines or YAML (default: the daemon's own)"
    )
    parser.add_argument(
        "--openmetrics", type=Path, help="read the past from this file instead of the sources"
    )
    parser.add_argument("--placebos", help="at most so many per service (default: by number of series)")
    parser.add_argument("--jobs", help="processes (default: one per processor)")
    parser.add_argument("--json", type=Path, help="write the report here as JSON; - for standard output")
    parser.add_argument("--html", type=Path, help="write the report here as one HTML page")


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 when it was replayed, 12 if a service could not be judged at all for want of data.

    64 for an option or file that cannot be used, 69 if nothing could be read, 78 for bad configuration.
    """
    with _ended_as_by_ctrl_c():
        return _run(arguments)


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM, too, takes the processes and the folder of the recordings with it."""
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


def _run(arguments: argparse.Namespace) -> int:
    clock, progress = SystemClock(), Progress(sys.stderr)
    began_s = clock.mono_s()
    try:
        loaded = config.load(arguments.config or [Path("watchdog.yaml")], KINDS)
    except config.ConfigError as error:
        print(error, file=sys.stderr)
        return exits.CONFIGURATION
    plans = plan_services(loaded)
    try:
        services = _services(arguments.service, plans)
        for path in (arguments.json, arguments.html):
            _refuse_unwritable(path)
        file = openmetrics.read_for(arguments.openmetrics, loaded.sources.values())
        wanted = _wanted(arguments, file, clock.wall_s(), plans, services)
        log = _deploy_log(arguments.deploys, loaded, plans)
        past = asyncio.run(
            read(loaded, plans, services, wanted, file=file, now=clock.wall_s, progress=progress)
        )
        found = backtest(plans, services, past, log, wanted, progress)
        whole = report_of(loaded, wanted, log, notes_on(plans, past, log), found, clock.mono_s() - began_s)
        _write(whole, arguments.json, arguments.html)
    except (CannotRead, WorkerEnded) as error:
        print(f"error: {error}", file=sys.stderr)
        return exits.UNREACHABLE if isinstance(error, CannotRead) else exits.BUG
    except (_BadArgument, openmetrics.BadFile, deploylog.BadDeploys) as error:
        print(f"error: {error}", file=sys.stderr)
        return exits.USAGE
    finally:
        progress.end()
    if str(arguments.json) != "-":
        print(table.render(whole), end="")
    is_blind = any(all(series.coverage == 0.0 for series in service.series) for service in whole.services)
    return exits.BLIND if is_blind else exits.HEALTHY


def _services(asked: Sequence[str], plans: Mapping[str, ServicePlan]) -> list[str]:
    unknown = [name for name in asked if name not in plans]
    if unknown:
        raise _BadArgument(f"--service: there is no `{unknown[0]}`. Services: {', '.join(plans)}")
    return list(dict.fromkeys(asked)) or list(plans)


def _wanted(
    arguments: argparse.Namespace,
    file: openmetrics.OpenMetricsHistory | None,
    now: float,
    plans: Mapping[str, ServicePlan],
    services: Sequence[str],
) -> Wanted:
    until_at = _until(arguments.until, file, now, [plans[name] for name in services])
    since_at = _since(arguments.since, file, until_at)
    for name in services:
        least_s = 2 * plans[name].judge.watch_s
        if until_at - since_at < least_s:
            raise _BadArgument(
                f"--since: {until_at - since_at:.0f} s are too short for {name}, whose watch takes "
                f"{plans[name].judge.watch_s:.0f} s: go back at least {least_s:.0f} s"
            )
    return Wanted(
        since_at=since_at,
        until_at=until_at,
        inject=arguments.inject,
        placebos=_whole("--placebos", arguments.placebos, 0, _PLACEBOS_MAX),
        jobs=_whole("--jobs", arguments.jobs, 1, 1024) or os.cpu_count() or 1,
    )


def _until(
    asked: str | None,
    file: openmetrics.OpenMetricsHistory | None,
    now: float,
    plans: Sequence[ServicePlan],
) -> float:
    """The end of the span: as asked, but not beyond what is settled or what the file holds."""
    asked_at = math.inf if asked is None else _time("--until", asked)
    if file is not None:
        newest_at = file.span[1]
        # A step that the file does not hold whole is there for those who ask for it.
        return newest_at if asked is None else min(asked_at, newest_at + max(plan.step_s for plan in plans))
    if now < asked_at < math.inf:
        raise _BadArgument(f"--until: {asked} lies in the future; leave it away for now")
    # Steps that may still heal are not past yet.
    return min(asked_at, *(plan.settled_at(now) for plan in plans))


def _since(asked: str | None, file: openmetrics.OpenMetricsHistory | None, until_at: float) -> float:
    if asked is None:
        since_at = until_at - _SINCE_S if file is None else 0.0
    elif asked[-1:] in "smhd" and asked[:1].isdigit():
        since_at = until_at - _seconds("--since", asked)
    else:
        since_at = _time("--since", asked)
    return since_at if file is None else max(since_at, file.span[0])


def _seconds(option: str, text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise _BadArgument(f"{option}: {error}") from error


def _time(option: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            at = float(text)
        except ValueError:
            at = math.nan
        if not 0.0 <= at <= 1e11:
            raise _BadArgument(
                f"{option}: `{text[:40]}` is no time; write 2026-05-01T12:00:00Z, epoch seconds, or 21d"
            ) from None
        return at
    if moment.tzinfo is None:
        raise _BadArgument(f"{option}: `{text}` has no time zone; add Z or an offset such as +02:00")
    return moment.timestamp()


def _whole(option: str, text: str | None, least: int, most: int) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not least <= int(text[:9]) <= most:
        raise _BadArgument(f"{option}: `{text[:40]}` is not a whole number from {least} to {most}")
    return int(text)


def _deploy_log(
    path: Path | None, loaded: config.Loaded, plans: Mapping[str, ServicePlan]
) -> deploylog.DeployLog:
    if path is not None:
        return deploylog.read_file(path, plans)
    state = Path(loaded.settings.state_dir) / "state.db"
    return deploylog.read_store(state, plans) if state.exists() else deploylog.DeployLog()


def _refuse_unwritable(path: Path | None) -> None:
    """Found out before the work, not after it."""
    if path is None or str(path) == "-":
        return
    if (
        path.is_dir()
        or not path.parent.is_dir()
        or not os.access(path if path.exists() else path.parent, os.W_OK)
    ):
        raise _BadArgument(f"{path}: cannot be written; name a file in a folder that exists and is yours")


def _write(whole: report.Report, json_path: Path | None, html_path: Path | None) -> None:
    if json_path is not None and str(json_path) == "-":
        sys.stdout.write(report.as_json(whole))
    elif json_path is not None:
        _to_file(json_path, report.as_json(whole))
    if html_path is not None:
        _to_file(html_path, page.render(whole))


def _to_file(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _BadArgument(f"{path}: {error.strerror}; name another file") from error
