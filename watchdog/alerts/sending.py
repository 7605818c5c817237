"""Delivers recorded alerts: at least once, in order per incident, one lane per channel."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from watchdog.alerts.protocol import Channel
from watchdog.clock import Clock
from watchdog.model import Alert, Sent
from watchdog.retrying import delay_s, until_stored
from watchdog.store.protocol import Store

log = logging.getLogger("watchdog.alerts")

_DUE_MAX = 1000
# A channel gets at most so many messages in a minute: what Slack takes, half of what PagerDuty takes.
_PER_MINUTE = 60
_GIVE_UP_S = 86_400.0
_ATTEMPTS_MAX = 400
# Two different alerts in a row that fail: the channel is down, not the alert unfit.
_FAILURES_DOWN = 2
_SECOND_CHANNEL_S = 300.0
_GRACE_S = 1.0


@dataclass(slots=True)
class _Lane:
    """What is remembered of one channel. failing_since: None while its last alert was delivered."""

    is_busy: bool = False
    failures: int = 0
    failing_since: float | None = None
    paused_until: float = 0.0
    sent_at: deque[float] = field(default_factory=lambda: deque(maxlen=_PER_MINUTE))


@dataclass(slots=True, kw_only=True)
class AlertSender:
    """Takes alerts from `pending` to `sent` or, after 24 h or a refusal, to `failed`.

    A page that a channel does not take for 5 minutes, or refuses, is copied to all other channels.
    sent: alerts delivered. dropped: alerts that failed for good. due_now: those due at the last look.
    next_at: None, since the store tells only what is due already.
    """

    store: Store
    clock: Clock
    channels: Mapping[str, Channel]
    timeout_s: float

    sent: int = field(init=False, default=0)
    dropped: int = field(init=False, default=0)
    due_now: int = field(init=False, default=0)
    next_at: float | None = field(init=False, default=None)
    _lanes: dict[str, _Lane] = field(init=False, default_factory=dict)

    def failing_since(self) -> dict[str, float]:
        """Channels that fail now, and since when (epoch seconds)."""
        return {
            name: lane.failing_since for name, lane in self._lanes.items() if lane.failing_since is not None
        }

    async def recover(self) -> None:
        """Nothing to decide: an alert that may have been sent is sent again, under the same dedup key."""

    async def due(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """Name and work of every channel that has something to deliver; the caller runs them side by side."""
        now = self.clock.wall_s()
        by_channel: dict[str, list[Alert]] = {}
        alerts = await self.store.due_alerts(now, limit=_DUE_MAX)
        self.due_now = len(alerts)
        for alert in alerts:
            by_channel.setdefault(alert.channel, []).append(alert)
        started: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        for name, waiting in by_channel.items():
            lane = self._lanes.setdefault(name, _Lane())
            if not lane.is_busy and lane.paused_until <= now:
                lane.is_busy = True
                started.append((f"alerts {name}", partial(self._run, name, lane, waiting)))
        return started

    async def _run(self, name: str, lane: _Lane, waiting: list[Alert]) -> None:
        try:
            await self._drain(name, lane, waiting)
        finally:
            lane.is_busy = False

    async def _drain(self, name: str, lane: _Lane, waiting: list[Alert]) -> None:
        """Send in order; of each incident the store gives the oldest alert only, so none is overtaken."""
        for alert in waiting:
            now = self.clock.wall_s()
            if len(lane.sent_at) == _PER_MINUTE and now - lane.sent_at[0] < 60.0:
                lane.paused_until = lane.sent_at[0] + 60.0
                return
            sent = await self._attempt(name, alert)
            lane.sent_at.append(now)
            if await self._settled(alert, sent, lane):
                continue
            if sent.retry_after_s is not None or lane.failures >= _FAILURES_DOWN:
                wait_s = delay_s(name, lane.failures, sent.retry_after_s)
                lane.paused_until = self.clock.wall_s() + wait_s
                return

    async def _attempt(self, name: str, alert: Alert) -> Sent:
        channel = self.channels.get(name)
        if channel is None:
            return Sent(outcome="refused", because=f"no channel `{name}` is configured")
        try:
            async with asyncio.timeout(self.timeout_s + _GRACE_S):
                return await channel.send(alert, now=self.clock.wall_s(), timeout_s=self.timeout_s)
        except TimeoutError:
            return Sent(outcome="unknown", because="the channel kept no deadline")
        except Exception as bug:
            # One of the three containments: one alert that cannot be rendered must not stop the others.
            log.exception("bug in a channel", extra={"alert": alert.id, "channel": name})
            return Sent(outcome="unknown", because=f"a bug in the channel: {type(bug).__name__}")

    async def _settled(self, alert: Alert, sent: Sent, lane: _Lane) -> bool:
        """Record the attempt; True if the alert has reached its end, False if it will be tried again."""
        now = self.clock.wall_s()
        if sent.outcome in ("done", "accepted"):
            lane.failures, lane.failing_since = 0, None
            self.sent += 1
            await self._settle(alert, "sent", sent.because, None, now)
            return True
        lane.failing_since = lane.failing_since if lane.failing_since is not None else now
        is_over = (
            sent.outcome == "refused"
            or now - alert.created_at >= _GIVE_UP_S
            or alert.attempts + 1 >= _ATTEMPTS_MAX
        )
        if alert.page and (is_over or now - alert.created_at >= _SECOND_CHANNEL_S):
            copies = _copies(alert, sorted(self.channels.keys() - {alert.channel}), now)
            await until_stored(lambda: self.store.add_alerts(copies), self.clock)
        if is_over:
            self.dropped += 1
            log.error(
                "alert lost", extra={"alert": alert.id, "channel": alert.channel, "because": sent.because}
            )
            await self._settle(alert, "failed", sent.because, None, now)
            return True
        lane.failures += 1
        wait_s = delay_s(alert.id, alert.attempts + 1, sent.retry_after_s)
        await self._settle(alert, "pending", sent.because, now + wait_s, now)
        return False

    async def _settle(
        self, alert: Alert, state: str, because: str, next_at: float | None, now: float
    ) -> None:
        await until_stored(
            lambda: self.store.settle_alert(
                alert.id, state=state, because=because, next_attempt_at=next_at, now=now
            ),
            self.clock,
        )


def _copies(alert: Alert, others: list[str], now: float) -> list[Alert]:
    """The same page for the other channels, under ids of its own, so that copying twice changes nothing.

    Copies do not ask to be copied again.
    """
    return [
        replace(
            alert,
            id=hashlib.sha256(f"{alert.id}\0{other}".encode()).hexdigest()[:32],
            channel=other,
            text=f"(not delivered through {alert.channel}) {alert.text}",
            page=False,
            created_at=now,
            attempts=0,
            next_attempt_at=None,
            state="pending",
        )
        for other in others
    ]
