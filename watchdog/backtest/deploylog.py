"""The real deploys of the past: from the daemon's own store, which is only looked at, or from a file.

A file holds deploys as the API takes them, and goes the way of every event: `deploys.reading`, then
`deploys.canonical.settle`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from watchdog.backtest.watched import intake_rules
from watchdog.deploys.canonical import settle
from watchdog.deploys.reading import read_event
from watchdog.model import Deploy, DeployEvent, Watch, WatchState
from watchdog.plan import ServicePlan
from watchdog.store import rows
from watchdog.store.files import look
from watchdog.store.schema import APPLICATION_ID

FILE_BYTES_MAX = 50_000_000
DEPLOYS_MAX = 50_000


class BadDeploys(ValueError):
    """The deploy log cannot be read; names file, place and remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployLog:
    """deploys: oldest first, of configured services only. recorded: deploy id to how its watch ended then.

    left_out: deploys of services that are not configured. origin: where it came from, for people.
    """

    deploys: tuple[Deploy, ...] = ()
    recorded: Mapping[str, WatchState] = field(default_factory=dict)
    left_out: int = 0
    origin: str = "no deploy log"


def read_store(path: Path, plans: Mapping[str, ServicePlan]) -> DeployLog:
    """The deploys in a daemon's state.db, running or not. Raises BadDeploys."""
    try:
        db = look(path)
        try:
            if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise BadDeploys(f"{path}: a database of another program; name the deploys with --deploys")
            deploys = rows.select(db, Deploy, "ORDER BY started_at, rowid")
            watches = rows.select(db, Watch, "")
        finally:
            db.close()
    except sqlite3.Error as error:
        raise BadDeploys(f"{path}: {error}; mend it, or name the deploys with --deploys") from error
    environments = {plan.environment for plan in plans.values()}
    known = [d for d in deploys if d.service in plans and d.environment in environments]
    return DeployLog(
        deploys=tuple(known),
        recorded={watch.deploy_id: watch.state for watch in watches},
        left_out=len(deploys) - len(known),
        origin=str(path),
    )


def read_file(path: Path, plans: Mapping[str, ServicePlan]) -> DeployLog:
    """Deploys as the API takes them: JSON lines, a JSON or YAML list, or `deploys:` over one.

    Each needs `finished_at` or `started_at`. Raises BadDeploys naming file, place, key and remedy.
    """
    environments = {plan.environment for plan in plans.values()}
    environment = next(iter(environments), "prod")
    events: list[DeployEvent] = []
    left_out = 0
    for place, body in _bodies(path):
        if (
            isinstance(body, Mapping)
            and isinstance(body.get("service"), str)
            and body["service"] not in plans
        ):
            left_out += 1
            continue
        events.append(_event(path, place, body, plans, environment))
        if len(events) > DEPLOYS_MAX:
            raise BadDeploys(f"{path}: more than {DEPLOYS_MAX} deploys; give those of the span only")
    by_service: dict[str, list[Deploy]] = {}
    seen: set[tuple[str, str]] = set()
    for event in sorted(events, key=lambda event: event.received_at):
        # The same id told again is a duplicate, as for the API.
        if (event.sender, event.sender_id) in seen:
            continue
        seen.add((event.sender, event.sender_id))
        ours = by_service.setdefault(event.service, [])
        intake = settle(event, ours, [], [], now=event.received_at, rules=intake_rules(plans[event.service]))
        # Newest first, as the store hands them over.
        by_service[event.service] = [intake.deploy, *(d for d in ours if d.id != intake.deploy.id)]
    deploys = sorted((d for group in by_service.values() for d in group), key=lambda d: (d.started_at, d.id))
    return DeployLog(deploys=tuple(deploys), left_out=left_out, origin=str(path))


def _event(
    path: Path, place: str, body: Any, plans: Mapping[str, ServicePlan], environment: str
) -> DeployEvent:
    if not isinstance(body, Mapping):
        raise BadDeploys(f"{path}{place}: not a deploy; write {{service: checkout, version: 4.12.0, ...}}")
    try:
        # Read once for its times: an event of the past was received when it says that it happened.
        event = read_event(body, sender="file", sender_id=None, environment=environment, now=0.0)
        told_at = event.finished_at if event.finished_at is not None else event.started_at
        if told_at is None:
            raise ValueError("finished_at: missing; a deploy of the past needs the time of its end or start")
        event = read_event(body, sender="file", sender_id=None, environment=environment, now=told_at)
    except ValueError as error:
        raise BadDeploys(f"{path}{place}: {error}") from error
    return replace(event, depends_on=event.depends_on or plans[event.service].depends_on)


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without dates: a time stays the text that the API would be sent."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _bodies(path: Path) -> Iterator[tuple[str, Any]]:
    """(place, deploy) of every deploy in the file; the place follows the file's name in a message."""
    text = _text(path)
    if text.lstrip().startswith("{"):
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                yield f":{number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BadDeploys(f"{path}:{number}: not JSON ({error}); write one deploy per line") from error
        return
    try:
        # A JSON list is YAML.
        told = yaml.load(text, Loader=_PlainLoader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark is not None else ""
        why = getattr(error, "problem", None) or "nested too deep"
        raise BadDeploys(f"{path}{place}: neither JSON lines nor YAML ({why})") from error
    if isinstance(told, Mapping) and set(told) == {"deploys"}:
        told = told["deploys"]
    if told is None:
        return
    if not isinstance(told, list):
        raise BadDeploys(f"{path}: not a list of deploys; write JSON lines, or a YAML list")
    for i, body in enumerate(told):
        yield f": deploy {i + 1}", body


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise BadDeploys(f"{path}: {error.strerror}; give a file that can be read") from error
    if len(content) > FILE_BYTES_MAX:
        raise BadDeploys(f"{path}: larger than {FILE_BYTES_MAX / 1e6:.0f} MB; give those of the span only")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadDeploys(f"{path}: not UTF-8 at byte {error.start}") from error
