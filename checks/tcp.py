"""Kind `tcp`: a port that accepts connections, and optionally says the right thing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from checks.blame import blame
from checks.expressions.values import show
from checks.model import CheckResult, Outcome, World
from checks.text import finish, sign
from checks.web.stages import RESOLVING
from checks.wire.dial import connect, refuse_address, resolve

ANSWER_BYTES_MAX = 65_536


@dataclass(slots=True, kw_only=True)
class TcpCheck:
    """Connect, send `send` if given, and read until `expect` was seen.

    expect: text that must occur in the first 64 KiB of what the other side says. tls: speak TLS, verified
    for `host`. Readings: dns_s, connect_s (with TLS), total_s; only of runs that passed, so that a fast
    refusal never looks like a low latency.
    """

    host: str
    port: int
    send: str | None = None
    expect: str | None = None
    tls: bool = False

    def __post_init__(self) -> None:
        refuse_address(self.host, self.port)
        if self.expect == "":
            raise ValueError("expect: an empty text is in every answer; leave the key out")

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        began_s = world.mono_s()
        readings: dict[str, float] = {}
        outcome: Outcome
        stage = RESOLVING
        try:
            async with asyncio.timeout(world.timeout_s):
                addresses = await resolve(self.host, self.port)
                readings["dns_s"], stage = world.mono_s() - began_s, "connecting"
                name = self.host if self.tls else None
                reader, writer = await connect(addresses, self.port, tls=self.tls, server_name=name)
                try:
                    stage = "connected, but silent"
                    readings["connect_s"] = world.mono_s() - began_s - readings["dns_s"]
                    because = await self._talk(reader, writer)
                    outcome = "fail" if because else "pass"
                finally:
                    # Not waited for: the other side may never close, and the deadline may be over.
                    writer.transport.abort()
            readings["total_s"] = world.mono_s() - began_s
        except TimeoutError:
            outcome = "error" if stage == RESOLVING else "fail"
            because = f"no answer within {world.timeout_s:g} s ({stage})"
        except OSError as error:
            outcome, because = blame(error)
        place = f"{self.host}:{self.port}"
        spent_ms = (world.mono_s() - began_s) * 1000
        return finish(
            outcome,
            f"{place}: {because}" if because else "",
            readings=readings if outcome == "pass" else {},
            details=(f"{sign(outcome)} TCP {place}  total {spent_ms:.0f} ms",),
        )

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Empty if the other side said what it should, else what it said."""
        if self.send is not None:
            writer.write(self.send.encode())
            await writer.drain()
        if self.expect is None:
            return ""
        wanted, heard = self.expect.encode(), bytearray()
        while len(heard) < ANSWER_BYTES_MAX:
            chunk = await reader.read(4096)
            heard += chunk
            if wanted in heard:
                return ""
            if not chunk:
                break
        said = show(heard.decode("utf-8", "replace")) if heard else "nothing"
        return f"expected {show(self.expect)}, it said {said}"
