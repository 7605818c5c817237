"""What the API is given: read access to the daemon's state, and the four things a caller may ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from checks.model import Beat
from config.schema import Settings
from watchdog.clock import Clock
from watchdog.model import Action, DeployEvent, Intake, SwitchState
from watchdog.store.protocol import Store


class Board(Protocol):
    """The live state that is not in the store."""

    def live_packet(self, watch_id: str) -> Mapping[str, Any] | None:
        """The evidence packet of an open watch as of its last tick; None if the watch is not open here."""
        ...

    def service_notes(self) -> Mapping[str, Mapping[str, Any]]:
        """Per service: `blind_since` (epoch seconds or None), `problems` (sentences), `checks` (newest),
        `always_on` (a sentence, may be empty)."""
        ...

    def readings(self, service: str) -> list[dict[str, Any]]:
        """The readings of the checks of a configured service, each a series: `name`, `kind`, `unit`, `bad`
        (None: not judged, no direction is worse), `acts`."""
        ...

    def source_notes(self) -> Mapping[str, str]:
        """Per source: `ok`, or one sentence saying what is wrong."""
        ...

    async def changed(self, since: int) -> int:
        """Wait until the state number is above `since`; returns the number. Starts at 1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything the API may use.

    submit raises ValueError with a sentence for an event that cannot be taken (unknown service, future
    time). approve and veto raise ValueError when the action is not in a state for it (HTTP 409) and
    LookupError for an unknown key (404). hear answers False for a report it has, and raises LookupError for a
    check that waits for none. readiness: why the daemon is not ready; empty = ready.
    probe: `watchdog.checking.probing.Prober.probe`, None while no module is configured.
    local_token: the token in the state folder that lets local commands act; it has every scope.
    """

    settings: Settings
    store: Store
    clock: Clock
    board: Board
    registry: CollectorRegistry
    local_token: str
    submit: Callable[[DeployEvent], Awaitable[Intake]]
    approve: Callable[[str, str, str], Awaitable[Action]]
    veto: Callable[[str, str, str], Awaitable[Action]]
    hear: Callable[[str, str, Beat], Awaitable[bool]]
    kill_switch: Callable[[], Awaitable[SwitchState]]
    set_kill_switch: Callable[[SwitchState], Awaitable[None]]
    readiness: Callable[[], list[str]]
    probe: Callable[[str, str, float | None], Awaitable[bytes]] | None
    is_alive: Callable[[], bool]
