"""What every handler can reach through the application and the request, by typed keys."""

from __future__ import annotations

from aiohttp import web

from watchdog.api.auth import Doorkeeper, Identity
from watchdog.api.bodies import Bounds
from watchdog.api.live import Streams
from watchdog.api.protocol import Ports

PORTS = web.AppKey("ports", Ports)
DOOR = web.AppKey("door", Doorkeeper)
STREAMS = web.AppKey("streams", Streams)
BOUNDS = web.AppKey("bounds", Bounds)

IDENTITY = web.RequestKey("identity", Identity)
# The raw body, where the gate had to read it to verify a signature, and the id of the signed message.
BODY = web.RequestKey("body", bytes)
MESSAGE_ID = web.RequestKey("message_id", str)
