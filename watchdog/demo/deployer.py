"""The shop's deployer: rolls versions out and back, and tells the watchdog about each, as real ones do."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import aiohttp
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from watchdog.demo.shop import Service

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Deployer:
    """Rolls versions of the services out and back.

    services: by name. watchdog: base URL of its API. event_secret, rollback_secret: the Standard Webhooks
    secrets that its deploy events are signed with, and that rollback requests must be signed with. effects:
    the rollbacks that were carried out, oldest first; the same Idempotency-Key twice is one effect.
    rollout_s: how long a roll-out takes; the new version answers from its middle on.
    """

    services: Mapping[str, Service]
    watchdog: str
    event_secret: str = field(repr=False)
    rollback_secret: str = field(repr=False)
    rollout_s: float = 2.0
    effects: list[dict[str, Any]] = field(init=False, default_factory=list)
    _answers: dict[str, dict[str, Any]] = field(init=False, repr=False, default_factory=dict)
    _rolling: asyncio.Lock = field(init=False, repr=False, default_factory=asyncio.Lock)

    def app(self) -> web.Application:
        """POST /deploy, POST /rollback, GET /version, GET /effects."""
        app = web.Application(client_max_size=64 * 1024)
        app.add_routes(
            [
                web.post("/deploy", self._deploy),
                web.post("/rollback", self._rollback),
                web.get("/version", self._versions),
                web.get("/effects", self._effects),
            ]
        )
        return app

    async def _deploy(self, request: web.Request) -> web.Response:
        """{"service", "version"}; answers when the roll-out is done and reported."""
        wanted = await request.json()
        service = self.services.get(wanted.get("service"))
        if service is None or not wanted.get("version"):
            return web.json_response({"error": "service and version are needed"}, status=400)
        return web.json_response(await self._roll_out(service, wanted["version"], kind="code"))

    async def _rollback(self, request: web.Request) -> web.Response:
        """A signed request with Idempotency-Key: {"service", "from", "to"}; 409 if `from` does not run."""
        raw = await request.read()
        try:
            Webhook(self.rollback_secret).verify(raw, dict(request.headers))
        except (WebhookVerificationError, ValueError):
            return web.json_response({"error": "the signature is not valid"}, status=401)
        key = request.headers.get("Idempotency-Key", "")
        if not key:
            return web.json_response({"error": "Idempotency-Key is missing"}, status=400)
        wanted = json.loads(raw)
        service = self.services.get(wanted.get("service"))
        if service is None:
            return web.json_response({"error": "no such service"}, status=404)
        async with self._rolling:
            if key in self._answers:
                return web.json_response(self._answers[key])
            if service.version != wanted.get("from"):
                return web.json_response({"error": f"{service.name} runs {service.version}"}, status=409)
            answer = await self._roll_out(service, str(wanted["to"]), kind="rollback")
            self.effects.append({"key": key, "at": time.time(), **wanted})
            self._answers[key] = answer
        return web.json_response(answer)

    async def _versions(self, _request: web.Request) -> web.Response:
        return web.json_response({name: service.version for name, service in self.services.items()})

    async def _effects(self, _request: web.Request) -> web.Response:
        return web.json_response(self.effects)

    async def _roll_out(
        self, service: Service, version: str, *, kind: Literal["code", "rollback"]
    ) -> dict[str, Any]:
        deploy = {
            "id": f"demo-{uuid.uuid4().hex[:12]}",
            "service": service.name,
            "kind": kind,
            "from_version": service.version,
            "version": version,
            "state": "finished",
            "started_at": time.time(),
        }
        await asyncio.sleep(self.rollout_s / 2)
        service.version = version
        await asyncio.sleep(self.rollout_s / 2)
        deploy["finished_at"] = time.time()
        deploy["watchdog"] = await self._report(deploy)
        return deploy

    async def _report(self, deploy: Mapping[str, Any]) -> Any:
        """What the watchdog answered; None, and a line in the log, if it could not be told."""
        body = json.dumps(deploy)
        at = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": deploy["id"],
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(self.event_secret).sign(deploy["id"], at, body),
        }
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)) as session,
                session.post(f"{self.watchdog}/api/v1/deploys", data=body, headers=headers) as response,
            ):
                if response.status < 300:
                    return await response.json()
                log.error("the watchdog refused a deploy: %s %s", response.status, await response.text())
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
            log.error("the watchdog could not be told of a deploy: %s", type(error).__name__)
        return None
