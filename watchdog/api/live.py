"""Server-sent events: one small picture each time the daemon's state changed, at most one a second."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from watchdog.api.answers import Problem, dumps
from watchdog.api.picture import look, picture_json
from watchdog.api.protocol import Ports

STREAMS_MAX = 100
EVENT_EVERY_S = 1.0
HEARTBEAT_S = 10.0
# A stream ends by itself, so that a token taken away is noticed: the browser comes back at once.
STREAM_S = 3600.0


class Streams:
    """All open streams; they share one rendering per state number."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._open: set[asyncio.Task[object]] = set()
        self._lock = asyncio.Lock()
        self._number = 0
        self._event = b""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send events until the caller leaves. Raises Problem 503 when there are too many streams."""
        if len(self._open) >= STREAMS_MAX:
            raise Problem(
                503,
                f"There are {STREAMS_MAX} live streams already. Close a tab, or ask /api/v1/services.",
                headers={"Retry-After": "10"},
            )
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
            response.content_type = "text/event-stream"
            response.charset = "utf-8"
            await response.prepare(request)
            # The caller leaving is how a stream ends; nothing is left to be told.
            with suppress(ConnectionResetError, TimeoutError):
                async with asyncio.timeout(STREAM_S):
                    await self._pump(response)
            return response
        finally:
            self._open.discard(task)

    def end(self) -> None:
        """End every stream now, so that the server need not wait for callers to leave."""
        for task in self._open:
            task.cancel()

    async def _pump(
        self,
        response: web.StreamResponse,
        *,
        heartbeat_s: float = HEARTBEAT_S,
        every_s: float = EVENT_EVERY_S,
    ) -> None:
        number = 0
        await response.write(b"retry: 2000\n\n")
        while True:
            try:
                async with asyncio.timeout(heartbeat_s):
                    number = await self._ports.board.changed(number)
            except TimeoutError:
                # An event, not a comment: scripts cannot see comments, and must notice a dead line.
                await response.write(b"event: beat\ndata: {}\n\n")
                continue
            await response.write(await self._rendered(number))
            await asyncio.sleep(every_s)

    async def _rendered(self, number: int) -> bytes:
        async with self._lock:
            if number != self._number:
                state = dumps({"number": number, **picture_json(await look(self._ports))})
                self._event = f"id: {number}\nevent: state\ndata: {state}\n\n".encode()
                self._number = number
            return self._event
