"""The live state that is not in the store, and a number that grows whenever something changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from checks.model import CheckResult


class LastRun(NamedTuple):
    """The newest result of a check, and when it came (epoch seconds)."""

    at: float
    result: CheckResult

    def told(self) -> dict[str, Any]:
        """As JSON: outcome, because, at, readings."""
        return {
            "outcome": self.result.outcome,
            "because": self.result.because,
            "at": self.at,
            "readings": dict(self.result.readings),
        }


@dataclass(slots=True)
class ServiceNote:
    """What is going on with one service right now. problems: sentences; runs: the newest by check name.
    always_on: one sentence on the judging between deploys, empty where it is off.
    """

    blind_since: float | None = None
    problems: list[str] = field(default_factory=list)
    runs: dict[str, LastRun] = field(default_factory=dict)
    always_on: str = ""


class LiveBoard:
    """Implements `watchdog.api.protocol.Board`. Written by the pipeline, read by the API, one event loop."""

    def __init__(self, services: list[str], sources: list[str]) -> None:
        self.services = {name: ServiceNote() for name in services}
        self.sources = dict.fromkeys(sources, "not read yet")
        self.readings_of: Callable[[str], list[dict[str, Any]]] = lambda service: []
        self.packet_of: Callable[[str], Mapping[str, Any] | None] = lambda watch_id: None
        self._number = 1
        self._moved = asyncio.Event()

    def bump(self) -> None:
        """Say that something a page shows has changed."""
        self._number += 1
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def changed(self, since: int) -> int:
        """Wait until the state number is above `since`; returns the number."""
        while self._number <= since:
            await self._moved.wait()
        return self._number

    def live_packet(self, watch_id: str) -> Mapping[str, Any] | None:
        """The evidence packet of an open watch as of its last tick; None if it is not judged here."""
        return self.packet_of(watch_id)

    def readings(self, service: str) -> list[dict[str, Any]]:
        """The readings of its checks, as series: name, kind, unit, bad, acts."""
        return self.readings_of(service)

    def service_notes(self) -> Mapping[str, Mapping[str, Any]]:
        """Per service: blind_since, problems, checks, always_on."""
        return {
            name: {
                "blind_since": note.blind_since,
                "problems": list(note.problems),
                "checks": {name: run.told() for name, run in note.runs.items()},
                "always_on": note.always_on,
            }
            for name, note in self.services.items()
        }

    def source_notes(self) -> Mapping[str, str]:
        """Per source: `ok`, or one sentence."""
        return dict(self.sources)
