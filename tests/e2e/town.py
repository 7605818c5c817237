"""Many small services behind one daemon: each with pods, a past, a deployer that goes back, and a channel.

The steps are seconds. A test names the services it needs and how the daemon is to treat them; the world
outlives the daemon, so that a daemon can be ended and started again in the same folder.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.daemon import Daemon, daemon
from tests.support.pods import Pods, serving_all
from tests.support.receivers import Received, Reply, RollbackReceiver, SlackReceiver, in_thread
from watchdog.clock import SystemClock
from watchdog.demo.history import write_history
from watchdog.series import HEAL_STEPS
from watchdog.signing import SigningKeys

CLOCK = SystemClock()
HISTORY_S = 600
GOOD, BAD = 0.01, 0.2
# Of the deploy events; the rollbacks are signed with another one.
EVENT_SECRET = "whsec_" + "Y2FuYXJ5LW9mLXRoZS1ldmVudC1zZWNyZXQtMDE="
ROLLBACK_SECRET = "whsec_" + "Y2FuYXJ5LW9mLXRoZS1yb2xsYmFjay1zZWNyZXQ="
SLACK_CANARY = "SLACKCANARY0123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the daemon treats one service. more: further lines of its configuration, at their indentation."""

    mode: str = "approve"
    watch_s: int = 12
    valid_for: str = "5m"
    controls: str = ""
    more: str = ""


_SETTINGS = """
step: 1s
lag: 1s
limits: {{rollbacks_per_hour: 50, rollbacks_per_day: 40, services_regressed_max: 50}}
targets: {{deployer: {{kind: webhook, url: "{deployer}/rollback", secret: "${{ROLLBACK_SECRET}}"}}}}
"""
_CHANNELS = "channels: {team: {kind: slack, webhook: '${SLACK}'}}\n"
_SERVICE = """
  {name}:
    mode: {shape.mode}
    history: {history}s
    history_min: 1m
    rollout_max: 3s
    watch: {{for: {shape.watch_s}s, warm_up: 1s}}
    rollback: {{target: deployer, valid_for: {shape.valid_for}, confirm_within: 60s}}
    version: {{http: "http://{pods}/{name}/version"}}
    controls: [{shape.controls}]
    series:
      errors:
        kind: ratio
        source: {name}
        numerator: 'http_requests_total{{app="{name}",code=~"5.."}}'
        denominator: 'http_requests_total{{app="{name}"}}'
{shape.more}"""


class Deployer(RollbackReceiver):
    """Goes back to the version it is told, by replacing every pod of the service."""

    def __init__(self, services: Mapping[str, Pods]) -> None:
        super().__init__(secret=ROLLBACK_SECRET)
        self.services = services

    def process(self, received: Received) -> Reply:
        """Once per key."""
        executed = sum(self.effects.values())
        reply = super().process(received)
        if sum(self.effects.values()) > executed:
            order = received.json
            self.services[order["service"]].deploy(order["to_version"], GOOD, CLOCK.wall_s())
        return reply

    def sent_for(self, service: str) -> list[Received]:
        """The requests about that service."""
        return [each for each in list(self.received) if each.json["service"] == service]


@dataclass(slots=True, kw_only=True)
class Town:
    """The world around the daemon. configuration, environ: what the daemon is started with."""

    folder: Path
    shapes: Mapping[str, Shape]
    address: str
    pods: Mapping[str, Pods]
    deployer: Deployer
    slack: SlackReceiver
    settings: str
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def configuration(self) -> str:
        """Everything but `state_dir` and `api`."""
        return self.configured(self.shapes)

    def configured(self, shapes: Mapping[str, Shape]) -> str:
        """The configuration with other services than the town has."""
        sources = [f"  {n}: {{kind: scrape, url: 'http://{self.address}/{n}/metrics'}}\n" for n in shapes]
        services = [
            _SERVICE.format(name=name, shape=shape, history=HISTORY_S, pods=self.address)
            for name, shape in shapes.items()
        ]
        settings = _SETTINGS.format(deployer=self.deployer.url) + self.settings
        return f"{settings}\nsources:\n{''.join(sources)}services:{''.join(services)}"

    @contextmanager
    def watched(self, *, port: int | None = None, configuration: str | None = None) -> Iterator[Daemon]:
        """The daemon, ready; started again it finds its state."""
        text = self.configuration if configuration is None else configuration
        with daemon(self.folder, text, port=port, environ=self.environ) as running:
            yield running

    def roll_out(self, service: str, version: str, error_share: float) -> float:
        """Replace the service's pods; when, as the deployer would tell it."""
        now = CLOCK.wall_s()
        self.pods[service].deploy(version, error_share, now)
        return now

    def ship(self, running: Daemon, service: str, version: str, error_share: float, **event: Any) -> str:
        """Roll out and tell the daemon; the deploy's id."""
        at = self.roll_out(service, version, error_share)
        times = {"started_at": at, "finished_at": CLOCK.wall_s()}
        return str(running.deploy(service, version, **{**times, **event})["deploy"]["id"])

    def told(self, service: str) -> list[str]:
        """The headlines Slack has got about that service, oldest first."""
        texts = [str(message["text"]) for message in list(self.slack.messages)]
        return [text for text in texts if f"{service} " in text]


@contextmanager
def town(folder: Path, shapes: Mapping[str, Shape], *, settings: str = _CHANNELS) -> Iterator[Town]:
    """Pods, deployer and Slack of the services, and ten minutes of their past in the state folder."""
    now = int(CLOCK.wall_s())
    pods = {
        name: Pods(at=now, app=name, version="1", error_share=GOOD, rng=np.random.default_rng([seed, 11]))
        for seed, name in enumerate(shapes)
    }
    state = folder / "state"
    state.mkdir(mode=0o700)
    history = {f"{name}/errors": each.samples(HISTORY_S) for name, each in pods.items()}
    # A daemon keeps only steps that can change no more, so none of the newest.
    asyncio.run(write_history(state, history, step_s=1.0, last_at=float(now - HEAL_STEPS - 1)))
    deployer, slack = Deployer(pods), SlackReceiver()
    with ExitStack() as stack:
        address = stack.enter_context(serving_all(pods, CLOCK))
        stack.enter_context(in_thread(deployer, slack))
        environ = {
            "SLACK": f"{slack.url}/services/T/B/{SLACK_CANARY}",
            "ROLLBACK_SECRET": ROLLBACK_SECRET,
            "WATCHDOG__API__WEBHOOK_SECRETS": json.dumps([EVENT_SECRET]),
        }
        yield Town(
            folder=folder,
            shapes=shapes,
            address=address,
            pods=pods,
            deployer=deployer,
            slack=slack,
            settings=settings,
            environ=environ,
        )


def signed(message_id: str, body: bytes) -> dict[str, str]:
    """The headers of a deploy event that its sender has signed now."""
    headers = SigningKeys.parse([EVENT_SECRET]).headers(message_id=message_id, at=CLOCK.wall_s(), body=body)
    return {**headers, "Content-Type": "application/json"}
