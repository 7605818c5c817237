"""A rollback receiver to start from: takes signed orders from Deploy Watchdog and runs one command per order.

Genuine orders only (Standard Webhooks signature over the raw bytes, 300 s), one run per key however often it
is sent and through restarts, and nothing from a watchdog that has been replaced (an older epoch gets 409).
Needs Python 3.11 and aiohttp; everything is in this file, so that it can be copied. See README.md.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import shlex
import sqlite3
import time

from aiohttp import web

NAMES = ("environment", "service", "deploy", "from_version", "to_version")


class Receiver:
    """secrets: `whsec_...`, several while one is changed. command: gets the order as its environment."""

    def __init__(self, secrets: list[str], command: list[str], state: str) -> None:
        if not secrets:
            raise ValueError("no secret: this receiver would take orders from anybody")
        self.keys = [base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in secrets]
        self.command = command
        self.running: dict[str, tuple[bytes, asyncio.Task[bool]]] = {}
        self.db = sqlite3.connect(state, isolation_level=None)
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute("CREATE TABLE IF NOT EXISTS done (key TEXT PRIMARY KEY, body BLOB) STRICT")
        self.db.execute("CREATE TABLE IF NOT EXISTS epoch (newest INTEGER) STRICT")

    def is_genuine(self, request: web.Request, body: bytes) -> bool:
        """Whether one of our keys signed id, time and these very bytes within the last 300 s."""
        key, at = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
        if not at.isascii() or not at.isdigit() or len(at) > 12 or abs(time.time() - int(at)) > 300:
            return False
        signed = f"{key}.{at}.".encode("utf-8", "surrogateescape") + body
        ours = [b"v1," + base64.b64encode(hmac.digest(k, signed, hashlib.sha256)) for k in self.keys]
        theirs = (
            request.headers.get("webhook-signature", "").encode("utf-8", "surrogateescape").split(b" ")[:16]
        )
        return any(hmac.compare_digest(a, b) for a in ours for b in theirs)

    def is_outdated(self, epoch: int) -> bool:
        """Whether a newer watchdog has spoken; remembers the newest one."""
        (newest,) = self.db.execute("SELECT coalesce(max(newest), 0) FROM epoch").fetchone()
        if epoch > newest:
            self.db.execute("INSERT INTO epoch VALUES (?)", (epoch,))
        return epoch < int(newest)

    async def take(self, request: web.Request) -> web.Response:
        """POST /rollback: 200 done (now or before), 401, 409 older epoch, 422 not an order, 500 it failed."""
        body = await request.read()
        if not self.is_genuine(request, body):
            return web.json_response({"error": "bad or old signature"}, status=401)
        key = request.headers["webhook-id"]  # signed, unlike Idempotency-Key, which has the same value
        known = self.db.execute("SELECT body FROM done WHERE key = ?", (key,)).fetchone()
        taken = self.running.get(key) or known
        if taken is not None and taken[0] != body:
            return web.json_response({"error": "this key came with another body"}, status=422)
        if known is not None:
            return web.json_response({"state": "succeeded"})
        try:
            epoch, order = int(request.headers["X-Watchdog-Epoch"]), json.loads(body)
            env = {name.upper(): str(order[name]) for name in NAMES}
        except (KeyError, TypeError, ValueError):
            return web.json_response({"error": "not an order"}, status=422)
        if key not in self.running:
            if self.is_outdated(epoch):
                return web.json_response({"error": "a newer watchdog has taken over"}, status=409)
            self.running[key] = (body, asyncio.create_task(self.run(key, body, env)))
        # A caller that gives up must not stop the rollback; the same key again waits for the same run.
        if await asyncio.shield(self.running[key][1]):
            return web.json_response({"state": "succeeded"})
        return web.json_response({"state": "failed"}, status=500)

    async def run(self, key: str, body: bytes, env: dict[str, str]) -> bool:
        """Run the command once; only success is remembered, so that a failed rollback can be tried again."""
        try:
            process = await asyncio.create_subprocess_exec(*self.command, env={**os.environ, **env})
            if await process.wait() != 0:
                return False
            self.db.execute("INSERT INTO done VALUES (?, ?)", (key, body))
            return True
        finally:
            del self.running[key]

    def app(self) -> web.Application:
        """The application; bodies over 64 KiB are refused."""
        app = web.Application(client_max_size=65_536)
        app.router.add_post("/rollback", self.take)
        return app


if __name__ == "__main__":
    receiver = Receiver(
        os.environ["RECEIVER_SECRETS"].split(),
        shlex.split(os.environ["RECEIVER_COMMAND"]),
        os.environ.get("RECEIVER_STATE", "receiver.db"),
    )
    web.run_app(receiver.app(), host=os.environ.get("RECEIVER_HOST", "127.0.0.1"), port=8900)
