"""Stand-ins for Slack and PagerDuty that take every message, answer as those do, and remember it."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(slots=True, kw_only=True)
class Receivers:
    """heard: called with the receiver's name and the headline of each message, as it comes."""

    heard: Callable[[str, str], None]
    slack: list[dict[str, Any]] = field(init=False, default_factory=list)
    pagerduty: list[dict[str, Any]] = field(init=False, default_factory=list)

    def app(self) -> web.Application:
        """POST /slack, /v2/enqueue and /v2/change/enqueue."""
        app = web.Application(client_max_size=1024 * 1024)
        app.add_routes(
            [
                web.post("/slack", self._slack),
                web.post("/v2/enqueue", self._pagerduty),
                web.post("/v2/change/enqueue", self._change),
            ]
        )
        return app

    def told_of(self, version: str) -> bool:
        """True if somebody was alerted with a text that names the version."""
        messages = [*self.slack, *(event for event in self.pagerduty if event["event_action"] == "trigger")]
        return any(version in json.dumps(message) for message in messages)

    async def _slack(self, request: web.Request) -> web.Response:
        message = await request.json()
        self.slack.append(message)
        self.heard("Slack", html.unescape(str(message.get("text", ""))))
        return web.Response(text="ok")

    async def _pagerduty(self, request: web.Request) -> web.Response:
        event = await request.json()
        self.pagerduty.append(event)
        headline = event.get("payload", {}).get("summary", event.get("dedup_key", ""))
        self.heard("PagerDuty", f"{event['event_action']}: {headline}")
        return web.json_response({"status": "success", "dedup_key": event.get("dedup_key")}, status=202)

    async def _change(self, request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"status": "success"}, status=202)
